#!/usr/bin/env python3
"""What the formats of a trained quantised model do to real jets: range seen, width chosen, share cut off.

python scripts/audit.py firmware_configs/part_demo.yaml
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from qformers.config import Build, ConfigError, load


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="build file, e.g. firmware_configs/part_demo.yaml")
    parser.add_argument("--model", type=Path, help="quantised model (default: runs/<name>/qat/model.keras)")
    parser.add_argument("--jets", type=int, default=2000, help="test jets (default: 2000)")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE", help="e.g. data.max_jets=1000"
    )
    return parser.parse_args(arguments)


def run(build: Build, path: Path, jets: int) -> Path:
    """Print the table and write ``audit.json`` beside the model."""
    from rich.console import Console

    from qformers.data import open_split
    from qformers.files import write_json
    from qformers.models import load_model
    from qformers.models.audit import as_json, as_table, audit
    from qformers.models.inputs import host_inputs

    model = load_model(path)
    events = open_split(build.data, "test").load()[slice(0, jets)]
    rows = audit(model, host_inputs(model, events))
    Console(width=140).print(as_table(rows, f"{path}: formats on {len(events)} test jets"))
    out = path.with_name("audit.json")
    write_json(out, as_json(rows))
    return out


def main() -> int:
    """Entry point. Returns 0, or 1 on an error."""
    options = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from qformers.data import DataError

    try:
        build = load(options.build, options.overrides)
        path = options.model or Path("runs") / build.name / "qat" / "model.keras"
        print(f"written: {run(build, path, options.jets)}")
    except (ConfigError, DataError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
