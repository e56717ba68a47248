"""Settings and uses of layers that no backend here has exact firmware for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from hls.errors import Refusal
from qformers.interop.ends import ENDS
from qformers.nn.activation import end_of
from qformers.nn.memory import attended, inputs_of
from qformers.quant.kinds import kind_of
from qformers.quant.kinds.moves import plain_relu
from qformers.quant.kinds.windows import pooled

Fault = tuple[str, str]  # what is wrong with a layer, and what to do
SMALLEST = 2.0**-24  # factor or offset that is a number; the largest is its inverse
LONGEST_NUMBER = 12  # bits of a factor or an offset that is a number: a float32 holds its products with common values


def looked_up(layer: Any) -> Iterator[Fault]:
    """A dense layer or convolution with an activation that is looked up: a table of all that its sums can be."""
    name = getattr(layer.activation, "__name__", "linear")
    if name not in ("linear", "relu"):
        behind = "QSoftmax" if name == "softmax" else f"QUnaryFunctionLUT('{name}')"
        way_out = f"leave it out there and put {behind} behind, whose input is rounded"
        way_out += ", or leave it away where the model ends in it (qformers export --logits)" if name in ENDS else ""
        yield f"its activation '{name}' would be a table of all that its sums can be", way_out


def recurrent(layer: Any) -> Iterator[Fault]:
    """A layer through time that gives or keeps its state."""
    for setting in ("return_state", "stateful"):
        if getattr(layer, setting, False):
            yield f"it has {setting}=True", "leave it out: firmware starts every event anew and gives out values alone"


def rescaled(layer: Any) -> Iterator[Fault]:
    """A factor or an offset that is no short number of fixed point."""
    for what, value in (("factor", layer.scale), ("offset", layer.offset)):
        if np.ndim(value):
            way_out = "use hgq.layers.QBatchNormalization"
            yield f"its {what} is one for each channel. Received: {value}", way_out
        elif not (what == "offset" and value == 0.0) and not SMALLEST <= abs(float(value)) <= 1.0 / SMALLEST:
            way_out = f"take one from {SMALLEST:g} to {1 / SMALLEST:g}, of either sign"
            yield f"its {what} is out of reach. Received: {value}", way_out
        elif bits_of(float(value)) > LONGEST_NUMBER:
            way_out = "take a number of fewer bits, as powers of two are"
            yield f"its {what} has more than {LONGEST_NUMBER} bits. Received: {value}", way_out


def bits_of(number: float) -> int:
    """From the first to the last bit of a number that is set."""
    whole = int(abs(math.frexp(number)[0]) * 2**53)
    return (whole // max(whole & -whole, 1)).bit_length()


def attention(layer: Any) -> Iterator[Fault]:
    """Attention that is not called as alkaid reads it."""
    given = layer._inbound_nodes[0].arguments
    if named := [key for key, value in given.kwargs.items() if isinstance(value, keras.KerasTensor)]:
        yield f"its {' and '.join(named)} come by keyword", "call it with query, value, key, in this order"
    query, value, key, further = attended(layer)
    if further:
        yield f"it is called with {', '.join(further)}", "call it with query, value and key alone"
    fused = getattr(layer, "_fuse", "none")
    if (fused != "none" and key is not value) or (fused == "qkv" and query is not value):
        yield f"its projections are fused and read several tensors. Received: fuse='{fused}'", "set fuse='none'"


def padded_in_front(layer: Any) -> Iterator[Fault]:
    """A convolution with causal padding."""
    if layer.padding == "causal":
        before = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
        yield "causal padding has no firmware", f"put ZeroPadding1D(({before}, 0)) in front and set padding='valid'"


def channels_first(layer: Any) -> Iterator[Fault]:
    """Positions behind the channels."""
    if layer.data_format != "channels_last":
        yield f"firmware takes channels last. Received: {layer.data_format}", "set data_format='channels_last'"


def convolution(layer: Any) -> Iterator[Fault]:
    """All of these."""
    yield from looked_up(layer)
    yield from padded_in_front(layer)
    yield from channels_first(layer)


def uneven_mean(layer: Any) -> Iterator[Fault]:
    """A mean over positions whose number is no power of two, or changes at the edge."""
    yield from channels_first(layer)
    count = pooled(layer)
    if count & (count - 1):
        way_out = (
            "let it round what it reads, to sums of at most 16 bits, and what it gives where that is an output "
            "(enable_oq=True), pool over a power of two, or use QMeanPow2"
        )
        yield f"a mean over {count} positions is on no grid of fixed point", way_out
    if getattr(layer, "padding", "valid") != "valid":
        yield "a mean at the edge is over fewer positions, with padding='same'", "set padding='valid'"


def no_relu(layer: Any) -> Iterator[Fault]:
    """An activation that is another one than the larger of a value and 0."""
    if not plain_relu(layer):
        name = end_of(layer)
        use = "QSoftmax" if name == "softmax" else "QUnaryFunctionLUT with that function"
        end = ", or leave it away where the model ends in it (qformers export --logits)" if name in ENDS else ""
        yield "it is another function than the larger of a value and 0", f"use {use}{end}"


def between(layer: Any) -> Iterator[Fault]:
    """Values between others."""
    if (how := getattr(layer, "interpolation", "nearest")) != "nearest":
        yield f"it computes values between others (interpolation='{how}')", "set interpolation='nearest'"


def public(kinds: Iterable[type]) -> list[str]:
    """The names of layer classes that anybody can use, without those that architectures here are made of."""
    return sorted(kind.__name__ for kind in kinds if not kind.__module__.startswith("qformers"))


def aliases(model: Any, tensor: Any) -> Iterator[Any]:
    """The tensor, and its values at other places."""
    yield tensor
    for layer in model.layers:
        kind, given = kind_of(layer), inputs_of(layer)
        read = given if kind.joins else given[:1] if kind.moves else []
        if any(one is tensor for one in read):
            yield from aliases(model, layer.output)


def given_out(model: Any) -> Iterator[Refusal]:
    """Model inputs that are outputs as they come in, or at other places: no quantiser says a format for them."""
    outputs = {id(tensor) for tensor in model.outputs}
    for tensor in model.inputs:
        if any(id(alias) in outputs for alias in aliases(model, tensor)):
            reason = "an output gives it out as it comes in, and its port has the format of its other readers"
            yield Refusal(tensor.name, "InputLayer", reason, "leave that output out, or put a Quantizer in front of it")
