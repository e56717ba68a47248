"""The values of a QKeras quantiser on given numbers: weights that stand, or all values of a grid (for a table)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.errors import QkerasError
from qformers.interop.qkeras.scales import EPSILON, Doubt, bits_scale, least_squares, linear_scale, nearest_power
from qformers.precision.qkeras.rounding import Sigmoid, power_of_two
from qformers.precision.qkeras.spelling import Spelling

Array = NDArray[Any]

SCALED = ("quantized_bits", "quantized_linear", "binary", "ternary")  # a kernel's alpha=None becomes auto_po2
SMALLEST = -126  # exponent of the smallest float32 that is not flushed to zero
STRAIGHT_THROUGH = (*SCALED, "quantized_relu", "quantized_po2", "quantized_relu_po2")


@dataclass(frozen=True)
class Values:
    """What a quantiser makes of numbers.

    Attributes:
        exact: float64, each value as the quantiser means it.
        single: float32, each value as QKeras computes it: ``x + (q - x)`` in float32, which is not quite q where x is
            much larger than q or has more bits.
        close: how many lie so close to a tie of a logarithm or another irrational number that the rounding of float32
            decides; QKeras then answers differently for the same number in different places of an array.
    """

    exact: NDArray[np.float64]
    single: NDArray[np.float32]
    close: int

    @property
    def off_grid(self) -> int:
        """How many values QKeras itself computes a little wrong."""
        return int(np.count_nonzero(self.single != self.exact))


def frozen(spelling: Spelling) -> Spelling:
    """The quantiser as a kernel has it: QKeras layers replace ``alpha=None`` by 'auto_po2' there, and only there."""
    if spelling.name not in SCALED or spelling["alpha"] is not None:
        return spelling
    changed = {**spelling.arguments, "alpha": "auto_po2"}
    if "symmetric" in changed:
        changed["symmetric"] = 1
    return replace(spelling, arguments=changed)


def quantise(spelling: Spelling, numbers: Any, sigmoid: Sigmoid = "hard") -> Values:
    """Apply a quantiser to numbers.

    Args:
        spelling: the quantiser; of a kernel, as `frozen` gives it.
        numbers: any shape; taken as float32, as QKeras does.
        sigmoid: see `exact.activation`.

    Raises:
        QkerasError: the values are on no grid (a scale that is no power of two), or random.
    """
    x = np.asarray(numbers, np.float32)
    if not np.isfinite(x).all():
        raise QkerasError(f"{spelling}: the numbers to be quantised must be finite. Received: {x[~np.isfinite(x)][0]}")
    doubt = Doubt()
    with np.errstate(divide="ignore", over="ignore"):
        exact = np.asarray(FUNCTIONS[spelling.name](spelling, x, doubt, sigmoid), np.float64)
    single = exact.astype(np.float32)
    if spelling.name in STRAIGHT_THROUGH and spelling.arguments.get("use_ste", True):
        passed = _passed(spelling, x)
        single = np.asarray(passed + (single - passed), np.float32)
    return Values(exact, single, doubt.close)


def _passed(spelling: Spelling, x: Array) -> Array:
    """What QKeras lets gradients pass through, and so adds to and takes from the result, in float32."""
    if spelling.name in ("binary", "ternary") and spelling["alpha"] is None:
        return np.tanh(x)
    if spelling.name not in ("quantized_relu", "quantized_relu_po2"):
        return x
    leaky = np.where(x < 0, np.float32(spelling["negative_slope"]) * x, x)
    top = spelling.arguments["max_value"] if spelling.name == "quantized_relu_po2" else None
    if spelling.name == "quantized_relu":
        integer, slope = int(spelling["integer"]), float(spelling["negative_slope"])
        top = 2.0**integer - 2.0 ** (integer - int(spelling["bits"]) + bool(slope))
    return np.asarray(leaky if top is None else np.where(x <= np.float32(top), leaky, np.float32(top)), np.float32)


def _scale(spelling: Spelling, scale: Any) -> Array:
    """A scale, refused unless each of it is a power of two (or nothing is scaled by it)."""
    array = np.asarray(scale, np.float64)
    for value in array.ravel():
        try:
            power_of_two(float(value))
        except ValueError:
            hint = "'auto_po2'" if spelling["alpha"] == "auto" else "a power of two"
            raise QkerasError(
                f"{spelling}: its scale is {value:.9g}, and fixed point holds scales that are powers of two; "
                f"train with alpha={hint} or alpha=1"
            ) from None
    return array


def _numbered(spelling: Spelling) -> Any:
    """alpha as a number or an array."""
    return 1.0 if spelling["alpha"] is None else np.asarray(spelling["alpha"], np.float32)


def _bits(spelling: Spelling, x: Array, doubt: Doubt, sigmoid: Sigmoid) -> Array:
    integer = 2.0 ** int(spelling["integer"])
    if isinstance(spelling["alpha"], str):
        steps, whole = bits_scale(x, spelling, doubt)
        used = np.broadcast_to(steps, x.shape)[whole != 0] if whole.any() else np.ones(1)
        _scale(spelling, used)
        return np.where(whole != 0, np.broadcast_to(steps, x.shape) * whole, 0.0) * integer
    signed, scale = bool(spelling["keep_negative"]), _scale(spelling, _numbered(spelling))
    magnitude = int(spelling["bits"]) - signed
    if magnitude == 0:
        return np.asarray(scale * np.where(x >= 0, 1.0, -1.0))
    top = 2.0**magnitude
    low = -top + bool(spelling["symmetric"]) if signed else 0.0
    whole = np.clip(np.rint(x.astype(np.float64) * top / integer), low, top - 1)
    return np.asarray(scale * whole * integer / top)


def _linear(spelling: Spelling, x: Array, doubt: Doubt, sigmoid: Sigmoid) -> Array:
    bits, signed = int(spelling["bits"]), bool(spelling["keep_negative"])
    sign_only = bits == 1 and signed
    top = 2.0 ** (bits - signed)
    low = -top + bool(spelling["symmetric"]) if signed else 0.0

    def whole(scale: Array) -> Array:
        if sign_only:
            half = np.float32(0.5)
            return np.rint(np.clip(x / scale, -half, half) - half) + half  # float32 takes -1e-8 for positive
        return np.rint(np.clip(x / scale, low, top - 1))

    if isinstance(spelling["alpha"], str):
        step = linear_scale(x, spelling, doubt, whole)
    else:
        step = np.asarray(_numbered(spelling) * 2.0 ** (int(spelling["integer"]) - bits + signed), np.float32)
    return np.asarray(whole(step) * _scale(spelling, step))


def _relu(spelling: Spelling, x: Array, doubt: Doubt, sigmoid: Sigmoid) -> Array:
    slope, integer = float(spelling["negative_slope"]), 2.0 ** int(spelling["integer"])
    top = 2.0 ** (int(spelling["bits"]) - bool(slope))
    wide = x.astype(np.float64)
    p = _internal_sigmoid(x / np.float32(integer), sigmoid) * top if spelling["use_sigmoid"] else wide * top / integer
    lift, unit = (1.0, 2.0) if spelling["use_sigmoid"] else (0.0, 1.0)  # a sigmoid is doubled and lowered again
    rounded = doubt.round(p) if spelling["use_sigmoid"] and sigmoid == "real" else np.rint(p)
    positive = integer * np.clip(unit * rounded / top - lift, 0, 1 - 1 / top)
    if not slope:
        return np.asarray(positive)
    below = np.clip(unit * np.rint(p * slope) / (slope * top) - lift, -1, 0)
    return np.asarray(positive + integer * slope * below)


def _internal_sigmoid(x: Array, sigmoid: Sigmoid) -> Array:
    wide = x.astype(np.float64)
    if sigmoid == "real":
        return np.asarray(1 / (1 + np.exp(-wide)))
    return np.clip((0.1875 if sigmoid == "smooth" else 0.5) * wide + 0.5, 0, 1)


def _tanh(spelling: Spelling, x: Array, doubt: Doubt, sigmoid: Sigmoid) -> Array:
    top = 2.0 ** (int(spelling["bits"]) - 1)
    if spelling["use_real_tanh"]:
        whole = doubt.round(np.tanh(x.astype(np.float64)) * top)
    else:
        p = (2 * _internal_sigmoid(x, sigmoid) - 1) * top
        whole = doubt.round(p) if sigmoid == "real" else np.rint(p)
    return np.clip(whole / top, -1 + bool(spelling["symmetric"]) / top, 1 - 1 / top)


def _sigmoid(spelling: Spelling, x: Array, doubt: Doubt, sigmoid: Sigmoid) -> Array:
    top = 2.0 ** int(spelling["bits"])
    real: Sigmoid = "real" if spelling["use_real_sigmoid"] else sigmoid
    p = _internal_sigmoid(x, real) * top
    whole = doubt.round(p) if real == "real" else np.rint(p)
    return np.clip(whole / top, bool(spelling["symmetric"]) / top, 1 - 1 / top)


def _refuse_stochastic(spelling: Spelling) -> None:
    if spelling["use_stochastic_rounding"]:
        raise QkerasError(f"{spelling}: stochastic rounding has no firmware; leave it out")


def _binary(spelling: Spelling, x: Array, doubt: Doubt, sigmoid: Sigmoid) -> Array:
    _refuse_stochastic(spelling)
    sign = np.where(x >= 0, 1.0, 0.0 if spelling["use_01"] else -1.0)
    if isinstance(spelling["alpha"], str):
        return _scale(spelling, least_squares(x, sign.astype(np.float32), spelling, doubt)) * sign
    return _scale(spelling, _numbered(spelling)) * sign


def _ternary(spelling: Spelling, x: Array, doubt: Doubt, sigmoid: Sigmoid) -> Array:
    _refuse_stochastic(spelling)
    if not isinstance(spelling["alpha"], str):
        threshold = np.float32(0.33 if spelling["threshold"] is None else spelling["threshold"])
        return _scale(spelling, _numbered(spelling)) * (np.abs(x) >= threshold) * np.sign(x)
    if spelling["threshold"] is not None:
        raise QkerasError(f"{spelling}: alpha={spelling['alpha']!r} finds the threshold; leave threshold out")
    axes = tuple(range(x.ndim - 1)) if x.ndim > 1 else None
    scale = np.asarray(2 * np.abs(x).max(axes, keepdims=True) / np.float32(3.0), np.float32)
    if spelling["alpha"] == "auto_po2":
        scale = nearest_power(scale, doubt)
    sign = np.zeros_like(x)
    for _ in range(int(spelling["number_of_unrolls"])):
        sign = ((np.abs(scale * np.rint(x / scale)) >= scale / 2) * np.sign(x)).astype(np.float32)
        scale = least_squares(x, sign, spelling, doubt)
    used = np.broadcast_to(scale, x.shape)[sign != 0] if sign.any() else np.ones(1)
    _scale(spelling, used)
    return np.where(sign != 0, np.broadcast_to(scale, x.shape) * sign.astype(np.float64), 0.0)


def _exponents(spelling: Spelling) -> tuple[int, int]:
    """Lowest and highest exponent, before a quadratic one is doubled."""
    greatest, bits = spelling["max_value"], int(spelling["bits"])
    if greatest is not None and greatest < 0:
        raise QkerasError(f"{spelling}: max_value must not be negative. Received: {greatest!r}")
    effective = bits - (spelling.name == "quantized_po2") - (greatest is None or greatest > 1)
    if effective < 0:
        raise QkerasError(f"{spelling}: has no bit for its exponent; give it more bits")
    high = 2**effective - 1
    return -(2**effective), 2 * (high // 2) if spelling["quadratic_approximation"] else high


def _power(spelling: Spelling, size: Array, doubt: Doubt) -> Array:
    """The power of two for sizes >= 0; below 1e-7 the lowest one."""
    low, high = _exponents(spelling)
    top = np.inf if spelling["max_value"] is None else np.float32(spelling["max_value"])
    factor = 2 if spelling["quadratic_approximation"] else 1
    clipped = np.clip(size, EPSILON, top).astype(np.float32)
    logarithm = np.log(np.sqrt(clipped) if factor == 2 else clipped) / np.float32(np.log(2.0))  # as float32 rounds it
    if spelling["log2_rounding"] == "floor":
        near = np.abs(logarithm - np.rint(logarithm)) < 1e-6
        doubt.close += int(np.count_nonzero(near))
        rounded = np.floor(logarithm)
    else:
        rounded = doubt.round(logarithm)
    exponent = np.where(size < EPSILON, low, factor * np.clip(rounded, low, high))
    return np.where(exponent < SMALLEST, 0.0, 2.0**exponent)


def _po2(spelling: Spelling, x: Array, doubt: Doubt, sigmoid: Sigmoid) -> Array:
    return np.where(x >= 0, 1.0, -1.0) * _power(spelling, np.abs(x), doubt)


def _relu_po2(spelling: Spelling, x: Array, doubt: Doubt, sigmoid: Sigmoid) -> Array:
    slope = np.float32(spelling["negative_slope"])
    positive = _power(spelling, np.maximum(x, 0), doubt)
    if slope == 0:
        return positive
    return np.where(x >= 0, positive, -_power(spelling, np.maximum(-x, 0) * slope, doubt))


FUNCTIONS: dict[str, Callable[[Spelling, Array, Doubt, Sigmoid], Array]] = {
    "quantized_bits": _bits,
    "quantized_linear": _linear,
    "quantized_relu": _relu,
    "quantized_tanh": _tanh,
    "quantized_sigmoid": _sigmoid,
    "binary": _binary,
    "ternary": _ternary,
    "quantized_po2": _po2,
    "quantized_relu_po2": _relu_po2,
}
