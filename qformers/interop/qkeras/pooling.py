"""Pooling over positions: sums by a power of two, and maxima as a + max(b - a, 0)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qformers.errors import QkerasError
from qformers.interop.qkeras.apply import Context
from qformers.interop.qkeras.dense import activated
from qformers.interop.qkeras.emit import Wire
from qformers.interop.qkeras.reader import SavedLayer
from qformers.interop.qkeras.windows import AXES, windows
from qformers.interop.windows import Window, each
from qformers.precision.qkeras.rounding import power_of_two

Array = NDArray[np.float64]


def _cut(layer: SavedLayer, x: Wire) -> tuple[Window, ...]:
    """The windows; of global pooling, one that sees everything."""
    rank = len(x.shape) - 1
    if layer.kind.startswith("Global") or layer.kind.startswith("QGlobal"):
        return windows(layer, x.shape, x.shape[:-1], 1)
    size = each(layer.config["pool_size"], rank)
    strides = layer.config.get("strides")
    return windows(layer, x.shape, size, size if strides is None else strides)


def _along(x: Wire, axis: int) -> str:
    """Equation that maps the positions h of one axis to p, by a kernel hp."""
    spelt = "bhwy" if len(x.shape) == 3 else "bhy"
    letter = spelt[1 + axis]
    return f"{spelt},{letter}p->{spelt.replace(letter, 'p')}"


def _ended(context: Context, layer: SavedLayer, x: Wire, y: Wire) -> Wire:
    """Global pooling drops the axes of positions, unless told to keep them."""
    if "Global" in layer.kind and not layer.config.get("keepdims", False):
        y = context.emit.reshape(y, (x.shape[-1],), f"{layer.name}_flat")
    return activated(context, layer, y)


def maximum(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """MaxPooling1D, MaxPooling2D and the global ones."""
    (x,) = sources
    y = x
    cut = _cut(layer, x)
    for axis, window in enumerate(cut):
        name = layer.name if axis == len(cut) - 1 else f"{layer.name}_{AXES[axis]}"
        y = _largest(context, y, window, axis, name)
    return _ended(context, layer, x, y)


def _largest(context: Context, x: Wire, window: Window, axis: int, name: str) -> Wire:
    """The largest of each window, along one axis. A padded tap repeats the nearest inside: nothing changes."""
    emit, equation = context.emit, _along(x, axis)
    inside = np.clip(window.positions(), 0, window.size - 1)
    picks = [np.eye(window.size)[:, inside[:, tap]] for tap in range(window.taps)]
    y = emit.linear(x, equation, picks[0], f"{name}_tap0" if len(picks) > 1 else name, count=False)
    for tap, pick in enumerate(picks[1:], 1):
        step = name if tap == len(picks) - 1 else f"{name}_max{tap}"
        other = emit.linear(x, equation, pick, f"{name}_tap{tap}", count=False)
        if tap > 1:
            y = emit.maximum(y, other, step)
            continue
        excess = emit.linear(x, equation, pick - picks[0], f"{name}_first", relu=True)
        low, high = np.maximum(*_bounds(y, other, "low")), np.maximum(*_bounds(y, other, "high"))
        y = Wire(emit.add(y, excess, step).tensor, low, high, y.fraction_bits)
    return y


def _bounds(a: Wire, b: Wire, side: str) -> tuple[Array, Array]:
    return np.asarray(getattr(a, side), np.float64), np.asarray(getattr(b, side), np.float64)


def average(context: Context, layer: SavedLayer, sources: list[Wire]) -> Wire:
    """AveragePooling1D, AveragePooling2D, the global ones and QKeras's: a sum times the (quantised) share.

    Of a number of values that is no power of two, and has no quantised share, the sum is looked up in a table of x / n.
    """
    (x,) = sources
    y, cut = x, _cut(layer, x)
    quantiser = layer.config.get("average_quantizer")
    area = int(np.prod([window.taps for window in cut]))
    if quantiser is not None and ("Global" in layer.kind or _is_power(area)):
        share = context.weights(layer, "share", np.float32(1.0) / np.float32(area), quantiser, kernel=False)
        factors: list[Array | None] = [np.asarray(share), *[np.ones(()) for _ in cut[1:]]]
        if any(window.outputs * window.stride > window.size for window in cut):
            raise QkerasError(f"layer '{layer.name}': an average over padding has no single share; use padding='valid'")
    elif not _is_power(area) and all(window.before == 0 and window.whole for window in cut):
        for axis, window in enumerate(cut):
            y = context.emit.linear(y, _along(y, axis), window.wires().sum(2), f"{layer.name}_{AXES[axis]}_sum")
        return _ended(context, layer, x, context.emit.quotient(y, area, layer.name))
    else:
        factors = [None] * len(cut)
    for axis, (window, factor) in enumerate(zip(cut, factors, strict=True)):
        kernel = window.wires().sum(2)
        if factor is None:
            counts = kernel.sum(0)
            if not all(_is_power(int(count)) for count in counts):
                odd = next(int(count) for count in counts if not _is_power(int(count)))
                raise QkerasError(
                    f"layer '{layer.name}': an average over {odd} values, and another number at the edge, is on no "
                    "grid of fixed point; set padding='valid'"
                )
            kernel = kernel / counts
        else:
            kernel = kernel * factor
        name = layer.name if axis == len(cut) - 1 else f"{layer.name}_{AXES[axis]}"
        y = context.emit.linear(y, _along(y, axis), kernel, name)
    return _ended(context, layer, x, y)


def _is_power(count: int) -> bool:
    try:
        power_of_two(float(count))
    except ValueError:
        return False
    return True
