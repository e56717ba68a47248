"""Command line of ``scripts/generate_data.py``."""

import argparse
import os
import shlex
import signal
import sys
from concurrent.futures import BrokenExecutor
from pathlib import Path
from types import FrameType

from qformers.errors import DataError, QformersError
from qformers.generate.jets.plan import COMPRESSIONS, PARTICLE_CHOICES, JetSettings
from qformers.generate.jets.processes import PRESETS, unknown
from qformers.generate.jets.run import generate
from qformers.progress import bars

TRACKS = "tracks"  # tracker events: `qformers.generate.tracks.cli` reads their options


def parser() -> argparse.ArgumentParser:
    """The options; the choices are checked later, where the nearest name can be told."""
    options = argparse.ArgumentParser(prog="generate_data.py", description="Generate jets, or plot generated ones.")
    options.add_argument("what", help=f"preset ({', '.join(PRESETS)}), tracks (has options of its own), or plot")
    options.add_argument("folder", nargs="?", type=Path, help="plot: the folder to plot")
    options.add_argument("--out", type=Path, help="output folder (default data/<preset>)")
    options.add_argument("--jets", type=int, default=100_000, help="jets over all classes and splits")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    options.add_argument("--seed", type=int, default=1, help="number of the run; equal seeds give equal jets")
    options.add_argument("--card", default="", help="detector; jetclass: jetclass (default), cms, gen")
    options.add_argument("--classes", nargs="+", default=[], metavar="NAME", help="only these classes")
    options.add_argument("--particles", type=int, default=50, help=f"lhc5: slots per jet, one of {PARTICLE_CHOICES}")
    options.add_argument("--compression", default="lz4", help=f"jetclass: one of {', '.join(COMPRESSIONS)}")
    options.add_argument("--plots", action="store_true", help="draw sanity plots into <out>/plots at the end")
    options.add_argument("--quiet", action="store_true", help="show no progress")
    return options


def _plot(folder: Path) -> None:
    from qformers.generate.jets.plots import draw

    for path in draw(folder):
        print(f"wrote {path}")


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _generate(options: argparse.Namespace) -> None:
    settings = JetSettings(
        preset=options.what,
        jets=options.jets,
        seed=options.seed,
        card=options.card,
        classes=tuple(options.classes),
        particles=options.particles,
        compression=options.compression,
    )
    out = options.out or Path("data") / settings.preset
    command = shlex.join(["python", *sys.argv])
    before = signal.signal(signal.SIGTERM, _terminated)  # a polite kill stops as cleanly as Ctrl-C
    try:
        with bars(options.quiet) as reporter:
            manifest = generate(settings, out, options.jobs, command, reporter)
    finally:
        signal.signal(signal.SIGTERM, before)
    print(f"wrote {settings.jets} jets in {len(manifest['files'])} files under {out}, see {out / 'manifest.json'}")
    if options.plots:
        _plot(out)


def main(arguments: list[str]) -> int:
    """Run the command line; returns the exit status."""
    tracks = arguments[:1] == [TRACKS]
    options = argparse.Namespace(what=TRACKS) if tracks else parser().parse_args(arguments)
    try:
        if tracks:
            from qformers.generate.tracks.cli import run

            run(arguments[1:])
        elif options.what == "plot":
            if options.folder is None:
                raise DataError("plot needs a folder: generate_data.py plot DIR")
            _plot(options.folder)
        elif options.what not in PRESETS:
            raise unknown("preset", options.what, [*PRESETS, TRACKS, "plot"])
        else:
            if options.folder is not None:
                raise DataError(f"a preset takes its folder with --out. Received: {str(options.folder)!r}")
            _generate(options)
    except KeyboardInterrupt:
        print("stopped; finished chunks are kept, the same command goes on from them", file=sys.stderr)
        return 130
    except (QformersError, BrokenExecutor, ImportError, OSError) as error:
        print(f"generate_data.py: error: {error}", file=sys.stderr)
        return 1
    return 0
