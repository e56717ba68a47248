"""What the formats of a quantised model do to real data: range seen, width chosen, share cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from qformers.precision.fixed import Fixed, rounded
from qformers.quant.fold import to_numpy
from qformers.quant.kinds import kind_of
from qformers.quant.quantisers import Place, Quantiser, quantisers, walk
from qformers.quant.within import Heard, within

Inputs = dict[str, NDArray[Any]]
WORST = 3  # events kept per quantiser


@dataclass(frozen=True)
class Row:
    """One quantiser over all events audited."""

    name: str
    layer: str
    place: Place
    learned: bool
    formats: int  # groups of elements with a width of their own
    width_mean: float  # bits, sign included
    width_max: int
    widest: str  # format that holds all groups, in ap_fixed spelling
    seen_low: float
    seen_high: float
    saturated: float  # share of values that, rounded, lie outside the range: clipped (SAT) or wrapped (WRAP)
    pruned: float  # share of elements whose format has no bit left
    overflow: str  # what happens outside: WRAP, SAT or SAT_SYM
    values: int  # looked at
    events: int  # looked at; 0 for weights and biases
    events_outside: int  # with at least one value outside


@dataclass(frozen=True)
class Overflow:
    """An event with values outside the range of a quantiser."""

    quantiser: str
    mode: str  # WRAP, SAT or SAT_SYM
    event: int  # its number
    excess: float  # how far the farthest value, rounded, lies outside, in units of 2^(integer bits)
    values: int  # outside


def widths(model: keras.Model, learned_only: bool = True) -> dict[str, list[int]]:
    """Bit widths (sign included, one per group that shares a format) by quantiser.

    Args:
        model: vocabulary hgq.
        learned_only: leave out the formats that the build file fixes, unless it fixes all of them; those of constants
            are left out always.
    """
    listed = quantisers(model)
    fixed = not learned_only or not any(q.learned for q in listed)
    shown = [q for q in listed if q.learned or (fixed and not _constant(q))]
    return {q.name: [int(w) for w in q.widths().ravel()] for q in shown}


def _constant(quantiser: Quantiser) -> bool:
    """Whether it belongs to a layer that only wires values, whose kernel and input formats follow from the model."""
    return not quantiser.layer.trainable


def audit(model: keras.Model, inputs: Inputs) -> list[Row]:
    """One row per quantiser of `model`, measured on `inputs` (by input name)."""
    return audit_stream(model, [inputs], worst=0)[0]


def audit_stream(
    model: keras.Model, batches: Iterable[Inputs], worst: int = WORST, tick: Callable[[int], None] = lambda events: None
) -> tuple[list[Row], list[Overflow]]:
    """The same over any number of events, in the memory of one batch.

    Args:
        model: vocabulary hgq.
        batches: inputs by name, one batch after the other.
        worst: events kept per quantiser, those with a value farthest outside.
        tick: told of the events of each batch.

    Returns:
        One row per quantiser, in the order of the model; and the worst events, counted from the first of all batches.

    Raises:
        ValueError: not a single event.
    """
    by_layer = {layer.name: [Tally(one, worst) for one in kind_of(layer).quantisers(layer)] for layer in model.layers}
    inside = {layer.name: [Tally(one, worst) for one in within(layer)] for layer in model.layers}
    tallies = [tally for name, some in by_layer.items() for tally in (*some, *inside[name])]
    first = 0
    for inputs in batches:
        events = len(next(iter(inputs.values())))
        if not events:
            continue
        heard: Heard | None = None
        for layer, tensors in walk(model, inputs):
            _count(heard, inside, first)  # of the layer before, which is computed now
            heard = Heard([tally.quantiser for tally in inside[layer.name]], events)
            for tally in by_layer.get(layer.name, []):
                if tally.flows or not first:  # weights and biases are the same for all events
                    tally.add(to_numpy(tally.quantiser.tensor(tensors)), first)
        _count(heard, inside, first)
        first += events
        tick(events)
    if not first:
        raise ValueError("an audit needs at least one event. Received: 0")
    asked = [tally for tally in tallies if tally.values]  # within a layer there may be some that it does not use
    return [tally.row() for tally in asked], [overflow for tally in asked for overflow in tally.worst]


def _count(heard: Heard | None, inside: Mapping[str, list[Tally]], first: int) -> None:
    for quantiser, seen in heard.end() if heard is not None else ():
        tally = next(one for one in inside[quantiser.layer.name] if one.quantiser is quantiser)
        tally.add(seen, first)


class Tally:
    """What one quantiser has seen so far.

    Args:
        quantiser: the quantiser.
        worst: events to keep.
    """

    def __init__(self, quantiser: Quantiser, worst: int) -> None:
        self.quantiser = quantiser
        self.flows = quantiser.place not in ("weight", "bias")
        k, i, f = quantiser.kif()
        self.alive = k + i + f > 0
        self._rounding = quantiser.core.round_mode.removeprefix("S_")  # stochastic in training only
        self._range, self._step = 2.0 ** i.astype(np.float64), 2.0 ** -f.astype(np.float64)
        self._high = self._range - self._step
        self._low = -k * (self._high if quantiser.core.overflow_mode == "SAT_SYM" else self._range)
        layer = quantiser.layer
        self._used = kind_of(layer).used(layer) if quantiser.place == "input" else slice(None)
        self._keep = worst
        self.worst: list[Overflow] = []
        self.values = self.outside = self.events = self.events_outside = 0
        self.seen_low, self.seen_high = np.inf, -np.inf

    def add(self, seen: NDArray[np.float64], first: int) -> None:
        """Count values (events, ...) of a batch whose first event has the number `first`."""
        used = self._used
        kept = rounded(seen / self._step, self._rounding) * self._step
        outside = (((kept > self._high) | (kept < self._low)) & self.alive)[..., used]
        inside = seen[..., used]
        self.values += inside.size
        self.outside += int(outside.sum())
        self.seen_low = min(self.seen_low, float(inside.min()))
        self.seen_high = max(self.seen_high, float(inside.max()))
        if not self.flows:
            return
        per_event = outside.reshape(len(seen), -1)
        hit = np.flatnonzero(per_event.any(axis=1))
        self.events += len(seen)
        self.events_outside += len(hit)
        if self._keep and len(hit):
            part = np.maximum(kept[hit] - self._high, self._low - kept[hit]) / self._range
            far = np.where(outside[hit], part[..., used], 0.0).reshape(len(hit), -1).max(axis=1)
            counts = per_event[hit].sum(axis=1)
            overflows = [
                Overflow(self.quantiser.name, self.quantiser.core.overflow_mode, first + int(e), float(x), int(n))
                for e, x, n in zip(hit, far, counts, strict=True)
            ]
            self.worst = sorted([*self.worst, *overflows], key=lambda one: (-one.excess, one.event))[: self._keep]

    def row(self) -> Row:
        """The quantiser in one row."""
        quantiser, core = self.quantiser, self.quantiser.core
        k, i, f = quantiser.kif()
        bits = quantiser.widths()
        integer, fraction = (
            int(np.max(part, where=self.alive, initial=-99)) if self.alive.any() else 0 for part in (i, f)
        )
        return Row(
            name=quantiser.name,
            layer=quantiser.layer.name,
            place=quantiser.place,
            learned=quantiser.learned,
            formats=int(bits.size),
            width_mean=float(bits.mean()),
            width_max=int(bits.max()),
            widest=str(Fixed(bool(k.max()), integer, fraction, core.round_mode, core.overflow_mode)),
            seen_low=self.seen_low,
            seen_high=self.seen_high,
            saturated=self.outside / self.values,
            pruned=float(1.0 - self.alive.mean()),
            overflow=core.overflow_mode,
            values=self.values,
            events=self.events,
            events_outside=self.events_outside,
        )


def as_json(rows: list[Row]) -> list[dict[str, Any]]:
    """The rows for a JSON file."""
    return [asdict(row) for row in rows]


def as_table(rows: list[Row], title: str = "Formats on real events") -> Table:
    """The rows for a terminal."""
    table = Table(title=title)
    for column in ("quantiser", "widest format", "widths", "mean bits", "seen", "outside", "events", "pruned"):
        table.add_column(column, justify="left" if column in ("quantiser", "widest format") else "right")
    for row in rows:
        table.add_row(
            row.name,
            row.widest,
            f"{row.formats}",
            f"{row.width_mean:.1f}",
            f"{row.seen_low:.3g} .. {row.seen_high:.3g}",
            f"{row.saturated:.2%}",
            f"{row.events_outside}" if row.events else "",
            f"{row.pruned:.0%}",
        )
    return table
