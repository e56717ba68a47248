"""What all readers of PyTorch state dicts do alike: arrays out of tensors, wrappers off, misfits named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qformers.errors import WeightsError

Array = NDArray[Any]
Shape = tuple[int, ...]


class Entry(Protocol):
    """One Keras variable and the entry that holds its values."""

    @property
    def variable(self) -> Any:
        """The variable."""

    @property
    def entry(self) -> str:
        """Name of the entry."""

    @property
    def shape(self) -> Shape:
        """Of the whole entry."""

    def cut(self, entry: Array) -> Array:
        """The values of the variable, in its own shape, out of the entry."""


def array_of(name: str, value: Any) -> Array:
    """A NumPy array of the entry `name`, from an array or a tensor.

    Raises:
        WeightsError: it is not an array of numbers.
    """
    # float64 first: PyTorch's bfloat16 has no NumPy type
    array = np.asarray(value.detach().cpu().double().numpy() if hasattr(value, "detach") else value)
    if array.dtype.kind not in "fiu":
        raise WeightsError(f"entry '{name}' is not an array of numbers. Received: {type(value).__name__}")
    return array


def prefix_of(state_dict: Mapping[str, Any], anchor: str) -> str:
    """What a wrapper put in front of all names, e.g. ``mod.``; `anchor` is a name that every such model has."""
    anchors = [name for name in state_dict if name == anchor or name.endswith(f".{anchor}")]
    return anchors[0].removesuffix(anchor) if len(anchors) == 1 else ""


def refuse_misfit(expected: Mapping[str, Shape], arrays: Mapping[str, Array], intro: str) -> None:
    """Raise unless `arrays` are exactly the entries `expected`, of these shapes and finite.

    Raises:
        WeightsError: `intro` and a line for each entry that is missing, left over, of another shape or not finite.
    """
    problems = [f"missing: {name} {shape}" for name, shape in expected.items() if name not in arrays]
    problems += [f"extra: {name} {array.shape}" for name, array in arrays.items() if name not in expected]
    for name, shape in expected.items():
        if name in arrays and arrays[name].shape != shape:
            problems.append(f"misshaped: {name}: expected {shape}. Received: {arrays[name].shape}")
        elif name in arrays and not np.isfinite(arrays[name]).all():
            problems.append(f"not finite: {name}")
    if problems:
        raise WeightsError("\n  ".join([intro, *problems]))


def fill(arrays: Mapping[str, Array], slots: Sequence[Entry], intro: str) -> None:
    """Assign to the variables of all `slots`, or to none of them.

    Raises:
        WeightsError: see `refuse_misfit`.
    """
    refuse_misfit({slot.entry: slot.shape for slot in slots}, arrays, intro)
    for slot in slots:
        slot.variable.assign(slot.cut(arrays[slot.entry]))
