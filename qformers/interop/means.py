"""Means over a number of values that is no power of two: a sum, and a table of what Keras makes of x / n.

The table's format holds the quotients (`qformers.nn.table.Quotients`), so that what reads it rounds what Keras rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from string import ascii_lowercase
from typing import Any

import numpy as np
from hgq.layers import (
    QAveragePooling1D,
    QAveragePooling2D,
    QEinsumDense,
    QGlobalAveragePooling1D,
    QGlobalAveragePooling2D,
)
from hgq.quantizer import Quantizer

from qformers.interop.windows import each, slide
from qformers.nn.formats import exact_quantiser, fixed_quantiser, write_constant
from qformers.nn.lookups import looked_up_by
from qformers.nn.table import Quotients
from qformers.precision.fixed import Fixed
from qformers.quant.kinds import kind_of
from qformers.quant.kinds.windows import pooled

MEANS = (QAveragePooling1D, QAveragePooling2D, QGlobalAveragePooling1D, QGlobalAveragePooling2D)
SUM_BITS = 16  # of sums that are divided by a table: 65,536 entries


def looked_up(layer: Any) -> bool:
    """Whether a layer is a mean that becomes a sum and a table; others are left to the backends."""
    if not isinstance(layer, MEANS) or layer.data_format != "channels_last" or not layer.enable_iq:
        return False
    count = pooled(layer)
    if not count & (count - 1) or getattr(layer, "padding", "valid") != "valid":
        return False
    return _sum_form(layer, count).width <= SUM_BITS


def _sum_form(layer: Any, count: int) -> Fixed:
    """Holds each sum of so many values of the layer's input."""
    (reader,) = (one for one in kind_of(layer).quantisers(layer) if one.sees == 0)
    k, i, f = reader.kif()
    alive = k + i + f > 0
    if not alive.any():
        return Fixed(False, 1, 0)
    return Fixed(
        bool(k[alive].max()), int(i[alive].max()) + math.ceil(math.log2(count)), int(f[alive].max())
    )  # fmt: skip


def mean(layer: Any, name: Callable[[str], str], x: Any) -> Any:
    """The steps of such a layer, the last of which has its name.

    Args:
        layer: of which `looked_up` says so.
        name: from a wish to a name that no layer has.
        x: what it reads.
    """
    count = pooled(layer)
    rounded = _copied(layer.iq, x, name(f"{layer.name}_input"))
    sums = _sum(layer, rounded, name(f"{layer.name}_sum"))
    form = _sum_form(layer, count)
    first, last = round(form.low * 2.0**form.fraction_bits), round(form.high * 2.0**form.fraction_bits)
    function = Quotients(count, first, last, form.fraction_bits)
    ends = not layer.enable_oq
    y = looked_up_by(function, form, function.form, name(layer.name if ends else f"{layer.name}_quotient"))(sums)
    return y if ends else _copied(layer.oq, y, name(layer.name))


def _sum(layer: Any, x: Any, name: str) -> Any:
    """Of all values of a window, on wires: kernels of zeros and ones."""
    places = tuple(int(size) for size in x.shape[1:-1])
    inside = ascii_lowercase[: len(places)]
    if isinstance(layer, QGlobalAveragePooling1D | QGlobalAveragePooling2D):
        kernel, outer = np.ones(places), ""
        shape: tuple[int, ...] = (int(x.shape[-1]),)
        equation = f"z{inside}y,{inside}->zy"
        if layer.keepdims:
            shape = (*(1 for _ in places), shape[0])
            outer = ascii_lowercase[len(places) : 2 * len(places)]
            kernel, equation = kernel.reshape(*places, *shape[:-1]), f"z{inside}y,{inside}{outer}->z{outer}y"
    else:
        sides = zip(places, each(layer.pool_size, len(places)), each(layer.strides, len(places)), strict=True)
        windows = [slide(*side).wires().sum(axis=2) for side in sides]
        outer = ascii_lowercase[len(places) : 2 * len(places)]
        kernel = windows[0] if len(windows) == 1 else np.einsum("ac,bd->abcd", *windows)
        equation = f"z{inside}y,{inside}{outer}->z{outer}y"
        shape = (*kernel.shape[len(places) :], int(x.shape[-1]))
    (reader,) = (one for one in kind_of(layer).quantisers(layer) if one.sees == 0)
    k, i, f = (int(part.max()) for part in reader.kif())
    made = QEinsumDense(
        equation,
        shape,
        bias_axes=None,
        iq_conf=fixed_quantiser(Fixed(bool(k), i, f, "RND", "SAT")),
        kq_conf=exact_quantiser(),
        enable_ebops=False,
        name=name,
    )
    y = made(x)
    write_constant(made._kernel, made.kq, kernel.astype(np.float32))
    made.trainable = False
    return y


def _copied(quantiser: Any, x: Any, name: str) -> Any:
    """A quantiser of a layer as one of its own, with the same formats."""
    config = {**quantiser.get_config(), "name": name}
    twin = Quantizer.from_config(config)
    y = twin(x)
    for ours, theirs in zip(twin.variables, quantiser.variables, strict=True):
        ours.assign(theirs)
    return y
