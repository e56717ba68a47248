"""The 15 numbers and 6 coordinates of a hit that tracking-6k and tracking-60k give to HEPT (arXiv:2402.12535)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qformers.data.points.csv_table import Table

Floats = NDArray[np.float64]

PLACE = ("r", "phi", "z", "eta", "u", "v")
CLUSTER = ("charge_frac", "leta", "lphi", "lx", "ly", "lz", "geta", "gphi")
COORDS = ("eta", "phi", "r_scaled", "phi_scaled", "z_scaled", "eta")
FEATURE_SETS: dict[str, tuple[str, ...]] = {
    "tracking": (*PLACE, *CLUSTER, "layer"),  # 15, needs the cells
    "place": (*PLACE, "layer"),  # 7, where there are no cells
}
# value / scale is what the model sees: r and z in m, phi in half turns, u and v in 1/m
SCALE = {"r": 1000.0, "phi": np.pi, "z": 1000.0, "u": 0.001, "v": 0.001, "layer": 10.0}


def pseudorapidity(r: Floats, z: Floats) -> Floats:
    """-ln tan(theta / 2) of a point or direction; finite for r > 0."""
    return np.arcsinh(z / np.maximum(r, 1e-12))


def place(hits: Table) -> dict[str, Floats]:
    """r, phi, z, eta, u = x / r^2 and v = y / r^2 of hits, in mm and rad."""
    x, y, z = hits["x"], hits["y"], hits["z"]
    r = np.hypot(x, y)
    return {"r": r, "phi": np.arctan2(y, x), "z": z, "eta": pseudorapidity(r, z), "u": x / r**2, "v": y / r**2}


def rotations(modules: Table) -> Floats:
    """(m, 3, 3), from the frame (u, v, w) of each module to (x, y, z)."""
    return np.stack([np.stack([modules[f"rot_{x}{u}"] for u in "uvw"], axis=1) for x in "xyz"], axis=1)


def cluster(hits: Table, cells: Table, modules: Table, module_of: NDArray[np.int64]) -> dict[str, Floats]:
    """Shape of the clusters.

    Args:
        hits: hit_id, ascending.
        cells: hit_id, ch0, ch1, value; at least one cell per hit.
        modules: rot_xu .. rot_zw, module_t, pitch_u, pitch_v.
        module_of: (hits,), row in `modules` of each hit.

    Returns:
        charge_frac = mean charge of the cells; lx, ly = cells x pitch in u and v, lz = sensor thickness (mm);
        leta, lphi = direction of (lx, ly, lz) in the module's frame; geta, gphi = the same
        turned by the module's rotation.
    """
    row = np.searchsorted(hits["hit_id"], cells["hit_id"])
    size = len(hits["hit_id"])
    extent = {name: np.zeros(size) for name in ("ch0", "ch1")}
    for name, result in extent.items():
        low, high = np.full(size, np.inf), np.full(size, -np.inf)
        np.minimum.at(low, row, cells[name])
        np.maximum.at(high, row, cells[name])
        result += high - low + 1
    count, charge = np.bincount(row, minlength=size), np.bincount(row, cells["value"], minlength=size)
    local = np.stack(
        [
            extent["ch0"] * modules["pitch_u"][module_of],
            extent["ch1"] * modules["pitch_v"][module_of],
            2 * modules["module_t"][module_of],
        ],
        axis=1,
    )
    turned = np.einsum("hij,hj->hi", rotations(modules)[module_of], local)
    return {
        "charge_frac": charge / count,
        "leta": pseudorapidity(np.hypot(local[:, 0], local[:, 1]), local[:, 2]),
        "lphi": np.arctan2(local[:, 1], local[:, 0]),
        "lx": local[:, 0],
        "ly": local[:, 1],
        "lz": local[:, 2],
        "geta": pseudorapidity(np.hypot(turned[:, 0], turned[:, 1]), turned[:, 2]),
        "gphi": np.arctan2(turned[:, 1], turned[:, 0]),
    }


def scaled(columns: dict[str, Floats], names: tuple[str, ...]) -> NDArray[np.float32]:
    """Features (n, F) in the units of `SCALE`."""
    return np.stack([columns[name] / SCALE.get(name, 1.0) for name in names], axis=1).astype(np.float32)


def coordinates(columns: dict[str, Floats]) -> NDArray[np.float32]:
    """[eta, phi, r / 1000, phi / pi, z / 1000, eta], (n, 6)."""
    eta, phi = columns["eta"], columns["phi"]
    parts = [eta, phi, columns["r"] / 1000, phi / np.pi, columns["z"] / 1000, eta]
    return np.stack(parts, axis=1).astype(np.float32)
