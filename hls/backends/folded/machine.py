"""Verilog around the kernels of folded firmware: which beat is where, and the stores between two phases.

A beat carries no stall: once taken, it goes through a kernel in as many clocks as that has stages, and a shift register
beside the kernel tells whether it is one, the first or the last one of an event. Behind the last one all stores of the
boundary change at once, and the next phase works through its beats in the following clocks; an event that comes as
early as it can, B clocks later, changes them again just when the last of these beats has been read. So gaps between
beats do no harm, and what comes out waits in a queue until it is taken. An event is let in only if the queue has a
place for its output.

Where keys are folded, a phase that works on pairs has C beats for each beat of points, and an event takes B C clocks: a
beat is let in every C clocks. What such a phase has for a whole row is written with each of its beats anew, and sums
over points take it once, with the last keys.

The Verilog is ``machine.v`` beside this file; here are the numbers and wires for its holes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.ports import Value, encode, joined, place, wires
from hls.backends.alkaid.stages import Pipeline
from hls.backends.alkaid.trace import predict
from hls.backends.folded import orders
from hls.backends.folded.kernels import Group, Kernel, kept_shape
from hls.backends.folded.ports import OUT, OUT_BEAT, answers_of
from hls.errors import HlsError
from hls.templates import fill
from qformers.quant.phases import BY_ROW, Folding

HERE = Path(__file__).parent
WAITING = 2  # events in the queue beyond those that are on their way


@dataclass(frozen=True)
class Slice:
    """Bits of a vector."""

    low: int = 0
    width: int = 0


@dataclass(frozen=True)
class Sum:
    """An accumulator: bits of the sum, and Verilog of what a beat adds; or of the largest, signed or not."""

    total: int
    given: str
    largest: bool = False
    signed: bool = False


@dataclass(frozen=True)
class Store:
    """Behind a phase: bits of the kernel's output that go into each kind of store."""

    streamed: Slice
    keyed: Slice
    filled: Slice
    held: Slice
    running: tuple[Sum, ...]
    spread: tuple[str, ...]  # Verilog of the bits of each beat
    spread_width: int  # of a beat
    moved: tuple[orders.Rows, ...] = ()
    by_row: tuple[Sum, ...] = ()  # over the keys of a row

    @property
    def row_width(self) -> int:
        """Bits of a row."""
        return sum(one.total for one in self.by_row)

    @property
    def words(self) -> tuple[str, ...]:
        """Words of the host that write memory banks."""
        return tuple(dict.fromkeys(rows.words[0] for rows in self.moved if rows.banks))

    @property
    def read_words(self) -> tuple[str, ...]:
        """Words of the host that read them."""
        return tuple(dict.fromkeys(word for rows in self.moved for word in rows.words[1:]))


@dataclass(frozen=True)
class Word:
    """What the host says of all lanes or banks of an order in a beat: lowest bit in ``in_beat``, and bits."""

    name: str
    low: int
    width: int


@dataclass(frozen=True)
class Phase:
    """A kernel in the machine.

    Attributes:
        number: from 0.
        beats: of an event.
        depth: of the kernel, in clocks.
        in_width, out_width: bits of its ports.
        given: Verilog of what goes in.
        store: behind it; None behind the last one.
        rom: Verilog of the bits that it reads in each beat from a ROM; these are the lowest of its input.
        rom_width: of them.
        waited: Verilog of what waits a clock in front of the kernel, where it also reads memory banks, which take one
            (`depth` counts it); "" elsewhere.
        waited_width: bits of it.
        by_beat: it is the last one, and each of its beats is an output.
        chunks: beats for each beat of points, C or 1.
        pace: clocks between two beats: C of the first phase, 1 of others.
        picked: Verilog of what is read of all keys, K of them at a time, for each of C parts.
        picked_width: bits of a part.
        constant: Verilog of what it gives where nothing goes in, or nothing comes out: it has no module then.
    """

    number: int
    beats: int
    depth: int
    in_width: int
    out_width: int
    given: str
    store: Store | None
    rom: tuple[str, ...]
    rom_width: int
    waited: str = ""
    waited_width: int = 0
    by_beat: bool = False
    chunks: int = 1
    pace: int = 1
    picked: tuple[str, ...] = ()
    picked_width: int = 0
    constant: str = ""

    @property
    def rows(self) -> int:
        """Beats of points: B, or 1."""
        return self.beats // self.chunks

    @property
    def beat_bits(self) -> int:
        """Of the number of a beat of points."""
        return max((self.rows - 1).bit_length(), 1)

    @property
    def key_bits(self) -> int:
        """Of the number of a beat among those of the same points."""
        return max((self.chunks - 1).bit_length(), 1)

    @property
    def rom_cases(self) -> tuple[tuple[str, str], ...]:
        """Verilog of the number of each beat, and of what the ROM has for it."""
        labels = [f"{self.beat_bits}'d{row}" for row in range(self.rows)]
        if self.chunks > 1:
            keys = [f"{self.key_bits}'d{key}" for key in range(self.chunks)]
            labels = [f"{{{row}, {key}}}" for row in labels for key in keys]
        return tuple(zip(labels, self.rom, strict=True))


@dataclass(frozen=True)
class Ports:
    """Values of a kernel's ports by tensor and store, in order."""

    ins: tuple[tuple[Group, tuple[Value, ...]], ...]
    outs: tuple[tuple[Group, tuple[Value, ...]], ...]
    in_width: int
    out_width: int

    @property
    def rom(self) -> tuple[Value, ...]:
        """Inputs that come from the ROM; they are the first."""
        return tuple(value for group, values in self.ins if group.kind == "rom" for value in values)

    @property
    def rom_width(self) -> int:
        """Bits of these."""
        return sum(value.width for value in self.rom)

    @property
    def outside(self) -> tuple[tuple[Group, tuple[Value, ...]], ...]:
        """Inputs that come from outside, at their bits in ``in_beat``."""
        return tuple(
            (group, tuple(replace(value, low=value.low - self.rom_width) for value in values))
            for group, values in self.ins
            if group.kind != "rom"
        )

    def kept(self, kind: str) -> Slice:
        """Bits of the outputs that go into a kind of store."""
        values = [value for group, part in self.outs if group.kind == kind for value in part if value.width]
        return Slice(values[0].low, sum(value.width for value in values)) if values else Slice()

    def read(self, group: Group) -> tuple[Group, tuple[Value, ...]]:
        """Inputs that read what a store keeps of an output of the kernel in front."""
        return next((one, values) for one, values in self.ins if (one.tensor, one.kind) == (group.tensor, group.kind))

    @classmethod
    def of(cls, kernel: Kernel, cut: Pipeline) -> Ports:
        """Of a kernel that was cut into stages."""
        sides = []
        for groups, signal in (
            (kernel.ins, cut.machine.inp_signals[0]), (kernel.outs, cut.machine.out_signals[0]),
        ):  # fmt: skip
            values = place({f"{number}": group.shape for number, group in enumerate(groups)}, signal.precisions)
            starts = np.cumsum([0, *(group.size for group in groups)])
            parts = [values[a:b] for a, b in pairwise(starts)]
            sides.append((tuple(zip(groups, parts, strict=True)), sum(value.width for value in values)))
        (ins, in_width), (outs, out_width) = sides
        return cls(ins, outs, in_width, out_width)


class Timed(Protocol):
    """What of a phase says how long an event is in it."""

    @property
    def beats(self) -> int:
        """Of an event."""

    @property
    def depth(self) -> int:
        """Of the kernel, in clocks."""

    @property
    def pace(self) -> int:
        """Clocks between two beats."""


def latency_cycles(phases: Sequence[Timed]) -> int:
    """Clock edges from the one that takes the first beat of an event in to the one that brings its output out."""
    return sum((phase.beats - 1) * phase.pace + 1 + phase.depth + 1 for phase in phases) - 1


def ii_cycles(phases: Sequence[Timed]) -> int:
    """Clocks from an event to the next one, at best."""
    return phases[0].beats * phases[0].pace


def phases_of(
    fold: Folding, made: Sequence[Kernel], cuts: Sequence[Pipeline], ports: Sequence[Ports]
) -> tuple[Phase, ...]:
    """The phases as the template takes them."""
    phases = []
    for number, (kernel, cut, port) in enumerate(zip(made, cuts, ports, strict=True)):
        words = encode(port.rom, kernel.rom) if port.rom_width else []
        rom = tuple(f"{port.rom_width}'h{word:x}" for word in words)
        before = ports[number - 1] if number else None
        kept = _Kept(fold, number, before, port) if before else None
        picks = _Picks(fold, kept, port) if kept else None
        sources = [source for source in _sources(number, port, kept, picks) if source[2]]
        stores = list(_moved(fold, number - 1, before, port)) if before else []
        banked = {f"s{number - 1}_moved{rows.name}" for rows in stores if rows.banks}
        waits = any(vector in banked for vector, _, _ in sources)
        waited, sources = _waiting(number, banked, sources) if waits else ([], sources)
        store = _store(fold, number, port, ports[number + 1]) if number + 1 < len(ports) else None
        by_beat = store is None and answers_of(fold, port.outs)[0] == OUT_BEAT
        phases.append(
            Phase(
                number=number,
                beats=kernel.beats,
                depth=cut.latency_cycles + waits,
                in_width=port.in_width,
                out_width=port.out_width,
                given=_vector(sources),
                store=store,
                rom=rom,
                rom_width=port.rom_width,
                waited=_vector(waited) if waited else "",
                waited_width=sum(width for _, _, width in waited),
                by_beat=by_beat,
                chunks=fold.chunks_in(kernel.beats),
                pace=1 if number else fold.chunks,
                picked=picks.rows if picks else (),
                picked_width=picks.width if picks else 0,
                constant=_constant(kernel, port),
            )
        )
    return tuple(phases)


def _constant(kernel: Kernel, port: Ports) -> str:
    """What a kernel of no bits, going in or coming out, gives; "" of all others."""
    if port.in_width and port.out_width:
        return ""
    values = [value for _, some in port.outs for value in some]
    (word,) = encode(values, predict(kernel.comb, np.zeros((1, kernel.comb.shape[0]))))
    return f"{max(port.out_width, 1)}'h{word:x}"


def _waiting(phase: int, banked: Collection[str], sources: Sequence[Source]) -> tuple[list[Source], list[Source]]:
    """What waits for the memory banks that are read with it; and all sources, where it has waited."""
    waiting, behind, low = [], list[Source](), 0
    for source in sources:
        if source[0] in banked:
            behind.append(source)
            continue
        waiting.append(source)
        behind.append((f"k{phase}_waited", low, source[2]))
        low += source[2]
    return waiting, behind


def _store(fold: Folding, phase: int, port: Ports, behind: Ports) -> Store:
    sums: dict[str, list[Sum]] = {kind: [] for kind in ("running", *BY_ROW)}
    for group, values in port.outs:
        if group.kind not in sums:
            continue
        for value, total in zip(values, behind.read(group)[1], strict=True):
            if value.width and total.width:
                given = joined([wires(value, f"k{phase}_out", 0, total)])
                sums[group.kind].append(Sum(total.width, given, group.kind == "row_largest", bool(total.signed)))
    rows = _spread(fold, phase, port, behind)
    width = sum(value.width for values in _rows_spread(fold, behind).values() for value in values)
    return Store(
        streamed=port.kept("streamed"),
        keyed=port.kept("keyed"),
        filled=port.kept("filled"),
        held=port.kept("held"),
        running=tuple(sums["running"]),
        spread=rows,
        spread_width=width,
        moved=tuple(_moved(fold, phase, port, behind)),
        by_row=tuple(one for kind in BY_ROW for one in sums[kind]),
    )


def _rows_spread(fold: Folding, port: Ports) -> dict[str, tuple[Value, ...]]:
    """Values of the event of which a beat reads its own, at their bits in the row of a beat; all keys of it."""
    read = [of_all_keys(fold, group) for group, _ in port.ins if group.kind == "spread"]
    groups = list({group.tensor: group for group in reversed(read)}.values())  # all of it is read before some keys
    if not groups:
        return {}
    kifs = [np.concatenate(parts) for parts in zip(*(map(np.ravel, group.kif) for group in groups), strict=True)]
    values = place({group.tensor: group.shape for group in groups}, list(zip(*(k.tolist() for k in kifs), strict=True)))
    starts = np.cumsum([0, *(group.size for group in groups)])
    return {group.tensor: values[a:b] for group, (a, b) in zip(groups, pairwise(starts), strict=True)}


def of_all_keys(fold: Folding, group: Group) -> Group:
    """A group of which K keys are read, in formats that hold for all."""
    if group.keys is None:
        return group
    signs, integers, fractions = (np.concatenate([part] * fold.chunks, axis=group.keys) for part in group.kif)
    return Group(group.tensor, group.kind, signs.shape, (signs, integers, fractions))


def _moved(fold: Folding, phase: int, port: Ports, behind: Ports) -> Iterator[orders.Rows]:
    """The stores in which rows of points move behind a phase."""
    read = {(group.tensor, group.kind): group for group, _ in behind.ins}
    for group, values in port.outs:
        if group.kind not in ("gathered", "scattered"):
            continue
        move = fold.moves[group.tensor]
        order = move.order
        given = {one.kind: numbers for one, numbers in port.outs if one.tensor == order}
        bus, base = f"k{phase}_out", 0
        numbers: tuple[Value, ...] = ()
        if move.banks:
            pass
        elif group.kind == "scattered":
            numbers = given["places"]
        elif "streamed" in given:
            numbers, bus, base = given["streamed"], f"s{phase}_streamed", -port.kept("streamed").low
        else:
            numbers, bus = _rows_spread(fold, behind)[order], f"s{phase}_row"
        slots = [orders.number(value, bus, base, fold.points) for value in numbers]
        kif = read[group.tensor, group.kind].kif
        make = orders.gathering if group.kind == "gathered" else orders.scattering
        yield from make(fold, group.tensor, kif, values, slots, f"k{phase}_out")


def _spread(fold: Folding, phase: int, port: Ports, behind: Ports) -> tuple[str, ...]:
    """Verilog of what each beat reads of values of the event, in the format that all beats share."""
    wanted = _rows_spread(fold, behind)
    given = [(group, values) for group, values in port.outs if group.kind == "spread"]
    rows = []
    for beat in range(fold.beats if wanted else 0):
        bits = []
        for group, values in given:
            places = np.arange(group.size).reshape(group.shape)
            axis = fold.spread[group.tensor]
            part = np.split(places, fold.beats, axis=axis)[beat].ravel()
            for place_of, target in zip(part, wanted[group.tensor], strict=True):
                if target.width:
                    bits.append(wires(values[int(place_of)], f"k{phase}_out", 0, target))
        rows.append(joined(bits))
    return tuple(rows)


Source = tuple[str, int, int]  # vector, lowest bit, width


def _sources(phase: int, port: Ports, kept: _Kept | None, picks: _Picks | None) -> Iterator[Source]:
    """Where the bits of a kernel's inputs lie in its ROM and in the stores in front of it, lowest first.

    Args:
        phase, port: of the kernel.
        kept, picks: the stores in front of it and what it picks of them; None where it is the first one.
    """
    if port.rom_width:
        yield f"k{phase}_rom", 0, port.rom_width
    if kept is None or picks is None:
        yield "in_beat", 0, port.in_width - port.rom_width
        return
    for number, (group, values) in enumerate(port.ins):
        if group.kind == "rom":
            continue
        if group.keys is not None:
            for value, own in zip(values, picks.values[number], strict=True):
                yield f"k{phase}_picked", own.low, _read(group, own, value)
            continue
        for flat, value in enumerate(values):
            vector, low, own = kept.lies(group, flat)
            yield vector, low + own.low, _read(group, own, value)


class _Picks:
    """What a kernel reads of all keys, K of them at a time.

    Values lie as in the stores, so that a part is one slice of a store where some beats have its keys and no others.

    Args:
        fold: how an event comes.
        kept: the stores in front of the kernel.
        port: of the kernel.

    Attributes:
        values: number of a group among the inputs -> its values, at their bits in a part.
        rows: Verilog of each of C parts; none where nothing is picked.
        width: bits of a part.
    """

    def __init__(self, fold: Folding, kept: _Kept, port: Ports) -> None:
        groups = {number: group for number, (group, _) in enumerate(port.ins) if group.keys is not None}
        places = {number: by_keys(fold, kept.shape(group), int(group.keys or 0)) for number, group in groups.items()}
        made = {number: [value_of(group, place) for place in range(group.size)] for number, group in groups.items()}
        spots = []
        for number, parts in places.items():
            for index, flat in enumerate(parts[0].tolist()):
                vector, base, source = kept.lies(groups[number], flat)
                spots.append((vector, base + source.low, number, index))
        low, spots = 0, sorted(spots)
        for _, _, number, index in spots:
            made[number][index] = replace(made[number][index], low=low)
            low += made[number][index].width
        self.width = low
        self.values = {number: tuple(values) for number, values in made.items()}
        self.rows: tuple[str, ...] = ()
        for part in range(fold.chunks if low else 0):
            pieces = [
                _piece(*kept.lies(groups[number], int(places[number][part][index])), made[number][index])
                for _, _, number, index in spots
            ]
            self.rows += (_vector(pieces),)


def by_keys(fold: Folding, shape: Sequence[int], axis: int) -> NDArray[np.int64]:
    """(C, values of K keys): places among the values of all keys, which lie along `axis`."""
    parts = np.split(np.arange(math.prod(shape)).reshape(shape), fold.chunks, axis=axis)
    return np.stack([part.ravel() for part in parts])


def value_of(group: Group, place: int) -> Value:
    """A value of a group in its format, at no bits yet."""
    signed, integer, fraction = (int(part.flat[place]) for part in group.kif)
    return Value(group.tensor, (), 0, bool(signed), integer, fraction)


def _piece(vector: str, base: int, source: Value, target: Value) -> Source | str:
    """A value in the format of `target`, from `source` at bit `base` of a vector: its bits, or Verilog of others."""
    formats = [(one.signed, one.integer_bits, one.fraction_bits) for one in (source, target)]
    if formats[0] != formats[1]:
        return wires(source, vector, base, target) if target.width else (vector, base, 0)
    return vector, base + source.low, source.width


class _Kept:
    """Where the stores in front of a phase have their values.

    Args:
        fold: how an event comes.
        phase: behind the stores.
        before, port: ports of the kernel in front of them, and of that of the phase.
    """

    def __init__(self, fold: Folding, phase: int, before: Ports, port: Ports) -> None:
        self._fold, self._name = fold, f"s{phase - 1}"
        self._rows = _rows_spread(fold, port)
        stores = _moved(fold, phase - 1, before, port)
        self._moved = {(store.layer, order): store for store in stores for order in store.orders}
        self._written = {(group.tensor, group.kind): (group, values) for group, values in before.outs}
        self._lows = {kind: before.kept(kind).low for kind in ("streamed", "keyed", "filled", "held")}
        self._filled = before.kept("filled").width
        self._sums = self._totals(before, port, ("running",)) | self._totals(before, port, BY_ROW)

    def _totals(self, before: Ports, port: Ports, kinds: Sequence[str]) -> dict[tuple[str, str, int], tuple[int, int]]:
        """Tensor, store and place of a sum -> its number among those of the stores, and its lowest bit among them."""
        found, number, low = {}, 0, 0
        for kind in kinds:
            for group, values in before.outs:
                if group.kind != kind:
                    continue
                for flat, (value, total) in enumerate(zip(values, port.read(group)[1], strict=True)):
                    if value.width and total.width:
                        found[group.tensor, kind, flat] = number, low
                        number, low = number + 1, low + total.width
        return found

    def shape(self, group: Group) -> tuple[int, ...]:
        """Of all keys of a group of which K are read."""
        return kept_shape(self._fold, self._written[group.tensor, group.kind][0])

    def lies(self, group: Group, flat: int) -> tuple[str, int, Value]:
        """Of a value of a group: vector, bit of it at which the bits of a `Value` are counted from, and these."""
        source, outs = self._written[group.tensor, group.kind]
        if group.kind == "spread":
            return f"{self._name}_row", 0, self._rows[group.tensor][flat]
        if group.kind in ("gathered", "scattered"):
            order, lane, spot = orders.place_of(group.shape, flat)
            store = self._moved[group.tensor, order]
            return f"{self._name}_moved{store.name}", store.low(order, lane), store.row[spot]
        if group.kind in ("running", *BY_ROW):
            return self._sum(group, flat)
        beat, place_in_beat = beat_of(self._fold, group, source, flat)
        return f"{self._name}_{group.kind}", beat * self._filled - self._lows[group.kind], outs[place_in_beat]

    def _sum(self, group: Group, flat: int) -> tuple[str, int, Value]:
        value = value_of(group, flat)
        if (group.tensor, group.kind, flat) not in self._sums:
            return f"{self._name}_none", 0, replace(value, integer_bits=-value.fraction_bits - value.signed)
        number, low = self._sums[group.tensor, group.kind, flat]
        return (
            (f"{self._name}_sum{number}", 0, value) if group.kind == "running" else (f"{self._name}_by_row", low, value)
        )


def _read(group: Group, kept: Value, read: Value) -> int:
    """Bits that a kernel reads of a value in a store: all, or none where nothing depends on it."""
    if read.width not in (0, kept.width):
        raise HlsError(f"tensor {group.tensor}: a store keeps {kept.width} bits of which {read.width} are read")
    return read.width


def beat_of(fold: Folding, group: Group, source: Group, flat: int) -> tuple[int, int]:
    """Beat and place within it of a value that is filled in beat by beat; (0, its place) of others."""
    axis = fold.axes[group.tensor]
    if group.kind != "filled" or axis is None:
        return 0, flat
    index = [int(part) for part in np.unravel_index(flat, kept_shape(fold, source))]
    beat, index[axis] = divmod(index[axis], source.shape[axis])
    return beat, int(np.ravel_multi_index(index, source.shape))


def _vector(pieces: Iterable[Source | str]) -> str:
    """Verilog of bits side by side, lowest first, some of them Verilog already; neighbours become one slice."""
    merged: list[Source | str] = []
    for piece in pieces:
        last = merged[-1] if merged else ""
        if isinstance(piece, str):
            merged.append(piece)
        elif piece[2] and not isinstance(last, str) and (last[0], last[1] + last[2]) == piece[:2]:
            merged[-1] = last[0], last[1], last[2] + piece[2]
        elif piece[2]:
            merged.append(piece)
    return joined([one if isinstance(one, str) else f"{one[0]}[{one[1]} +: {one[2]}]" for one in merged])


def verilog(top: str, phases: Sequence[Phase], ways: Sequence[Value] = ()) -> dict[str, str]:
    """The machine around its kernels, modules ``<top>_k<number>``, and the modules that it is made of, by name.

    Args:
        top: name of the module.
        phases: of the machine.
        ways: what the host gives with a beat, behind its values, in the place of orders (`orders.ways`).
    """
    text = _machine(top, phases, _words(ways))
    parts = ("banks", "permute", "pick") if ways else ("pick",) if f"{top}_pick " in text else ()
    return {top: text} | {f"{top}_{name}": fill(HERE / f"{name}.v", top=top) for name in parts}


def _words(ways: Sequence[Value]) -> list[Word]:
    words: dict[str, list[Value]] = {}
    for value in ways:
        words.setdefault(f"{value.port.rpartition('/')[2]}{value.index[0]}", []).append(value)
    return [Word(name, values[0].low, sum(one.width for one in values)) for name, values in words.items()]


def _machine(top: str, phases: Sequence[Phase], words: Sequence[Word]) -> str:
    flight, last = flight_of(phases), phases[-1]
    return fill(
        HERE / "machine.v",
        top=top,
        phases=phases,
        flight=flight,
        flight_bits=flight.bit_length() - 1,
        out_width=max(last.out_width, 1),
        out=OUT_BEAT if last.by_beat else OUT,
        answers=last.rows if last.by_beat else 1,
        pace=phases[0].pace,
        in_width=max(phases[0].in_width - phases[0].rom_width + sum(word.width for word in words), 1),
        words=words,
        widths={word.name: word.width for word in words},
    )


def flight_of(phases: Sequence[Phase]) -> int:
    """Events inside at a time, a power of two: those on their way at the smallest interval, and `WAITING` more."""
    most = -(-latency_cycles(phases) // ii_cycles(phases)) + WAITING
    return 1 << (most - 1).bit_length()
