"""Write clusters of atoms with their energies: three splits, and a manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qformers.data.clusters.cluster_rows import LARGEST, SPECIES
from qformers.data.clusters.writer import write
from qformers.errors import DataError, GenerateError
from qformers.generate.clusters.lennard_jones import Sphere, composition, draw, energies
from qformers.generate.folder import SPLITS, FolderManifest, Made, settle
from qformers.progress import Reporter, Silent

FORMAT = 1  # raise it whenever equal settings no longer give equal files
TOGETHER = 250  # clusters that are moved together: what the caches of a core hold
HELD_OUT_SHARE = 0.1  # of val, and of test
_RANGES: dict[str, tuple[float, float]] = {  # setting -> lowest, highest
    "clusters": (3, 10_000_000),
    "held_out": (1, 5_000_000),
    "atoms": (2, 1000),
    "species": (1, len(SPECIES)),
    "density": (0.01, 1.2),
    "coldest": (0.05, 100.0),
    "hottest": (0.05, 100.0),
    "sweeps": (2, 1_000_000),
    "seed": (0, 2**31 - 1),
}


@dataclass(frozen=True)
class ClusterSettings:
    """Everything the files depend on; equal settings give equal bytes."""

    clusters: int = 60_000  # over all splits
    seed: int = 1
    held_out: int | None = None  # of val, and of test; None stands for 10 % of all
    atoms: int = 32
    species: int = 1  # 1: all alike, so that places alone decide; 2: one atom in five is of the second one
    density: float = 1.0  # atoms per sigma^3 of the sphere that holds them
    coldest: float = 0.5  # temperatures are drawn evenly from here, epsilon / kB
    hottest: float = 2.0  # to here
    sweeps: int = 200  # moves of each atom from a random start

    def __post_init__(self) -> None:
        if self.held_out is None:
            object.__setattr__(self, "held_out", max(1, round(HELD_OUT_SHARE * self.clusters)))
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise DataError(f"{name} must lie in {low:g}..{high:g}. Received: {name}={value:g}")
        if self.hottest < self.coldest:
            raise DataError(
                f"coldest must be no more than hottest. Received: coldest={self.coldest:g}, hottest={self.hottest:g}"
            )
        if self.splits["train"] < 1:
            raise DataError(
                f"val and test leave nothing for train: lower held_out or raise clusters. Received: "
                f"clusters={self.clusters}, held_out={self.held_out}"
            )

    @property
    def splits(self) -> dict[str, int]:
        """Split -> clusters, in the order in which they are made."""
        held_out = self.held_out or 0  # never None once it is made
        return dict(zip(SPLITS, (self.clusters - 2 * held_out, held_out, held_out), strict=True))


@dataclass(frozen=True)
class Drawn:
    """Clusters of a split.

    Attributes:
        coords: (n, N, 3), sigma.
        energy: (n,), epsilon per atom.
        temperature: (n,), epsilon / kB.
        accepted: share of the moves.
    """

    coords: NDArray[np.float32]
    energy: NDArray[np.float64]
    temperature: NDArray[np.float64]
    accepted: float


def sample(settings: ClusterSettings, split: int, clusters: int, reporter: Reporter | None = None) -> Drawn:
    """Draw the clusters of a split, `TOGETHER` at a time, each lot from a seed of its own.

    The energy is that of the places as they are written, in float32.

    Args:
        settings: of which `clusters` and `held_out` do not matter.
        split: its number, which decides the draws with the seed.
        clusters: n.
        reporter: told how many there are.

    Raises:
        GenerateError: atoms still overlap.
    """
    kinds, sphere = composition(settings.atoms, settings.species), Sphere.of(settings.atoms, settings.density)
    tick = (reporter or Silent()).task(f"clusters of {SPLITS[split]}", clusters)
    lots, temperatures, accepted = [], [], []
    for number, at in enumerate(range(0, clusters, TOGETHER)):
        rng = np.random.default_rng([settings.seed, split, number])
        temperatures.append(rng.uniform(settings.coldest, settings.hottest, min(TOGETHER, clusters - at)))
        ends, shares = draw(kinds, temperatures[-1], sphere, settings.sweeps, rng)
        lots.append(ends.astype(np.float32))
        accepted.append(shares)
        tick(len(ends))
    coords = np.concatenate(lots)
    energy = energies(coords, kinds) / settings.atoms
    if (far := energy > LARGEST).any():
        raise GenerateError(
            f"in {far.sum()} of {clusters} clusters atoms still overlap as they did at the random start, with up to "
            f"{energy.max():.1e} epsilon per atom: raise --sweeps, or lower --density. Received: --sweeps "
            f"{settings.sweeps}, --density {settings.density:g}"
        )
    return Drawn(coords, energy, np.concatenate(temperatures), float(np.concatenate(accepted).mean()))


def generate(settings: ClusterSettings, folder: Path, command: str, reporter: Reporter | None = None) -> FolderManifest:
    """Write ``<folder>/{train,val,test}/clusters_{train,val,test}.npz`` and ``manifest.json``; returns the latter.

    Args:
        settings: what to make.
        folder: made if it is missing; one run at a time. Where it holds these files, nothing is made.
        command: that made it, for the manifest.
        reporter: told how many clusters there are.

    Raises:
        DataError, GenerateError: as `settle` and `sample`.
    """

    def make() -> Made:
        kinds, files, facts = composition(settings.atoms, settings.species), {}, {}
        for split, (name, number) in enumerate(settings.splits.items()):
            drawn = sample(settings, split, number, reporter)
            species = np.broadcast_to(1 + kinds, drawn.coords.shape[:2])
            path = folder / name / f"clusters_{name}.npz"
            files[write(path, drawn.coords, species, drawn.energy, temperature=drawn.temperature)] = number
            facts[name] = {
                "mean_energy": round(float(drawn.energy.mean()), 6),
                "deviation": round(float(drawn.energy.std()), 6),
                "accepted": round(drawn.accepted, 6),
            }
        radius = Sphere.of(settings.atoms, settings.density).radius
        return files, {"radius": round(radius, 6), "of_second_species": int(kinds.sum()), "splits": facts}

    return settle(folder, "clusters", FORMAT, asdict(settings), command, make, "clusters")
