"""From the layers of a saved QKeras model to an HGQ2 model that computes the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from qformers.config.names import legal
from qformers.errors import QkerasError, first_line, nearest
from qformers.interop.ends import ENDS
from qformers.interop.qkeras import dense, pooling, simple
from qformers.interop.qkeras.apply import Context
from qformers.interop.qkeras.emit import Wire
from qformers.interop.qkeras.reader import SavedLayer, SavedModel
from qformers.precision.fixed import Fixed
from qformers.precision.qkeras.rounding import Sigmoid

Builder = Callable[[Context, SavedLayer, list[Wire]], Wire]

_PAD, _CROP, _REPEAT = (simple.positions(wires) for wires in (simple.padding, simple.cropping, simple.upsampling))

LAYERS: dict[str, Builder] = {  # class name in the file -> what makes it
    **dict.fromkeys(("Dense", "QDense", "QDenseBatchnorm"), dense.dense),
    **dict.fromkeys(("Conv1D", "Conv2D", "QConv1D", "QConv2D", "QConv2DBatchnorm"), dense.convolution),
    **dict.fromkeys(
        ("DepthwiseConv1D", "DepthwiseConv2D", "QDepthwiseConv2D", "QDepthwiseConv2DBatchnorm"), dense.depthwise
    ),
    **dict.fromkeys(("QActivation", "Activation"), simple.activation),
    "ReLU": simple.relu, "Softmax": simple.softmax,
    **dict.fromkeys(("BatchNormalization", "QBatchNormalization"), simple.batch_norm),
    **dict.fromkeys(("MaxPooling1D", "MaxPooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D"), pooling.maximum),
    **dict.fromkeys(
        ("AveragePooling1D", "AveragePooling2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D",
         "QAveragePooling2D", "QGlobalAveragePooling2D"),
        pooling.average,
    ),
    "Add": simple.add, "Subtract": simple.subtract, "Multiply": simple.multiply, "Average": simple.average,
    "Maximum": simple.maximum, "Minimum": simple.minimum, "Concatenate": simple.concatenate,
    "Flatten": simple.reshape, "Reshape": simple.reshape, "Permute": simple.permute,
    **dict.fromkeys(("ZeroPadding1D", "ZeroPadding2D"), _PAD),
    **dict.fromkeys(("Cropping1D", "Cropping2D"), _CROP),
    **dict.fromkeys(("UpSampling1D", "UpSampling2D"), _REPEAT),
    **dict.fromkeys(
        ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
         "ActivityRegularization"),
        simple.same,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What the file of a QKeras model does not say.

    Attributes:
        inputs: format in which inputs arrive: one for all, or by name; "" leaves them to the model's first QActivation.
        sigmoid: what ``qkeras.set_internal_sigmoid`` was set to: hard (QKeras's default), smooth or real.
        logits: leave a last softmax or sigmoid away, so that the outputs are the scores in front of it.
    """

    inputs: str | Mapping[str, str] = ""
    sigmoid: Sigmoid = "hard"
    logits: bool = False


@dataclass(frozen=True)
class Imported:
    """A model that computes what QKeras computes, and what is to be known about it."""

    model: keras.Model
    notes: tuple[str, ...] = field(default=())


def parse_inputs(texts: Sequence[str]) -> str | dict[str, str]:
    """``["fixed<16,6>"]`` for all inputs, or ``["jet=fixed<16,6>", ...]`` by name, as `Options.inputs`.

    Raises:
        QkerasError: one for all beside others.
    """
    named = dict(text.split("=", 1) for text in texts if "=" in text)
    plain = [text for text in texts if "=" not in text]
    if len(plain) > 1 or (plain and named):
        raise QkerasError(f"--input takes one format for all inputs, or NAME=FORMAT for each. Received: {list(texts)}")
    return plain[0] if plain else named


def build(saved: SavedModel, options: Options) -> Imported:
    """Make the HGQ2 model.

    Args:
        saved: as read from the file.
        options: what the file does not say.

    Raises:
        QkerasError: a layer or quantiser without an exact form, named, with the reason and the way out.
    """
    context = Context(options.sigmoid)
    names = _legal_names(saved, context)
    wires: dict[str, Wire] = {}
    ends = _ends(saved, options)
    inputs: dict[str, Any] = {}
    _check_input_names(saved, options)
    waiting = dict(saved.layers)
    while waiting:
        ready = [name for name, layer in waiting.items() if all(source in wires for source in layer.inputs)]
        if not ready:
            raise QkerasError(f"the layers {', '.join(waiting)} take values that no layer of the file makes")
        for name in ready:
            layer = waiting.pop(name)
            config = {**layer.config, "activation": None} if name in ends else layer.config
            renamed = SavedLayer(names[name], layer.kind, config, layer.arrays, layer.inputs)
            sources = [wires[source] for source in layer.inputs]
            if layer.kind == "InputLayer":
                with _said_of(name):
                    wires[name], inputs[name] = _input(context, renamed, name, options)
            elif name in ends and layer.kind in ("Activation", "Softmax"):
                wires[name] = sources[0]
            elif layer.kind not in LAYERS:
                raise QkerasError(f"layer '{name}': {layer.kind} cannot be taken over{nearest(layer.kind, LAYERS)}")
            else:
                wires[name] = _made(context, renamed, sources)
    outputs = [wires[name].tensor for name in saved.outputs]
    if unread := [name for name, tensor in inputs.items() if any(tensor is output for output in outputs)]:
        raise QkerasError(f"the model gives its input '{unread[0]}' back: there is nothing to compute")
    if unused := [name for name in saved.inputs if name not in inputs]:
        raise QkerasError(f"'{unused[0]}' is an input of the model but no InputLayer")
    tensors = [inputs[name] for name in saved.inputs]
    model = keras.Model(tensors if len(tensors) > 1 else tensors[0], outputs if len(outputs) > 1 else outputs[0])
    context.emit.finish(model)
    _count_ebops(model)
    return Imported(model, tuple(context.emit.notes))


# what settings or arrays that Keras never saves make a layer run into, here or in Keras
ODD_SETTINGS = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)


@contextmanager
def _said_of(name: str) -> Iterator[None]:
    """Errors of the block are of a layer.

    Raises:
        QkerasError: as the block; or its settings and arrays do not go together.
    """
    try:
        yield
    except QkerasError:
        raise
    except ODD_SETTINGS as error:
        raise QkerasError(
            f"layer '{name}': its settings and arrays do not go together ({type(error).__name__}: "
            f"{first_line(error)}); the file is damaged, or of another version: save it again"
        ) from error


def _made(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    with _said_of(layer.name):
        return LAYERS[layer.kind](context, layer, sources)


def _input(context: Context, layer: SavedLayer, name: str, options: Options) -> tuple[Wire, Any]:
    shape = layer.config.get("batch_shape") or layer.config.get("batch_input_shape")
    if shape is None or any(not isinstance(size, int) for size in shape[1:]):
        raise QkerasError(f"input '{name}': firmware needs a fixed shape. Received: {shape}")
    tensor = keras.Input(tuple(shape[1:]), name=layer.name)
    wire = Wire(tensor, None, None)
    text = options.inputs if isinstance(options.inputs, str) else options.inputs.get(name, "")
    if not text:
        return wire, tensor
    try:
        form = Fixed.parse(text)
    except ValueError as error:
        raise QkerasError(f"input '{name}': {error}") from error
    return context.emit.round(wire, form, f"{layer.name}_port"), tensor


def _check_input_names(saved: SavedModel, options: Options) -> None:
    if isinstance(options.inputs, Mapping):
        for name in options.inputs:
            if name not in saved.inputs:
                raise QkerasError(f"the model has no input '{name}'{nearest(name, saved.inputs)}")


def _ends(saved: SavedModel, options: Options) -> set[str]:
    """Last layers that are left away, or whose activation is."""
    if not options.logits:
        return set()
    names = set()
    for name in saved.outputs:
        layer = saved.layers[name]
        last = "softmax" if layer.kind == "Softmax" else layer.config.get("activation")
        if isinstance(last, str) and last in ENDS:
            names.add(name)
    if not names:
        raise QkerasError("--logits leaves a last softmax or sigmoid away, and this model has none")
    return names


def _legal_names(saved: SavedModel, context: Context) -> dict[str, str]:
    """Layer names that C and Verilog can take; changed ones are noted."""
    names: dict[str, str] = {}
    for name in saved.layers:
        what = "input" if saved.layers[name].kind == "InputLayer" else "layer"
        names[name] = legal(name, what, names.values())
        if names[name] != name:
            context.emit.notes.append(f"layer '{name}' is called '{names[name]}' now, which C and Verilog can take")
    return names


def _count_ebops(model: keras.Model) -> None:
    """One pass in training mode, in which HGQ2 counts EBOPs; no format is learned, so nothing else changes."""
    zeros = [np.zeros((1, *tensor.shape[1:]), np.float32) for tensor in model.inputs]
    model(zeros if len(zeros) > 1 else zeros[0], training=True)
