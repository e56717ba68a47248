"""Dense and convolution layers, with or without batch norm folded in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.errors import QkerasError
from qformers.interop.qkeras.apply import Context
from qformers.interop.qkeras.emit import Wire, letters
from qformers.interop.qkeras.reader import SavedLayer
from qformers.interop.qkeras.windows import patches
from qformers.interop.windows import each

Array = NDArray[np.float64]


def dense(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """Dense, QDense, QDenseBatchnorm: (batch, ..., in) -> (batch, ..., units)."""
    (x,) = sources
    outer = letters(len(x.shape) - 1)
    kernel, bias = constants(context, layer, "kernel")
    fits(layer, "kernel", kernel, (x.shape[-1], int(layer.config["units"])))
    y = context.emit.linear(x, f"b{outer}y,yz->b{outer}z", kernel, layer.name, bias)
    return activated(context, layer, y)


def convolution(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """Conv1D, Conv2D and QKeras's: the taps side by side (wires), then one einsum."""
    if int(layer.config.get("groups", 1)) != 1:
        raise QkerasError(f"layer '{layer.name}': groups={layer.config['groups']} is not supported; use depthwise")
    kernel, bias = constants(context, layer, "kernel")
    fits(layer, "kernel", kernel, (*_taps(layer, kernel), sources[0].shape[-1], int(layer.config["filters"])))
    if layer.config.get("mask") is not None:
        kernel = kernel * np.asarray(layer.config["mask"], np.float64)
    x = patches(context.emit, sources[0], layer, kernel.shape[:-2])
    places, taps = "pq"[: kernel.ndim - 2], "kl"[: kernel.ndim - 2]
    mixed = "".join(place + tap for place, tap in zip(places, taps, strict=True))
    equation = f"b{mixed}y,{taps}yz->b{places}z"
    return activated(context, layer, context.emit.linear(x, equation, kernel, layer.name, bias))


def depthwise(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """DepthwiseConv1D, DepthwiseConv2D and QKeras's, with any multiplier."""
    kernel, bias = constants(context, layer, "depthwise_kernel", multiplier_last=True)
    multiplier = int(layer.config.get("depth_multiplier", 1))
    fits(layer, "depthwise_kernel", kernel, (*_taps(layer, kernel), sources[0].shape[-1], multiplier))
    x = patches(context.emit, sources[0], layer, kernel.shape[:-2])
    places, taps = "pq"[: kernel.ndim - 2], "kl"[: kernel.ndim - 2]
    mixed = "".join(place + tap for place, tap in zip(places, taps, strict=True))
    if kernel.shape[-1] == 1:
        y = context.emit.linear(x, f"b{mixed}y,{taps}y->b{places}y", kernel[..., 0], layer.name, bias)
        return activated(context, layer, y)
    y = context.emit.linear(x, f"b{mixed}y,{taps}yz->b{places}yz", kernel, f"{layer.name}_split")
    y = context.emit.reshape(y, (*y.shape[:-2], y.shape[-2] * y.shape[-1]), f"{layer.name}_join")
    return activated(context, layer, y if bias is None else context.emit.scale(y, 1.0, layer.name, bias))


def activated(context: Context, layer: SavedLayer, y: Wire) -> Wire:
    """The activation that the layer itself has."""
    return context.activate(y, layer.config.get("activation"), f"{layer.name}_activation")


def constants(
    context: Context, layer: SavedLayer, what: str, multiplier_last: bool = False
) -> tuple[Array, Array | None]:
    """Kernel and bias as QKeras uses them; batch norm is folded in before they are quantised, as it does.

    Args:
        context: of the import.
        layer: dense or convolution.
        what: "kernel" or "depthwise_kernel".
        multiplier_last: whether the output channels are the last two axes of the kernel together.
    """
    kernel = array(layer, what)
    bias = array(layer, "bias") if layer.config.get("use_bias", True) else None
    kernel_quantiser = layer.config.get(f"{'depthwise' if what == 'depthwise_kernel' else 'kernel'}_quantizer")
    bias_quantiser = layer.config.get("bias_quantizer")
    if not layer.kind.endswith("Batchnorm"):
        made = context.weights(layer, what, kernel, kernel_quantiser)
        return made, None if bias is None else context.weights(layer, "bias", bias, bias_quantiser, kernel=False)
    inverse, shift = folding(layer, np.zeros(1, np.float32) if bias is None else bias)
    factor = inverse.reshape(kernel.shape[-2:]) if multiplier_last else inverse
    made = context.weights(layer, what, kernel * factor, kernel_quantiser)
    _note_ties(context, layer, kernel * factor, kernel_quantiser, made)
    return made, context.weights(layer, "bias", shift, bias_quantiser, kernel=False)


def _note_ties(context: Context, layer: SavedLayer, folded: Any, quantiser: Any, made: Array) -> None:
    """Note folded weights that a last-bit difference of 1/sqrt in float32 would round elsewhere."""
    silent = Context(context.sigmoid)
    near = sum(
        int(np.count_nonzero(silent.weights(layer, "kernel", folded * np.float32(1 + s), quantiser) != made))
        for s in (-3e-7, 3e-7)
    )
    if near:
        context.emit.notes.append(
            f"kernel of layer '{layer.name}': {near} of {made.size} values, batch norm folded in, lie within 3e-7 of a "
            "tie; 1/sqrt in float32 may decide otherwise on another machine"
        )


def folding(layer: SavedLayer, bias: Any) -> tuple[Any, Any]:
    """(factor on the kernel, bias) of the batch norm in a layer, in float32 and in QKeras's order."""
    variance, mean = array(layer, "moving_variance"), array(layer, "moving_mean")
    inverse = np.float32(1) / np.sqrt(variance + np.float32(layer.config["epsilon"]))
    if layer.config.get("scale", True):
        inverse = inverse * array(layer, "gamma")
    shift = inverse * (bias - mean)
    return inverse, shift + array(layer, "beta") if layer.config.get("center", True) else shift


def fits(layer: SavedLayer, what: str, values: Array, wanted: tuple[int, ...]) -> None:
    """Refuse an array of another shape than the settings of the layer and its input say.

    Raises:
        QkerasError: naming the layer, both shapes and the way out.
    """
    if values.shape != wanted:
        raise QkerasError(
            f"layer '{layer.name}' ({layer.kind}): its {what} has the shape {values.shape}, its settings and its input "
            f"say {wanted}: architecture and weights are of two models; give those of one"
        )


def _taps(layer: SavedLayer, kernel: Array) -> tuple[int, ...]:
    return each(layer.config["kernel_size"], kernel.ndim - 2)


def array(layer: SavedLayer, what: str) -> Any:
    """An array of the file.

    Raises:
        QkerasError: the file has none of this name for the layer.
    """
    if what not in layer.arrays:
        there = ", ".join(layer.arrays) or "none"
        raise QkerasError(
            f"layer '{layer.name}' ({layer.kind}) has no array '{what}' in the file (there are: {there}); load the "
            "model in QKeras and save it again"
        )
    return np.asarray(layer.arrays[what], np.float32)
