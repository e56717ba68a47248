"""Layer norm and RMS norm in fixed point: their numbers. `qformers.nn.hgq` says them with the verbs that firmware has.

A norm does not change when all channels of a point are multiplied by one number, so the (centred) values are first
brought into (-1, 1) by a power of two, which is a shift; calibration sets it from the largest value seen
(`Memory.shifts`). Then, whatever the model, the sum of squares of D channels lies in [0, 2^g), g = ceil(log2 D), and

    y = c f(S),   S = sum_d c_d^2,   f(S) = sqrt(D / S),

where f is the sum of four tables, from a coarse to a fine one, each over a range of 16: with t_n the largest number
below 2^(g - 4n) that the argument of table n has, so that a finer table whose argument saturates gives 0,

    f(S) = f(max(S, t_1)) + [f(clip(S, t_2, t_1)) - f(t_1)] + [f(clip(S, t_3, t_2)) - f(t_2)] + [...].

Below t_4, i.e. where the root of the mean square is less than about 1/256 of the largest value seen, f stays at its
largest value, 256 or a little less: that is what keeps f(0) finite, as epsilon does in float. Sums above t_0 are those
of values beyond the range, which saturate. The factors and shifts that a norm learns are folded into the dense step
that reads it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras import ops

from qformers.nn.layers import serialisable
from qformers.nn.vocabulary import Table, Tensor
from qformers.precision.fixed import Fixed

ADDRESS_BITS = 10  # of each table of the root: in its range, S is known to 1/64 to 1/1024
ROOT_STEP = 6  # the root is a multiple of 2^-6, at least 0.7 and at most 256; its products fit a float32
SPAN = 4  # each table covers a factor of 2^4 of S
PARTS = 4
SHARE_BITS = 8  # 1/D of a mean as the nearest number of so many bits


@serialisable
class RootPart:
    """f(clip(S, low, high)) - f(high), with f(S) = scale sqrt(channels / S); f itself where `high` is None.

    Args:
        channels: D.
        low, high: limits of the sum of squares.
        scale: of the values.
    """

    __name__ = "root_part"  # HGQ2 asks activations for it

    def __init__(self, channels: int, low: float, high: float | None, scale: float = 1.0) -> None:
        self.channels, self.low, self.high, self.scale = channels, low, high, scale

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        if self.high is None:
            return self.scale * math.sqrt(self.channels) / ops.sqrt(ops.maximum(x, self.low))
        root = self.scale * math.sqrt(self.channels) / ops.sqrt(ops.clip(x, self.low, self.high))
        return root - self.scale * math.sqrt(self.channels / self.high)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        scaled = {} if self.scale == 1.0 else {"scale": self.scale}
        return {"channels": self.channels, "low": self.low, "high": self.high, **scaled}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RootPart:
        """Inverse of `get_config`."""
        return cls(**config)


@dataclass(frozen=True)
class Forms:
    """Default formats of the steps of a norm, from ``quant.norm_bits``.

    Attributes:
        averaged: of what the mean is taken of; calibration moves its range, the width stays.
        unshifted: of what is shifted into (-1, 1), likewise; the steps behind it round more.
        squared: of shifted values on their way into the sum of squares.
        shifted: of the same on their way into the product with the root.
    """

    averaged: str
    unshifted: str
    squared: str
    shifted: str

    @classmethod
    def of(cls, bits: int) -> Forms:
        """The formats for so many bits of a shifted value."""
        return cls(*(f"fixed<{width},{integer},RND,SAT>" for width, integer in (
            (bits + 1, 4), (bits + 5, 4), (bits - 1, 1), (bits, 1)
        )))  # fmt: skip


def root_tables(channels: int, mean: bool = False) -> list[Table]:
    """The parts of the root of D channels, the coarse one first; divided by D for `mean`."""
    top = math.ceil(math.log2(channels))
    arguments = [
        Fixed(False, bits, ADDRESS_BITS - bits, "RND", "SAT") for bits in range(top, top - SPAN * PARTS, -SPAN)
    ]
    lowest = [*(finer.high for finer in arguments[1:]), arguments[-1].high * 2.0**-SPAN]
    tables = []
    for part, (argument, low) in enumerate(zip(arguments, lowest, strict=True)):
        shift = _mean_shift(channels, mean)
        value = Fixed(False, SPAN // 2 * (part + 1) + (part == 0) - shift, ROOT_STEP + shift, "RND", "SAT")
        function = RootPart(channels, low, argument.high if part else None, 1.0 / channels if mean else 1.0)
        tables.append(Table(function, str(argument), str(value)))
    return tables


def _mean_shift(channels: int, mean: bool) -> int:
    """By how many bits a root that is divided by D has a finer step."""
    return math.floor(math.log2(channels)) if mean else 0


def root_form(channels: int = 1, mean: bool = False) -> str:
    """Format of the root: its largest value is 2^(SPAN PARTS / 2), divided by D for `mean`."""
    shift = _mean_shift(channels, mean)
    return str(Fixed(False, SPAN * PARTS // 2 + 1 - shift, ROOT_STEP + shift, "RND", "SAT"))


def unit_form(bits: int, channels: int) -> str:
    """Format that holds D values whose mean square is 1, none of which is beyond sqrt(D), for ``quant.norm_bits``."""
    return str(Fixed(True, math.ceil(math.log2(channels) / 2), bits - 1, "RND", "SAT"))


def scalar_form(bits: int, channels: int) -> str:
    """Default format of the scalar product of two vectors of D shifted values, for ``quant.norm_bits``."""
    return str(Fixed(True, math.ceil(math.log2(channels)), bits, "RND", "SAT"))


def share_of(channels: int) -> float:
    """1/D, rounded to `SHARE_BITS` bits."""
    step = 2.0 ** -(SHARE_BITS + math.ceil(math.log2(channels)))
    return round(1.0 / channels / step) * step


def shift_for(largest: float) -> float:
    """The power of two that brings values of this size into [-1, 1]."""
    return float(2.0 ** -math.ceil(math.log2(largest))) if largest > 0 else 1.0
