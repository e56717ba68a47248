"""How wide a format may be so that alkaid keeps every bit of it: measured against exact whole numbers.

alkaid holds a constant in a signed number of 32 bits, and the largest value of a saturating format is such a constant;
its simulators hand values over in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hls.errors import Gap, Refusal
from qformers.quant.kinds import kind_of
from qformers.quant.kinds.record import Quantiser

CONSTANT_BITS = 31  # of a constant, without its sign
VALUE_BITS = 50  # of a value: alkaid's simulators hand it over in float64, of 53, and sums need room


def width_faults(model: Any) -> Iterator[Refusal]:
    """Layers with a format of which bits would be lost.

    Args:
        model: of layers that are known here.
    """
    for layer in model.operations:
        for quantiser in kind_of(layer).quantisers(layer):
            yield from (Gap(*words).refusal(layer) for words in _faults(quantiser))


def _faults(quantiser: Quantiser) -> Iterator[tuple[str, str]]:
    _, integer, fraction = quantiser.kif()
    bits = int(np.max(integer + fraction))
    held = "in the slots of the build or the layers of your model"
    if bits > VALUE_BITS:
        reason = f"its {quantiser.part or 'format'} has {bits} bits beside the sign, {VALUE_BITS} can be held"
        yield reason, f"give it fewer bits {held}"
    elif bits > CONSTANT_BITS and (quantiser.core.overflow_mode != "WRAP" or quantiser.place == "table"):
        reason = (
            f"its {quantiser.part or 'format'} has {bits} bits beside the sign, and alkaid holds the ends of a "
            f"saturating format and the values of a table in {CONSTANT_BITS}"
        )
        yield reason, f"give it fewer bits {held}, or let it wrap (WRAP)"
