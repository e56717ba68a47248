#!/usr/bin/env python3
"""What the formats of a trained quantised model do to real jets: range seen, width chosen, share cut off.

python scripts/audit.py firmware_configs/part_demo.yaml
"""

from __future__ import annotations

import argparse
import sys

from hls import cli
from qformers.config import Build


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.parser_of(__doc__)
    cli.add_build(parser)
    cli.add_model(parser)
    parser.add_argument("--jets", type=int, default=2000, help="test jets (default: 2000)")
    cli.add_set(parser, "data.max_jets=1000")
    return parser.parse_args(arguments)


def run(build: Build, options: argparse.Namespace) -> int:
    """Print the table and write ``audit.json`` beside the model; 0 when it is written."""
    from rich.console import Console

    from qformers.data import open_split
    from qformers.files import write_json
    from qformers.models import load_model
    from qformers.models.audit import as_json, as_table, audit
    from qformers.models.inputs import host_inputs

    path = cli.model_path(build, options.model)
    model = load_model(path)
    events = open_split(build.data, "test").load()[slice(0, options.jets)]
    rows = audit(model, host_inputs(model, events))
    Console(width=140).print(as_table(rows, f"{path}: formats on {len(events)} test jets"))
    out = path.with_name("audit.json")
    write_json(out, as_json(rows))
    print(f"written: {out}")
    return 0


def main() -> int:
    """Entry point. Returns 0, or 1 on an error."""
    return cli.on_build(parse(), run)


if __name__ == "__main__":
    sys.exit(main())
