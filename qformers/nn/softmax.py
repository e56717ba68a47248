"""The softmax in fixed point: how far its exponential reaches, how padded keys are kept out of it, and its steps.

A softmax that is followed by a sum of values can be divided once behind that sum instead of key by key (deferred
normalisation): sum_k e_k v_k / sum_k e_k with e_k = exp(x_k - max x). Its steps are layers of their own then.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from keras import ops

from qformers.config.sections import QuantConfig
from qformers.nn.layers import serialisable
from qformers.nn.vocabulary import Form, Table, Tensor, Vocabulary
from qformers.precision.fixed import Fixed

if TYPE_CHECKING:
    from qformers.nn.formats import Formats

EXP_INTEGER_BITS = 3  # the exponential table covers [0, 8): exp(-8) rounds to 0 up to 10 fraction bits


def lift_of(quant: QuantConfig) -> float:
    """C, by which real keys are lifted, instead of padded ones lowered: the softmax only sees differences.

    The sum before the lift saturates to the format F of the logits, so C >= (F.high - F.low) + 8 leaves padded keys at
    least 8 below the largest real one, whose exponential is 0 in the table: a padded slot cannot be seen.
    """
    form = Fixed.parse(quant.logits)
    return float(2.0 ** math.ceil(math.log2(form.high - form.low + 2.0**EXP_INTEGER_BITS)))


@serialisable
def exp_minus(x: Tensor) -> Tensor:
    """exp(-x)."""
    return ops.exp(-x)


@serialisable
def reciprocal_of_sum(x: Tensor) -> Tensor:
    """1 / max(x, 1/2); the sums are at least 1."""
    return 1.0 / ops.maximum(x, 0.5)


def lifted_logits(formats: Formats) -> str:
    """Of lifted logits: none below 0, and fractions as before the lift."""
    lifted = int(math.log2(lift_of(formats.quant))) + 1
    return str(Fixed(False, lifted, Fixed.parse(formats.quant.logits).fraction_bits, "RND", "SAT"))


def _exp_argument(formats: Formats) -> str:
    return f"ufixed<{EXP_INTEGER_BITS + formats.quant.exp_input_fraction_bits},{EXP_INTEGER_BITS},RND,SAT>"


def total(terms: int) -> Form:
    """Holds the sum of so many exponentials exactly."""
    return lambda formats: str(Fixed(False, terms.bit_length(), formats.quant.exp_fraction_bits, "RND", "SAT"))


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


def exp_below(nn: Vocabulary, top: Tensor, x: Tensor, name: str) -> Tensor:
    """exp(x - top) by a table; both are on the grid of the lifted logits."""
    depth = nn.minus(top, x, f"{name}_depth", lifted_logits)
    return nn.table(depth, EXPONENTIAL, name)
