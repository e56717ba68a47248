"""Tables of holographic attention: the exponential of a cosine, and shares of sums of exponentials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keras import ops

from qformers.nn.layers import serialisable
from qformers.nn.vocabulary import Table, Tensor
from qformers.precision.fixed import Fixed

if TYPE_CHECKING:
    from qformers.nn.formats import Formats

LEAST = 0.25  # of a sum of exponentials of cosines: one of them is at least 1/e; below, there is none to be shared
E_BITS = 2  # integer bits of numbers up to e


@serialisable
class ShareOf:
    """count / max(x, 1/4).

    Args:
        count: T, or 1.
    """

    __name__ = "share_of"  # HGQ2 asks activations for it

    def __init__(self, count: float) -> None:
        self.count = count

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return self.count / ops.maximum(x, LEAST)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {"count": self.count}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ShareOf:
        """Inverse of `get_config`."""
        return cls(**config)


@serialisable
def exp(x: Tensor) -> Tensor:
    """exp(x)."""
    return ops.exp(x)


def exponentials(formats: Formats) -> str:
    """Of exp of a cosine."""
    return str(Fixed(False, E_BITS, formats.quant.exp_fraction_bits, "RND_CONV", "SAT"))


def _share(formats: Formats) -> str:
    return str(Fixed(False, E_BITS, formats.quant.inverse_fraction_bits, "RND_CONV", "SAT"))


# exp(a) of a in [-1, 1)
EXPONENTIAL = Table(
    exp, lambda formats: str(Fixed(True, 0, formats.quant.exp_input_fraction_bits, "RND", "SAT")), exponentials
)
# 1/x of the mean of such exponentials
SHARE_OF_MEAN = Table(
    ShareOf(1.0),
    lambda formats: str(Fixed(False, E_BITS, formats.quant.inverse_input_fraction_bits, "RND", "SAT")),
    _share,
)


def share_of_tokens(tokens: int) -> Table:
    """T/x of the sum of T exponentials."""
    bits = math.ceil(math.log2(tokens))
    return Table(
        ShareOf(float(tokens)),
        lambda formats: str(
            Fixed(False, E_BITS + bits, formats.quant.inverse_input_fraction_bits - bits, "RND", "SAT")
        ),
        _share,
    )


def share_of_some(tokens: int) -> Table:
    """1/x of the sum of up to T exponentials: of few as coarse as they are large, of many as fine as they are small."""
    bits = math.ceil(math.log2(tokens))
    return Table(
        ShareOf(1.0),
        lambda formats: str(Fixed(False, E_BITS + bits, formats.quant.inverse_input_fraction_bits, "RND", "SAT")),
        lambda formats: str(Fixed(False, E_BITS, formats.quant.inverse_fraction_bits + bits, "RND_CONV", "SAT")),
    )
