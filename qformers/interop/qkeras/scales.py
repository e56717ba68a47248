"""The scales that QKeras makes from the weights: ``alpha='auto'`` and ``'auto_po2'``, once the weights stand.

Arrays are float32 as in QKeras. A power of two comes from a rounded logarithm; where that logarithm lies so close to a
tie that the order of a sum could decide it, `Doubt` counts it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.errors import QkerasError
from qformers.precision.qkeras.spelling import Spelling

Array = NDArray[Any]

EPSILON = np.float32(1e-7)  # keras.backend.epsilon()
CLOSE = 2e-6  # distance from a tie, in units of the rounding, below which float32 may decide either way


@dataclass
class Doubt:
    """How many roundings of a logarithm or another irrational number were too close to call."""

    close: int = 0

    def round(self, numbers: Array) -> Array:
        """Round to the nearest whole number, ties to even, and count what lies close to a tie."""
        exact = np.asarray(numbers, np.float64)
        self.close += int(np.count_nonzero(np.abs(exact - np.floor(exact) - 0.5) < CLOSE * np.maximum(1, abs(exact))))
        return np.rint(exact)


def channel_axes(array: Array, scale_axis: Any = None) -> tuple[int, ...]:
    """The axes that share a scale: all but the last, or all but `scale_axis`."""
    kept = scale_axis if isinstance(scale_axis, list) else [array.ndim - 1 if scale_axis is None else scale_axis]
    return tuple(axis for axis in range(array.ndim) if axis not in kept)


def nearest_power(scale: Array, doubt: Doubt) -> Array:
    """The power of two next to each scale, by its logarithm."""
    return np.float32(2.0) ** doubt.round(np.log2(np.asarray(scale, np.float64) + EPSILON)).astype(np.float32)


def least_squares(x: Array, q: Array, spelling: Spelling, doubt: Doubt) -> Array:
    """The factor s per channel that minimises (x - s q)^2; per element for a vector. A power of two for auto_po2."""
    if x.ndim > 1:
        axes = channel_axes(x, spelling.arguments.get("scale_axis"))
        qx, qq = (x * q).mean(axes, np.float64, keepdims=True), (q * q).mean(axes, np.float64, keepdims=True)
    else:
        qx, qq = x * q, q * q
    scale = np.asarray(qx / (qq + EPSILON), np.float32)
    if spelling["alpha"] == "auto":
        return scale
    scale = nearest_power(scale, doubt)
    low, high = spelling.arguments.get("min_po2_exponent"), spelling.arguments.get("max_po2_exponent")
    return np.clip(scale, None if low is None else 2.0**low, None if high is None else 2.0**high)


def refuse_unknown(spelling: Spelling) -> None:
    """Raise for settings of a scale that are not supported here."""
    if spelling.arguments.get("elements_per_scale") is not None:
        raise QkerasError(f"{spelling}: elements_per_scale is not supported; leave it out")


def bits_scale(x: Array, spelling: Spelling, doubt: Doubt) -> tuple[Array, Array]:
    """(scale, whole numbers) of ``quantized_bits``: the values are their product times 2^integer."""
    refuse_unknown(spelling)
    bits = int(spelling["bits"])
    if bits < 2:
        raise QkerasError(f"{spelling}: one bit has no scale of its own; set alpha=1, or use binary()")
    x = x / np.float32(2.0 ** int(spelling["integer"]))
    top = np.float32(2 ** (bits - 1) - 1)

    def whole(scale: Array) -> Array:
        return np.asarray(np.sign(x) * np.minimum(np.floor(np.abs(x) / scale + np.float32(0.5)), top))

    axes = channel_axes(x, spelling["scale_axis"]) if x.ndim > 1 else (0,)
    if spelling["post_training_scale"] is not None:
        magnitude = bits - bool(spelling["keep_negative"])
        scale = np.asarray(spelling["post_training_scale"], np.float32) / np.float32(2.0**magnitude)
        return scale, whole(scale)
    scale = np.asarray(np.abs(x).max(axes, keepdims=True) * 2 / (top * 2), np.float32)
    if spelling["alpha"] == "auto_po2":
        scale = nearest_power(scale, doubt)
        for _ in range(5):
            scale = least_squares(x, whole(scale), spelling, doubt)
    return scale, whole(scale)


def linear_scale(x: Array, spelling: Spelling, doubt: Doubt, whole: Callable[[Array], Array]) -> Array:
    """The scale of ``quantized_linear``: the largest value is not clipped, or the best power of two from there."""
    bits, signed = int(spelling["bits"]), bool(spelling["keep_negative"])
    sign_only = bits == 1 and signed
    span = 1.0 if sign_only else 2.0 ** (bits - signed) - 1 + signed * (2.0 ** (bits - signed) - spelling["symmetric"])
    axes = channel_axes(x, spelling["scale_axis"])
    largest = (np.abs(x) * 2 if signed else x).max(axes, keepdims=True) if axes else (np.abs(x) * 2 if signed else x)
    scale = np.maximum(np.asarray(largest / np.float32(span), np.float32), EPSILON)
    if spelling["alpha"] == "auto":
        return scale
    scale = nearest_power(scale, doubt)
    for _ in range(1 if sign_only else 5):
        before, scale = scale, least_squares(x, whole(scale), spelling, doubt)
        if np.array_equal(before, scale):
            break
    return scale
