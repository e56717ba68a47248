"""Write clusters of atoms as rows of an ``.npz`` file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.clusters.cluster_rows import AXES, COORDS, ENERGY, KINDS, LARGEST, SPECIES
from qformers.files import replacing


def write(
    path: Path, coords: NDArray[Any], species: NDArray[Any], energy: NDArray[Any], **others: NDArray[Any]
) -> Path:
    """Write one file, not packed so that rows are read alone, which appears when it is complete; returns `path`.

    Args:
        path: of the file.
        coords: (n, N, 3), places in sigma; kept in float32.
        species: (n, N), 0 = no atom, else 1 + the index in `SPECIES`.
        energy: (n,), potential energy per atom in epsilon.
        others: (n, ...) arrays that are kept beside them, e.g. temperatures.

    Raises:
        ValueError: arrays of other shapes or types, numbers that the reader refuses.
    """
    coords, species, energy = np.asarray(coords), np.asarray(species), np.asarray(energy)
    shapes = coords.shape, species.shape, energy.shape
    if coords.ndim != 3 or shapes[0][2] != AXES or shapes[1] != shapes[0][:2] or shapes[2] != shapes[0][:1]:
        raise ValueError(
            f"coords must be (clusters, atoms, {AXES}), species (clusters, atoms) and energy (clusters,). Received: "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}"
        )
    if species.dtype.kind not in "iu" or species.min(initial=0) < 0 or species.max(initial=0) > len(SPECIES):
        raise ValueError(
            f"species must be whole numbers, 0 to {len(SPECIES)}. Received: {species.dtype}, {species.min(initial=0)} "
            f"to {species.max(initial=0)}"
        )
    for name, values in ((COORDS, coords), (ENERGY, energy)):
        if not (np.abs(values) <= LARGEST).all():
            raise ValueError(f"{name} must be finite and up to {LARGEST:g} either side of 0. Received: another number")
    stored: dict[str, Any] = {
        COORDS: np.ascontiguousarray(coords, np.float32),
        KINDS: np.ascontiguousarray(species, np.uint8),
        ENERGY: energy.astype(np.float64),
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **(stored | others))
    return path
