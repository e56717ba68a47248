"""Formats of build files in QKeras's spelling: ``weight: "quantized_bits(6, 0, alpha=1)"`` is ``fixed<6,1,...>``."""

from __future__ import annotations

import re

from qformers.errors import QkerasError
from qformers.precision.qkeras.rounding import Rounding, activation
from qformers.precision.qkeras.spelling import REFUSED, SIGNATURES, parse

_NAME = re.compile(r"^\s*(?:qkeras\.)?([A-Za-z_]\w*)\s*(?:\(|$)")
_STARTS = ("quantized_", "binary", "ternary", "stochastic_", "bernoulli")


def is_qkeras(text: str) -> bool:
    """Whether a text is meant as a QKeras quantiser, well spelt or not."""
    match = _NAME.match(text)
    return match is not None and (match[1] in {*SIGNATURES, *REFUSED} or match[1].startswith(_STARTS))


def fixed_text(text: str, weight: bool = False) -> str:
    """The format of a QKeras quantiser in the spelling of build files, e.g. ``fixed<6,1,RND_CONV,SAT>``.

    Args:
        text: e.g. ``quantized_bits(6, 0, alpha=1)``, ``quantized_relu(6, 2)``, ``quantized_tanh(8)``.
        weight: whether it is for weights, whose scale QKeras makes from the weights if alpha is not given.

    Raises:
        QkerasError: no such quantiser, or it is more than one format.
    """
    spelling = parse(text)
    if weight and "alpha" in spelling.arguments and spelling["alpha"] is None:
        raise QkerasError(
            f"{spelling}: without alpha, QKeras scales weights anew in each step (auto_po2), and the format is not "
            "known before the end; say alpha=1, or train in QKeras and use qformers import qkeras"
        )
    made = activation(spelling)
    if not isinstance(made, Rounding) or (made.offset, made.before) != (0.0, 1.0):
        raise QkerasError(
            f"{spelling}: its values are not those of a fixed-point format, which training here needs; use "
            "quantized_bits, quantized_relu or quantized_tanh, or train in QKeras and use qformers import qkeras"
        )
    if made.factor != 1.0:
        raise QkerasError(
            f"{spelling}: rounds before it scales by {made.factor:g}, which no format does; say alpha=1 and another "
            "number of integer bits, or use quantized_linear, which scales first"
        )
    return str(made.form)
