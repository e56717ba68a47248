"""Numbers of the softmax in fixed point: how far its exponential reaches, and how padded keys are kept out of it."""

from __future__ import annotations

import math

from qformers.config.sections import QuantConfig
from qformers.precision.fixed import Fixed

EXP_INTEGER_BITS = 3  # the exponential table covers [0, 8): exp(-8) rounds to 0 up to 10 fraction bits


def lift_of(quant: QuantConfig) -> float:
    """C, by which real keys are lifted, instead of padded ones lowered: the softmax only sees differences.

    The sum before the lift saturates to the format F of the logits, so C >= (F.high - F.low) + 8 leaves padded keys at
    least 8 below the largest real one, whose exponential is 0 in the table: a padded slot cannot be seen.
    """
    form = Fixed.parse(quant.logits)
    return float(2.0 ** math.ceil(math.log2(form.high - form.low + 2.0**EXP_INTEGER_BITS)))
