"""What all readers of PyTorch state dicts do alike: arrays out of tensors, wrappers off, misfits named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from qformers.errors import WeightsError, shown
from qformers.torch_files import from_tensor

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
        WeightsError: it is not an array of numbers (text, complex numbers, a sparse or quantised tensor).
    """
    array = from_tensor(value) if hasattr(value, "detach") else np.asarray(value)
    if array is None or array.dtype.kind not in "fiu":
        received = type(value).__name__ if array is None or isinstance(value, str) else f"array of {array.dtype}"
        raise WeightsError(f"entry '{name}' is not an array of numbers. Received: {received}")
    return array


def in_words(error: ValidationError) -> str:
    """What is wrong with a configuration, a key after the other."""
    lines = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        text = item["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
        received = "" if "Received: " in text else f". Received: {shown(item['input'])}"
        lines.append(f"{f'{place} ' if place else ''}{text}{received}")
    return "; ".join(lines)


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
