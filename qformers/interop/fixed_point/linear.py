"""Dense layers, convolutions and norms."""

from __future__ import annotations

from string import ascii_letters
from typing import Any

import keras
import numpy as np

from qformers.interop.fixed_point.functions import behind
from qformers.interop.fixed_point.maker import Array, Scaled, Wire, channels_of, letters
from qformers.interop.fixed_point.step import Step
from qformers.nn.layers import keras_misplaces_bias
from qformers.nn.vocabulary import Norm, Tensor
from qformers.quant.fold import batch_norm_numbers, to_numpy
from qformers.quant.kinds.products import spelled


def dense(step: Step) -> Tensor:
    """Dense: (B, ..., in) -> (B, ..., units)."""
    outer = letters(len(step.first.shape) - 2)
    bias = _bias(step.layer, len(outer) + 1)
    equation = f"b{outer}y,yz->b{outer}z"
    return behind(step, lambda one: one.linear(one.first, equation, to_numpy(step.layer.kernel), bias))


def einsum_dense(step: Step) -> Tensor:
    """EinsumDense of any equation with the batch first."""
    layer = step.layer
    equation = batch_first(layer.equation, len(step.first.shape))
    inputs, rest = equation.split(",")
    output = rest.split("->")[1]
    if inputs[0] != "b" or output[:1] != "b" or "b" in rest.split("->")[0]:
        raise step.refuse("the events come first on both sides", layer.equation)
    shape = tuple(layer.output.shape[1:])
    if layer.bias is not None and keras_misplaces_bias(output[1:], shape, layer.bias_axes):
        raise step.refuse(
            "Keras adds a bias of this shape along another axis on TensorFlow: give it a bias along all axes from its "
            "first one", f"bias_axes={layer.bias_axes}"
        )  # fmt: skip
    bias = None if layer.bias is None else to_numpy(layer.bias)
    if bias is not None:
        bias = bias.reshape((1,) * (len(shape) - bias.ndim) + bias.shape)
    return behind(step, lambda one: one.linear(one.first, equation, to_numpy(layer.kernel), bias))


def batch_first(equation: str, rank: int) -> str:
    """An equation with a letter for each axis that its dots stand for, and "b" for the events."""
    equation = spelled(equation, rank)
    first = equation[0]
    if first != "b":
        spare = next(letter for letter in ascii_letters if letter not in equation)
        equation = equation.replace("b", spare).replace(first, "b")
    return equation


def convolution(step: Step) -> Tensor:
    """Conv1D, Conv2D, Conv3D."""
    layer = step.layer
    return behind(step, lambda one: _convolved(one, one.first, to_numpy(layer.kernel), layer.groups))


def depthwise(step: Step) -> Tensor:
    """DepthwiseConv1D, DepthwiseConv2D: a group for each channel."""
    return behind(step, lambda one: _by_channel(one, one.first, bias=True))


def separable(step: Step) -> Tensor:
    """SeparableConv1D, SeparableConv2D: channel by channel, then across channels."""
    layer = step.layer
    kernel = to_numpy(layer.pointwise_kernel)

    def both(one: Step) -> Tensor:
        first = Step(one.make, layer, one.inputs, one.make.name(f"{one.name}_depthwise"))
        x = _by_channel(first, one.first, bias=False)
        outer = letters(len(x.shape) - 2)
        return one.linear(
            x, f"b{outer}y,yz->b{outer}z", kernel.reshape(kernel.shape[-2:]), _bias(layer, len(outer) + 1)
        )  # fmt: skip

    return behind(step, both)


def _by_channel(step: Step, x: Wire, bias: bool) -> Tensor:
    kernel = to_numpy(step.layer.depthwise_kernel if hasattr(step.layer, "depthwise_kernel") else step.layer.kernel)
    *taps, channels, copies = kernel.shape
    return _convolved(step, x, kernel.reshape(*taps, 1, channels * copies), channels, bias)


def _convolved(step: Step, x: Wire, kernel: Array, groups: int, with_bias: bool = True) -> Tensor:
    layer, rank = step.layer, kernel.ndim - 2
    if layer.data_format != "channels_last":
        raise step.refuse("channels come last: put a Permute in front", layer.data_format)
    bias = to_numpy(layer.bias) if with_bias and layer.bias is not None else None
    padding = layer.padding
    if isinstance(x, Scaled):
        if groups == 1 and (padding == "valid" or not x.shift.any()):  # a padded place has no offset
            moved = (kernel * x.shift[:, None]).sum(axis=tuple(range(rank + 1)))
            bias = moved if bias is None else bias + moved
            kernel, x = kernel * x.scale[:, None], x.value
        else:
            x = step.make.plain(x)
    if step.after is not None:
        scale, shift = step.after
        kernel, bias = kernel * scale, shift + (0.0 if bias is None else bias * scale)
    if padding == "causal":
        reach = (kernel.shape[0] - 1) * layer.dilation_rate[0]
        x = keras.layers.ZeroPadding1D((reach, 0), name=step.make.name(f"{step.name}_padded"))(x)
        padding = "valid"
    settings: dict[str, Any] = {
        "strides": layer.strides, "padding": padding, "dilation_rate": layer.dilation_rate, "groups": groups
    }  # fmt: skip
    return step.make.convolution(x, kernel, step.name, bias, step.relu, **settings)


def _bias(layer: Any, rank: int) -> Array | None:
    if layer.bias is None:
        return None
    return to_numpy(layer.bias).reshape((1,) * (rank - 1) + (-1,))


def batch_norm(step: Step) -> Wire:
    """BatchNormalization in inference: a factor and an offset per channel, for the dense step behind it."""
    layer = step.layer
    if layer.axis not in (-1, len(step.first.shape) - 1):
        raise step.refuse("a norm is along the last axis: put a Permute in front", f"axis={layer.axis}")
    return _scaled(step, *batch_norm_numbers(layer))


def normalization(step: Step) -> Wire:
    """Normalization: (x - mean) / standard deviation along the last axis."""
    layer = step.layer
    if layer.invert or tuple(layer.axis) not in ((-1,), (len(step.first.shape) - 1,)):
        raise step.refuse("it is along the last axis, and not inverted", f"axis={layer.axis}, invert={layer.invert}")
    deviation = np.maximum(np.sqrt(to_numpy(layer.variance)).ravel(), keras.config.epsilon())
    return _scaled(step, 1.0 / deviation, -to_numpy(layer.mean).ravel() / deviation)


def rescaling(step: Step) -> Wire:
    """Rescaling: one factor and one offset, or one of each per channel."""
    size = channels_of(step.first)
    scale, shift = (
        np.broadcast_to(np.asarray(one, np.float64), (size,)) for one in (step.layer.scale, step.layer.offset)
    )
    return _scaled(step, scale, shift)


def factor(step: Step) -> Wire:
    """Factor: times a number."""
    size = channels_of(step.first)
    return _scaled(step, np.full(size, float(step.layer.factor)), np.zeros(size))


def _scaled(step: Step, scale: Array, shift: Array) -> Wire:
    """For the reader, or, where there is more behind it, as a layer."""
    x = step.first
    if isinstance(x, Scaled):
        x, scale, shift = x.value, x.scale * scale, x.shift * scale + shift
    if not step.relu:
        return Scaled(x, scale, shift, step.name)
    axes = letters(len(x.shape) - 1)
    return step.make.linear(x, f"b{axes},{axes[-1]}->b{axes}", scale, step.name, shift, axes[-1], relu=True)


def layer_norm(step: Step) -> Wire:
    """LayerNormalization over the last axis (`qformers.nn.norms`); what it has learned goes to the reader."""
    layer = step.layer
    learned = (layer.gamma, layer.beta)
    return _normed(step, "layer", layer.axis, layer.epsilon, learned)


def rms_norm(step: Step) -> Wire:
    """RMSNormalization over the last axis."""
    layer = step.layer
    return _normed(step, "rms", layer.axis, layer.epsilon, (layer.scale, None))


def _normed(step: Step, kind: Any, axis: Any, epsilon: float, learned: tuple[Any, Any]) -> Wire:
    axes = [axis] if isinstance(axis, int) else list(axis)
    if axes not in ([-1], [len(step.first.shape) - 1]):
        raise step.refuse("a norm is along the last axis: put a Permute in front", f"axis={axis}")
    y = step.make.nn.normalised(step.x, Norm(step.make.prefix(step.name), kind, epsilon=float(epsilon)))
    size = int(y.shape[-1])
    scale = np.ones(size) if learned[0] is None else to_numpy(learned[0])
    shift = np.zeros(size) if learned[1] is None else to_numpy(learned[1])
    return Scaled(y, scale, shift, step.name) if (scale != 1).any() or shift.any() else y
