"""All fixed-point formats of a model in one list: what calibration sets, the audit reads and the backends print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops
from numpy.typing import NDArray

from qformers.nn.given import refuse_unusable
from qformers.quant.kinds import kind_of
from qformers.quant.kinds.record import Place, Quantiser


def quantisers(model: keras.Model) -> list[Quantiser]:
    """Every quantiser of a model of the vocabulary hgq, in the order of its layers."""
    return [quantiser for layer in model.layers for quantiser in kind_of(layer).quantisers(layer)]


def walk(model: keras.Model, inputs: dict[str, NDArray[Any]]) -> Iterator[tuple[Any, list[Any]]]:
    """Run a functional model layer by layer: yields (layer, its input tensors), then computes the layer.

    What the caller changes in a layer while it holds the yield is in force when the layer is computed.

    Raises:
        DataError: inputs without an answer, as `refuse_unusable`.
    """
    refuse_unusable(inputs)
    values: dict[int, Any] = {}
    for layer in model.layers:
        produced = layer.output
        if isinstance(layer, keras.layers.InputLayer):
            values[id(produced)] = ops.convert_to_tensor(inputs[layer.name], produced.dtype)
            continue
        arguments = [values[id(t)] for t in (layer.input if isinstance(layer.input, list) else [layer.input])]
        yield layer, arguments
        given, named = layer._inbound_nodes[0].arguments.fill_in(values)  # as it was called: attention takes several
        values[id(produced)] = layer(*given, **{**named, "training": False})


__all__ = ("Place", "Quantiser", "quantisers", "walk")
