"""PyTorch checkpoints, read without running anything that is in them; or their arrays in a ``.npz``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qformers.data.points.arrays import read_npz
from qformers.errors import DataError, WeightsError
from qformers.torch_files import load

ARRAYS = ".npz"
WRAPPINGS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts keep the weights


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state dict in a file written by ``torch.save``, as name -> tensor on the CPU; or in a ``.npz``, as arrays.

    Raises:
        WeightsError: no such file, not a PyTorch checkpoint, anything besides weights in it, or PyTorch is missing.
    """
    if path.suffix == ARRAYS:
        try:
            return dict(read_npz(path))
        except DataError as error:
            raise WeightsError(f"{error}") from error
    content = load(path, WeightsError)
    import torch

    for key in WRAPPINGS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        kinds = {type(value).__name__ for value in content.values()} if isinstance(content, Mapping) else set()
        there = f"a mapping to {', '.join(sorted(kinds))}" if kinds else type(content).__name__
        raise WeightsError(f"{path}: expected names and tensors, as model.state_dict() gives them. Received: {there}")
    return {str(name): tensor for name, tensor in content.items()}
