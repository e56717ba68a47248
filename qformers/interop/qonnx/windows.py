"""Convolutions and pooling: ONNX takes channels first, HGQ2's models have them last."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from qformers.interop.qonnx.around import activated
from qformers.interop.qonnx.graph import Graph, Tensor
from qformers.interop.qonnx.rounding import held
from qformers.quant.kinds import kind_of

Sizes = tuple[int, ...]


def convolution(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """QConv1D, QConv2D, QConv3D."""
    weight, *bias = (one for one in kind_of(layer).quantisers(layer) if one.place in ("weight", "bias"))
    kernel = ops.convert_to_numpy(layer.qkernel)  # (positions, channels, filters)
    last = kernel.ndim - 1
    kernels = held(g, weight, kernel, lambda array: array.transpose(last, last - 1, *range(last - 1)))
    read = [kernels, *(held(g, one, ops.convert_to_numpy(layer.qbias)) for one in bias)]

    def convolve(x: Tensor) -> Tensor:
        sizes, strides = tuple(layer.kernel_size), tuple(layer.strides)
        dilated = tuple(layer.dilation_rate)
        reach = tuple(rate * (size - 1) + 1 for rate, size in zip(dilated, sizes, strict=True))
        before, behind = _padding(layer.padding, x.shape[1:], reach, strides)
        shape = (layer.filters, *_places(x.shape[1:], reach, strides, before, behind))
        return g.node(
            "Conv", x, *read, shape=shape, kernel_shape=sizes, strides=strides, dilations=dilated,
            group=layer.groups, pads=(*before, *behind),
        )  # fmt: skip

    return activated(g, layer, _channels_first(g, layer, inputs[0], convolve))


def pooling(op: str) -> Callable[[Graph, Any, Sequence[Tensor]], Tensor]:
    """Of windows: MaxPool or AveragePool, whose mean is rounded in float32 where it is on no grid, as by Keras."""

    def write(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
        def pool(x: Tensor) -> Tensor:
            sizes, strides = tuple(layer.pool_size), tuple(layer.strides)
            before, behind = _padding(layer.padding, x.shape[1:], sizes, strides)
            shape = (x.shape[0], *_places(x.shape[1:], sizes, strides, before, behind))
            return g.node(op, x, shape=shape, kernel_shape=sizes, strides=strides, pads=(*before, *behind))

        return _channels_first(g, layer, inputs[0], pool)

    return write


def pooling_of_all(op: str) -> Callable[[Graph, Any, Sequence[Tensor]], Tensor]:
    """Of all positions: ReduceMax or ReduceMean."""

    def write(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
        x = inputs[0]
        last = layer.data_format == "channels_last"
        axes = list(range(1, len(x.shape))) if last else list(range(2, len(x.shape) + 1))
        return g.node(op, x, shape=layer.output.shape[1:], axes=axes, keepdims=int(layer.keepdims))

    return write


def _padding(how: str, given: Sizes, reach: Sizes, strides: Sizes) -> tuple[Sizes, Sizes]:
    """Zeros in front of every axis and behind it; of an odd number the larger part is behind."""
    if how == "valid":
        return (0,) * len(given), (0,) * len(given)
    if how == "causal":
        return tuple(window - 1 for window in reach), (0,) * len(given)
    totals = [
        max((math.ceil(size / stride) - 1) * stride + window - size, 0)
        for size, window, stride in zip(given, reach, strides, strict=True)
    ]
    return tuple(total // 2 for total in totals), tuple(total - total // 2 for total in totals)


def _places(given: Sizes, reach: Sizes, strides: Sizes, before: Sizes, behind: Sizes) -> Sizes:
    spans = (size + one + other for size, one, other in zip(given, before, behind, strict=True))
    return tuple((span - window) // stride + 1 for span, window, stride in zip(spans, reach, strides, strict=True))


def _channels_first(g: Graph, layer: Any, x: Tensor, write: Callable[[Tensor], Tensor]) -> Tensor:
    if layer.data_format != "channels_last":
        return write(x)
    rank = len(x.shape)
    made = write(g.transpose(x, (rank, *range(1, rank))))
    return g.transpose(made, (*range(2, rank + 1), 1))
