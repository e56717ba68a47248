"""A layer class that nothing in the packages knows of, with the record and the handler that make it known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hgq.layers.core.base import QLayerBaseSingleInput
from keras import ops

from hls.backends.alkaid.kinds import Handler
from qformers.quant.intervals import ranged
from qformers.quant.kinds import LayerKind
from qformers.quant.kinds.listing import usual
from qformers.quant.kinds.record import UNKNOWN, Bounds, Formula, Incoming, stored


class QNegate(QLayerBaseSingleInput):  # type: ignore[misc]
    """-x, rounded first: a layer class as HGQ2's own, with an EBOP for every bit."""

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Of any shape."""
        return -(self.iq(inputs, training=training) if self.enable_iq else inputs)

    def _compute_ebops(self, shape: Any) -> Any:
        return ops.sum(self.iq.bits_(shape))


def _bounds(incoming: Incoming) -> Bounds:
    given = incoming.input()
    return UNKNOWN if given is None else (ranged(-given.high, -given.low, given.fraction_bits), None)


def _ebops(layer: Any) -> Formula:
    values = math.prod(layer.input.shape[1:])
    return lambda bits: stored(layer, bits["input"] * values)


NEGATE = LayerKind(usual, _bounds, _ebops)


def replay_negate(layer: Any, inputs: Any) -> Any:
    """On alkaid's arrays, which come in rounded."""
    return np.negative(inputs)


ALKAID_NEGATE = Handler(replay_negate)
