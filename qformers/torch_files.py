"""PyTorch's files, read without running anything that is in them, and without any other exception than ours.

A ``.pt`` file is a pickle: a list of calls. It is read with ``weights_only``, which makes no call but those that put
tensors together.
"""

from __future__ import annotations

import importlib.util
import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.errors import QformersError
from qformers.files import BROKEN_ZIP, unpacked, unreadable

LARGEST_BYTES = 8 << 30  # of the unpacked content
FLOAT32_BYTES = 4
# what torch.load raises for bytes that are no checkpoint, or a damaged one: its unpickler runs into anything
DAMAGED = (*BROKEN_ZIP, pickle.UnpicklingError, AssertionError, AttributeError, ImportError, MemoryError, TypeError)


def require_torch(path: Path, error: type[QformersError]) -> None:
    """Refuse at once, before anything heavy is imported, where PyTorch is not installed.

    Raises:
        QformersError: of the class `error`, with the way to install it.
    """
    there = sys.modules["torch"] is not None if "torch" in sys.modules else importlib.util.find_spec("torch")
    if not there:
        raise error(
            f"{path}: reading it needs PyTorch, which is not installed here: {sys.executable} -m pip install torch "
            "(the extra 'torch' of qformers; the CPU build will do)"
        )


def load(path: Path, error: type[QformersError], allowed: Sequence[tuple[type, str]] = ()) -> Any:
    """What ``torch.save`` wrote, tensors on the CPU.

    Args:
        path: the file.
        error: class of what is raised.
        allowed: classes that stand for those of the file, and their full names there.

    Raises:
        QformersError: of the class `error`: PyTorch is missing, no such file, not PyTorch's or damaged, or one that
            asks for more than tensors.
    """
    if reason := unreadable(path):
        raise error(f"{path}: {reason}")
    require_torch(path, error)
    _refuse_damaged(path, error)
    import torch

    try:
        known = torch.serialization.safe_globals(list(allowed)) if allowed else nullcontext()
        with warnings.catch_warnings(), known:
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # of files that torch.save did not write
            return torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as fault:
        raise error(f"{path}: {_reason(str(fault))}") from fault


def from_tensor(tensor: Any) -> NDArray[Any] | None:
    """A tensor as a NumPy array; None for one that has no such form (sparse, quantised, nested, without values).

    bfloat16 and the 8-bit floats, which NumPy does not have, become float32; all of their values are among those.
    """
    odd = any(getattr(tensor, name, False) for name in ("is_quantized", "is_nested", "is_meta", "is_sparse"))
    if odd or str(getattr(tensor, "layout", "torch.strided")) != "torch.strided":
        return None
    value = tensor.detach().cpu()
    if getattr(getattr(value, "dtype", None), "is_floating_point", False) and value.element_size() < FLOAT32_BYTES:
        value = value.float()
    try:
        return np.asarray(value.numpy())
    except (TypeError, RuntimeError):  # a type that NumPy does not have
        return None


def _refuse_damaged(path: Path, error: type[QformersError]) -> None:
    """Read an archive through: PyTorch believes its sizes, and does not look at the check sums that it writes itself.

    Raises:
        QformersError: of the class `error`.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(2) != b"PK":
                return  # before PyTorch 1.6; its sizes are checked against the file by PyTorch
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > LARGEST_BYTES:
                raise ValueError(f"it unpacks to {size:,} bytes, more than {LARGEST_BYTES:,}")
            for name in archive.namelist():
                unpacked(archive, name, LARGEST_BYTES)
    except BROKEN_ZIP as fault:
        raise error(f"{path}: {_reason(str(fault))}") from fault


def _reason(message: str) -> str:
    """What PyTorch's long message comes down to; its advice to switch the protection off is left out."""
    if "TorchScript" in message:
        return "a TorchScript archive, not a checkpoint; save the weights by torch.save(model.state_dict(), ...)"
    name = re.search(r"GLOBAL ([\w.]+)", message)
    if name:
        return (
            f"refused as hostile: it asks for the Python object {name[1]} besides tensors (a whole pickled module, "
            "perhaps), and reading that would run code from the file; nothing of it was run. Get the weights alone "
            "from where you trust it: torch.save(model.state_dict(), ...)"
        )
    core = message.partition("WeightsUnpickler error:")[2] or message
    first = core.strip().splitlines()[0][:200] if core.strip() else "no more to read"
    if "weights_only" in first or "Weights only" in first:
        first = "it is no pickle of tensors"
    return f"not a PyTorch checkpoint, or a damaged one ({first}); write or download it again"
