"""QAdd and QSubtract: two tensors, element by element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from qformers.quant.intervals import ranged
from qformers.quant.kinds.listing import usual
from qformers.quant.kinds.record import UNKNOWN, Bounds, Formula, Incoming, LayerKind, stored

ADDER = 0.65  # HGQ2's weight of an adder's bit


def _bounds(incoming: Incoming) -> Bounds:
    if len(incoming.inputs) != 2:
        return UNKNOWN
    a, b = incoming.input(0), incoming.input(1)
    if a is None or b is None:
        return UNKNOWN
    return ranged(a.low + b.low, a.high + b.high, np.maximum(a.fraction_bits, b.fraction_bits)), None


def _difference(incoming: Incoming) -> Bounds:
    """Of two tensors that broadcast."""
    a, b = incoming.input(0), incoming.input(1)
    if a is None or b is None:
        return UNKNOWN
    bits = np.maximum(*np.broadcast_arrays(a.fraction_bits, b.fraction_bits))
    return ranged(a.low - b.high, a.high - b.low, bits), None


def _ebops(layer: Any) -> Formula | None:
    shapes = {tuple(tensor.shape[1:]) for tensor in layer.input}
    if len(layer.input) != 2 or len(shapes) != 1:
        return None
    values = math.prod(shapes.pop())
    return lambda bits: stored(layer, np.float32(max(bits["input0"], bits["input1"]) * values) * np.float32(ADDER))


ADD = LayerKind(usual, _bounds, _ebops)
SUBTRACT = LayerKind(usual, _difference)
