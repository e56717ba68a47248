#!/usr/bin/env python3
"""Write the firmware project of a build from its quantised model; synthesise it where the vendor's tool is installed.

python scripts/export_hls.py firmware_configs/part_demo.yaml
python scripts/export_hls.py firmware_configs/part_demo.yaml --backend vivado --set firmware.clock_ns=4 --synth
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
    parser.add_argument("--out", type=Path, help="folder of the project (default: runs/<name>/firmware/<backend>)")
    parser.add_argument("--backend", help="instead of firmware.backend of the build: vitis, vivado or alkaid")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE", help="e.g. firmware.clock_ns=4"
    )
    parser.add_argument("--synth", action="store_true", help="synthesise with the vendor's tool")
    return parser.parse_args(arguments)


def write(build: Build, options: argparse.Namespace) -> None:
    """Export and, if asked for, synthesise."""
    from hls.export import export
    from hls.progress import bars

    run = Path("runs") / build.name
    backend = options.backend or build.firmware.backend
    out = options.out or run / "firmware" / backend
    with bars() as reporter:
        project = export(build, options.model or run / "qat" / "model.keras", out, backend, reporter)
    print(f"project:   {project.path}")
    for name, file in (("precision", "precision.yaml"), ("ports", "ports.json")):  # of hls4ml and of alkaid
        if (project.path / file).is_file():
            print(f"{name + ':':<10} {project.path / file}")
    if options.synth:
        print(f"reports:   {project.build()}")


def main() -> int:
    """Entry point. Returns 0 when the project (and its synthesis) is done, 1 on an error."""
    options = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from hls.errors import HlsError

    try:
        write(load(options.build, options.overrides), options)
    except (ConfigError, HlsError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
