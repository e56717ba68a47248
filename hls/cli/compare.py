"""Builds beside each other: accuracy, EBOPs, resources and latency per source, exactness; table, plot and page.

    qformers compare runs/part_jets16_plain runs/part_jets16
    qformers compare runs/part_jets16 --budget "lut<=20%" --budget "latency_ns<=200"
    qformers compare runs/part_jets16 --vendor build/vivado_reports --out runs/comparison

Reports that a vendor's tool left in a project of the run (firmware/<backend>) are found by themselves; --vendor gives
others, and comes first. Exit status 1: a budget is not kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from qformers.cli import options as shared
from qformers.cli.command import Command


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder, e.g. runs/part_jets16")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/comparison"), metavar="DIR", help="folder (default: runs/comparison)"
    )
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
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Compare and print; 1 where a budget is not kept."""
    from hls.stages.compare import compare, refuse_foreign

    refuse_foreign(options.out)
    result = compare(options.runs, options.budget, options.vendor, options.device, options.reference)
    result.show(shared.terminal(options))
    result.save(options.out)
    for path in result.files(options.out):
        print(f"written: {path}")
    return result.exit_code


COMMAND = Command("compare", __doc__ or "", add, run)
