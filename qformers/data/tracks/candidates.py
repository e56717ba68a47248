"""Particle-flow candidates for the particle-level pile-up task of HEPT: 8 numbers of each, label = hard scatter.

Files are ``candidates_<event>.npz`` with `x` (n, 8), `charge` (n,) and `hard_scatter` (n,), as
``scripts/generate_data.py tracks candidates`` writes them.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np

from qformers.data.errors import DataError
from qformers.data.tracks.point_events import NO_PARTICLE, PointCloud, PointLayout

COLUMNS = ("eta", "phi", "px", "py", "pt", "energy", "rapidity", "class")  # GeV; class: index into CLASSES
CLASSES = ("charged_hard_scatter", "charged_pileup", "photon", "neutral_hadron")  # charged ones by their track's z
COORDS = ("eta", "phi", "eta", "phi")
LAYOUT = PointLayout(COLUMNS, COORDS, ("pileup", "hard_scatter"))
PT_MIN_GEV = 0.9  # of neutral candidates that count in the loss and in metrics


def read_candidates(path: Path) -> PointCloud:
    """Read one event; `reconstructable` marks the candidates that count: neutral, pT > 0.9 GeV.

    Raises:
        DataError: an unreadable file, wrong arrays, values that are not finite.
    """
    found = re.fullmatch(r"candidates_(\d+)\.npz", path.name)
    if not found:
        raise DataError(f"{path}: candidates are named by their event, e.g. candidates_1000.npz")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as arrays ({error}); make it again") from error
    missing = [name for name in ("x", "charge", "hard_scatter") if name not in arrays]
    if missing:
        raise DataError(f"{path}: array '{missing[0]}' is missing. Received: {', '.join(sorted(arrays)) or 'none'}")
    x, charge, label = arrays["x"], arrays["charge"], arrays["hard_scatter"]
    if x.ndim != 2 or x.shape[1] != len(COLUMNS) or not len(x) == len(charge) == len(label):
        raise DataError(
            f"{path}: x must be (n, {len(COLUMNS)}), charge and hard_scatter (n,). "
            f"Received: {x.shape}, {charge.shape}, {label.shape}"
        )
    bad = ~np.isfinite(x)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(f"{path}: column '{COLUMNS[column]}', row {row}: must be finite. Received: {x[row, column]}")
    pt = x[:, COLUMNS.index("pt")].astype(np.float32)
    return PointCloud(
        features=x.astype(np.float32),
        coords=x[:, [0, 1, 0, 1]].astype(np.float32),
        labels=label.astype(np.int64),
        particle_ids=np.full(len(x), NO_PARTICLE),
        pt=pt,
        eta=x[:, 0].astype(np.float32),
        reconstructable=(charge == 0) & (pt > PT_MIN_GEV),
        layers=np.zeros(len(x), np.int64),
        event=int(found[1]),
        layout=LAYOUT,
    )
