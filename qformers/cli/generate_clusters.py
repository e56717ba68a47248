"""Generate clusters of Lennard-Jones atoms with their energies."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from qformers.cli import options as shared
from qformers.cli import status

TEXT = """Generate clusters of Lennard-Jones atoms, and their potential energies.

    qformers generate clusters
    qformers generate clusters --clusters 5000 --seed 2 --out data/clusters_small
    qformers generate clusters --atoms 64 --species 2 --coldest 0.4 --hottest 1.0 --out data/clusters_mixed

Writes OUT/{train,val,test}/clusters_{train,val,test}.npz for data.dataset: clusters. Each cluster is the end of a
Markov chain of its own (Metropolis) at a temperature drawn evenly, in a hard sphere; lengths are in sigma, energies in
epsilon. 60,000 clusters of 32 atoms take about four minutes of a core. A run that is stopped begins anew.
"""


def run(arguments: list[str]) -> None:
    """Generate clusters, and print what was written.

    Raises:
        DataError, GenerateError: as `qformers.generate.clusters.run.generate`.
    """
    from qformers.generate.clusters.run import ClusterSettings, generate

    defaults = ClusterSettings()
    parser = argparse.ArgumentParser(
        prog="qformers generate clusters",
        description=TEXT.strip(),
        epilog=status.table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, default=Path("data/clusters"), help="output folder (default %(default)s)")
    parser.add_argument(
        "--held-out", type=int, metavar="N", help="clusters of val, and of test (default: 10 %% of all)"
    )
    for name, kind, text in (
        ("clusters", int, "over all splits"),
        ("seed", int, "equal seeds give equal files"),
        ("atoms", int, "of each cluster"),
        ("species", int, "1: all alike; 2: one atom in five is of another, as Kob and Andersen have them"),
        ("density", float, "atoms per sigma^3 of the sphere that holds them"),
        ("coldest", float, "lowest temperature, epsilon / kB"),
        ("hottest", float, "highest temperature"),
        ("sweeps", int, "moves of each atom from a random start"),
    ):
        known = getattr(defaults, name)
        parser.add_argument(f"--{name}", type=kind, default=known, help=f"{text} (default %(default)s)")
    shared.add_quiet(parser)
    options = parser.parse_args(arguments)
    settings = ClusterSettings(**{name: getattr(options, name) for name in vars(defaults)})
    with shared.reporting(options) as reporter:
        made = generate(settings, options.out, shlex.join(["qformers", "generate", "clusters", *arguments]), reporter)
    facts, number = made["facts"]["splits"]["train"], sum(entry["clusters"] for entry in made["files"].values())
    print(
        f"{options.out}: {number} clusters of {settings.atoms} atoms within {made['facts']['radius']:.2f} sigma; "
        f"energy {facts['mean_energy']:.2f} +- {facts['deviation']:.2f} epsilon per atom; {facts['accepted']:.0%} of "
        f"the moves accepted; see {options.out / 'manifest.json'}"
    )
