"""Values looked up: a table is a constant, and its index is computed exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hgq.layers import QAffinedUnaryFunctionLUT
from keras import ops

from qformers.interop.qonnx.graph import Graph, NoForm, Tensor
from qformers.interop.qonnx.rounding import quantised, zero_free
from qformers.quant.intervals import Range, constant
from qformers.quant.kinds import kind_of

MOST = 2**20  # entries of a table: 4 MB in the file


def table(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """QUnaryFunctionLUT and QAffinedUnaryFunctionLUT: the values of Keras in float32, rounded where one format serves.

    Raises:
        NoForm: what comes in has no format, or one of too many bits.
    """
    x = inputs[0]
    if x.range is None:
        raise NoForm("what comes in has no format, so that a table has no end", "set enable_iq=True")
    finest = int(zero_free(x.range).max())
    first, last = (round(float(end) * 2.0**finest) for end in (x.range.low.min(), x.range.high.max()))
    entries = last - first + 1
    if entries > MOST:
        raise NoForm(f"its table has {entries:,} entries, {MOST:,} is the most", "give its input fewer bits")
    values = _values(layer, (np.arange(first, last + 1, dtype=np.float64) * 2.0**-finest).astype(np.float32))
    whole = g.node("Mul", x, 2.0**finest, hint="in_steps")
    index = g.node("Cast", g.node("Sub", whole, float(first), hint="from_first"), kind="int64", hint="index", to=7)
    made = g.node("Gather", g.constant(values, "table"), index, shape=x.shape, hint="looked_up", axis=0)
    if not np.isfinite(values).all():
        return made
    seen = constant(values.astype(np.float64))
    low, high, bits = seen.low.min(), seen.high.max(), seen.fraction_bits.max()
    return replace(made, range=Range(*(np.broadcast_to(part, x.shape) for part in (low, high, bits))))


def _values(layer: Any, arguments: Any) -> Any:
    """What a table holds: rounded, if all elements are rounded alike."""
    given = ops.convert_to_tensor(arguments)
    if isinstance(layer, QAffinedUnaryFunctionLUT):
        given = given * layer.scale + layer.bias
    made = layer.activation(given)
    formats = layer.oq.quantizer.kif[1] if layer.enable_oq else None
    if formats is not None and ops.size(formats) == 1:
        made = layer.oq(ops.reshape(made, (-1, *[1] * (len(formats.shape) - 1))), training=False)
    return np.ravel(ops.convert_to_numpy(made)).astype(np.float32)


def softmax(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """QSoftmax: a table of exp, a sum, a table of 1/x, a product.

    Raises:
        NoForm: it takes a mask, or one of its tables has no form.
    """
    if len(inputs) > 1:
        raise NoForm("it takes a mask", "hide scores by adding to them in front of it")
    x = inputs[0]
    axes = sorted(axis % (len(x.shape) + 1) for axis in layer.axes)
    summed = tuple(1 if axis + 1 in axes else size for axis, size in enumerate(x.shape))
    parts = {quantiser.part: quantiser for quantiser in kind_of(layer).quantisers(layer)}
    if layer.stable:
        top = g.node("ReduceMax", x, shape=summed, hint="top", axes=axes, keepdims=1)
        x = replace(g.node("Sub", top, x, hint="below_top", shape=x.shape), range=_below(x.range))
        x = quantised(g, parts["exp_iq"], x)
    with g.inside("exp"):
        exp = quantised(g, parts["exp_oq"], table(g, layer.exp_table, [x]))
    total = g.node("ReduceSum", exp, axes, shape=summed, hint="sum", keepdims=1)
    total = replace(total, range=_summed(exp.range, axes, summed))
    with g.inside("inverse"):
        total = quantised(g, parts["inv_iq"], total)
        inverse = quantised(g, parts["inv_oq"], table(g, layer.inv_table, [total]))
    return g.node("Mul", exp, inverse, hint="weights")


def _below(given: Range | None) -> Range | None:
    """Of the largest of some values less one of them."""
    if given is None:
        return None
    span, bits = float(given.high.max() - given.low.min()), int(zero_free(given).max())
    shape = given.shape
    return Range(np.zeros(shape), np.full(shape, span), np.full(shape, bits))


def _summed(given: Range | None, axes: Sequence[int], shape: tuple[int, ...]) -> Range | None:
    if given is None:
        return None
    count = math.prod(given.shape[axis - 1] for axis in axes)
    low, high = count * float(given.low.min()), count * float(given.high.max())
    return Range(np.full(shape, low), np.full(shape, high), np.full(shape, int(zero_free(given).max())))
