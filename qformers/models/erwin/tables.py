"""Tables and formats of Erwin's geometry in fixed point: counts, squares of differences, distances.

``quant.coords`` is the format of positions, ``quant.differences`` that of their differences, whose squares are a table.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from keras import ops

from qformers.nn.layers import serialisable
from qformers.nn.table import reciprocal, square
from qformers.nn.vocabulary import Form, Table, Tensor
from qformers.precision.fixed import Fixed

if TYPE_CHECKING:
    from qformers.nn.formats import Formats

SHARE_BITS = 6  # of 1/n beyond those of n: a mean is within 1 % of the largest value
ROOT_BITS = 10  # address of the table of the root


@serialisable
def root(x: Tensor) -> Tensor:
    """sqrt(x)."""
    return ops.sqrt(ops.maximum(x, 0.0))


def share(count: int) -> Form:
    """Of 1/n, n up to `count`."""
    return lambda formats: str(Fixed(False, 1, SHARE_BITS + (count - 1).bit_length(), "RND", "SAT"))


def shares(count: int) -> Table:
    """1/n of n up to `count`; 1 of none."""
    bits = count.bit_length()
    return Table(reciprocal, f"ufixed<{bits},{bits}>", share(count))


def _squared(formats: Formats) -> Fixed:
    form = Fixed.parse(formats.quant.differences)
    fraction = min(2 * form.fraction_bits, form.fraction_bits + 3)
    return Fixed(False, max(2 * form.integer_bits, 1 - fraction), fraction, "RND_CONV", "SAT")


def squared(formats: Formats) -> str:
    """Of the square of a difference."""
    return str(_squared(formats))


# x^2 of a difference
SQUARES = Table(square, lambda formats: formats.quant.differences, squared)


def distances(coords: int) -> Table:
    """The root of the sum of so many squares."""
    more = math.ceil(math.log2(coords))

    def argument(formats: Formats) -> str:
        integer = _squared(formats).integer_bits + more
        return str(Fixed(False, integer, ROOT_BITS - integer, "RND", "SAT"))

    def value(formats: Formats) -> str:
        form = Fixed.parse(formats.quant.differences)
        return str(Fixed(False, form.integer_bits + math.ceil(more / 2), form.fraction_bits, "RND_CONV", "SAT"))

    return Table(root, argument, value)
