"""The variables of a model as arrays and back, bit for bit, in memory and on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.errors import CheckpointError
from qformers.files import replacing, sha256_of_arrays


def read_variables(variables: Sequence[Any]) -> list[NDArray[Any]]:
    """Copies of the values of Keras variables, in order."""
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def write_variables(variables: Sequence[Any], values: Sequence[NDArray[Any]]) -> None:
    """Assign `values` to `variables`, in order.

    Raises:
        CheckpointError: another number of them, or another shape or type; the variable is named.
    """
    if len(variables) != len(values):
        raise CheckpointError(
            f"the checkpoint was made by another version of the code: start over with --fresh. "
            f"Received: {len(values)} arrays for {len(variables)} variables"
        )
    for variable, value in zip(variables, values, strict=True):
        if tuple(variable.shape) != value.shape or str(variable.dtype) != str(value.dtype):
            raise CheckpointError(
                f"variable '{variable.path}' is {tuple(variable.shape)} {variable.dtype}: the checkpoint was made by "
                f"another version of the code; start over with --fresh. Received: {value.shape} {value.dtype}"
            )
        variable.assign(value)


def write_arrays(path: Path, values: Sequence[NDArray[Any]]) -> None:
    """Write arrays to an ``.npz`` file, in order; equal arrays make equal files."""
    named: dict[str, Any] = {f"{place:05d}": value for place, value in enumerate(values)}
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **named)


def read_arrays(path: Path) -> list[NDArray[Any]]:
    """Inverse of `write_arrays`."""
    with np.load(path, allow_pickle=False) as content:
        return [content[name] for name in sorted(content.files)]


def weights_digest(model: Any) -> str:
    """SHA-256 of the values of all weights, as hex digits."""
    return sha256_of_arrays(read_variables(model.weights))
