"""Fit the linear discriminant analysis that gives line segments their coordinates, on training events only.

    qformers fit-lda data/hept_cms/train --out data/hept_cms/lda.json

The file is what ``data.points.lda`` of a build names. A hundred events are enough for its 24 x 7 numbers (--events).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command

if TYPE_CHECKING:
    from qformers.data.points.line_segments import Segments
    from qformers.progress import Ticker


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "data", type=Path, nargs="+", metavar="DATA", help="folders or files of training events, graph_*.pt or .npz"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file to write")
    shared.add_events(parser, 100, "use at most so many")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Fit, write and print; 0 when the file is written."""
    from qformers.data.points.line_segments import read_segments
    from qformers.data.points.segment_features import fit_lda
    from qformers.tasks.filter import event_files

    files = [path for path, _ in event_files("line_segments", options.data)][: options.events]

    def events(tick: Ticker) -> Iterator[Segments]:
        for path in files:
            yield read_segments(path)
            tick()

    with shared.reporting(options) as reporter:
        lda = fit_lda(events(reporter.task("line segments, events", len(files))))
    lda.save(options.out)
    shares = ", ".join(f"{share:.3f}" for share in lda.explained)
    print(f"written: {options.out} ({len(files)} events; shares of the variance between tracks: {shares})")
    return status.DONE


COMMAND = Command("fit-lda", __doc__ or "", add, run)
