"""Tables and formats of HEPT's attention in fixed point: what the grid of the logits and the table bits decide."""

from __future__ import annotations

import math

from keras import ops

from qformers.models.hept.config import HeptConfig
from qformers.nn.hgq import EXP_INTEGER_BITS, Hgq
from qformers.nn.layers import serialisable
from qformers.nn.vocabulary import Table, Tensor
from qformers.precision.fixed import Fixed


def sink_of(cfg: HeptConfig, nn: Hgq) -> float:
    """The logit of the sink on the grid of the logits, at least their lowest value."""
    form = Fixed.parse(nn.quant.logits)
    return max(round(cfg.sink / form.step) * form.step, form.low)


def logit_format(nn: Hgq) -> Fixed:
    """Of lifted logits: none below 0, and fractions as before the lift."""
    return Fixed(False, int(math.log2(nn.lift)) + 1, Fixed.parse(nn.quant.logits).fraction_bits, "RND", "SAT")


def half_squares(nn: Hgq) -> Table:
    """x^2 / 2 of differences, on the grid of the logits."""
    form = Fixed.parse(nn.quant.differences)
    value = Fixed(False, max(2 * form.integer_bits - 1, 1), Fixed.parse(nn.quant.logits).fraction_bits)
    return Table(half_square, nn.quant.differences, f"ufixed<{value.width},{value.integer_bits},RND_CONV,SAT>")


def exponential(nn: Hgq) -> Table:
    """exp(-x) on [0, 8); behind it the table holds 0."""
    first, last = nn.quant.exp_input_fraction_bits, nn.quant.exp_fraction_bits
    argument = f"ufixed<{EXP_INTEGER_BITS + first},{EXP_INTEGER_BITS},RND,SAT>"
    return Table(exp_minus, argument, f"ufixed<{1 + last},1,RND_CONV,SAT>")


def total_format(nn: Hgq, terms: int) -> Fixed:
    """Holds the sum of so many exponentials exactly."""
    return Fixed(False, terms.bit_length(), nn.quant.exp_fraction_bits, "RND", "SAT")


def reciprocals(nn: Hgq, terms: int) -> Table:
    """1/x on [1, terms]."""
    integer, first, last = terms.bit_length(), nn.quant.inverse_input_fraction_bits, nn.quant.inverse_fraction_bits
    return Table(
        reciprocal_of_sum,
        f"ufixed<{integer + first},{integer},RND,SAT>",
        f"ufixed<{1 + last},1,RND_CONV,SAT>",
    )


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
