"""PyTorch checkpoints, read without running anything that is in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qformers.errors import WeightsError

WRAPPINGS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts keep the weights


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state dict in a file written by ``torch.save``, as name -> tensor on the CPU.

    Raises:
        WeightsError: no such file, not a PyTorch checkpoint, anything besides weights in it, or PyTorch is missing.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give a checkpoint written by torch.save(model.state_dict(), ...)")
    try:
        import torch
    except ImportError as error:
        raise WeightsError(f"{path}: reading it needs PyTorch: pip install torch") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes of another kind make the unpickler raise anything
        raise WeightsError(f"{path}: {_reason(str(error))}") from error
    for key in WRAPPINGS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        kinds = {type(value).__name__ for value in content.values()} if isinstance(content, Mapping) else set()
        there = f"a mapping to {', '.join(sorted(kinds))}" if kinds else type(content).__name__
        raise WeightsError(f"{path}: expected names and tensors, as model.state_dict() gives them. Received: {there}")
    return {str(name): tensor for name, tensor in content.items()}


def _reason(message: str) -> str:
    """What PyTorch's long message comes down to."""
    if "TorchScript" in message:
        return "a TorchScript archive, not a checkpoint; save the weights by torch.save(model.state_dict(), ...)"
    if "Unsupported" in message or "not an allowed global" in message:
        return (
            "holds Python objects besides weights (a whole pickled module, perhaps), and reading those would run code "
            "from the file; where you trust it, load it in PyTorch and torch.save(model.state_dict(), ...)"
        )
    first = message.strip().splitlines()[0] if message.strip() else "no more to read"
    return f"not a PyTorch checkpoint, or a damaged one ({first})"
