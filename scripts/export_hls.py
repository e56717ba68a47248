#!/usr/bin/env python3
"""Write the firmware project of a build from its quantised model; synthesise it where the vendor's tool is installed.

python scripts/export_hls.py firmware_configs/part_demo.yaml
python scripts/export_hls.py firmware_configs/part_demo.yaml --backend vivado --set firmware.clock_ns=4 --synth
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hls import cli
from qformers.builds.build import Build


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.parser_of(__doc__)
    cli.add_build(parser)
    cli.add_model(parser)
    parser.add_argument("--out", type=Path, help="folder of the project (default: runs/<name>/firmware/<backend>)")
    parser.add_argument("--backend", help="instead of firmware.backend of the build: vitis, vivado or alkaid")
    cli.add_set(parser, "firmware.clock_ns=4")
    parser.add_argument(
        "--allow-overflow", action="store_true", help="write accumulators of the build that cannot hold their sums"
    )
    parser.add_argument("--synth", action="store_true", help="synthesise with the vendor's tool")
    return parser.parse_args(arguments)


def write(build: Build, options: argparse.Namespace) -> int:
    """Export and, if asked for, synthesise; 0 when it is done."""
    from hls.stages.export import export
    from qformers.progress import bars

    backend = options.backend or build.firmware.backend
    out = options.out or cli.run_folder(build) / "firmware" / backend
    with bars() as reporter:
        model = cli.model_path(build, options.model)
        project = export(build, model, out, backend, reporter, options.allow_overflow)
    print_precision(project.path)
    print(f"project:   {project.path}")
    for name, file in (("precision", "precision.json"), ("resolved", "precision.yaml"), ("ports", "ports.json")):
        if (project.path / file).is_file():
            print(f"{name + ':':<10} {project.path / file}")
    if options.synth:
        print(f"reports:   {project.build()}")
    return 0


def print_precision(project: Path) -> None:
    """Print the table of all layers that the export left, and what is to be known about it."""
    import json

    from rich.console import Console

    from qformers.precision.table import PrecisionTable

    said = json.loads((project / "precision.json").read_text())
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)
    console.print(PrecisionTable.from_json(said["layers"]).as_rich("Precision of every layer"))
    for note in said.get("notes", []):
        console.print(f"note: {note}", markup=False)
    for short in said.get("overflow_allowed", []):
        bits = f"{short['integer_bits']} integer and {short['fraction_bits']} fraction bits"
        console.print(
            f"OVERFLOW ALLOWED: layer '{short['layer']}': accumulator {short['accumulator']} lacks {bits}, its sums "
            f"need {short['needed']}; the firmware may differ from the model",
            markup=False,
            style="bold red",
        )


def main() -> int:
    """Entry point. Returns 0 when the project (and its synthesis) is done, 1 on an error."""
    return cli.on_build(parse(), write)


if __name__ == "__main__":
    sys.exit(main())
