"""Reader of HEPT-CMS line segments: ``graph_*.pt`` (PyTorch Geometric) or ``graph_*.npz`` (ours), one event a file.

A line segment joins two mini-doublets, inner (0) and outer (1), of two hits each (lower and upper sensor). A ``.pt``
file is a pickle; it is read with ``weights_only`` and an allow-list of empty stand-ins for the three classes that
PyTorch Geometric writes, so that nothing in the file is executed and PyTorch Geometric is not needed. Needs the package
``torch``.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.errors import DataError
from qformers.files import replacing

_PLACE = ("phi", "eta", "pt", "r", "x", "y", "z", "dphi")  # mean of the 4 hits; dphi: mean bend of the mini-doublets
_LOWER = ("dr_0", "dx_0", "dy_0", "dz_0", "dphi_0")  # outer less inner mini-doublet, lower hits
_UPPER = ("dr_1", "dx_1", "dy_1", "dz_1")  # the same of the upper hits
_HALF = ("dr_LS", "dx_LS", "dy_LS", "dz_LS")  # half of the sum of the lower hits less that of the upper ones
COLUMNS = (*_PLACE, *_LOWER, *_UPPER, *_HALF, "layer_0", "layer_1")  # 23; cm, rad, GeV
FAKE = -1
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
        self.__dict__.update(state)


def event_number(path: Path) -> int:
    """Number in ``graph_<number>.pt`` or ``.npz``, or a `DataError`."""
    match = re.fullmatch(r"graph_(\d+)\.(pt|npz)", path.name)
    if not match:
        raise DataError(f"{path}: line segments are named by their event, e.g. graph_12.pt or graph_12.npz")
    return int(match[1])


def read_segments(path: Path) -> Segments:
    """Read one event.

    Raises:
        DataError: an unreadable file, one that holds anything but tensors in a PyTorch Geometric Data, missing or
            wrong arrays, values that are not finite.
        ImportError: a .pt file, and torch is not installed.
    """
    number = event_number(path)
    arrays = _from_npz(path) if path.suffix == ".npz" else _from_torch(path)
    for name in ("x", "particle_id"):
        if name not in arrays:
            raise DataError(f"{path}: array '{name}' is missing. Received: {', '.join(sorted(arrays)) or 'none'}")
    x, ids = arrays["x"], arrays["particle_id"]
    if x.ndim != 2 or x.shape[1] != len(COLUMNS) or ids.shape != (len(x),):
        raise DataError(
            f"{path}: x must be (n, {len(COLUMNS)}) and particle_id (n,). Received: {x.shape} and {ids.shape}"
        )
    if not np.issubdtype(ids.dtype, np.integer) or ids.min(initial=0) < FAKE:
        raise DataError(
            f"{path}: particle_id must be integers from {FAKE} on. Received: {ids.dtype}, lowest {ids.min(initial=0)}"
        )
    bad = ~np.isfinite(x)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(f"{path}: column '{COLUMNS[column]}', row {row}: must be finite. Received: {x[row, column]}")
    return Segments(x.astype(np.float32), ids.astype(np.int64), number)


def write_segments(path: Path, segments: Segments) -> None:
    """Write ``graph_<event>.npz``."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, x=segments.x, particle_id=segments.particle_id.astype(np.int32))


def _from_npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as arrays ({error}); write or download it again") from error


def _from_torch(path: Path) -> dict[str, NDArray[Any]]:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{path}: reading .pt files needs torch: pip install torch (the CPU build will do)"
        ) from error
    # the same empty class under each of the four names
    allowed = [(type(name.rsplit(".", 1)[1], (_Inert,), {}), name) for name in _GEOMETRIC]
    try:
        with torch.serialization.safe_globals(allowed):
            data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: holds more than tensors in a PyTorch Geometric Data, and is not executed "
            f"({str(error).splitlines()[0]}); convert it to .npz with x and particle_id where it comes from"
        ) from error
    except (OSError, RuntimeError, EOFError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read by torch ({error}); download it again") from error
    store = getattr(data, "_store", None)
    mapping = data if isinstance(data, dict) else getattr(store, "_mapping", None)
    if not isinstance(mapping, dict):
        raise DataError(f"{path}: must hold a PyTorch Geometric Data or a dictionary. Received: {type(data).__name__}")
    return {str(name): value.numpy() for name, value in mapping.items() if isinstance(value, torch.Tensor)}
