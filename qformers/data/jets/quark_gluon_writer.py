"""Write jets in the .npz layout of the quark/gluon set (Zenodo 3164691)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.jets.quark_gluon import COLUMNS
from qformers.files import replacing


def write(path: Path, particles: NDArray[Any], quark: NDArray[Any]) -> Path:
    """Write one file, packed, which appears under its name when it is complete; returns `path`.

    Args:
        path: of the file.
        particles: (n, most particles, 4), pT in GeV, rapidity, azimuth in rad, PDG id; 0 where there is none.
        quark: (n,), 1 = quark, 0 = gluon.

    Raises:
        ValueError: arrays of other shapes.
    """
    if particles.ndim != 3 or particles.shape[2] != len(COLUMNS) or quark.shape != particles.shape[:1]:
        raise ValueError(
            f"particles must be (jets, slots, {len(COLUMNS)}) and quark (jets,). Received: {particles.shape} and "
            f"{quark.shape}"
        )
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, X=np.ascontiguousarray(particles, np.float64), y=np.asarray(quark, np.float64))
    return path
