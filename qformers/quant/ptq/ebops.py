"""HGQ2's count of EBOPs in closed form, for layers whose formats each hold for a whole tensor.

HGQ2 spreads the widths over whole tensors and sums, a thousand times as slow as these products. The numbers are equal
(tests/quant/test_ptq_models.py); a layer whose kind has no formula is counted by HGQ2 itself.
"""

from __future__ import annotations

from typing import Any

from qformers.precision.fixed import Fixed
from qformers.quant.kinds import kind_of
from qformers.quant.kinds.record import Formula


def bits_of(form: Fixed) -> int:
    """Bits of a format as they enter EBOPs: the sign counts where values saturate, not for weights (SAT_SYM)."""
    magnitude = max(form.integer_bits + form.fraction_bits, 0)
    return magnitude + (form.signed if form.overflow == "SAT" else 0)


def formula_of(layer: Any) -> Formula | None:
    """EBOPs of a layer as a function of the bits of its slots; None where HGQ2 has to count."""
    kind = kind_of(layer)
    return None if kind.ebops is None else kind.ebops(layer)
