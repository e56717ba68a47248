#!/usr/bin/env python3
"""Apply a trained pile-up model to events: smaller data sets, one for each recall of true points.

    python scripts/train.py firmware_configs/hept_pileup_demo.yaml
    python scripts/filter_events.py runs/hept_pileup_demo data/candidates_demo --out data/filtered --recall 0.99

Thresholds are set on the validation split of the run. Points with at least that score stay, and those that the model
does not judge (other layers, outside its windows, candidates that do not count); of an event at least one. The files of
data/filtered/recall_0.99 have the format of those read (graph_*.pt becomes graph_*.npz) and lie in the same folders, so
that scripts/train.py --data reads them; thresholds.json beside them repeats the table that is printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hls import cli
from qformers.builds.build import load

WIDTH = 110  # of the table, also where the output is a file


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.parser_of(__doc__)
    parser.add_argument("run", type=Path, help="run folder of a pile-up model, e.g. runs/hept_pileup_demo")
    parser.add_argument("data", type=Path, nargs="+", help="folders or files of events of the same data set")
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    parser.add_argument(
        "--recall", type=float, nargs="+", default=[0.985, 0.99, 0.995], help="(default: 0.985 0.99 0.995)"
    )
    parser.add_argument("--phase", choices=("float", "qat"), help="which model (default: qat where there is one)")
    cli.add_set(parser, "data.val=[other/val/*-hits.csv]")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Filter and print; 0 when the data sets are written."""
    build = load(options.run / "build.yaml", options.overrides)
    from qformers.progress import bars
    from qformers.tasks import filter as point_filter

    scorer = point_filter.open_run(options.run, build, options.phase)
    files = point_filter.event_files(build.data.dataset, options.data)
    about = point_filter.about_run(options.run, build, scorer)
    with bars() as reporter:
        table = point_filter.thresholds(scorer, options.recall, reporter)
        rows = point_filter.filter_files(scorer, files, table, options.out, about, reporter)
    _print(rows)
    print(f"written: {options.out} ({len(files)} events)")
    return 0


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    """The table of thresholds."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="recall and precision: on validation data, and of the points judged in these events")
    header = ("target", "threshold", "recall", "precision", "recall here", "precision here", "points", "judged", "kept")
    for name in header:
        table.add_column(name, justify="right")
    for row in rows:
        here = (row["data_recall"], row["data_precision"])
        shares = (row["recall"], row["precision"], *here)
        counts = (row["points"], row["judged"], row["points_kept"])
        table.add_row(
            f"{row['target']:g}",
            f"{row['threshold']:.4g}",
            *("" if share is None else f"{share:.4f}" for share in shares),
            *(f"{count:,}" for count in counts),
        )
    Console(width=WIDTH).print(table)


if __name__ == "__main__":
    options = parse()
    sys.exit(cli.exit_status(lambda: run(options)))
