"""Generate tracker events in TrackML's CSV tables, or what else is made of such events.

    qformers generate tracks --out data/tracks --events 100 --pileup 50 --seed 1
    qformers generate tracks plot data/tracks
    qformers generate tracks --detector outer --no-cells --out data/outer --events 100 --pileup 50
    qformers generate tracks segments data/outer
    qformers generate tracks candidates --out data/candidates --events 100

plot DIR: control plots of a folder of events. segments DIR: line segments of such a folder, made with --detector outer,
into DIR/segments. candidates --out DIR: particle-flow candidates for the particle-level pile-up task.
"""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

from qformers.cli import options as shared
from qformers.cli import status
from qformers.errors import DataError
from qformers.generate.tracks.geometry import DETECTORS
from qformers.generate.tracks.run import generate
from qformers.generate.tracks.settings import TrackSettings

_DEFAULTS = TrackSettings(events=100)


def parser() -> argparse.ArgumentParser:
    """The options; their ranges are checked by `TrackSettings`."""
    options = argparse.ArgumentParser(
        prog="qformers generate tracks",
        description=(__doc__ or "").strip(),
        epilog=status.table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_argument(
        "what", nargs="?", choices=["plot", "segments", "candidates"], help="other than hits; see above"
    )
    options.add_argument(
        "folder", nargs="?", type=Path, help="plot: draw control plots of this folder; segments: make its line segments"
    )
    options.add_argument("--out", type=Path, default=Path("data/tracks"), help="output folder (default %(default)s)")
    options.add_argument(
        "--events", type=int, default=_DEFAULTS.events, help="events over all splits (default %(default)s)"
    )
    options.add_argument(
        "--pileup",
        type=float,
        default=_DEFAULTS.pileup,
        metavar="MU",
        help="mean pile-up vertices (default %(default)s)",
    )
    options.add_argument(
        "--seed", type=int, default=_DEFAULTS.seed, help="equal seeds give equal files (default %(default)s)"
    )
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    options.add_argument(
        "--detector", default=_DEFAULTS.detector, help=f"one of {', '.join(DETECTORS)} (default %(default)s)"
    )
    for name, text in (
        ("pt-min", "lowest pT of particles, GeV"),
        ("noise", "noise hits per true hit"),
        ("inefficiency", "share of crossings without a hit"),
        ("overlap", "share of crossings with a second hit"),
        ("displaced", "share of particles from displaced decays"),
        ("material", "scales the radiation lengths, 0 = no scattering"),
    ):
        default = getattr(_DEFAULTS, name.replace("-", "_"))
        options.add_argument(f"--{name}", type=float, default=default, help=f"{text} (default %(default)s)")
    options.add_argument("--no-cells", action="store_true", help="leave out the cells and the features made from them")
    options.add_argument("--gzip", action="store_true", help="write .csv.gz")
    options.add_argument("--plots", action="store_true", help="draw control plots into <out>/plots at the end")
    shared.add_quiet(options)
    return options


def _plot(folder: Path) -> None:
    from qformers.generate.tracks.plots import draw

    for path in draw(folder):
        print(f"wrote {path}")


def _settings(options: argparse.Namespace) -> TrackSettings:
    chosen = {name: value for name, value in vars(options).items() if name in _DEFAULTS.as_dict()}
    return TrackSettings(**chosen, cells=not options.no_cells)


def run(arguments: list[str]) -> None:
    """Generate or plot, and print what was written.

    Raises:
        DataError, GenerateError, OSError: as `generate`, `draw` and `TrackSettings` do.
    """
    options = parser().parse_args(arguments)
    if options.what == "candidates":
        from qformers.generate.tracks.candidates import write_candidates

        with shared.reporting(options) as reporter:
            line = write_candidates(_settings(options), options.out, reporter)
        print(line)
        return
    if options.what and options.folder is None:
        raise DataError(f"{options.what} needs a folder: qformers generate tracks {options.what} DIR")
    if options.what == "segments":
        from qformers.generate.tracks.segment_files import write_folder

        with shared.reporting(options) as reporter:
            line = write_folder(options.folder, reporter)
        print(line)
        return
    if options.what:
        _plot(options.folder)
        return
    settings = _settings(options)
    command = shlex.join(["qformers", "generate", "tracks", *arguments])
    with shared.reporting(options) as reporter:
        made = generate(settings, options.out, options.jobs, command, options.gzip, reporter)
    print(f"{options.out}: {made.line()}; see {options.out / 'manifest.json'}")
    if options.plots:
        _plot(options.out)
