#!/usr/bin/env python3
"""Builds beside each other: accuracy, EBOPs, resources and latency per source, exactness; table, plot and page.

python scripts/compare_reports.py runs/part_jets16_plain runs/part_jets16
python scripts/compare_reports.py runs/part_jets16 --budget "lut<=20%" --budget "latency_ns<=200"
python scripts/compare_reports.py runs/part_jets16 --vendor build/vivado_reports --out runs/comparison
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hls import cli

PIPED_WIDTH = 140  # columns where there is no terminal to ask


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.parser_of(__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder, e.g. runs/part_jets16")
    parser.add_argument("--out", type=Path, default=Path("runs/comparison"), help="folder (default: runs/comparison)")
    parser.add_argument(
        "--budget", action="append", default=[], metavar="KEY<=LIMIT", help='e.g. "lut<=20%%" or "latency_ns<=200"'
    )
    parser.add_argument(
        "--vendor", action="append", default=[], metavar="[RUN=]PATH", help="reports of vendor tools, file or folder"
    )
    parser.add_argument("--device", help="percentages are of this device, e.g. VU13P (default: of each report)")
    parser.add_argument(
        "--reference",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show published results beside, measured on other data (default: yes)",
    )
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Compare and print; the exit status."""
    from rich.console import Console

    from hls.stages.compare import compare

    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    result = compare(
        options.runs, options.out, console, options.budget, options.vendor, options.device, options.reference
    )
    for path in result.files:
        print(f"written: {path}")
    return result.exit_code


def main() -> int:
    """Entry point. Returns 0, or 1 when a budget is not kept or on an error."""
    options = parse()
    return cli.exit_status(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
