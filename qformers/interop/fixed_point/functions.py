"""Activations: cut at 0, in tables, or composed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras

from qformers.interop.fixed_point.step import Step
from qformers.nn.activation import name_of
from qformers.nn.elementwise import Elementwise
from qformers.nn.vocabulary import Tensor

# Composed of a ReLU and a table of what is left (`qformers.nn.activations`), or with a table of a known range
SMOOTH = {"gelu": "gelu", "silu": "silu", "swish": "silu", "tanh": "tanh"}
TABULATED = (
    "celu", "elu", "exponential", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "leaky_relu",
    "log_sigmoid", "mish", "relu6", "selu", "sigmoid", "soft_shrink", "softplus", "softsign", "sparse_plus",
    "sparse_sigmoid", "squareplus", "tanh_shrink",
)  # fmt: skip  # functions of one number; log_softmax, glu and the like are none


def applied(step: Step, x: Tensor, activation: Any) -> Tensor:
    """What an activation makes of values, in a layer that is called `step.name`.

    Raises:
        ConfigError: it has no form here.
    """
    name = name_of(activation)
    if name == "linear":
        return x
    if name == "relu":
        return step.make.rectified(x, step.name)
    if name == "softmax":
        return step.make.softmax(x, step.name)
    if name in SMOOTH:
        return step.make.nn.activated(x, SMOOTH[name], step.make.prefix(step.name))
    if name in TABULATED:
        return step.make.table(x, getattr(keras.activations, name), step.name)
    known = ", ".join(sorted({"linear", "relu", "softmax", *SMOOTH, *TABULATED}))
    raise step.refuse(f"its activation is no function of one number with a form here: write one of {known}", name)


def behind(step: Step, compute: Callable[[Step], Tensor]) -> Tensor:
    """A layer with an activation of its own: a ReLU is part of it, others are layers behind it."""
    name = name_of(step.layer.activation)
    if name == "linear":
        return compute(step)
    if name == "relu":
        return compute(replace(step, relu=True))
    sums = compute(step)
    step.make.nn.stands(step.name, "")
    last = step.named(step.make.name(f"{step.name}_{name}"))
    step.make.nn.stands(last.name, step.name)
    return applied(last, sums, step.layer.activation)


def activation(step: Step) -> Tensor:
    """Activation."""
    return applied(step, step.x, step.layer.activation)


def softmax(step: Step) -> Tensor:
    """Softmax over the last axis."""
    axis = step.layer.axis
    if axis not in (-1, len(step.x.shape) - 1):
        raise step.refuse("a softmax is over the last axis: put a Permute in front", f"axis={axis}")
    if len(step.inputs) > 1:
        raise step.refuse("a mask changes from event to event: add it to the scores", "a mask")
    return step.make.softmax(step.x, step.name)


def relu(step: Step) -> Tensor:
    """ReLU with its three settings."""
    layer = step.layer
    if layer.max_value is None and not layer.negative_slope and not layer.threshold:
        return step.make.rectified(step.x, step.name)
    slope, top, threshold = (float(part or 0.0) for part in (layer.negative_slope, layer.max_value, layer.threshold))
    settings = {"negative_slope": slope, "threshold": threshold}
    return step.make.table(
        step.x, Elementwise("relu", **settings, **({"max_value": top} if layer.max_value else {})), step.name
    )


def leaky(step: Step) -> Tensor:
    """LeakyReLU."""
    slope = float(step.layer.negative_slope)
    return step.make.table(step.x, Elementwise("leaky_relu", negative_slope=slope), step.name)


def elu(step: Step) -> Tensor:
    """ELU."""
    return step.make.table(step.x, Elementwise("elu", alpha=float(step.layer.alpha)), step.name)
