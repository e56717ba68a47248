#!/usr/bin/env python3
"""Fit the linear discriminant analysis that gives line segments their coordinates, on training events only.

    python scripts/fit_lda.py data/hept_cms/train --out data/hept_cms/lda.json

The file is what ``data.points.lda`` of a build names. A hundred events are enough for its 24 x 7 numbers (--events).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hls import cli

if TYPE_CHECKING:
    from qformers.data.points.line_segments import Segments
    from qformers.progress import Ticker


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.parser_of(__doc__)
    parser.add_argument("data", type=Path, nargs="+", help="folders or files of training events, graph_*.pt or .npz")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--events", type=int, default=100, help="use at most so many (default: 100)")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Fit, write and print; 0 when the file is written."""
    from qformers.data.points.line_segments import read_segments
    from qformers.data.points.segment_features import fit_lda
    from qformers.errors import ConfigError
    from qformers.progress import bars
    from qformers.tasks.filter import event_files

    if options.events < 1:
        raise ConfigError(f"--events must be positive. Received: --events {options.events}")
    files = [path for path, _ in event_files("line_segments", options.data)][: options.events]

    def events(tick: Ticker) -> Iterator[Segments]:
        for path in files:
            yield read_segments(path)
            tick()

    with bars() as reporter:
        lda = fit_lda(events(reporter.task("events", len(files))))
    lda.save(options.out)
    shares = ", ".join(f"{share:.3f}" for share in lda.explained)
    print(f"written: {options.out} ({len(files)} events; shares of the variance between tracks: {shares})")
    return 0


if __name__ == "__main__":
    options = parse()
    sys.exit(cli.exit_status(lambda: run(options)))
