"""Tensors added, subtracted, multiplied or compared element by element, and sums along axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from qformers.quant.intervals import Range, Sums, constant, ranged
from qformers.quant.kinds.listing import usual
from qformers.quant.kinds.record import UNKNOWN, Bounds, Formula, Incoming, LayerKind, stored

ADDER = 0.65  # HGQ2's weight of an adder's bit


def _sides(incoming: Incoming) -> list[Range] | None:
    """All inputs, of one rank; None where one of them is not known."""
    sides = [side for index in range(len(incoming.inputs)) if (side := incoming.input(index)) is not None]
    known = len(sides) == len(incoming.inputs) and len({len(side.shape) for side in sides}) == 1
    return sides if known else None


def _finest(sides: Sequence[Range]) -> Any:
    return reduce(np.maximum, np.broadcast_arrays(*(side.fraction_bits for side in sides)))


def _bounds(incoming: Incoming) -> Bounds:
    return _scaled_sum(incoming, 1.0)


def _average(incoming: Incoming) -> Bounds:
    """Of a number of tensors that is a power of two, or divided by the next one."""
    return _scaled_sum(incoming, 2.0 ** round(math.log2(1.0 / len(incoming.inputs))))


def _scaled_sum(incoming: Incoming, scale: float) -> Bounds:
    sides = _sides(incoming)
    if sides is None:
        return UNKNOWN
    low, high = (scale * reduce(np.add, [getattr(side, end) for side in sides]) for end in ("low", "high"))
    return ranged(low, high, _finest(sides) - round(math.log2(scale))), None


def _difference(incoming: Incoming) -> Bounds:
    """Of two tensors that broadcast."""
    a, b = incoming.input(0), incoming.input(1)
    if a is None or b is None:
        return UNKNOWN
    bits = np.maximum(*np.broadcast_arrays(a.fraction_bits, b.fraction_bits))
    return ranged(a.low - b.high, a.high - b.low, bits), None


def _product(incoming: Incoming) -> Bounds:
    sides = _sides(incoming)
    if sides is None:
        return UNKNOWN
    made = sides[0]
    for side in sides[1:]:
        ends = np.broadcast_arrays(*(one * other for one in (made.low, made.high) for other in (side.low, side.high)))
        made = ranged(np.min(ends, axis=0), np.max(ends, axis=0), made.fraction_bits + side.fraction_bits)
    return made, None


def _outermost(pick: Callable[[Any, Any], Any]) -> Callable[[Incoming], Bounds]:
    """Of the largest, or the smallest, of several tensors."""

    def bounds(incoming: Incoming) -> Bounds:
        sides = _sides(incoming)
        if sides is None:
            return UNKNOWN
        low, high = (reduce(pick, [getattr(side, end) for side in sides]) for end in ("low", "high"))
        return ranged(low, high, _finest(sides)), None

    return bounds


def _along(incoming: Incoming) -> Bounds:
    """Sums along axes, times a power of two."""
    layer, given = incoming.layer, incoming.input()
    if given is None:
        return UNKNOWN
    rank = len(layer.input.shape)
    axes = tuple(axis % rank - 1 for axis in layer.axes)
    terms = math.prod(given.shape[axis] for axis in axes)
    sums = [part.sum(axis=axes, keepdims=layer.keepdims) for part in (given.low, given.high)]
    reach = np.minimum(given.low, 0.0).sum(axis=axes), np.maximum(given.high, 0.0).sum(axis=axes)
    bits = given.fraction_bits.max(axis=axes, keepdims=layer.keepdims)
    ends = (float(sums[0].min()), float(sums[1].max()), float(reach[0].min()), float(reach[1].max()))
    added = Sums(layer.name, type(layer).__name__, terms, *ends, int(bits.max()))
    return ranged(sums[0] * layer.scale, sums[1] * layer.scale, bits - round(math.log2(layer.scale))), added


def _rescaled(incoming: Incoming) -> Bounds:
    """A factor and an offset, both numbers."""
    layer, given = incoming.layer, incoming.input()
    if given is None:
        return UNKNOWN
    factor, offset = (constant(np.asarray(number, np.float64)) for number in (layer.scale, layer.offset))
    sides = [factor.low * end + offset.low for end in (given.low, given.high)]
    bits = np.maximum(given.fraction_bits + factor.fraction_bits, offset.fraction_bits)
    low, high = np.minimum(*sides), np.maximum(*sides)
    ends = float(low.min()), float(high.max())
    added = Sums(layer.name, type(layer).__name__, 2, *ends, *ends, int(bits.max()))
    return ranged(low, high, bits), added


def _ebops(layer: Any) -> Formula | None:
    shapes = {tuple(tensor.shape[1:]) for tensor in layer.input}
    if len(layer.input) != 2 or len(shapes) != 1:
        return None
    values = math.prod(shapes.pop())
    return lambda bits: stored(layer, np.float32(max(bits["input0"], bits["input1"]) * values) * np.float32(ADDER))


ADD = LayerKind(usual, _bounds, _ebops)
SUBTRACT = LayerKind(usual, _difference)
MULTIPLY = LayerKind(usual, _product)
LARGEST_OF = LayerKind(usual, _outermost(np.maximum))
SMALLEST_OF = LayerKind(usual, _outermost(np.minimum))
AVERAGE = LayerKind(usual, _average)
SUM = LayerKind(usual, _along)
RESCALED = LayerKind(bounds=_rescaled)
