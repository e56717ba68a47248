"""What each slot costs alone: the loss for every number of bits, all other slots at their widest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from qformers.precision.fixed import Fixed
from qformers.quant.ptq.bench import Bench
from qformers.quant.ptq.cost import Cost
from qformers.quant.ptq.evaluator import Evaluation
from qformers.quant.ptq.moves import STRIDE, Limits, Move, saving
from qformers.quant.ptq.slots import Slot, place_of

HOPELESS = 0.5  # nats that one slot alone may add to the divergence; with fewer bits it is not looked at
LEAST = 1e-7  # nats: a smaller divergence is noise of float32


@dataclass(frozen=True)
class Sensitivity:
    """The table of the search.

    Attributes:
        start: all slots at their widest.
        cuts: slot -> fraction bits -> result of that alone, without the start.
        clips: slot -> integer bits taken -> result of that alone.
    """

    start: Evaluation
    cuts: Mapping[Slot, Mapping[int, Evaluation]]
    clips: Mapping[Slot, Mapping[int, Evaluation]]

    def loss(self, slot: Slot, form: Fixed, start: Fixed) -> float:
        """Divergence that a slot adds in this format, by the table; infinite where it is hopeless."""
        rows = []
        if form.fraction_bits < start.fraction_bits:
            rows.append(self.cuts[slot].get(form.fraction_bits))
        if form.integer_bits < start.integer_bits:
            rows.append(self.clips[slot].get(start.integer_bits - form.integer_bits))
        return sum(math.inf if row is None else max(row.divergence - self.start.divergence, 0.0) for row in rows)

    def rise(self, limits: Limits, formats: Mapping[Slot, Fixed], move: Move) -> float:
        """Divergence that a move adds, by the table."""
        return sum(
            self.loss(slot, form, limits.start[slot]) - self.loss(slot, formats[slot], limits.start[slot])
            for slot, form in move.changes
        )

    def as_json(self) -> list[dict[str, Any]]:
        """One row per slot and number of bits."""
        rows = []
        for slot, column in self.cuts.items():
            for bits, measured in column.items():
                rows.append(_json(slot, {"fraction_bits": bits}, measured))
            for depth, measured in self.clips[slot].items():
                rows.append(_json(slot, {"integer_bits_taken": depth}, measured))
        return rows


def table(bench: Bench, limits: Limits) -> Sensitivity:
    """Measure every slot alone, from its widest format down to where it is hopeless."""
    start = bench.measure("start", limits.start)
    cuts: dict[Slot, dict[int, Evaluation]] = {}
    clips: dict[Slot, dict[int, Evaluation]] = {}
    for slot, form in limits.start.items():
        cuts[slot] = {less.fraction_bits: measured for less, measured in _alone(bench, limits, slot, start, limits.cut)}
        clips[slot] = {
            form.integer_bits - less.integer_bits: measured
            for less, measured in _alone(bench, limits, slot, start, limits.clip)
        }
    return Sensitivity(start, cuts, clips)


def _alone(
    bench: Bench, limits: Limits, slot: Slot, start: Evaluation, take: Callable[[Slot, Fixed], Fixed | None]
) -> Iterator[tuple[Fixed, Evaluation]]:
    """Formats of one slot from its widest on, one bit less each time, until it is hopeless."""
    less = take(slot, limits.start[slot])
    while less is not None:
        measured = bench.measure("sensitivity", {**limits.start, slot: less})
        if measured.divergence > start.divergence + HOPELESS:
            return
        yield less, measured
        less = take(slot, less)


def predicted_path(limits: Limits, known: Sensitivity, cost: Cost) -> list[dict[Slot, Fixed]]:
    """From the widest formats down, each step the one that by the table adds least divergence per EBOP saved."""
    near: dict[Slot, set[Slot]] = {slot: {slot} for slot in limits.start}
    for read in cost.readers.values():
        for slot in read:
            near[slot] |= set(read)
    formats, dirty = dict(limits.start), set(limits.start)
    path, best = [formats], dict[Slot, tuple[float, Move]]()
    while True:
        for slot in [slot for slot in limits.start if slot in dirty]:  # in order: equal moves, equal choice
            cut = _best_of(slot, formats, limits, known, cost)
            best.pop(slot, None)
            if cut is not None:
                best[slot] = cut
        if not best:
            return path
        _, move = min(best.values(), key=lambda item: item[0])
        formats = move.on(formats)
        path.append(formats)
        dirty = set().union(*(near[slot] for slot in move.slots))


def _best_of(
    slot: Slot, formats: Mapping[Slot, Fixed], limits: Limits, known: Sensitivity, cost: Cost
) -> tuple[float, Move] | None:
    """The cheapest move of a slot: up to `STRIDE` fraction bits, an integer bit, or both inputs of an adder."""
    form = formats[slot]
    options = [Move(((slot, less),)) for bits in range(1, STRIDE + 1) if (less := limits.cut(slot, form, bits))]
    if (less := limits.clip(slot, form)) is not None:
        options.append(Move(((slot, less),)))
    other = Slot(slot.layer, "input1")
    if slot.name == "input0" and other in formats:
        both = limits.cut(slot, form), limits.cut(other, formats[other])
        if both[0] is not None and both[1] is not None:
            options.append(Move(((slot, both[0]), (other, both[1]))))
    rated = []
    for move in options:
        gain, rise = saving(cost, formats, move), known.rise(limits, formats, move)
        if gain > 0 and rise < math.inf:
            rated.append((max(rise, LEAST) / gain, move))
    return min(rated, key=lambda item: item[0], default=None)


def _json(slot: Slot, bits: dict[str, int], measured: Evaluation) -> dict[str, Any]:
    return {"layer": slot.layer, "slot": slot.name, "place": place_of(slot), **bits, **measured.as_json()}
