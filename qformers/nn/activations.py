"""GELU, SiLU and tanh in fixed point: their numbers. `qformers.nn.hgq` says them with the verbs that firmware has.

GELU and SiLU are a ReLU, which is the clipping of an unsigned format, plus a correction that is even and falls to 0:

    gelu(x) = max(x, 0) - |x| Phi(-|x|),    silu(x) = max(x, 0) - |x| / (1 + exp(|x|)).

Only the correction is a table, so that its range does not depend on the model: beyond it is 0 to half a step of its
values (GELU: 2^-11 beyond |x| = 4, SiLU: 2.7e-3 beyond 8, where it keeps its last value), and values of any size keep
their bits. tanh is one table, of arguments up to 4, where it is 1 within 7e-4.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from keras import ops

from qformers.nn.formats import Formats
from qformers.nn.layers import gelu_gate, serialisable
from qformers.nn.vocabulary import Table, Tensor
from qformers.precision.fixed import Fixed

VALUE_BITS = 5  # more fraction bits of the value than of the argument of a table
RECTIFIED = "ufixed<20,8,RND,SAT>"  # of max(x, 0); what adds it rounds more


@serialisable
def gelu_correction(x: Tensor) -> Tensor:
    """gelu(x) - max(x, 0), by the error function."""
    size = ops.abs(x)
    return -0.5 * size * (1.0 - ops.erf(size / math.sqrt(2.0)))


@serialisable
def silu_correction(x: Tensor) -> Tensor:
    """silu(x) - max(x, 0)."""
    size = ops.abs(x)
    return -size * ops.sigmoid(-size)


@serialisable
def gelu_tanh_correction(x: Tensor) -> Tensor:
    """The same of the approximation by tanh."""
    size = ops.abs(x)
    return -size * gelu_gate(-size)


@serialisable
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return ops.tanh(x)


def _argument(integer: int) -> Callable[[Formats], str]:
    """A signed format of so many integer bits, and of the fraction bits that the build asks for."""
    return lambda formats: str(Fixed(True, integer, formats.quant.smooth_fraction_bits, "RND", "SAT"))


def _value(integer: int) -> Callable[[Formats], str]:
    return lambda formats: str(Fixed(True, integer, formats.quant.smooth_fraction_bits + VALUE_BITS, "RND", "SAT"))


CORRECTIONS = {
    "gelu": Table(gelu_correction, _argument(2), _value(-1)),  # within -0.17 and 0
    "gelu_tanh": Table(gelu_tanh_correction, _argument(2), _value(-1)),
    "silu": Table(silu_correction, _argument(3), _value(-1)),  # within -0.28 and 0
}
TANH = Table(tanh, _argument(2), _value(0))
