"""Layers without arithmetic: those that only round, and those that put values elsewhere or pick some."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.quant.intervals import Range, constant, ranged
from qformers.quant.kinds.listing import usual
from qformers.quant.kinds.record import UNKNOWN, Bounds, Incoming, LayerKind, Quantiser


def _of_quantizer(layer: Any) -> Iterator[Quantiser]:
    """Itself: what it rounds comes in, and is its result in a build file."""
    yield Quantiser(layer, "", "result", "input", layer, operator.itemgetter(0), 0)


def _as_rounded(incoming: Incoming) -> Bounds:
    return incoming.input(), None


def _reshaped(incoming: Incoming) -> Bounds:
    given, shape = incoming.inputs[0], incoming.shape
    if given is None:
        return UNKNOWN
    return Range(given.low.reshape(shape), given.high.reshape(shape), given.fraction_bits.reshape(shape)), None


def _anywhere(given: Range, axes: int | tuple[int, ...], shape: tuple[int, ...], fit: Callable[[Any], Any]) -> Range:
    """Values that may come from any place along `axes`; `fit` lets what is left broadcast to `shape`."""
    parts = (given.low.min(axis=axes), given.high.max(axis=axes), given.fraction_bits.max(axis=axes))
    low, high, bits = (np.array(np.broadcast_to(fit(part), shape)) for part in parts)
    return Range(low, high, bits.astype(np.int64))


def _to_blocks(incoming: Incoming) -> Bounds:
    """(N, H, E) -> (O, H, M, S, E)."""
    given = incoming.inputs[0]
    if given is None:
        return UNKNOWN
    return _anywhere(given, 0, incoming.shape, lambda part: part[None, :, None, None]), None


def _from_blocks(incoming: Incoming) -> Bounds:
    """(O, H, M, S, E) -> (O, H, N, E)."""
    given = incoming.inputs[0]
    if given is None:
        return UNKNOWN
    return _anywhere(given, (2, 3), incoming.shape, lambda part: part[:, :, None]), None


def _largest(incoming: Incoming) -> Bounds:
    given, layer = incoming.inputs[0], incoming.layer
    if given is None:
        return UNKNOWN
    axis = layer.axis % len(layer.input.shape) - 1
    low, high, bits = (part.max(axis=axis, keepdims=True) for part in (given.low, given.high, given.fraction_bits))
    if layer.floor is None:
        return Range(low, high, bits), None
    own = constant(np.asarray(layer.floor, np.float64))
    return Range(np.maximum(low, own.low), np.maximum(high, own.high), np.maximum(bits, own.fraction_bits)), None


def _filled(incoming: Incoming) -> Bounds:
    """(P, H) -> (H, N, N), 0 where no pair is kept."""
    given, index = incoming.input(), incoming.layer.index
    if given is None:
        return UNKNOWN
    low, high, bits = (part[index].transpose(2, 0, 1) for part in (given.low, given.high, given.fraction_bits))
    kept = index >= 0
    return ranged(np.where(kept, low, 0.0), np.where(kept, high, 0.0), bits), None


def _of_pairs(roles: Sequence[str]) -> tuple[str, ...]:
    event, pair, head = roles
    return event, head, pair, pair


def _joined(incoming: Incoming) -> Bounds:
    given, axis = incoming.inputs, incoming.layer.axis % len(incoming.layer.output.shape) - 1
    if any(one is None for one in given):
        return UNKNOWN
    parts = ((one.low, one.high, one.fraction_bits) for one in given if one is not None)
    low, high, bits = (np.concatenate(part, axis=axis) for part in zip(*parts, strict=True))
    return Range(low, high, bits), None


def _moved(incoming: Incoming) -> Bounds:
    """Of a layer that gives out values of its input at other places, or zeros."""
    given = incoming.inputs[0]
    if given is None:
        return UNKNOWN
    places = places_of(incoming.layer)
    kept = places >= 0
    low, high = (np.where(kept, part.ravel()[places], 0.0) for part in (given.low, given.high))
    return ranged(low, high, given.fraction_bits.ravel()[places]), None


def places_of(layer: Any) -> NDArray[np.int64]:
    """For each value that a layer moves, the place of its source in the flat input; -1 where it puts a zero."""
    shape = tuple(layer.input.shape[1:])
    numbers = np.arange(1, math.prod(shape) + 1, dtype=np.float64).reshape(1, *shape)
    moved = inspect.unwrap(type(layer).call)(layer, ops.convert_to_tensor(numbers, "float64"))
    return np.asarray(np.rint(ops.convert_to_numpy(moved)[0]).astype(np.int64) - 1)


def _rectified(incoming: Incoming) -> Bounds:
    given = incoming.inputs[0]
    if given is None or not plain_relu(incoming.layer):
        return UNKNOWN
    return ranged(np.maximum(given.low, 0.0), np.maximum(given.high, 0.0), given.fraction_bits), None


def plain_relu(layer: Any) -> bool:
    """Whether a layer of Keras gives out the larger of its input and 0."""
    if isinstance(layer, keras.layers.Activation):
        return getattr(layer.activation, "__name__", "") == "relu"
    return layer.max_value is None and not layer.negative_slope and not layer.threshold


QUANTIZER = LayerKind(_of_quantizer, _as_rounded)
RESHAPE = LayerKind(bounds=_reshaped, moves=True)
BLOCKS = LayerKind(bounds=_to_blocks, moves=True, reorders=True)
OTHER_PLACES = LayerKind(bounds=_from_blocks, moves=True)
LARGEST = LayerKind(bounds=_largest)
FILL = LayerKind(usual, _filled, roles=_of_pairs)
JOINED = LayerKind(bounds=_joined, joins=True)
PLAIN = LayerKind()  # rounds nothing; what it gives out is not followed
MOVED = LayerKind(bounds=_moved, moves=True)
RELU = LayerKind(bounds=_rectified)
