"""Apply a trained pile-up model to events: smaller data sets, one for each recall of true points.

    qformers train firmware_configs/hept_pileup_demo.yaml
    qformers filter runs/hept_pileup_demo data/candidates_demo --out data/filtered --recall 0.99

Thresholds are set on the validation split of the run. Points with at least that score stay, and those that the model
does not judge (other layers, outside its windows, candidates that do not count); of an event at least one. The files of
data/filtered/recall_0.99 have the format of those read (graph_*.pt becomes graph_*.npz) and lie in the same folders, so
that `qformers train --data` reads them; thresholds.json beside them repeats the table that is printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="run folder of a pile-up model, e.g. runs/hept_pileup_demo"
    )
    parser.add_argument(
        "data", type=Path, nargs="+", metavar="DATA", help="folders or files of events of the same data set"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    parser.add_argument(
        "--recall",
        type=shared.share,
        nargs="+",
        default=[0.985, 0.99, 0.995],
        help="shares of true points to keep (default: 0.985 0.99 0.995)",
    )
    parser.add_argument("--phase", choices=("float", "qat"), help="which model (default: qat where there is one)")
    shared.add_set(parser, "data.val=[other/val/*-hits.csv]")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Filter and print; 0 when the data sets are written."""
    from qformers.builds.build import load

    build = load(options.run / "build.yaml", options.overrides)
    from qformers.tasks.filtered import filter_run

    with shared.reporting(options) as reporter:
        result = filter_run(options.run, build, options.data, options.out, options.recall, options.phase, reporter)
    result.show(shared.terminal(options))
    print(f"written: {options.out} ({result.events} events)")
    return status.DONE


COMMAND = Command("filter", __doc__ or "", add, run)
