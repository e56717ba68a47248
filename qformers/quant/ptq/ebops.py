"""HGQ2's count of EBOPs in closed form, for layers whose formats each hold for a whole tensor.

HGQ2 spreads the widths over whole tensors and sums, a thousand times as slow as these products. The numbers are equal
(tests/quant/test_ptq_models.py); a layer that is not known here is counted by HGQ2 itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from qformers.precision.fixed import Fixed

Bits = Mapping[str, int]  # end of a quantiser's name ("iq", "kq", "exp_oq", ...) -> bits as HGQ2 counts them
Formula = Callable[[Bits], int]
ADDER = 0.65  # HGQ2's weight of an adder's bit
LOOK_UP = 1e-4  # and of a bit of a table


def bits_of(form: Fixed) -> int:
    """Bits of a format as they enter EBOPs: the sign counts where values saturate, not for weights (SAT_SYM)."""
    magnitude = max(form.integer_bits + form.fraction_bits, 0)
    return magnitude + (form.signed if form.overflow == "SAT" else 0)


def formula_of(layer: Any) -> Formula | None:
    """EBOPs of a layer as a function of its bits, each part rounded down as HGQ2 stores it; None for unknown layers."""
    if getattr(layer, "ebops_factor", 1.0) != 1.0:
        return None
    maker = _MAKERS.get(type(layer).__name__)
    return None if maker is None else maker(layer)


def _dense(layer: Any) -> Formula | None:
    if layer.parallelization_factor != layer.n_parallel:
        return None
    products = _size(layer.equation, layer.input.shape, layer._kernel.shape)
    outputs = math.prod(layer.full_output_shape[1:]) if layer.bias is not None else 0
    return lambda bits: _stored(bits["iq"] * bits["kq"] * products + bits.get("bq", 0) * outputs)


def _einsum(layer: Any) -> Formula | None:
    products = _size(layer.equation, *(tensor.shape for tensor in layer.input))
    return lambda bits: _stored(bits["iq0"] * bits["iq1"] * products)


def _add(layer: Any) -> Formula | None:
    shapes = {tuple(tensor.shape[1:]) for tensor in layer.input}
    if len(layer.input) != 2 or len(shapes) != 1:
        return None
    values = math.prod(shapes.pop())
    return lambda bits: _stored(np.float32(max(bits["iq0"], bits["iq1"]) * values) * np.float32(ADDER))


def _table(layer: Any) -> Formula | None:
    values = math.prod(layer.input.shape[1:])
    return lambda bits: _looked_up(values, bits["iq"], bits["oq"])


def _softmax(layer: Any) -> Formula | None:
    if not layer.stable or layer.enable_iq or layer.parallelization_factor > 0:
        return None
    shape = layer.input.shape
    values = math.prod(shape[1:])
    rows = math.prod(size for axis, size in enumerate(shape) if axis and axis not in layer.axes)

    def count(bits: Bits) -> int:
        exp, inverse = bits["exp_oq"], bits["inv_oq"]
        own = values * bits["exp_iq"] + (values - rows) * exp + values * exp * inverse
        tables = _looked_up(values, bits["exp_iq"], exp) + _looked_up(rows, bits["inv_iq"], inverse)
        return _stored(own) + tables

    return count


_MAKERS: dict[str, Callable[[Any], Formula | None]] = {
    "QEinsumDense": _dense,
    "QEinsum": _einsum,
    "QAdd": _add,
    "QUnaryFunctionLUT": _table,
    "QSoftmax": _softmax,
}


def _looked_up(values: int, argument: int, value: int) -> int:
    return _stored(np.float32(values * 2**argument * value) * np.float32(LOOK_UP))


def _stored(ebops: Any) -> int:
    return int(np.float32(ebops))  # HGQ2 computes in float32 and stores whole numbers


def _size(equation: str, *shapes: Any) -> int:
    """Products in an einsum for one jet: the sizes of all its letters but the batch's."""
    operands = equation.split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for letters, shape in zip(operands, shapes, strict=True):
        sizes |= dict(zip(letters, shape, strict=True))
    return math.prod(size for letter, size in sizes.items() if letter != operands[0][0])
