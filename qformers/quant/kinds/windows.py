"""Convolutions and pooling: what a window over positions sees, which may be any of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from qformers.quant.intervals import Range, Sums, constant, einsum, ranged
from qformers.quant.kinds.listing import usual
from qformers.quant.kinds.products import activated
from qformers.quant.kinds.record import UNKNOWN, Bounds, Incoming, LayerKind, to_array


def _channels(layer: Any, given: Range) -> Range:
    """(C,): of all positions of a channel."""
    axis = len(given.shape) - 1 if layer.data_format == "channels_last" else 0
    others = tuple(place for place in range(len(given.shape)) if place != axis)
    return Range(given.low.min(axis=others), given.high.max(axis=others), given.fraction_bits.max(axis=others))


def _everywhere(layer: Any, given: Range, shape: tuple[int, ...]) -> Range:
    """A number per channel, at every position of the output."""
    spread = [1] * len(shape)
    spread[-1 if layer.data_format == "channels_last" or len(shape) == 1 else 0] = -1
    low, high, bits = (part.reshape(spread) for part in (given.low, given.high, given.fraction_bits))
    return Range(np.broadcast_to(low, shape), np.broadcast_to(high, shape), np.broadcast_to(bits, shape))


def _convolved(incoming: Incoming) -> Bounds:
    layer, given = incoming.layer, incoming.input()
    if given is None:
        return UNKNOWN
    kernel, seen = to_array(layer.qkernel), _channels(layer, given)
    taps, (own, filters) = math.prod(kernel.shape[:-2]), kernel.shape[-2:]
    groups = len(seen.low) // own

    def window(part: Any) -> Any:
        return np.broadcast_to(part.reshape(1, groups, own), (taps, groups, own))

    low, high = np.minimum(seen.low, 0.0), np.maximum(seen.high, 0.0)  # a window may see padding
    total = einsum(
        "zkgc,kcgo->zgo",
        Range(window(low), window(high), window(seen.fraction_bits)),
        constant(kernel.reshape(taps, own, groups, filters // groups)),
    )
    first, last, down, up = (part.ravel() for part in (total.low, total.high, total.reach_low, total.reach_high))
    bits = total.fraction_bits.ravel()
    if layer.use_bias:
        bias = constant(to_array(layer.qbias))
        first, last = first + bias.low, last + bias.low
        down, up = down + np.minimum(bias.low, 0.0), up + np.maximum(bias.low, 0.0)
        bits = np.maximum(bits, bias.fraction_bits)
    ends = (float(first.min()), float(last.max()), float(down.min()), float(up.max()))
    sums = Sums(layer.name, type(layer).__name__, total.terms + bool(layer.use_bias), *ends, int(bits.max()))
    made = activated(layer, ranged(first, last, bits))
    return (None if made is None else _everywhere(layer, made, incoming.shape)), sums


def _largest(incoming: Incoming) -> Bounds:
    given = incoming.input()
    if given is None:
        return UNKNOWN
    return _everywhere(incoming.layer, _channels(incoming.layer, given), incoming.shape), None


def _mean(incoming: Incoming) -> Bounds:
    """Over as many positions as a power of two says; of others the values are on no grid."""
    layer, given = incoming.layer, incoming.input()
    count = pooled(layer)
    if given is None or count & (count - 1):
        return UNKNOWN
    seen = _channels(layer, given)
    return _everywhere(
        layer, Range(seen.low, seen.high, seen.fraction_bits + count.bit_length() - 1), incoming.shape
    ), None


def pooled(layer: Any) -> int:
    """Positions in a window of a pooling layer; of global pooling, all."""
    size = getattr(layer, "pool_size", None)
    if size is not None:
        return math.prod(size)
    shape = layer.input.shape[1:]
    return math.prod(shape[:-1] if layer.data_format == "channels_last" else shape[1:])


CONVOLUTION = LayerKind(usual, _convolved)
MAX_POOL = LayerKind(usual, _largest)
MEAN_POOL = LayerKind(usual, _mean)
