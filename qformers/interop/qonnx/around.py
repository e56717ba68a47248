"""A layer with what HGQ2's base classes round around it: its inputs in front, its result behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from qformers.interop.qonnx.graph import Graph, NoForm, Tensor
from qformers.interop.qonnx.rounding import quantised
from qformers.quant.intervals import Range
from qformers.quant.kinds.listing import of_inputs, of_result

Write = Callable[[Graph, Any, Sequence[Tensor]], Tensor]  # (graph, layer, its inputs) -> its output


def around(g: Graph, layer: Any, inputs: Sequence[Tensor], write: Write, made: Range | None = None) -> Tensor:
    """Write a layer.

    Args:
        g: the graph.
        layer: of Keras.
        inputs: as they come in.
        write: what it computes of them once they are rounded.
        made: which values that can be, where it is known.
    """
    seen = list(inputs)
    for quantiser in of_inputs(layer):
        if quantiser.sees is not None:
            seen[quantiser.sees] = quantised(g, quantiser, seen[quantiser.sees])
    result = write(g, layer, seen)
    if made is not None:
        result = replace(result, range=made)
    for quantiser in of_result(layer):
        result = quantised(g, quantiser, result)
    return result


def activated(g: Graph, layer: Any, x: Tensor) -> Tensor:
    """The activation of a dense layer or convolution.

    Raises:
        NoForm: one that is rounded in float32, by every library in its own way.
    """
    name = getattr(layer.activation, "__name__", "linear")
    if name == "linear":
        return x
    if name == "relu":
        return g.node("Relu", x)
    behind = "QSoftmax" if name == "softmax" else f"QUnaryFunctionLUT('{name}')"
    raise NoForm(
        f"its activation '{name}' is computed in float32, by every library in its own way",
        f"leave it out there and put {behind} behind, which is a table",
    )
