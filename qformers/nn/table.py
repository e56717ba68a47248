"""Functions of one variable for tables in firmware: square, reciprocal, and a function as the list of its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from qformers.nn.layers import serialisable
from qformers.precision.fixed import Fixed

VALUE_BITS = 30  # of a quotient beside its sign: what alkaid's tables hold


@serialisable
def square(x: Any) -> Any:
    """x^2."""
    return x * x


@serialisable
def reciprocal(x: Any) -> Any:
    """1 / max(x, 1)."""
    return 1.0 / ops.maximum(x, 1.0)


@serialisable
class Quotients:
    """x / count on a grid, each rounded to the nearest float32, which is how Keras computes a mean.

    A value has up to `VALUE_BITS` bits beside its sign; those that would need more (fractions of small numbers) are
    rounded to their last one, far below any step that reads them. Looked up and not divided: a compiler may multiply by
    1 / count, whose last bit is another one.

    Args:
        count: what is divided by.
        low, high: numbers of the first and last argument, in units of 2^-fraction_bits.
        fraction_bits: of the grid of the argument.
    """

    __name__ = "quotients"  # HGQ2 asks activations for it

    def __init__(self, count: int, low: int, high: int, fraction_bits: int) -> None:
        self.count, self.low, self.high, self.fraction_bits = count, low, high, fraction_bits

    @property
    def form(self) -> Fixed:
        """Holds every value; TRN, since adding half a step to 24 bits would round in float32."""
        exact = self._exact
        mantissa, exponent = np.frexp(exact)
        whole = np.abs(mantissa * 2.0**24).astype(np.int64)
        zeros = np.log2(np.maximum(whole & -whole, 1))
        fine = max(int((24 - exponent - zeros)[whole > 0].max(initial=0)), 0)
        integer = int(np.floor(np.log2(max(np.abs(exact).max(), 2.0**-fine)))) + 1
        return Fixed(bool(exact.min() < 0), integer, min(fine, VALUE_BITS - integer), "TRN", "SAT")

    @property
    def values(self) -> Any:
        """(high - low + 1,), float32."""
        step = self.form.step
        return (np.rint(self._exact / step) * step).astype(np.float32)

    @property
    def _exact(self) -> Any:
        grid = np.arange(self.low, self.high + 1, dtype=np.float64) * 2.0**-self.fraction_bits
        return (grid.astype(np.float32) / np.float32(self.count)).astype(np.float64)

    def at(self, x: Any) -> Any:
        """The values at numbers of the grid, in NumPy."""
        return self.values[np.rint(np.asarray(x) * 2.0**self.fraction_bits).astype(np.int64) - self.low]

    def __call__(self, x: Any) -> Any:
        """The values at `x`, any shape; numbers beyond the grid get its first or last value."""
        index = ops.cast(ops.round(x * 2.0**self.fraction_bits), "int32") - self.low
        return ops.take(ops.convert_to_tensor(self.values), ops.clip(index, 0, self.high - self.low), axis=0)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {"count": self.count, "low": self.low, "high": self.high, "fraction_bits": self.fraction_bits}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Quotients:
        """Inverse of `get_config`."""
        return cls(**config)


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
