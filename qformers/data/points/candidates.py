"""Particle-flow candidates for the particle-level pile-up task of HEPT: 8 numbers of each, label = hard scatter.

Files are ``candidates_<event>.npz`` with `x` (n, 8), `charge` (n,) and `hard_scatter` (n,), as
``qformers generate tracks candidates`` writes them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.clouds import NO_PARTICLE, PointCloud, PointLayout
from qformers.data.jets.standardise import AZIMUTH, GEV, RAPIDITY
from qformers.data.points.arrays import numbers, read_npz, refuse_not_positive, refuse_outside
from qformers.data.points.options import require_known
from qformers.errors import DataError

COLUMNS = ("eta", "phi", "px", "py", "pt", "energy", "rapidity", "class")  # GeV; class: index into CLASSES
CLASSES = ("charged_hard_scatter", "charged_pileup", "photon", "neutral_hadron")  # charged ones by their track's z
QUANTITIES = {
    **dict.fromkeys(("px", "py", "pt", "energy"), GEV),
    **dict.fromkeys(("eta", "rapidity"), RAPIDITY),
    "phi": AZIMUTH,
}
COORDS = ("eta", "phi", "eta", "phi")
FEATURE_SETS: dict[str, tuple[str, ...]] = {
    "hept": COLUMNS,  # 8, as published; the class is a number, for an embedding
    "compact": ("ln_pt", "eta", "phi", *CLASSES),  # 7 of order one, for fixed point; the class is one-hot
}
LABELS = ("pileup", "hard_scatter")
_NAME = re.compile(r"candidates_[0-9]{1,12}\.npz")
PT_MIN_GEV = 0.9  # of neutral candidates that count in the loss and in metrics


def layout_of(features: str) -> PointLayout:
    """Names of what `read_candidates` returns.

    Raises:
        DataError: no such feature set.
    """
    require_known("candidates have", "data.features", features, FEATURE_SETS)
    return PointLayout(FEATURE_SETS[features], COORDS, LABELS, only_reconstructable=True)


def stored(path: Path) -> dict[str, NDArray[Any]]:
    """The checked arrays of a file: x (n, 8), charge (n,), hard_scatter (n,), and what else there is.

    Raises:
        DataError: an unreadable file, wrong arrays, values that are not finite.
    """
    if not _NAME.fullmatch(path.name):
        raise DataError(f"{path}: candidates are named by their event, e.g. candidates_1000.npz")
    arrays = read_npz(path)
    x, charge, label = (numbers(path, arrays, name) for name in ("x", "charge", "hard_scatter"))
    if x.ndim != 2 or x.shape[1] != len(COLUMNS) or not charge.shape == label.shape == (len(x),):
        raise DataError(
            f"{path}: x must be (n, {len(COLUMNS)}), charge and hard_scatter (n,). "
            f"Received: {x.shape}, {charge.shape}, {label.shape}"
        )
    if not len(x):
        raise DataError(f"{path}: holds no candidate; leave the event out")
    refuse_outside(path, COLUMNS, x, QUANTITIES)
    refuse_outside(path, ("charge", "hard_scatter"), np.stack([charge, label], axis=1).astype(np.float64))
    if not np.isin(label, (0, 1)).all():
        raise DataError(f"{path}: hard_scatter must be 0 or 1. Received: {label[~np.isin(label, (0, 1))][0]:g}")
    if (strange := ~np.isin(charge, (-1, 0, 1))).any():
        raise DataError(f"{path}: charge must be -1, 0 or 1. Received: {charge[strange][0]:g}")
    kind = x[:, COLUMNS.index("class")]
    if not np.isin(kind, range(len(CLASSES))).all():
        raise DataError(
            f"{path}: column 'class' must be 0 to {len(CLASSES) - 1}. Received: {kind.min():g} to {kind.max():g}"
        )
    for name in ("pt", "energy"):
        refuse_not_positive(path, name, x[:, COLUMNS.index(name)], "candidate")
    return arrays


def read_candidates(path: Path, features: str = "hept") -> PointCloud:
    """Read one event; `reconstructable` marks the candidates that count: neutral, pT > 0.9 GeV.

    Args:
        path: ``candidates_<event>.npz``.
        features: a key of `FEATURE_SETS`.

    Raises:
        DataError: as `stored` and `layout_of`.
    """
    layout, arrays = layout_of(features), stored(path)
    x, charge, label = arrays["x"], arrays["charge"], arrays["hard_scatter"]
    pt = x[:, COLUMNS.index("pt")].astype(np.float32)
    numbers = x
    if features == "compact":
        kinds = x[:, COLUMNS.index("class"), None] == np.arange(len(CLASSES))
        numbers = np.concatenate([np.log(pt)[:, None], x[:, :2], kinds], axis=1)
    return PointCloud(
        features=numbers.astype(np.float32),
        coords=x[:, [0, 1, 0, 1]].astype(np.float32),
        labels=label.astype(np.int64),
        particle_ids=np.full(len(x), NO_PARTICLE),
        pt=pt,
        eta=x[:, 0].astype(np.float32),
        reconstructable=(charge == 0) & (pt > PT_MIN_GEV),
        layers=np.zeros(len(x), np.int64),
        event=int(path.stem.rpartition("_")[2]),
        layout=layout,
    )
