"""Which values can occur: an interval and a grid for every value of a quantised model, from its formats and weights.

Computed forwards through the model by interval arithmetic in float64, which is exact here (all bounds are short binary
fractions): inputs can be anything that their formats hold, weights are what they are, every quantiser clips, wraps and
rounds as it does in the model. The bounds are sharp for each sum of independent values; where one value is used twice
they are safe, not sharp. A layer that is not known here gives values of unknown range, which the next quantiser bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.precision.fixed import Fixed
from qformers.quant.intervals import NO_BITS, Range, constant, einsum, ranged
from qformers.quant.quantisers import Quantiser, quantisers

Array = NDArray[np.float64]
MAX_TABLE = 4096  # entries of a table that is evaluated


@dataclass(frozen=True)
class Sums:
    """What the sums of one layer can become, over all its outputs.

    Attributes:
        layer, kind: its name and type.
        terms: values in one sum, the bias among them.
        low, high: of the whole sum.
        reach_low, reach_high: of any part of a sum, in whatever order it is added up, and of every single term.
        fraction_bits: of the finest term.
    """

    layer: str
    kind: str
    terms: int
    low: float
    high: float
    reach_low: float
    reach_high: float
    fraction_bits: int

    def format(self, saturates: bool = False) -> Fixed:
        """The smallest format that loses nothing.

        Args:
            saturates: a wrapping accumulator may overflow on the way, as long as the whole sum fits; a saturating one
                must hold every part of it.
        """
        low, high = (self.reach_low, self.reach_high) if saturates else (self.low, self.high)
        fraction = self.fraction_bits if self.fraction_bits > NO_BITS else 0
        step = 2.0**-fraction
        reach = max(-low, high + step if high > 0 else 0.0, step)
        integer = max(math.ceil(math.log2(reach)), 1 - fraction - (low < 0))
        return Fixed(low < 0, integer, fraction, "TRN", "SAT" if saturates else "WRAP")


def sums_of(model: keras.Model) -> dict[str, Sums]:
    """Layer -> its sums, for every layer of a quantised model that adds up more than two values."""
    found: dict[str, Sums] = {}
    ranges_of(model, found)
    return found


def ranges_of(model: keras.Model, sums: dict[str, Sums] | None = None) -> dict[str, Range | None]:
    """Layer -> range of its output; None where nothing is known about it.

    Args:
        model: vocabulary hgq, functional, every layer with one output.
        sums: filled with the sums of its layers.
    """
    by_layer: dict[str, dict[str, Quantiser]] = {}
    for quantiser in quantisers(model):
        by_layer.setdefault(quantiser.layer.name, {})[quantiser.name.removeprefix(f"{quantiser.layer.name}_")] = (
            quantiser
        )
    tensors: dict[int, Range | None] = {}
    found: dict[str, Range | None] = {}
    for layer in model.layers:
        handler = _HANDLERS.get(type(layer).__name__)
        arguments = layer.input if isinstance(layer.input, list) else [layer.input]
        step = _Step(layer, by_layer.get(layer.name, {}), [tensors.get(id(tensor)) for tensor in arguments])
        made = handler(step) if handler is not None else None
        if step.sums is not None and sums is not None:
            sums[layer.name] = step.sums
        result = step.quantisers.get("oq")
        if result is not None and result.place == "result":
            made = rounded(made, result, _shape(layer))
        found[layer.name] = tensors[id(layer.output)] = made
    return found


def rounded(given: Range | None, quantiser: Quantiser, shape: tuple[int, ...]) -> Range:
    """What a quantiser makes of values in `given` (None: of any values), for a tensor of this shape."""
    k, i, f = (np.broadcast_to(part[0] if part.ndim > len(shape) else part, shape) for part in quantiser.kif())
    dead = k + i + f <= 0
    step = 2.0 ** -f.astype(np.float64)
    high = 2.0 ** i.astype(np.float64) - step
    low = -k * (high + (0.0 if quantiser.core.overflow_mode == "SAT_SYM" else step))
    bits = f.astype(np.int64)
    if given is not None:
        first, last = (_on_grid(part, step, quantiser.core.round_mode) for part in (given.low, given.high))
        outside = (first < low) | (last > high)
        bits = np.where(outside, bits, np.minimum(bits, given.fraction_bits))
        if quantiser.core.overflow_mode == "WRAP":
            low, high = np.where(outside, low, first), np.where(outside, high, last)
        else:
            low, high = np.clip(first, low, high), np.clip(last, low, high)
    return ranged(np.where(dead, 0.0, low), np.where(dead, 0.0, high), np.where(dead, NO_BITS, bits))


@dataclass
class _Step:
    """A layer, its quantisers by the end of their names, the ranges of its inputs; `sums` is set by its handler."""

    layer: Any
    quantisers: dict[str, Quantiser]
    inputs: list[Range | None]
    sums: Sums | None = None

    def input(self, index: int = 0, many: bool = False) -> Range | None:
        """An input as the layer sees it, rounded."""
        quantiser = self.quantisers.get(f"iq{index}" if many else "iq")
        tensor = self.layer.input[index] if many else self.layer.input
        return (
            self.inputs[index] if quantiser is None else rounded(self.inputs[index], quantiser, tuple(tensor.shape[1:]))
        )


def _dense(step: _Step) -> Range | None:
    layer, given = step.layer, step.input()
    if given is None:
        return None
    bias = None if layer.bias is None else constant(_numpy(layer.qbias))
    made, step.sums = _summed(layer, layer.equation, given, constant(_numpy(layer.qkernel)), bias)
    activation = getattr(layer.activation, "__name__", "linear")
    if activation == "relu":
        return ranged(np.maximum(made.low, 0.0), np.maximum(made.high, 0.0), made.fraction_bits)
    return made if activation == "linear" else None


def _einsum(step: _Step) -> Range | None:
    a, b = (step.input(index, many=True) for index in range(2))
    if a is None or b is None:
        return None
    made, step.sums = _summed(step.layer, step.layer.equation, a, b, None)
    return made


def _add(step: _Step) -> Range | None:
    if len(step.inputs) != 2:
        return None
    a, b = step.input(0, many=True), step.input(1, many=True)
    if a is None or b is None:
        return None
    return ranged(a.low + b.low, a.high + b.high, np.maximum(a.fraction_bits, b.fraction_bits))


def _quantizer(step: _Step) -> Range:
    return rounded(step.inputs[0], next(iter(step.quantisers.values())), _shape(step.layer))


def _reshape(step: _Step) -> Range | None:
    given, shape = step.inputs[0], _shape(step.layer)
    if given is None:
        return None
    return Range(given.low.reshape(shape), given.high.reshape(shape), given.fraction_bits.reshape(shape))


def _table(step: _Step) -> Range | None:
    given = step.input()
    if given is None or "oq" not in step.quantisers:
        return None
    finest = int(given.fraction_bits.max())
    first, last = (float(part) * 2.0**finest for part in (given.low.min(), given.high.max()))
    if finest == NO_BITS or last - first >= MAX_TABLE:
        return rounded(None, step.quantisers["oq"], _shape(step.layer))
    values = np.arange(first, last + 1) * 2.0**-finest
    rank = len(step.layer.input.shape)
    made = constant(_numpy(step.layer(ops.convert_to_tensor(values.astype(np.float32).reshape(-1, *[1] * (rank - 1))))))
    shape = _shape(step.layer)
    low, high, bits = made.low.min(), made.high.max(), made.fraction_bits.max()
    return Range(np.full(shape, low), np.full(shape, high), np.full(shape, bits))


def _softmax(step: _Step) -> Range | None:
    layer, shape = step.layer, _shape(step.layer)
    if not getattr(layer, "stable", False) or any(axis is None for axis in layer.axes):
        return None
    top = float(_numpy(layer.exp_table(ops.zeros((1, *[1] * len(shape))))).max())  # the largest score's exponential
    most = float(_numpy(layer.inv_table(ops.full((1, *[1] * len(shape)), top))).max())  # the sum is that or more
    count = math.prod(layer.input.shape[axis] for axis in layer.axes)
    exp_bits, inverse_bits = (int(step.quantisers[name].kif()[2].max()) for name in ("exp_oq", "inv_oq"))
    step.sums = Sums(layer.name, type(layer).__name__, count, top, count * top, 0.0, count * top, exp_bits)
    return Range(np.zeros(shape), np.full(shape, top * most), np.full(shape, exp_bits + inverse_bits))


_HANDLERS: dict[str, Callable[[_Step], Range | None]] = {
    "QEinsumDense": _dense,
    "QEinsum": _einsum,
    "QAdd": _add,
    "Quantizer": _quantizer,
    "Reshape": _reshape,
    "QUnaryFunctionLUT": _table,
    "QSoftmax": _softmax,
}


def _summed(layer: Any, equation: str, a: Range, b: Range, bias: Range | None) -> tuple[Range, Sums]:
    """Products of two tensors, of which the second may have no batch axis, added up as an einsum says, and a bias."""
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


def _on_grid(values: Array, step: Array, mode: str) -> Array:
    scaled = values / step
    if mode == "RND_CONV":
        return np.asarray(np.rint(scaled) * step)
    return np.asarray((np.floor(scaled + 0.5) if mode == "RND" else np.floor(scaled)) * step)


def _numpy(tensor: Any) -> Array:
    return np.asarray(ops.convert_to_numpy(tensor), np.float64)


def _shape(layer: Any) -> tuple[int, ...]:
    return tuple(layer.output.shape[1:])


__all__: Sequence[str] = ("Range", "Sums", "ranges_of", "rounded", "sums_of")
