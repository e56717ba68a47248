"""What a QKeras quantiser does to a value that flows, in fixed point: a rounding, shifted and scaled, or a table.

Found by experiment on QKeras 0.9 and qkeras-v3 1.2.1 (`tests/support/qkeras_truth.py`): values are rounded with ties to
even before they are clipped; `symmetric` takes the lowest value away; the argument `integer` does not count the sign;
`quantized_tanh` and `quantized_sigmoid` are piecewise linear unless told to be real; stochastic rounding is not
stochastic in inference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from qformers.errors import QkerasError
from qformers.precision.fixed import Fixed
from qformers.precision.qkeras.spelling import Spelling

Sigmoid = Literal["hard", "smooth", "real"]


@dataclass(frozen=True)
class Rounding:
    """y = factor * round(before * x) + offset, where ``round`` is a format: exact in fixed point for any input."""

    form: Fixed
    factor: float = 1.0  # a power of two
    offset: float = 0.0
    before: float = 1.0


@dataclass(frozen=True)
class Tabled:
    """A function that has to be tabled, for which the values that come in must lie on a grid of few bits."""

    spelling: Spelling


def activation(spelling: Spelling, sigmoid: Sigmoid = "hard") -> Rounding | Tabled:
    """The exact form of a quantiser on values that flow.

    Args:
        spelling: the quantiser.
        sigmoid: what ``qkeras.set_internal_sigmoid`` was set to; no file says it.

    Raises:
        QkerasError: there is none, with the reason.
    """
    return {
        "quantized_bits": _bits,
        "quantized_linear": _linear,
        "quantized_relu": _relu,
        "quantized_tanh": _tanh,
        "quantized_sigmoid": _sigmoid,
        "binary": _binary,
        "ternary": _ternary,
        "quantized_po2": _po2,
        "quantized_relu_po2": _po2,
    }[spelling.name](spelling, sigmoid)


def fixed_of(spelling: Spelling) -> Fixed:
    """The format of a quantiser that is nothing but one.

    Raises:
        QkerasError: it is more than a format, or none.
    """
    made = activation(spelling)
    if isinstance(made, Rounding) and (made.factor, made.offset, made.before) == (1.0, 0.0, 1.0):
        return made.form
    raise QkerasError(f"{spelling}: is not a fixed-point format alone; use quantized_bits or quantized_relu here")


def power_of_two(value: float) -> int:
    """The exponent of a power of two.

    Raises:
        ValueError: it is none.
    """
    mantissa, exponent = math.frexp(value)
    if mantissa != 0.5:
        raise ValueError(value)
    return exponent - 1


def scale_of(spelling: Spelling) -> float:
    """The number `alpha`, which scales the values of a quantiser.

    Raises:
        QkerasError: it depends on the data, differs by channel or is no power of two.
    """
    alpha = spelling["alpha"]
    if alpha is None:
        return 1.0
    if isinstance(alpha, str):
        raise QkerasError(
            f"{spelling}: alpha={alpha!r} makes the scale from the values of the batch, which firmware has not; "
            "set alpha=1 on values that flow ('auto_po2' is possible on weights)"
        )
    if isinstance(alpha, list):
        raise QkerasError(f"{spelling}: a scale per channel on values that flow has no single format; set alpha=1")
    try:
        power_of_two(float(alpha))
    except ValueError:
        raise QkerasError(
            f"{spelling}: fixed point holds scales that are powers of two. Received: alpha={alpha!r}; set alpha=1"
        ) from None
    return float(alpha)


def _bits(spelling: Spelling, sigmoid: Sigmoid) -> Rounding | Tabled:
    signed, scale = bool(spelling["keep_negative"]), scale_of(spelling)
    magnitude = int(spelling["bits"]) - signed
    if magnitude == 0:
        return _sign(scale, -scale)
    overflow: Any = "SAT_SYM" if signed and spelling["symmetric"] else "SAT"
    integer = int(spelling["integer"])
    return Rounding(Fixed(signed, integer, magnitude - integer, "RND_CONV", overflow), scale)


def _linear(spelling: Spelling, sigmoid: Sigmoid) -> Rounding | Tabled:
    """Unlike `quantized_bits`, alpha scales the range, too."""
    signed, scale = bool(spelling["keep_negative"]), scale_of(spelling)
    magnitude, integer = int(spelling["bits"]) - signed, int(spelling["integer"])
    if magnitude == 0:
        half = scale * 2.0 ** (integer - 1)
        return _sign(half, -half)
    overflow: Any = "SAT_SYM" if signed and spelling["symmetric"] else "SAT"
    integer += power_of_two(scale)
    return Rounding(Fixed(signed, integer, magnitude - integer, "RND_CONV", overflow))


def _relu(spelling: Spelling, sigmoid: Sigmoid) -> Rounding | Tabled:
    bits, integer = int(spelling["bits"]), int(spelling["integer"])
    if not spelling["is_quantized_clip"] and spelling["relu_upper_bound"] is not None:
        raise QkerasError(f"{spelling}: relu_upper_bound is on no grid of fixed point; leave is_quantized_clip=True")
    slope = float(spelling["negative_slope"])
    if spelling["use_sigmoid"] or slope:
        return Tabled(spelling)
    return Rounding(Fixed(False, integer, bits - integer, "RND_CONV", "SAT"))


def _tanh(spelling: Spelling, sigmoid: Sigmoid) -> Rounding | Tabled:
    bits = int(spelling["bits"])
    form = Fixed(True, 0, bits - 1, "RND_CONV", "SAT_SYM" if spelling["symmetric"] else "SAT")
    if spelling["use_real_tanh"] or sigmoid == "real" or bits == 1:
        return Tabled(spelling)
    return Rounding(form, before=0.375 if sigmoid == "smooth" else 1.0)


def _sigmoid(spelling: Spelling, sigmoid: Sigmoid) -> Rounding | Tabled:
    """1/2 + x/2 in steps of 2^-bits is x in steps of 2^(1 - bits), halved and lifted: ties stay ties, even even."""
    bits = int(spelling["bits"])
    if spelling["use_real_sigmoid"] or sigmoid == "real" or bits == 1:
        return Tabled(spelling)
    form = Fixed(True, 0, bits - 1, "RND_CONV", "SAT_SYM" if spelling["symmetric"] else "SAT")
    return Rounding(form, 0.5, 0.5, 0.375 if sigmoid == "smooth" else 1.0)


def _binary(spelling: Spelling, sigmoid: Sigmoid) -> Rounding | Tabled:
    if spelling["use_stochastic_rounding"]:
        raise QkerasError(f"{spelling}: stochastic rounding has no firmware; leave it out")
    scale = scale_of(spelling)
    return _sign(scale, 0.0 if spelling["use_01"] else -scale)


def _sign(high: float, low: float) -> Rounding:
    """`high` where x >= 0, else `low`: the sign bit, which is 0 or -1, scaled and lifted."""
    return Rounding(Fixed(True, 0, 0, "TRN", "SAT"), high - low, high)


def _ternary(spelling: Spelling, sigmoid: Sigmoid) -> Rounding | Tabled:
    if spelling["use_stochastic_rounding"]:
        raise QkerasError(f"{spelling}: stochastic rounding has no firmware; leave it out")
    scale_of(spelling)  # refuses what cannot be
    return Tabled(spelling)


def _po2(spelling: Spelling, sigmoid: Sigmoid) -> Rounding | Tabled:
    return Tabled(spelling)
