"""Generate jets with Pythia 8, tracker events, sequences of tokens or clusters, or plot what was generated.

    qformers generate jetclass --out data/jetclass --jets 100000
    qformers generate lhc5 --out data/lhc5 --jets 100000
    qformers generate plot data/jetclass
    qformers generate tracks --out data/tracks --events 100 --pileup 50 --seed 1
    qformers generate tracks plot data/tracks
    qformers generate tracks --detector outer --no-cells --out data/outer --events 100 --pileup 50
    qformers generate tracks segments data/outer
    qformers generate listops --preset 16-64 --sequences 20000 --out data/listops_16_64
    qformers generate digits --out data/digits
    qformers generate clusters --clusters 20000 --out data/clusters

`tracks`, `listops`, `digits` and `clusters` have options of their own: `qformers generate tracks --help`. Finished
files of jets and events are kept: after Ctrl-C the same command goes on from them.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command
from qformers.errors import QformersError

TRACKS = "tracks"  # tracker events: `qformers.cli.generate_tracks` reads their options
LISTOPS, DIGITS = "listops", "digits"  # tokens: `qformers.cli.generate_tokens` reads their options
CLUSTERS = "clusters"  # of atoms: `qformers.cli.generate_clusters` reads their options
OTHERS = (TRACKS, LISTOPS, DIGITS, CLUSTERS)


def parser() -> argparse.ArgumentParser:
    """The options; the choices are checked later, where the nearest name can be told."""
    from qformers.generate.jets.plan import COMPRESSIONS, PARTICLE_CHOICES
    from qformers.generate.jets.processes import PRESETS

    options = argparse.ArgumentParser(
        prog="qformers generate",
        description=(__doc__ or "").strip(),
        epilog=status.table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    others = ", ".join(OTHERS)
    options.add_argument("what", help=f"preset ({', '.join(PRESETS)}), {others} (have options of their own), or plot")
    options.add_argument("folder", nargs="?", type=Path, help="plot: the folder to plot")
    options.add_argument("--out", type=Path, help="output folder (default data/<preset>)")
    options.add_argument("--jets", type=int, default=100_000, help="jets over all classes and splits (default: 100000)")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    options.add_argument("--seed", type=int, default=1, help="equal seeds give equal jets (default: 1)")
    options.add_argument("--card", default="", help="detector; jetclass: jetclass (default), cms, gen")
    options.add_argument("--classes", nargs="+", default=[], metavar="NAME", help="only these classes (default: all)")
    options.add_argument(
        "--particles", type=int, default=150, help=f"lhc5: slots per jet, one of {PARTICLE_CHOICES} (default: 150)"
    )
    options.add_argument(
        "--compression", default="lz4", help=f"jetclass: one of {', '.join(COMPRESSIONS)} (default: lz4)"
    )
    options.add_argument("--plots", action="store_true", help="draw sanity plots into <out>/plots at the end")
    shared.add_quiet(options)
    return options


def _plot(folder: Path) -> None:
    from qformers.generate.jets.plots import draw

    for path in draw(folder):
        print(f"wrote {path}")


def _generate(options: argparse.Namespace) -> None:
    from qformers.generate.jets.plan import JetSettings
    from qformers.generate.jets.run import generate

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
    command = shlex.join(["qformers", "generate", *options.words])
    with shared.reporting(options) as reporter:
        manifest = generate(settings, out, options.jobs, command, reporter)
    print(f"wrote {settings.jets} jets in {len(manifest['files'])} files under {out}, see {out / 'manifest.json'}")
    if options.plots:
        _plot(out)


def _work(arguments: Sequence[str]) -> None:
    if arguments[:1] == [TRACKS]:
        from qformers.cli.generate_tracks import run

        run(list(arguments[1:]))
        return
    if arguments[:1] in ([LISTOPS], [DIGITS]):
        from qformers.cli.generate_tokens import run_digits, run_listops

        (run_listops if arguments[0] == LISTOPS else run_digits)(list(arguments[1:]))
        return
    if arguments[:1] == [CLUSTERS]:
        from qformers.cli.generate_clusters import run as run_clusters

        run_clusters(list(arguments[1:]))
        return
    options = parser().parse_args(arguments, argparse.Namespace(words=list(arguments)))
    from qformers.generate.jets.processes import PRESETS, unknown

    if options.what == "plot":
        if options.folder is None:
            raise ValueError("plot needs a folder: qformers generate plot DIR")
        _plot(options.folder)
    elif options.what not in PRESETS:
        raise unknown("preset", options.what, [*PRESETS, *OTHERS, "plot"])
    elif options.folder is not None:
        raise ValueError(f"a preset takes its folder with --out. Received: {str(options.folder)!r}")
    else:
        _generate(options)


def main(arguments: Sequence[str]) -> int:
    """Generate or plot, and print what was written; returns the exit status.

    Raises:
        QformersError: a wrong option, a folder of another run, a package that is missing.
    """
    try:
        _work(list(arguments))
    except (ValueError, RuntimeError, ImportError, OSError) as error:
        raise QformersError(f"qformers generate: error: {error}") from error
    return status.DONE


COMMAND = Command("generate", __doc__ or "", raw=main)
