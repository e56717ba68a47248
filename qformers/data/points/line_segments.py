"""Reader of HEPT-CMS line segments: ``graph_*.pt`` (PyTorch Geometric) or ``graph_*.npz`` (ours), one event a file.

A line segment joins two mini-doublets, inner (0) and outer (1), of two hits each (lower and upper sensor). A ``.pt``
file is a pickle; it is read with ``weights_only`` and an allow-list of empty stand-ins for the three classes that
PyTorch Geometric writes, so that nothing in the file is executed and PyTorch Geometric is not needed. Needs the package
``torch``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.jets.standardise import AZIMUTH, CM, GEV, PLAIN, RAPIDITY
from qformers.data.points.arrays import numbers, read_npz, refuse_not_positive, refuse_outside
from qformers.errors import DataError
from qformers.files import replacing
from qformers.torch_files import from_tensor, load

_PLACE = ("phi", "eta", "pt", "r", "x", "y", "z", "dphi")  # mean of the 4 hits; dphi: mean bend of the mini-doublets
_LOWER = ("dr_0", "dx_0", "dy_0", "dz_0", "dphi_0")  # outer less inner mini-doublet, lower hits
_UPPER = ("dr_1", "dx_1", "dy_1", "dz_1")  # the same of the upper hits
_HALF = ("dr_LS", "dx_LS", "dy_LS", "dz_LS")  # half of the sum of the lower hits less that of the upper ones
COLUMNS = (*_PLACE, *_LOWER, *_UPPER, *_HALF, "layer_0", "layer_1")  # 23; cm, rad, GeV
QUANTITIES = {
    **dict.fromkeys(COLUMNS, CM),
    **dict.fromkeys(("phi", "dphi", "dphi_0"), AZIMUTH),
    "eta": RAPIDITY,
    "pt": GEV,
    "layer_0": PLAIN,
    "layer_1": PLAIN,
}
FAKE = -1
MOST_ID = 10**15
# highest number of a layer; the embeddings of the published models have one entry more
MOST = {"layer_0": 10, "layer_1": 11}
_GEOMETRIC = (  # classes that PyTorch Geometric pickles in a Data of tensors
    "torch_geometric.data.data.Data",
    "torch_geometric.data.data.DataEdgeAttr",
    "torch_geometric.data.data.DataTensorAttr",
    "torch_geometric.data.storage.GlobalStorage",
)


@dataclass(frozen=True)
class Segments:
    """One event: n line segments."""

    x: NDArray[np.float32]  # (n, 23), columns as in COLUMNS
    particle_id: NDArray[np.int64]  # (n,), of the first matched simulated track, FAKE = none
    event: int

    def __len__(self) -> int:
        return len(self.particle_id)


class _Inert:
    """Takes the place of a class of the file: holds what was stored, does nothing."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


def event_number(path: Path) -> int:
    """Number in ``graph_<number>.pt`` or ``.npz``, or a `DataError`."""
    match = re.fullmatch(r"graph_([0-9]{1,12})\.(pt|npz)", path.name)
    if not match:
        raise DataError(f"{path}: line segments are named by their event, e.g. graph_12.pt or graph_12.npz")
    return int(match[1])


def read_segments(path: Path) -> Segments:
    """Read one event.

    Raises:
        DataError: an unreadable file, one that holds anything but tensors in a PyTorch Geometric Data, missing or
            wrong arrays, no segment, values that are not finite, momenta that are not positive, layers that are none;
            a .pt file, and torch is not installed.
    """
    number = event_number(path)
    arrays = read_npz(path) if path.suffix == ".npz" else _from_torch(path)
    x, ids = numbers(path, arrays, "x"), numbers(path, arrays, "particle_id")
    if x.ndim != 2 or x.shape[1] != len(COLUMNS) or ids.shape != (len(x),):
        raise DataError(
            f"{path}: x must be (n, {len(COLUMNS)}) and particle_id (n,). Received: {x.shape} and {ids.shape}"
        )
    if not np.issubdtype(ids.dtype, np.integer) or ids.min(initial=0) < FAKE:
        raise DataError(
            f"{path}: particle_id must be integers from {FAKE} on. Received: {ids.dtype}, lowest {ids.min(initial=0)}"
        )
    if ids.max(initial=0) > MOST_ID:
        raise DataError(f"{path}: particle_id must be at most {MOST_ID:.0e}. Received: {ids.max()}")
    if not len(x):
        raise DataError(f"{path}: holds no segment; leave the event out")
    refuse_outside(path, COLUMNS, x, QUANTITIES)
    refuse_not_positive(path, "pt", x[:, COLUMNS.index("pt")], "segment")
    for name, most in MOST.items():
        layer = x[:, COLUMNS.index(name)]
        wrong = (layer != np.rint(layer)) | (layer < 0) | (layer > most)
        if wrong.any():
            raise DataError(
                f"{path}: column '{name}', row {int(np.argmax(wrong))}: must be the number of a layer, 0 to {most}. "
                f"Received: {layer[wrong][0]:g}"
            )
    return Segments(x.astype(np.float32), ids.astype(np.int64), number)


def write_segments(path: Path, segments: Segments) -> None:
    """Write ``graph_<event>.npz``."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, x=segments.x, particle_id=segments.particle_id.astype(np.int32))


def _from_torch(path: Path) -> dict[str, NDArray[Any]]:
    # the same empty class under each of the four names
    allowed = [(type(name.rsplit(".", 1)[1], (_Inert,), {}), name) for name in _GEOMETRIC]
    data = load(path, DataError, allowed)
    store = getattr(data, "_store", None)
    mapping = data if isinstance(data, dict) else getattr(store, "_mapping", None)
    if not isinstance(mapping, dict):
        raise DataError(f"{path}: must hold a PyTorch Geometric Data or a dictionary. Received: {type(data).__name__}")
    arrays = {}
    for name in ("x", "particle_id"):
        value = mapping.get(name)
        if value is None:
            continue
        array = from_tensor(value) if hasattr(value, "detach") else None
        if array is None:
            kind = f"{type(value).__name__} ({getattr(value, 'layout', 'no tensor')}, {getattr(value, 'dtype', '-')})"
            raise DataError(f"{path}: '{name}' must be a plain tensor of numbers. Received: {kind}")
        arrays[name] = array
    return arrays
