"""QEinsumDense and QEinsum: products of two tensors, of which the second may be a kernel, added up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from qformers.quant.intervals import Range, Sums, constant, einsum, ranged
from qformers.quant.kinds.listing import usual
from qformers.quant.kinds.record import UNKNOWN, Bounds, Formula, Incoming, LayerKind, stored, to_array


def _dense_bounds(incoming: Incoming) -> Bounds:
    layer, given = incoming.layer, incoming.input()
    if given is None:
        return UNKNOWN
    bias = None if layer.bias is None else constant(to_array(layer.qbias))
    made, sums = _summed(layer, given, constant(to_array(layer.qkernel)), bias)
    activation = getattr(layer.activation, "__name__", "linear")
    if activation == "relu":
        return ranged(np.maximum(made.low, 0.0), np.maximum(made.high, 0.0), made.fraction_bits), sums
    return (made if activation == "linear" else None), sums


def _einsum_bounds(incoming: Incoming) -> Bounds:
    a, b = incoming.input(0), incoming.input(1)
    if a is None or b is None:
        return UNKNOWN
    return _summed(incoming.layer, a, b, None)


def _summed(layer: Any, a: Range, b: Range, bias: Range | None) -> tuple[Range, Sums]:
    total = einsum(layer.equation, a, b)
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


DENSE = LayerKind(usual, _dense_bounds, _dense_ebops, used=_read_features)
EINSUM = LayerKind(usual, _einsum_bounds, _einsum_ebops)
