"""Tables and formats of HEPT's distances in fixed point: what the grid of the logits decides."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qformers.models.coords import told
from qformers.nn.layers import serialisable
from qformers.nn.vocabulary import Form, Table, Tensor
from qformers.precision.fixed import Fixed

if TYPE_CHECKING:
    from qformers.nn.formats import Formats


@serialisable
def half_square(x: Tensor) -> Tensor:
    """x^2 / 2."""
    return 0.5 * x * x


def exact_differences(layer: str, scales: NDArray[np.float64]) -> Form:
    """Holds differences of the coordinates behind `layer`, times these powers of two, without rounding or overflow."""
    coarse, fine = (round(math.log2(limit(scales[scales > 0]))) for limit in (np.max, np.min))

    def form(formats: Formats) -> str:
        own = told(formats, layer)
        return str(Fixed(True, own.integer_bits + coarse, own.fraction_bits - fine, "RND", "SAT"))

    return form


def _half_squares(formats: Formats) -> str:
    form = Fixed.parse(formats.quant.differences)
    value = Fixed(False, max(2 * form.integer_bits - 1, 1), Fixed.parse(formats.quant.logits).fraction_bits)
    return f"ufixed<{value.width},{value.integer_bits},RND_CONV,SAT>"


# x^2 / 2 of differences, on the grid of the logits
HALF_SQUARES = Table(half_square, lambda formats: formats.quant.differences, _half_squares)
