"""The steps of a search for bits: which bits a format can lose or gain, and what that saves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from qformers.precision.fixed import Fixed
from qformers.quant.ptq.cost import Cost
from qformers.quant.ptq.slots import LOGITS, Slot

Formats = Mapping[Slot, Fixed]
WIRE = 0.05  # EBOPs that one bit of one value is counted as beside HGQ2's: an adder's narrower side is free there
STRIDE = 3  # fraction bits that one step of the predicted path may take


@dataclass(frozen=True)
class Move:
    """Some slots get other formats."""

    changes: tuple[tuple[Slot, Fixed], ...]

    def on(self, formats: Formats) -> dict[Slot, Fixed]:
        """The formats after it."""
        return {**formats, **dict(self.changes)}

    @property
    def slots(self) -> frozenset[Slot]:
        """The slots that it changes."""
        return frozenset(slot for slot, _ in self.changes)


@dataclass(frozen=True)
class Limits:
    """What formats may become.

    Attributes:
        start: the widest format of each slot.
        clipped: slots that may lose integer bits, so that large values saturate.
    """

    start: Formats
    clipped: frozenset[Slot]

    def cut(self, slot: Slot, form: Fixed, bits: int = 1) -> Fixed | None:
        """`form` without its last fraction bits; None where too little would be left.

        A format that starts without fraction bits counts things (real particles in a jet) and is left alone: what few
        validation jets have is valid for others.
        """
        if self.start[slot].fraction_bits <= 0:
            return None
        less = replace(form, fraction_bits=form.fraction_bits - bits)
        return less if _alive(slot, less) else None

    def clip(self, slot: Slot, form: Fixed) -> Fixed | None:
        """`form` without its first integer bit; None where that is not allowed."""
        less = replace(form, integer_bits=form.integer_bits - 1)
        return less if slot in self.clipped and _alive(slot, less) else None

    def grow(self, slot: Slot, form: Fixed) -> Fixed | None:
        """`form` with one fraction bit more, up to that of the start."""
        if form.fraction_bits >= self.start[slot].fraction_bits:
            return None
        return replace(form, fraction_bits=form.fraction_bits + 1)


def down(limits: Limits, formats: Formats) -> Iterator[Move]:
    """All moves that take one bit: a fraction or integer bit of a slot, or one of both inputs of an adder at once.

    The cost of an adder follows its wider input, so that only both together save anything.
    """
    for slot, form in formats.items():
        for less in (limits.cut(slot, form), limits.clip(slot, form)):
            if less is not None:
                yield Move(((slot, less),))
        if slot.name == "input0":
            other = Slot(slot.layer, "input1")
            cut, second = limits.cut(slot, form), other in formats and limits.cut(other, formats[other])
            if cut is not None and second:
                yield Move(((slot, cut), (other, second)))


def up(limits: Limits, formats: Formats) -> Iterator[Move]:
    """All moves that give one fraction bit back."""
    for slot, form in formats.items():
        more = limits.grow(slot, form)
        if more is not None:
            yield Move(((slot, more),))


def saving(cost: Cost, formats: Formats, move: Move) -> float:
    """EBOPs that a move saves, plus `WIRE` for each bit of each value; negative for one that costs."""
    changes = dict(move.changes)
    bits = sum(cost.elements[slot] * (formats[slot].width - form.width) for slot, form in changes.items())
    return WIRE * bits - cost.change(formats, changes)


def _alive(slot: Slot, form: Fixed) -> bool:
    """Whether a format can still tell values apart; a table keeps two bits, the scores three."""
    least = {"exp_input": 3, "exp_table": 2, "inverse_input": 3, "inverse_table": 2}.get(slot.name, 1)
    if slot.name in ("exp_input", "inverse_input") and form.fraction_bits < 0:
        return False
    return form.integer_bits + form.fraction_bits >= (3 if slot == LOGITS else least)
