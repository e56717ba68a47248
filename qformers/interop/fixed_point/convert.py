"""A float Keras model, layer by layer, as a model of the layers that firmware has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import layers

from qformers.builds.build import Build
from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.interop.fixed_point import attention, functions, linear, merges, shapes
from qformers.interop.fixed_point.maker import Maker, Wire
from qformers.interop.fixed_point.step import Step
from qformers.nn.activation import name_of
from qformers.nn.hgq import Hgq
from qformers.nn.layers import Einsum, Factor, remembering
from qformers.nn.memory import called_with, inputs_of
from qformers.nn.moves import Part
from qformers.quant.fold import chained

Converter = Callable[[Step], Wire]

MOVED = (
    layers.Flatten, layers.Permute, layers.RepeatVector, layers.Reshape, layers.ZeroPadding1D, layers.ZeroPadding2D,
    layers.Cropping1D, layers.Cropping2D, layers.UpSampling1D, layers.UpSampling2D, Part,
)  # fmt: skip


@dataclass(frozen=True)
class Conversion:
    """What becomes of a class of float layers.

    Attributes:
        make: from a step to what its layer gives.
        becomes: in words, for the page about models of one's own.
    """

    make: Converter
    becomes: str


def _each(kinds: tuple[type, ...], make: Converter, becomes: str) -> dict[type, Conversion]:
    return dict.fromkeys(kinds, Conversion(make, becomes))


_CONV = "convolution, batch norm and ReLU behind it in one"
_SHARES = "products with shares 1/n in the format of weights, whatever n"
_SCALED = "factors and offsets, multiplied into what reads it, or a `QEinsumDense`"
_NORM = "its sums, root by four tables and products ([Precision](precision.md)); what it learned goes to the reader"
CONVERSIONS: dict[type, Conversion] = {
    layers.Dense: Conversion(linear.dense, "`QEinsumDense`, batch norms around it and a ReLU behind it in one"),
    layers.EinsumDense: Conversion(linear.einsum_dense, "`QEinsumDense` of the same equation, the same"),
    **_each((layers.Conv1D, layers.Conv2D, layers.Conv3D), linear.convolution, f"`QConv1D` ...: {_CONV}"),
    **_each((layers.DepthwiseConv1D, layers.DepthwiseConv2D), linear.depthwise, "`QConv` of a group per channel"),
    **_each((layers.SeparableConv1D, layers.SeparableConv2D), linear.separable, "`QConv` of groups, `QEinsumDense`"),
    layers.BatchNormalization: Conversion(linear.batch_norm, _SCALED),
    layers.Normalization: Conversion(linear.normalization, _SCALED),
    layers.Rescaling: Conversion(linear.rescaling, _SCALED),
    layers.LayerNormalization: Conversion(linear.layer_norm, _NORM),
    layers.RMSNormalization: Conversion(linear.rms_norm, _NORM),
    layers.MultiHeadAttention: Conversion(
        attention.attention, "four `QEinsumDense`, two `QEinsum`, `QSoftmax`; without masks"
    ),
    layers.Activation: Conversion(
        functions.activation, "ReLU: cut at 0; GELU, SiLU: ReLU and a table; softmax: `QSoftmax`; others: a table"
    ),
    layers.Softmax: Conversion(functions.softmax, "`QSoftmax`, over the last axis"),
    layers.ReLU: Conversion(functions.relu, "cut at 0; with settings a table"),
    layers.LeakyReLU: Conversion(functions.leaky, "a table"),
    layers.ELU: Conversion(functions.elu, "a table"),
    **_each(
        (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D, layers.GlobalMaxPooling1D,
         layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D),
        shapes.maximum, "that of HGQ2",
    ),
    **_each(
        (layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D, layers.GlobalAveragePooling1D,
         layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D),
        shapes.average, _SHARES,
    ),
    **_each(MOVED, shapes.moved, "itself: it computes nothing"),
    layers.Add: Conversion(merges.add, "`QAdd`, two at a time"),
    layers.Subtract: Conversion(merges.subtract, "`QSubtract`"),
    layers.Multiply: Conversion(merges.multiply, "`QMultiply`, two at a time"),
    layers.Maximum: Conversion(merges.maximum, "`QMaximum`, two at a time"),
    layers.Minimum: Conversion(merges.minimum, "`QMinimum`, two at a time"),
    layers.Average: Conversion(merges.average, "`QAdd`, then a share 1/n"),
    layers.Concatenate: Conversion(merges.concatenate, "itself"),
    layers.Dot: Conversion(merges.dot, "`QEinsum`, of one axis each, without normalize"),
    Einsum: Conversion(merges.einsum, "`QEinsum`"),
    Factor: Conversion(linear.factor, _SCALED),
}  # fmt: skip

TAKES_NORMS = (
    layers.Dense, layers.EinsumDense, layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D,
    layers.DepthwiseConv2D, layers.SeparableConv1D, layers.SeparableConv2D,
)  # fmt: skip  # a batch norm behind them, and a ReLU behind that, are part of them
TAKES_RELU = (*TAKES_NORMS, layers.BatchNormalization, layers.Normalization, layers.Rescaling)
INSTEAD = {  # layers without a form, and what to write in their place
    "Lambda": "a layer of Keras for each step; what Python code does cannot be seen",
    "Embedding": "one-hot inputs and a Dense without bias",
    "LSTM": "QGRU or QSimpleRNN of HGQ2, or convolutions",
    "GRU": "QGRU of HGQ2, trained as such",
    "SimpleRNN": "QSimpleRNN of HGQ2, trained as such",
    "GroupQueryAttention": "MultiHeadAttention",
    "Masking": "a mask as an input of its own, and Multiply",
    "PReLU": "LeakyReLU",
}


@dataclass(frozen=True)
class Absorbed:
    """Layers behind another one that are part of it.

    Attributes:
        norms: batch norms, in order.
        relu: whether a ReLU is the last of them.
        last: name of the last one.
    """

    norms: tuple[Any, ...]
    relu: bool
    last: str


def refuse_unknown(model: keras.Model) -> None:
    """Look for layers without a form, before anything is computed.

    Raises:
        ConfigError: naming the first one, and what to write in its place.
    """
    if all(isinstance(layer, layers.InputLayer) for layer in model.layers):
        raise ConfigError("the model has no layer that computes anything")
    for layer in model.layers:
        if isinstance(layer, layers.InputLayer) or type(layer) in CONVERSIONS:
            continue
        kind = type(layer).__name__
        instead = f"write {INSTEAD[kind]}" if kind in INSTEAD else f"write it of {_LIST}"
        raise ConfigError(f"layer '{layer.name}': {kind} has no form in fixed point; {instead}")


_LIST = "Dense, EinsumDense, convolutions, norms, MultiHeadAttention, activations, pooling and merges"


def converted(model: keras.Model, build: Build) -> keras.Model:
    """The quantised model of a float one, with its weights, in the formats of a build.

    Args:
        model: functional, of layers that are called once, with legal names (`qformers.interop.adopt`).
        build: its section `quant` has the formats.

    Raises:
        ConfigError: a layer without a form, or a format for a layer that is not there.
    """
    refuse_unknown(model)
    nn = Hgq(build.quant or QuantConfig())
    make = Maker(nn, [layer.name for layer in model.layers])
    absorbed = absorbed_in(model)
    inside = {name for one in absorbed.values() for name in (*(norm.name for norm in one.norms), one.last)}
    wires: dict[int, Wire] = {}
    inputs: dict[str, Any] = {}
    for layer in model.layers:
        if isinstance(layer, layers.InputLayer):
            inputs[layer.name] = keras.Input(tuple(layer.output.shape[1:]), name=layer.name)
            wires[id(layer.output)] = make.round(inputs[layer.name], make.name(f"{layer.name}_port"))
            continue
        if layer.name in inside:
            wires[id(layer.output)] = wires[id(layer.input)]
            continue
        step = _step(make, layer, wires, absorbed.get(layer.name))
        wire = CONVERSIONS[type(layer)].make(step)
        wires[id(layer.output)] = wire
        if layer.name in absorbed:
            nn.stands(layer.name, absorbed[layer.name].last)
    outputs = keras.tree.map_structure(lambda tensor: make.plain(wires[id(tensor)]), model._outputs_struct)
    return nn.model(inputs, outputs, model.name)


def _step(make: Maker, layer: Any, wires: Mapping[int, Wire], behind: Absorbed | None) -> Step:
    held = {key: _tensors(value) for key, value in called_with(layer).items()}
    given = layer._inbound_nodes[0].arguments
    inputs = tuple(wires[id(tensor)] for tensors in held.values() for tensor in tensors)
    options = {key: value for key, value in given.kwargs.items() if not held[key]}
    step = Step(make, layer, inputs, layer.name, options=options)
    if masks := [key for key, tensors in held.items() if "mask" in key and tensors]:
        raise step.refuse("a mask changes from event to event: multiply its input by it, or add it to scores", masks[0])
    if behind is None:
        return step
    return replace(step, after=chained(behind.norms) if behind.norms else None, relu=behind.relu)


def _tensors(value: Any) -> list[Any]:
    return [one for one in keras.tree.flatten(value) if isinstance(one, keras.KerasTensor)]


def absorbed_in(model: keras.Model) -> dict[str, Absorbed]:
    """For each layer that takes in what is behind it: batch norms of its channels, and a ReLU."""
    readers = _readers(model)
    found: dict[str, Absorbed] = {}
    for layer in model.layers:
        if not isinstance(layer, TAKES_RELU) or name_of(getattr(layer, "activation", None)) != "linear":
            continue
        if any(layer in one.norms for one in found.values()):
            continue
        norms: list[Any] = []
        following = _only(readers, layer)
        while isinstance(layer, TAKES_NORMS) and _normed_along_channels(layer, following):
            norms.append(following)
            following = _only(readers, following)
        relu = following is not None and _is_relu(following)
        if norms or relu:
            last = following if relu and following is not None else norms[-1]
            found[layer.name] = Absorbed(tuple(norms), relu, str(last.name))
    return found


def _readers(model: keras.Model) -> dict[int, list[Any]]:
    """Tensor -> the layers that read it; None stands for the outputs of the model."""
    readers: dict[int, list[Any]] = {}
    for layer in model.layers:
        if not isinstance(layer, layers.InputLayer):
            for tensor in inputs_of(layer):
                readers.setdefault(id(tensor), []).append(layer)
    for tensor in model.outputs:
        readers.setdefault(id(tensor), []).append(None)
    return readers


def _only(readers: Mapping[int, list[Any]], layer: Any) -> Any:
    found = readers.get(id(layer.output), [])
    return found[0] if len(found) == 1 else None


def _normed_along_channels(layer: Any, norm: Any) -> bool:
    """Whether a layer is followed by a batch norm of what its kernel tells apart."""
    if not isinstance(norm, layers.BatchNormalization) or norm.axis not in (-1, len(norm.input.shape) - 1):
        return False
    if not isinstance(layer, layers.EinsumDense):
        return True
    kernel, output = layer.equation.split(",")[1].split("->")
    return output[-1] in kernel


def _is_relu(layer: Any) -> bool:
    if isinstance(layer, layers.Activation):
        return name_of(layer.activation) == "relu"
    plain = isinstance(layer, layers.ReLU) and layer.max_value is None
    return bool(plain and not layer.negative_slope and not layer.threshold)


def float_twin(model: keras.Model) -> keras.Model:
    """The float model with a memory, as comparisons layer by layer want it."""
    named = {tensor.name: tensor for tensor in model.inputs}
    return remembering(named, model._outputs_struct, model.name, vocabulary="float32")
