"""From a quantised Keras model to a QONNX file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from hgq.quantizer import Quantizer

from qformers.errors import QonnxError
from qformers.files import replacing
from qformers.interop.qonnx.around import around
from qformers.interop.qonnx.graph import Graph, NoForm, Tensor
from qformers.interop.qonnx.kinds import FORMS
from qformers.interop.qonnx.rounding import quantised, refuse_others
from qformers.nn.memory import inputs_of
from qformers.quant.intervals import Range
from qformers.quant.kinds import kind_of
from qformers.quant.quantisers import quantisers
from qformers.quant.ranges import ranges_of, wide_layers


@dataclass(frozen=True)
class Written:
    """A model as QONNX.

    Attributes:
        proto: the ``onnx.ModelProto``, of one event.
        layers: Keras layer -> the tensor that has its values, in the order of computation.
        outputs: names of the outputs, in the order of ``model.outputs``.
        nodes: operation -> how often it occurs.
        wrapped: quantisers whose values may wrap around, which standard nodes do.
        wide: layers in which a float32 may round, so that the order of sums counts.
    """

    proto: Any
    layers: Mapping[str, str]
    outputs: tuple[str, ...]
    nodes: Mapping[str, int]
    wrapped: tuple[str, ...]
    wide: tuple[str, ...]

    def save(self, path: Path) -> Path:
        """Write the file, whole or not at all."""
        import onnx

        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            onnx.save(self.proto, temporary, format="protobuf")
        return path


def written(model: keras.Model, facts: Mapping[str, str] | None = None) -> Written:
    """A model as QONNX.

    Args:
        model: functional, of layers that are called once and have one output; see `qformers.interop.adopt`.
        facts: kept in the metadata of the file.

    Raises:
        QonnxError: a float model, one in float64, or layers that have no form, all of them.
    """
    _refuse_float(model)
    names = _output_names(model)
    g = Graph(taken={*names, *(tensor.name for tensor in model.inputs)})
    made: dict[int, Tensor] = {}
    layers: dict[str, Tensor] = {}
    refused = _refused_quantisers(model)
    if refused:  # whose ranges nothing else here knows
        raise _refusal(refused)
    values: dict[str, Range | None] = {}
    after = ranges_of(model, seen=lambda incoming, range, sums: values.update({incoming.layer.name: range}))
    for layer in model.layers:
        out = layer.output
        if isinstance(layer, keras.layers.InputLayer):
            made[id(out)] = layers[layer.name] = g.input(layer.name, tuple(out.shape[1:]))
            continue
        inputs = [made[id(tensor)] for tensor in inputs_of(layer)]
        try:
            with g.inside(layer.name):
                tensor = _layer(g, layer, inputs, values[layer.name])
        except NoForm as fault:
            refused.append(_words(layer, fault))
            tensor = g.input(g.free(layer.name), tuple(out.shape[1:]))
        tensor = Tensor(tensor.name, tensor.shape, after[layer.name] or tensor.range)
        made[id(out)] = layers[layer.name] = tensor
    if refused:
        raise _refusal(refused)
    ends: list[Tensor] = []
    for tensor, name in zip(model.outputs, names, strict=True):
        before, end = made[id(tensor)], g.end(made[id(tensor)], name)
        ends.append(end)
        if before.name not in g.shapes:  # it has the name of the output now
            made[id(tensor)] = end
            layers = {layer: end if place.name == before.name else place for layer, place in layers.items()}
    proto = g.model([made[id(tensor)] for tensor in model.inputs], ends, model.name, facts or {})
    return Written(
        proto,
        {layer: place.name for layer, place in layers.items()},
        tuple(end.name for end in ends),
        Counter(node.op for node in g.nodes),
        tuple(g.wrapped),
        tuple(wide_layers(model)),
    )


def _refused_quantisers(model: keras.Model) -> list[str]:
    refused = []
    for quantiser in quantisers(model):
        try:
            refuse_others(quantiser)
        except NoForm as fault:
            refused.append(_words(quantiser.layer, fault))
    return refused


def _words(layer: Any, fault: NoForm) -> str:
    return f"  {layer.name} ({type(layer).__name__}): {fault}"


def _refusal(refused: list[str]) -> QonnxError:
    return QonnxError("\n".join(["QONNX cannot say this model exactly:", *refused]))


def _layer(g: Graph, layer: Any, inputs: list[Tensor], made: Range | None) -> Tensor:
    if type(layer) not in FORMS:
        known = sorted(kind.__name__ for kind in FORMS if not kind.__module__.startswith("qformers"))
        raise NoForm("it has no form in QONNX here", f"use one of {', '.join(known)}")
    form = FORMS[type(layer)]
    if isinstance(form, NoForm):
        raise form
    if isinstance(layer, Quantizer):  # itself is what it rounds by
        return quantised(g, next(iter(kind_of(layer).quantisers(layer))), inputs[0])
    return around(g, layer, inputs, form.write, made)


def _refuse_float(model: keras.Model) -> None:
    parts = (part for layer in model.layers for part in layer._flatten_layers())
    if not any(isinstance(part, Quantizer) for part in parts):
        raise QonnxError(
            f"model '{model.name}' is a float model, without a quantiser: give the quantised one (qat/model.keras of a "
            "run folder, or one of HGQ2's layers)"
        )
    for tensor in model.inputs:
        if tensor.dtype != "float32":
            raise QonnxError(
                f"model '{model.name}', input '{tensor.name}': QONNX is executed in float32. Received: {tensor.dtype}; "
                "build the model with float32"
            )


def _output_names(model: keras.Model) -> list[str]:
    """Name of each of ``model.outputs``; Keras sorts these by key, whatever the order of the dictionary."""
    if not isinstance(model.output, dict):
        return list(model.output_names)
    return list(keras.tree.flatten({key: key for key in model.output}))
