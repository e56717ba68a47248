"""Layers without arithmetic: those that only round, and those that put values elsewhere or pick some."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

from qformers.quant.intervals import Range
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


QUANTIZER = LayerKind(_of_quantizer, _as_rounded)
RESHAPE = LayerKind(bounds=_reshaped, moves=True)
BLOCKS = LayerKind(moves=True, reorders=True)
OTHER_PLACES = LayerKind(moves=True)
PLAIN = LayerKind()  # rounds nothing; what it gives out is not followed
