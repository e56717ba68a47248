"""Tensors added, subtracted, multiplied or compared element by element, and sums along axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from qformers.interop.qonnx.graph import Graph, Tensor


def merged(op: str) -> Callable[[Graph, Any, Sequence[Tensor]], Tensor]:
    """Of two tensors, then the result and the next: Add, Sub, Mul, Max or Min."""

    def write(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
        rank = max(len(x.shape) for x in inputs)
        # of fewer axes: Keras puts the missing ones behind the batch's
        sides = [g.reshape(x, (*[1] * (rank - len(x.shape)), *x.shape)) for x in inputs]

        def of_two(one: Tensor, other: Tensor) -> Tensor:
            return g.node(op, one, other, shape=np.broadcast_shapes(one.shape, other.shape))

        return reduce(of_two, sides)

    return write


def average(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """QAveragePow2: the sum over the next power of two."""
    total = merged("Add")(g, layer, inputs)
    return g.node("Mul", total, 2.0 ** round(math.log2(1.0 / len(inputs))), hint="average")


def rescaled(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """Rescaling: times a number, plus a number."""
    scaled = g.node("Mul", inputs[0], float(layer.scale), hint="scaled")
    return g.node("Add", scaled, float(layer.offset), hint="shifted")


def along(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """QSum and QMeanPow2: along axes, times a power of two."""
    rank = len(inputs[0].shape) + 1
    axes = [axis % rank for axis in layer.axes]
    total = g.node("ReduceSum", inputs[0], axes, shape=layer.output.shape[1:], keepdims=int(layer.keepdims))
    return total if layer.scale == 1.0 else g.node("Mul", total, layer.scale, hint="scaled")
