"""Integer bits from the ranges that calibration jets show."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qformers.errors import ConfigError
from qformers.precision.fixed import Fixed
from qformers.quant.fold import to_numpy
from qformers.quant.ptq.slots import LOGITS, Slot
from qformers.quant.ptq.workshop import WIDE, WIDE_BIAS, WIDE_LOGITS, WIDE_WEIGHT, Workshop
from qformers.quant.quantisers import Quantiser, walk

QUANTILE = 0.9999  # of |value| that the range has to hold; the rest saturates
MARGIN = 1.0  # factor on it


@dataclass(frozen=True)
class Rule:
    """How integer bits follow from what is seen.

    Attributes:
        quantile: share of the values of a tensor, by size, that must fit; weights and biases all fit.
        margin: factor on the largest of them.

    Raises:
        ConfigError: a quantile outside (0, 1], or a margin that is not positive.
    """

    quantile: float = QUANTILE
    margin: float = MARGIN

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 1:
            raise ConfigError(f"the quantile must be in (0, 1]: set --quantile. Received: {self.quantile}")
        if not (0 < self.margin < math.inf):
            raise ConfigError(f"the margin must be positive: set --margin. Received: {self.margin}")


@dataclass(frozen=True)
class Seen:
    """Values of one slot on the calibration jets."""

    low: float  # smallest
    high: float  # largest
    low_used: float  # the same two at the quantile, 0 between them
    high_used: float


def seen(shop: Workshop, rule: Rule) -> dict[Slot, Seen]:
    """Range of every free slot, in a model whose formats are wide."""
    free = [slot for slot in shop.formats if shop.is_free(slot)]
    model = shop.model({slot: _wide(slot) for slot in free})
    slots = shop.slots(model)
    by_layer: dict[str, list[tuple[Slot, Quantiser]]] = {}
    for slot in free:
        for quantiser in slots[slot]:
            by_layer.setdefault(quantiser.layer.name, []).append((slot, quantiser))
    ranges: dict[Slot, Seen] = {}
    for layer, tensors in walk(model, shop.inputs):
        for slot, quantiser in by_layer.get(layer.name, []):
            values = to_numpy(quantiser.tensor(tensors))
            one = measured(values, 1.0 if slot.name in ("weight", "bias") else rule.quantile)
            ranges[slot] = _joined(ranges[slot], one) if slot in ranges else one
    return ranges


def measured(values: NDArray[np.float64], quantile: float) -> Seen:
    """The range of `values`: in full, and with the share 1 - quantile that is largest in size left out."""
    size = float(np.quantile(np.abs(values), quantile, method="higher")) if values.size else 0.0
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    return Seen(low, high, max(low, -size), min(high, size))


def fitted(form: Fixed, values: Seen, rule: Rule) -> Fixed:
    """`form` with as many bits, its integer bits chosen so that the range fits.

    The sign bit goes where not a single value was below zero (behind a ReLU). A tensor that is zero keeps its format.
    """
    signed = form.signed and values.low < 0
    integer = integer_bits(values, rule.margin, form.overflow == "SAT_SYM")
    if integer is None:
        return form
    return replace(form, signed=signed, integer_bits=integer, fraction_bits=form.width - signed - integer)


def integer_bits(values: Seen, margin: float, symmetric: bool) -> int | None:
    """Bits in front of the binary point, without the sign, that hold the range times `margin`; None for zeros."""
    high, low = values.high_used * margin, -values.low_used * margin
    if symmetric:
        high = max(high, low)
    bits = [math.floor(math.log2(high)) + 1] if high > 0 else []  # 2^i itself does not fit, -2^i does
    bits += [math.ceil(math.log2(low))] if low > 0 else []
    return max(bits) if bits else None


def calibrated(shop: Workshop, rule: Rule) -> dict[Slot, Fixed]:
    """Slot -> its format of the build, of the same width, with the integer bits that the calibration jets ask for."""
    ranges = seen(shop, rule)
    return {slot: fitted(form, ranges[slot], rule) if slot in ranges else form for slot, form in shop.formats.items()}


def _wide(slot: Slot) -> Fixed:
    if slot == LOGITS:
        return WIDE_LOGITS
    return {"weight": WIDE_WEIGHT, "bias": WIDE_BIAS}.get(slot.name, WIDE)


def _joined(a: Seen, b: Seen) -> Seen:
    return Seen(
        min(a.low, b.low),
        max(a.high, b.high),
        min(a.low_used, b.low_used),
        max(a.high_used, b.high_used),
    )
