"""Tables and formats of HEPT's attention in fixed point: what the grid of the logits and the table bits decide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.nn.layers import serialisable
from qformers.nn.softmax import EXP_INTEGER_BITS, lift_of
from qformers.nn.vocabulary import Form, Table, Tensor
from qformers.precision.fixed import Fixed

if TYPE_CHECKING:
    from qformers.nn.formats import Formats


@serialisable
def half_square(x: Tensor) -> Tensor:
    """x^2 / 2."""
    return 0.5 * x * x


@serialisable
def exp_minus(x: Tensor) -> Tensor:
    """exp(-x)."""
    return ops.exp(-x)


@serialisable
def reciprocal_of_sum(x: Tensor) -> Tensor:
    """1 / max(x, 1/2); the sums are at least 1."""
    return 1.0 / ops.maximum(x, 0.5)


def coords(formats: Formats) -> str:
    """Of the coordinates, unless the build file says something else of the layer that rounds them."""
    return formats.quant.coords


def coords_as_told(layer: str) -> Form:
    """Of the coordinates behind the layer that rounds them."""
    return lambda formats: str(_coords(formats, layer))


def _coords(formats: Formats, layer: str) -> Fixed:
    return formats.own(layer, "Quantizer", "input", formats.quant.coords)


def exact_differences(layer: str, scales: NDArray[np.float64]) -> Form:
    """Holds differences of the coordinates behind `layer`, times these powers of two, without rounding or overflow."""
    coarse, fine = (round(math.log2(limit(scales[scales > 0]))) for limit in (np.max, np.min))

    def form(formats: Formats) -> str:
        own = _coords(formats, layer)
        return str(Fixed(True, own.integer_bits + coarse, own.fraction_bits - fine, "RND", "SAT"))

    return form


def logits(formats: Formats) -> str:
    """Of lifted logits: none below 0, and fractions as before the lift."""
    lifted = int(math.log2(lift_of(formats.quant))) + 1
    return str(Fixed(False, lifted, Fixed.parse(formats.quant.logits).fraction_bits, "RND", "SAT"))


def _half_squares(formats: Formats) -> str:
    form = Fixed.parse(formats.quant.differences)
    value = Fixed(False, max(2 * form.integer_bits - 1, 1), Fixed.parse(formats.quant.logits).fraction_bits)
    return f"ufixed<{value.width},{value.integer_bits},RND_CONV,SAT>"


def _exp_argument(formats: Formats) -> str:
    return f"ufixed<{EXP_INTEGER_BITS + formats.quant.exp_input_fraction_bits},{EXP_INTEGER_BITS},RND,SAT>"


def total(terms: int) -> Form:
    """Holds the sum of so many exponentials exactly."""
    return lambda formats: str(Fixed(False, terms.bit_length(), formats.quant.exp_fraction_bits, "RND", "SAT"))


# x^2 / 2 of differences, on the grid of the logits
HALF_SQUARES = Table(half_square, lambda formats: formats.quant.differences, _half_squares)
# exp(-x) on [0, 8); behind it the table holds 0
EXPONENTIAL = Table(
    exp_minus, _exp_argument, lambda formats: f"ufixed<{1 + formats.quant.exp_fraction_bits},1,RND_CONV,SAT>"
)


def reciprocals(terms: int) -> Table:
    """1/x on [1, terms]."""
    integer = terms.bit_length()
    return Table(
        reciprocal_of_sum,
        lambda formats: f"ufixed<{integer + formats.quant.inverse_input_fraction_bits},{integer},RND,SAT>",
        lambda formats: f"ufixed<{1 + formats.quant.inverse_fraction_bits},1,RND_CONV,SAT>",
    )
