"""Settings of layers that no backend here has exact firmware for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qformers.quant.kinds.moves import plain_relu
from qformers.quant.kinds.windows import pooled

Fault = tuple[str, str]  # what is wrong with a layer, and what to do


def looked_up(layer: Any) -> Iterator[Fault]:
    """A dense layer or convolution with an activation that is looked up: a table of all that its sums can be."""
    name = getattr(layer.activation, "__name__", "linear")
    if name not in ("linear", "relu"):
        way_out = f"leave it out there and put QUnaryFunctionLUT('{name}') behind, whose input is rounded"
        yield f"its activation '{name}' would be a table of all that its sums can be", way_out


def padded_in_front(layer: Any) -> Iterator[Fault]:
    """A convolution with causal padding."""
    if layer.padding == "causal":
        before = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
        yield "causal padding has no firmware", f"put ZeroPadding1D(({before}, 0)) in front and set padding='valid'"


def convolution(layer: Any) -> Iterator[Fault]:
    """Both."""
    yield from looked_up(layer)
    yield from padded_in_front(layer)


def uneven_mean(layer: Any) -> Iterator[Fault]:
    """A mean over positions whose number is no power of two, or changes at the edge."""
    count = pooled(layer)
    if count & (count - 1):
        way_out = "pool over a power of two, or use QMeanPow2, which divides by the next one"
        yield f"a mean over {count} positions is on no grid of fixed point", way_out
    if getattr(layer, "padding", "valid") != "valid":
        yield "a mean at the edge is over fewer positions, with padding='same'", "set padding='valid'"


def no_relu(layer: Any) -> Iterator[Fault]:
    """An activation that is another one than the larger of a value and 0."""
    if not plain_relu(layer):
        yield "it is another function than the larger of a value and 0", "use QUnaryFunctionLUT with that function"


def between(layer: Any) -> Iterator[Fault]:
    """Values between others."""
    if (how := getattr(layer, "interpolation", "nearest")) != "nearest":
        yield f"it computes values between others (interpolation='{how}')", "set interpolation='nearest'"
