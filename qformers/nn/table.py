"""Functions of one variable for tables in firmware: square, reciprocal, and a function as the list of its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from qformers.nn.layers import serialisable


@serialisable
def square(x: Any) -> Any:
    """x^2."""
    return x * x


@serialisable
def reciprocal(x: Any) -> Any:
    """1 / max(x, 1)."""
    return 1.0 / ops.maximum(x, 1.0)


@serialisable
class Lookup:
    """The value for each number of a grid.

    Args:
        values: for low, low + 1, ... in units of 2^-fraction_bits.
        low: number of the first value.
        fraction_bits: of the grid of the argument.
    """

    __name__ = "lookup"  # HGQ2 asks activations for it

    def __init__(self, values: Sequence[float], low: int, fraction_bits: int) -> None:
        self.values = [float(value) for value in values]
        self.low = int(low)
        self.fraction_bits = int(fraction_bits)

    def __call__(self, x: Any) -> Any:
        """The values at `x`, any shape; numbers beyond the grid get its first or last value."""
        index = ops.cast(ops.round(x * 2.0**self.fraction_bits), "int32") - self.low
        table = ops.convert_to_tensor(np.asarray(self.values, np.float32))
        return ops.take(table, ops.clip(index, 0, len(self.values) - 1), axis=0)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {"values": self.values, "low": self.low, "fraction_bits": self.fraction_bits}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Lookup:
        """Inverse of `get_config`."""
        return cls(**config)
