"""Products of two tensors, of which the second may be a kernel, added up: dense layers, einsums, norms in inference."""

from __future__ import annotations

import math
from string import ascii_letters
from typing import Any

import keras
import numpy as np
from keras import ops

from qformers.quant.intervals import Range, Sums, constant, einsum, ranged
from qformers.quant.kinds.listing import fused, usual
from qformers.quant.kinds.record import UNKNOWN, Bounds, Formula, Incoming, LayerKind, stored, to_array


def _dense_bounds(incoming: Incoming) -> Bounds:
    return _of_kernel(incoming, spelled(incoming.layer.equation, len(incoming.layer.input.shape)))


def spelled(equation: str, rank: int) -> str:
    """An equation of a dense layer with a letter for each axis that its three dots stand for.

    Args:
        equation: e.g. "...c,co->...o".
        rank: of the input, the batch axis included.
    """
    if "..." not in equation:
        return equation
    named = equation.partition(",")[0].replace("...", "")
    free = [letter for letter in ascii_letters if letter not in equation][: rank - len(named)]
    return equation.replace("...", "".join(free))


def _last_axis_bounds(incoming: Incoming) -> Bounds:
    """Of a dense layer without an equation, which sums the last axis."""
    outer = ascii_letters[: len(incoming.layer.input.shape) - 1]
    return _of_kernel(incoming, f"{outer}Y,YZ->{outer}Z")


def _of_kernel(incoming: Incoming, equation: str) -> Bounds:
    layer, given = incoming.layer, incoming.input()
    if given is None:
        return UNKNOWN
    bias = None if layer.bias is None else constant(to_array(layer.qbias))
    made, sums = _summed(layer, equation, given, constant(to_array(layer.qkernel)), bias)
    return activated(layer, made), sums


def activated(layer: Any, made: Range) -> Range | None:
    """What the activation of a layer makes of its sums; None where that is not known."""
    activation = getattr(layer.activation, "__name__", "linear")
    if activation == "relu":
        return ranged(np.maximum(made.low, 0.0), np.maximum(made.high, 0.0), made.fraction_bits)
    return made if activation == "linear" else None


def _einsum_bounds(incoming: Incoming) -> Bounds:
    return _of_two(incoming, incoming.layer.equation)


def _dot_bounds(incoming: Incoming) -> Bounds:
    """Of a product along one axis of each side, whose other axes follow each other."""
    first, second = (len(tensor.shape) for tensor in incoming.layer.input)
    axes = incoming.layer.axes
    one, other = (axes, axes) if isinstance(axes, int) else axes
    left = list(ascii_letters[:first])
    right = [left[0], *ascii_letters[first : first + second - 1]]
    right[other % second] = left[one % first]
    kept = [letter for letter in (*left, *right[1:]) if letter != left[one % first]]
    return _of_two(incoming, f"{''.join(left)},{''.join(right)}->{''.join(kept)}")


def _of_two(incoming: Incoming, equation: str) -> Bounds:
    a, b = incoming.input(0), incoming.input(1)
    if a is None or b is None:
        return UNKNOWN
    return _summed(incoming.layer, equation, a, b, None)


def _norm_bounds(incoming: Incoming) -> Bounds:
    """Of a batch norm in inference: a factor and an offset per channel, both rounded."""
    layer, given = incoming.layer, incoming.input()
    if given is None:
        return UNKNOWN
    axis = (layer.axis if isinstance(layer.axis, int) else layer.axis[0]) % len(layer.input.shape) - 1
    shape = [1] * len(given.shape)
    shape[axis] = given.shape[axis]
    factor, offset = (constant(to_array(part).reshape(shape)) for part in layer.qscaler_and_qoffset)
    ends = given.low * factor.low, given.high * factor.low
    bits = np.maximum(*np.broadcast_arrays(given.fraction_bits + factor.fraction_bits, offset.fraction_bits))
    return ranged(np.minimum(*ends) + offset.low, np.maximum(*ends) + offset.low, bits), None


def _summed(layer: Any, equation: str, a: Range, b: Range, bias: Range | None) -> tuple[Range, Sums]:
    total = einsum(equation, a, b)
    low, high, bits, down, up = total.low, total.high, total.fraction_bits, total.reach_low, total.reach_high
    if bias is not None:
        low, high = low + bias.low, high + bias.high
        down, up = down + np.minimum(bias.low, 0.0), up + np.maximum(bias.high, 0.0)
        bits = np.maximum(bits, bias.fraction_bits)
    made = ranged(low, high, bits)
    ends = (float(low.min()), float(high.max()), float(down.min()), float(up.max()))
    terms = total.terms + (bias is not None)
    return made, Sums(layer.name, type(layer).__name__, terms, *ends, int(made.fraction_bits.max()))


def _dense_ebops(layer: Any) -> Formula | None:
    if layer.parallelization_factor != layer.n_parallel:
        return None
    products = _size(layer.equation, layer.input.shape, layer._kernel.shape)
    outputs = math.prod(layer.full_output_shape[1:]) if layer.bias is not None else 0
    return lambda bits: stored(layer, bits["input"] * bits["weight"] * products + bits.get("bias", 0) * outputs)


def _einsum_ebops(layer: Any) -> Formula | None:
    products = _size(layer.equation, *(tensor.shape for tensor in layer.input))
    return lambda bits: stored(layer, bits["input0"] * bits["input1"] * products)


def _size(equation: str, *shapes: Any) -> int:
    """Products in an einsum for one event: the sizes of all its letters but the batch's."""
    operands = equation.split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for letters, shape in zip(operands, shapes, strict=True):
        sizes |= dict(zip(letters, shape, strict=True))
    return math.prod(size for letter, size in sizes.items() if letter != operands[0][0])


def _read_features(layer: Any) -> Any:
    """Constant kernels may pick one feature and leave the others."""
    inputs, kernel = layer.equation.split("->")[0].split(",")
    if layer.trainable or inputs[-1] not in kernel:
        return slice(None)
    others = tuple(axis for axis, letter in enumerate(kernel) if letter != inputs[-1])
    return np.any(to_array(layer._kernel) != 0, axis=others)


def _normed_outputs(layer: Any) -> tuple[Any, Any]:
    """Kernel and bias of an einsum whose outputs are normed (HGQ2 takes Keras' own epsilon there)."""
    scale = _inverse(layer, keras.config.epsilon())
    offset = ops.reshape(-layer.moving_mean * scale, layer._norm_offset_cast_shape)
    return ops.einsum(layer.fused_kernel_equation, layer.kernel, scale), layer.bias + offset


def _normed_inputs(layer: Any) -> tuple[Any, Any]:
    """Of a dense layer whose inputs are normed."""
    kernel = _inverse(layer, layer.epsilon)[:, None] * layer.kernel
    return kernel, layer.bias - ops.dot(layer.moving_mean, layer.qkernel)


def _inverse(layer: Any, epsilon: float) -> Any:
    return (layer.bn_gamma if layer.scale else 1.0) / ops.sqrt(layer.moving_variance + epsilon)


def _of_norm(layer: Any) -> tuple[Any, Any]:
    factor, offset = layer._scaler_and_offset()
    return factor, offset


DENSE = LayerKind(usual, _dense_bounds, _dense_ebops, used=_read_features)
EINSUM = LayerKind(usual, _einsum_bounds, _einsum_ebops)
LAST_AXIS = LayerKind(usual, _last_axis_bounds)
DOT = LayerKind(usual, _dot_bounds)
NORMED_OUTPUTS = LayerKind(fused(_normed_outputs), _dense_bounds)
NORMED_INPUTS = LayerKind(fused(_normed_inputs), _last_axis_bounds)
NORM = LayerKind(fused(_of_norm), _norm_bounds)
