"""QUnaryFunctionLUT, QSoftmax and layers of tables: values looked up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from hgq.layers import QConvT1D, QConvT2D, QEinsumDenseT
from keras import ops

from qformers.quant.intervals import NO_BITS, Range, Sums, constant
from qformers.quant.kinds.listing import before_rounding, of_inputs, of_result
from qformers.quant.kinds.record import (
    UNKNOWN,
    Bits,
    Bounds,
    Formula,
    Incoming,
    LayerKind,
    Quantiser,
    itself,
    rounded,
    stored,
    to_array,
)

MAX_TABLE = 4096  # entries of a table that is evaluated
MOST_VALUES = 4_000_000  # of a table whose elements have formats of their own
LOOK_UP = 1e-4  # HGQ2's weight of a bit of a table


def _of_table(layer: Any) -> Iterator[Quantiser]:
    yield from of_inputs(layer)
    if getattr(layer, "_oq", None) is not None:
        yield Quantiser(layer, "oq", "table", "table", layer._oq, lambda inputs: before_rounding(layer, inputs))


def _table_bounds(incoming: Incoming) -> Bounds:
    layer, shape, given, values = incoming.layer, incoming.shape, incoming.input(), incoming.at("table")
    if given is None or values is None:
        return UNKNOWN
    finest = int(given.fraction_bits.max())
    finest = 0 if finest == NO_BITS else finest  # an input without bits is always 0
    first, last = (float(part) * 2.0**finest for part in (given.low.min(), given.high.max()))
    if last - first >= MAX_TABLE:
        return rounded(None, values, shape), None
    arguments = np.arange(first, last + 1, dtype=np.float32) * np.float32(2.0**-finest)
    each = shape if any(quantiser.kif()[0].size > 1 for quantiser in incoming.quantisers) else (1,) * len(shape)
    if arguments.size * math.prod(each) > MOST_VALUES:
        return rounded(None, values, shape), None
    grid = np.broadcast_to(arguments.reshape(-1, *[1] * len(shape)), (arguments.size, *each))
    made = constant(to_array(layer(ops.convert_to_tensor(grid))))
    low, high, bits = made.low.min(axis=0), made.high.max(axis=0), made.fraction_bits.max(axis=0)
    return Range(*(np.array(np.broadcast_to(part, shape)) for part in (low, high, bits))), None


def _table_ebops(layer: Any) -> Formula | None:
    values = math.prod(layer.input.shape[1:])
    return lambda bits: _looked_up(layer, values, bits["input"], bits["table"])


def _looked_up(table: Any, values: int, argument: int, value: int) -> int:
    return stored(table, np.float32(values * 2**argument * value) * np.float32(LOOK_UP))


def _of_softmax(layer: Any) -> Iterator[Quantiser]:
    """Of its input, where it has one there, and of its two tables; without the maximum, exp has none in front."""

    def argument(inputs: list[Any]) -> Any:
        scores = layer.iq(inputs[0]) if layer.enable_iq else inputs[0]
        return ops.max(scores, axis=layer.axes, keepdims=True) - scores if layer.stable else scores

    def exponential(inputs: list[Any]) -> Any:
        seen = argument(inputs)
        return layer.exp_table.activation(layer.exp_table.iq(seen) if layer.stable else seen)

    def total(inputs: list[Any]) -> Any:
        return ops.sum(layer.exp_table(argument(inputs)), axis=layer.axes, keepdims=True)

    def inverse(inputs: list[Any]) -> Any:
        return layer.inv_table.activation(layer.inv_table.iq(total(inputs)))

    yield from of_inputs(layer)
    if layer.stable:
        yield Quantiser(layer, "exp_iq", "exp_input", "input", layer.exp_table.iq, argument)
    yield Quantiser(layer, "exp_oq", "exp_table", "table", layer.exp_table.oq, exponential)
    yield Quantiser(layer, "inv_iq", "inverse_input", "input", layer.inv_table.iq, total)
    yield Quantiser(layer, "inv_oq", "inverse_table", "table", layer.inv_table.oq, inverse)


def _softmax_bounds(incoming: Incoming) -> Bounds:
    layer, shape = incoming.layer, incoming.shape
    exp, inverse = incoming.at("exp_table"), incoming.at("inverse_table")
    if not layer.stable or any(axis is None for axis in layer.axes) or exp is None or inverse is None:
        return UNKNOWN
    top = float(to_array(layer.exp_table(ops.zeros((1, *[1] * len(shape))))).max())  # the largest score's exponential
    most = float(to_array(layer.inv_table(ops.full((1, *[1] * len(shape)), top))).max())  # the sum is that or more
    count = math.prod(layer.input.shape[axis] for axis in layer.axes)
    exp_bits, inverse_bits = (int(quantiser.kif()[2].max()) for quantiser in (exp, inverse))
    sums = Sums(layer.name, type(layer).__name__, count, top, count * top, 0.0, count * top, exp_bits)
    return Range(np.zeros(shape), np.full(shape, top * most), np.full(shape, exp_bits + inverse_bits)), sums


def _softmax_ebops(layer: Any) -> Formula | None:
    if not layer.stable or layer.enable_iq or layer.parallelization_factor > 0:
        return None
    shape = layer.input.shape
    values = math.prod(shape[1:])
    rows = math.prod(size for axis, size in enumerate(shape) if axis and axis not in layer.axes)

    def count(bits: Bits) -> int:
        exp, inverse = bits["exp_table"], bits["inverse_table"]
        own = values * bits["exp_input"] + (values - rows) * exp + values * exp * inverse
        tables = _looked_up(layer.exp_table, values, bits["exp_input"], exp)
        tables += _looked_up(layer.inv_table, rows, bits["inverse_input"], inverse)
        return stored(layer, own) + tables

    return count


def _softmax_counted(layer: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Itself and its two tables, of which that of 1/x reads one sum per row."""
    shape = tuple(layer.input.shape)
    yield from itself(layer)  # type: ignore[misc]
    yield layer.exp_table, [shape]
    yield layer.inv_table, [tuple(1 if axis in layer.axes else size for axis, size in enumerate(shape))]


def _windows(layer: Any, tensor: Any) -> Any:
    """What a convolution of tables has side by side; the values themselves of a dense layer of them."""
    if not isinstance(layer, QConvT1D | QConvT2D):
        return tensor
    images = ops.expand_dims(tensor, 2) if layer.rank == 1 else tensor
    windows = ops.image.extract_patches(images, **layer.im2col_params)
    return ops.squeeze(windows, 2) if layer.rank == 1 else windows


def _of_nets(layer: Any) -> Iterator[Quantiser]:
    """Of a layer with a small network, a table in firmware, for each pair of input and output: both ends of each."""

    spelled = isinstance(layer, QEinsumDenseT)

    def pairs(inputs: list[Any]) -> Any:
        if spelled:
            shape, repeated = layer._broadcast_shapes(tuple(ops.shape(inputs[0])))
            return ops.broadcast_to(ops.reshape(inputs[0], shape), repeated)
        return ops.repeat(ops.expand_dims(_windows(layer, inputs[0]), -1), layer.n_out, axis=-1)

    def values(inputs: list[Any]) -> Any:
        made = layer.module(ops.expand_dims(layer.iq(pairs(inputs)) if layer.enable_iq else pairs(inputs), -1))
        if spelled:
            return layer._apply_batch_norm(made)
        return layer.bn_module(made, training=False) / math.sqrt(layer.n_in) if layer.enable_bn else made

    if getattr(layer, "_iq", None) is not None:
        yield Quantiser(layer, "iq", "input", "input", layer._iq, pairs)
    yield Quantiser(layer, "toq", "table", "table", layer._toq, values)
    yield from of_result(layer)


NETS = LayerKind(_of_nets)
TABLE = LayerKind(_of_table, _table_bounds, _table_ebops)
SOFTMAX = LayerKind(_of_softmax, _softmax_bounds, _softmax_ebops, counted=_softmax_counted)
