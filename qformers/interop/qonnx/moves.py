"""Layers without arithmetic: those that put values elsewhere or pick some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qformers.interop.qonnx.graph import Graph, NoForm, Tensor
from qformers.quant.kinds.moves import places_of


def itself(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """A layer that only rounds."""
    return inputs[0]


def reshaped(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """Reshape and Flatten."""
    return g.reshape(inputs[0], layer.output.shape[1:])


def permuted(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """Permute."""
    return g.transpose(inputs[0], layer.dims)


def repeated(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """RepeatVector."""
    x = inputs[0]
    rows = g.reshape(x, (1, *x.shape))
    return g.node("Tile", rows, [1, layer.n, 1], shape=(layer.n, *x.shape))


def padded(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """ZeroPadding1D and ZeroPadding2D."""
    sides = [layer.padding] if np.ndim(layer.padding) == 1 else [*layer.padding]
    first = (
        [(0, 0), *sides, (0, 0)] if getattr(layer, "data_format", "") != "channels_first" else [(0, 0), (0, 0), *sides]
    )
    pads = np.asarray(first, np.int64).T.ravel()
    return g.node("Pad", inputs[0], pads, 0.0, shape=layer.output.shape[1:])


def picked(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """Part, Cropping and UpSampling: values of the flat input, by their places.

    Raises:
        NoForm: it computes values between others.
    """
    if (how := getattr(layer, "interpolation", "nearest")) != "nearest":
        raise NoForm(f"it computes values between others. Received: interpolation='{how}'", "set it to 'nearest'")
    x, places = inputs[0], places_of(layer)
    flat = g.reshape(x, (int(np.prod(x.shape)),), "flat")
    return g.reshape(g.node("Gather", flat, places.ravel(), shape=(places.size,), axis=1), places.shape)


def rectified(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """ReLU, also with a largest value, and Activation('relu').

    Raises:
        NoForm: another function.
    """
    if not hasattr(layer, "max_value"):
        name = getattr(layer.activation, "__name__", "")
        if name == "linear":
            return inputs[0]
        if name != "relu":
            raise NoForm(
                f"its function '{name}' is computed in float32, by every library in its own way",
                "use QUnaryFunctionLUT with that function, which is a table",
            )
        return g.node("Relu", inputs[0])
    if layer.negative_slope or layer.threshold:
        raise NoForm(
            f"it bends elsewhere than at 0. Received: negative_slope={layer.negative_slope}, "
            f"threshold={layer.threshold}",
            "use QUnaryFunctionLUT with that function, which is a table",
        )
    made = g.node("Relu", inputs[0])
    return made if layer.max_value is None else g.node("Min", made, float(layer.max_value), hint="most")


def joined(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """Concatenate."""
    axis = layer.axis % (len(inputs[0].shape) + 1)
    return g.node("Concat", *inputs, shape=layer.output.shape[1:], kind=g.kinds[inputs[0].name], axis=axis)


def largest(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """Largest: the axis stays, with length 1."""
    x = inputs[0]
    axis = layer.axis % (len(x.shape) + 1)
    top = g.node("ReduceMax", x, shape=layer.output.shape[1:], axes=[axis], keepdims=1)
    return top if layer.floor is None else g.node("Max", top, float(layer.floor), hint="floor")


def filled(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """QSymmetricFill: (P, H) -> (H, N, N), zeros where no pair is kept."""
    x, index = inputs[0], layer.index
    pairs, heads = x.shape
    with_zero = g.node("Pad", x, [0, 0, 0, 0, 1, 0], 0.0, shape=(pairs + 1, heads))
    places = np.where(index < 0, pairs, index)
    rows = g.node("Gather", with_zero, places.ravel(), shape=(places.size, heads), axis=1)
    return g.transpose(g.reshape(rows, (*places.shape, heads)), (3, 1, 2))
