"""Interval arithmetic on tensors: bounds and grid of every element, and of sums of products of two tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.precision.fixed import Fixed

Array = NDArray[np.float64]
NO_BITS = -(10**6)  # fraction bits of a value that is always zero
MOST_PRODUCTS = 4_000_000  # held at a time: some hundred MB


@dataclass(frozen=True)
class Range:
    """Bounds and grid of a tensor, by element, without the batch axis."""

    low: Array
    high: Array
    fraction_bits: NDArray[np.int64]  # every value is a multiple of 2^-fraction_bits

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor, without the batch axis."""
        return tuple(self.low.shape)

    @property
    def bits(self) -> int:
        """The most, without the sign, that an element of it needs."""
        reach = np.maximum(np.maximum(-self.low, self.high), 0.0)
        known = self.fraction_bits > NO_BITS
        steps = np.where(known, reach * 2.0 ** np.where(known, self.fraction_bits, 0), 0.0)
        return int(np.ceil(np.log2(np.max(steps, initial=0.0) + 1.0)))


@dataclass(frozen=True)
class Total:
    """Sums of products, by output element.

    Attributes:
        low, high: of the whole sum.
        reach_low, reach_high: of any part of it, in whatever order it is added up.
        fraction_bits: of the finest product.
        terms: products in one sum.
    """

    low: Array
    high: Array
    reach_low: Array
    reach_high: Array
    fraction_bits: NDArray[np.int64]
    terms: int


@dataclass(frozen=True)
class Sums:
    """What the sums of one layer can become, over all its outputs.

    Attributes:
        layer, kind: its name and type.
        terms: values in one sum, the bias among them.
        low, high: of the whole sum.
        reach_low, reach_high: of any part of a sum, in whatever order it is added up, and of every single term.
        fraction_bits: of the finest term.
    """

    layer: str
    kind: str
    terms: int
    low: float
    high: float
    reach_low: float
    reach_high: float
    fraction_bits: int

    def format(self, saturates: bool = False) -> Fixed:
        """The smallest format that loses nothing.

        Args:
            saturates: a wrapping accumulator may overflow on the way, as long as the whole sum fits; a saturating one
                must hold every part of it.
        """
        low, high = (self.reach_low, self.reach_high) if saturates else (self.low, self.high)
        fraction = self.fraction_bits if self.fraction_bits > NO_BITS else 0
        step = 2.0**-fraction
        reach = max(-low, high + step if high > 0 else 0.0, step)
        integer = max(math.ceil(math.log2(reach)), 1 - fraction - (low < 0))
        return Fixed(low < 0, integer, fraction, "TRN", "SAT" if saturates else "WRAP")


def einsum(equation: str, a: Range, b: Range) -> Total:
    """Products of two tensors, added up as an einsum says.

    Args:
        equation: with a batch axis in front, which the second tensor may lack, e.g. ``"bnd,dh->bnh"``.
        a, b: without batch axis.
    """
    inputs, output = equation.split("->")
    left, right = inputs.split(",")
    left, right, output = (letters.replace(equation[0], "") for letters in (left, right, output))
    return _total(left, right, output, a, b)


def _total(left: str, right: str, output: str, a: Range, b: Range) -> Total:
    sizes = {**dict(zip(left, a.shape, strict=True)), **dict(zip(right, b.shape, strict=True))}
    if math.prod(sizes.values()) > MOST_PRODUCTS and any(sizes[letter] > 1 for letter in output):
        axis = max(range(len(output)), key=lambda index: sizes[output[index]])
        letter = output[axis]
        slices = [
            _total(left, right, output, _slice(a, left, letter, index), _slice(b, right, letter, index))
            for index in range(sizes[letter])
        ]
        return Total(
            np.concatenate([part.low for part in slices], axis=axis),
            np.concatenate([part.high for part in slices], axis=axis),
            np.concatenate([part.reach_low for part in slices], axis=axis),
            np.concatenate([part.reach_high for part in slices], axis=axis),
            np.concatenate([part.fraction_bits for part in slices], axis=axis),
            slices[0].terms,
        )
    order = output + "".join(letter for letter in dict.fromkeys(left + right) if letter not in output)
    parts = [(_spread(r.low, own, order), _spread(r.high, own, order)) for r, own in ((a, left), (b, right))]
    corners = np.broadcast_arrays(*[x * y for x in parts[0] for y in parts[1]])
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    bits = _spread(a.fraction_bits, left, order) + _spread(b.fraction_bits, right, order)
    bits = np.where((low == 0) & (high == 0), NO_BITS, bits)
    axes = tuple(range(len(output), len(order)))
    return Total(
        low.sum(axis=axes),
        high.sum(axis=axes),
        np.minimum(low, 0.0).sum(axis=axes),
        np.maximum(high, 0.0).sum(axis=axes),
        bits.max(axis=axes, initial=NO_BITS),
        math.prod(low.shape[axis] for axis in axes),
    )


def _slice(given: Range, letters: str, letter: str, index: int) -> Range:
    """One index of an axis, which stays as an axis of length 1; the whole tensor where it has no such axis."""
    if letter not in letters:
        return given
    axis = letters.index(letter)
    low, high = (np.take(part, [index], axis=axis) for part in (given.low, given.high))
    return Range(low, high, np.take(given.fraction_bits, [index], axis=axis))


def _spread(array: NDArray[Any], letters: str, order: str) -> NDArray[Any]:
    """An array with axes `letters`, its axes put in `order`, with axes of length 1 for the letters that it lacks."""
    present = [letter for letter in order if letter in letters]
    moved = array.transpose([letters.index(letter) for letter in present])
    sizes = dict(zip(present, moved.shape, strict=True))
    return moved.reshape([sizes.get(letter, 1) for letter in order])


def constant(values: Array) -> Range:
    """Range of known values."""
    mantissa, exponent = np.frexp(values)
    whole = (mantissa * 2.0**53).astype(np.int64)  # a float64 is a whole number times a power of two
    zeros = np.log2(np.where(whole == 0, 1, whole & -whole).astype(np.float64)).astype(np.int64)
    return Range(values, values, np.where(values == 0, NO_BITS, 53 - exponent - zeros))


def ranged(low: Array, high: Array, bits: NDArray[np.int64]) -> Range:
    """A `Range` of arrays that broadcast; what is always zero has no bits."""
    low, high, bits = np.broadcast_arrays(low + 0.0, high + 0.0, bits)
    return Range(low, high, np.where((low == 0) & (high == 0), NO_BITS, bits))
