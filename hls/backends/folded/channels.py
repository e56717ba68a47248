"""Streams between two phases of folded firmware in C++, and registers of the rows that an order moves there.

`hls.backends.folded.cpp` says what carries which store. Symbols: N points, T of them per beat, B beats, O orders, H
heads, E channels.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.ports import Value
from hls.backends.folded.kernels import Group, kept_shape
from hls.backends.folded.machine import Ports, beat_of, by_keys, of_all_keys, value_of
from hls.backends.folded.orders import WORDS
from hls.errors import HlsError
from qformers.quant.phases import BY_ROW, CARRIED, Folding

MOST_BITS = 4096  # of an ap_uint, and of a word that Vitis HLS packs from the fields of a struct
OF_BEATS = ("filled", "spread", *WORDS)  # stores with a stream for each beat of an event

Side = Sequence[tuple[Group, tuple[Value, ...]]]  # of a kernel, its inputs or its outputs
Read = tuple[Group, Sequence[Value], int]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Field:
    """A value in a word.

    Attributes:
        name: in the word.
        type, width: in C++, and bits.
        out, out_step: number among the outputs of the kernel in front, or among `rows` that are scattered; what to add
            for the word of the next beat.
        into, into_step: the same among the inputs of the kernel behind, or among `rows` that are gathered; `into` None
            where the kernel does not read it as it is.
        rows: registers of all rows, on the side of the stream that holds them; "" where there are none.
    """

    name: str
    type: str
    width: int
    out: int
    into: int | None
    out_step: int = 0
    into_step: int = 0
    rows: str = ""


@dataclass(frozen=True)
class Channel:
    """A stream between two phases, or one for each beat of an event.

    Attributes:
        name: of the stream.
        kind: of the store, see `qformers.quant.phases`.
        fields: of a word.
        streams: side by side; 0 = one, which is no array.
        depth: words in a stream.
    """

    name: str
    kind: str
    fields: tuple[Field, ...]
    streams: int
    depth: int

    @property
    def word(self) -> str:
        """Type of a word."""
        return f"{self.name}_word"

    @property
    def parameter(self) -> str:
        """Declaration as a parameter of a function."""
        array = f" {self.name}[{self.streams}]" if self.streams else f" &{self.name}"
        return f"hls::stream<{self.word}>{array}"


@dataclass(frozen=True)
class Pick:
    """An input of a kernel that is another value of a store for each of C parts of the keys.

    Attributes:
        number: among the inputs.
        type: in C++.
        sources: C++ of the value, by part.
    """

    number: int
    type: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Slot:
    """The slot that a number of an order names: C++ of its `name`, and of the number."""

    name: str
    number: str


@dataclass(frozen=True)
class Rows:
    """A value of all N rows of points that an order moves, in registers.

    Attributes:
        name, type: in C++.
        moves: gathered: inputs of the kernel, each with the slot whose row it reads; scattered: outputs, each with the
            slot whose row it becomes.
    """

    name: str
    type: str
    moves: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Moved:
    """What orders move on one side of the streams between two phases."""

    slots: tuple[Slot, ...] = ()
    rows: tuple[Rows, ...] = ()


@dataclass(frozen=True)
class _Column:
    """A value of the rows of points that an order moves.

    Attributes:
        name: of its registers.
        type, width: in C++, and bits; the same in all rows.
        order: the tensor of numbers.
        outs: of each lane, among the outputs of the kernel in front.
        ins: (O, T) of each lane of a beat, among the inputs of the kernel behind; of scattered rows (1, T).
        read: whether the kernel reads that, likewise.
        numbers: gathered: (O, T) places in the order, of `ins`; scattered: (1, T) of `outs`.
    """

    name: str
    type: str
    width: int
    order: str
    outs: Places
    ins: Places
    read: NDArray[np.bool_]
    numbers: Places


def channels_of(fold: Folding, number: int, before: Ports, behind: Ports) -> tuple[Channel, ...]:
    """The streams behind phase `number`."""
    depths = dict.fromkeys(("streamed", *BY_ROW), 2 * fold.beats) | {"keyed": 2 * fold.interval}
    made = []
    for kind in CARRIED:
        if kind == "places":  # they lead rows into their registers
            continue
        moving = kind in WORDS
        fields = _fields_of_rows(fold, number, kind, before, behind) if moving else _fields(fold, kind, before, behind)
        streams = fold.beats if kind in OF_BEATS else 0
        for part, some in enumerate(_words(fields)):
            name = f"s{number}_{kind}" + (f"_{part}" if part else "")
            made.append(Channel(name, kind, some, streams, depths.get(kind, 2)))
    return tuple(made)


def _words(fields: Iterator[Field]) -> list[tuple[Field, ...]]:
    """Fields dealt over words of `MOST_BITS`."""
    words: list[list[Field]] = []
    room = 0
    for field in fields:
        if field.width > room:
            words.append([])
            room = MOST_BITS
        words[-1].append(field)
        room -= field.width
    return [tuple(word) for word in words]


def _fields(fold: Folding, kind: str, before: Ports, behind: Ports) -> Iterator[Field]:
    """Values of a kind of store that have bits, and where they come from and go to."""
    read = [one for one in starts(behind.ins) if one[0].kind == kind]
    targets = {group.tensor: (group, values, at) for group, values, at in read if group.keys is None}
    some_keys = {group.tensor for group, _, _ in read if group.keys is not None}
    leading = {tensor for tensor, way in _orders(fold, before).items() if way == kind}
    for source, given, at in starts(before.outs):
        if source.kind != kind:
            continue
        if source.tensor in some_keys and kind == "spread":
            every = of_all_keys(fold, next(group for group, _, _ in read if group.tensor == source.tensor))
            yield from _spread(fold, source, every, at, targets.get(source.tensor))
            continue
        if source.tensor in some_keys:
            yield from _whole(fold, source, given, at, targets.get(source.tensor))
            continue
        target, taken, into = targets[source.tensor]
        leads = source.tensor in leading
        outs, out_step = _places(source, fold, fold.spread.get(source.tensor) if kind == "spread" else None)
        ins, into_step = _places(target, fold, fold.axes[source.tensor] if kind == "filled" else None)
        for out, place in zip(outs, ins, strict=True):
            value, bits = taken[place], given[out].width
            if kind not in ("running", "spread", *BY_ROW) and value.width and bits != value.width:  # 0: it is not read
                raise HlsError(f"tensor {source.tensor}: a stream carries {bits} bits of which {value.width} are read")
            form = value_of(target, place) if leads else value  # what leads rows is kept though no kernel reads it
            if form.width and (bits or kind == "spread"):
                reads = into + place if value.width else None
                yield Field(f"v{at + out}", type_of(form), form.width, at + out, reads, out_step, into_step)


def _whole(fold: Folding, source: Group, given: Sequence[Value], at: int, target: Read | None) -> Iterator[Field]:
    """Values of a store of which some keys are read, and perhaps all of them as well."""
    axis = fold.axes[source.tensor] if source.kind == "filled" else None
    ins, step = ([None] * source.size, 0) if target is None else _places(target[0], fold, axis)
    for out, (value, place) in enumerate(zip(given, ins, strict=True)):
        into = None if place is None or target is None or not target[1][place].width else target[2] + place
        if value.width:
            yield Field(f"v{at + out}", type_of(value), value.width, at + out, into, 0, step)


def _spread(fold: Folding, source: Group, every: Group, at: int, target: Read | None) -> Iterator[Field]:
    """The same of values of the event of which a beat reads its own; `every`: these, in formats that hold for all."""
    outs, step = _places(source, fold, fold.spread[source.tensor])
    for place, out in enumerate(outs):
        form = value_of(every, place)
        into = None if target is None or not target[1][place].width else target[2] + place
        if form.width:
            yield Field(f"v{at + out}", type_of(form), form.width, at + out, into, step)


def _fields_of_rows(fold: Folding, number: int, kind: str, before: Ports, behind: Ports) -> Iterator[Field]:
    """Values of the rows of a beat, as they come to be gathered; or of a beat that reads what was scattered."""
    for column in _columns(fold, number, kind, before, behind):
        for lane, (out, into) in enumerate(zip(column.outs.tolist(), column.ins[0].tolist(), strict=True)):
            if kind == "gathered":
                ends = out, lane, 0, fold.together
            elif column.read[0, lane]:
                ends = lane, into, fold.together, 0
            else:
                continue
            name = f"v{out if kind == 'gathered' else into}"
            yield Field(name, column.type, column.width, *ends, rows=column.name)


def gathered_of(fold: Folding, number: int, before: Ports, behind: Ports, channels: Sequence[Channel]) -> Moved:
    """What the phase behind phase `number` picks of the rows of all points, by numbers that `channels` bring it."""
    names = _carried(channels)
    slots: dict[str, Slot] = {}

    def slot(order: str, place: int) -> str:
        way = _orders(fold, before)[order]
        source, _, at = next(one for one in starts(before.outs) if (one[0].tensor, one[0].kind) == (order, way))
        out = at + _places(source, fold, fold.spread[order] if way == "spread" else None)[0][place]
        channel = names.get((way, f"v{out}"))
        one = Slot(f"s{number}_from{out}", "0" if channel is None else f"{channel.name}_now.v{out}")
        return slots.setdefault(one.name, one).name

    rows = []
    for column in _columns(fold, number, "gathered", before, behind):
        moves = [
            (int(into), slot(column.order, int(place)))
            for into, place, read in zip(column.ins.flat, column.numbers.flat, column.read.flat, strict=True)
            if read
        ]
        rows.append(Rows(column.name, column.type, tuple(moves)))
    return Moved(tuple(slots.values()), tuple(rows))


def scattered_of(fold: Folding, number: int, before: Ports, behind: Ports) -> Moved:
    """What phase `number` writes into the rows of all points, where its kernel says."""
    given = {group.tensor: (values, at) for group, values, at in starts(before.outs) if group.kind == "places"}
    slots: dict[str, Slot] = {}
    rows = []
    for column in _columns(fold, number, "scattered", before, behind):
        values, at = given[column.order]
        moves = []
        for out, place in zip(column.outs.tolist(), column.numbers[0].tolist(), strict=True):
            value, name = values[place], f"s{number}_to{at + place}"
            slots[name] = Slot(name, f"{type_of(value)}(made[{at + place}])" if value.width else "0")
            moves.append((out, name))
        rows.append(Rows(column.name, column.type, tuple(moves)))
    return Moved(tuple(slots.values()), tuple(rows))


def _columns(fold: Folding, number: int, kind: str, before: Ports, behind: Ports) -> Iterator[_Column]:
    """All values of the rows that are gathered, or scattered, behind phase `number` and of which any is read."""
    targets = {group.tensor: (group, values, at) for group, values, at in starts(behind.ins) if group.kind == kind}
    count = 0
    for source, _, at in starts(before.outs):
        if source.kind != kind:
            continue
        target, taken, into = targets[source.tensor]
        orders, heads, *_, channels = target.shape
        made = at + np.arange(source.size)
        outs = (
            np.moveaxis(made.reshape(source.shape), 0, 1)[None]  # (1, H, T, E)
            if kind == "gathered"
            else made.reshape(-1, heads, fold.together, channels)  # of O orders
        )
        ins = (into + np.arange(target.size)).reshape(orders, heads, fold.together, channels)
        read = np.reshape([value.width > 0 for value in taken], ins.shape)
        numbers = np.arange(orders * fold.together).reshape(orders, fold.together)
        for order, head, channel in np.ndindex(len(outs), heads, channels):
            every = slice(None) if kind == "gathered" else slice(order, order + 1)  # orders that read it
            own = read[every, head, :, channel]
            if not own.any():
                continue
            places = ins[every, head, :, channel]
            form = value_of(target, int(places.flat[0]) - into)
            yield _Column(
                f"s{number}_{kind}_rows{count}",
                type_of(form),
                form.width,
                fold.moves[source.tensor].order,
                outs[order, head, :, channel],
                places,
                own,
                numbers[every],
            )
            count += 1


def _orders(fold: Folding, before: Ports) -> Mapping[str, str]:
    """Order by which rows are gathered behind a kernel -> the store that brings its numbers to the kernel behind."""
    kinds: dict[str, set[str]] = {}
    for group, _ in before.outs:
        kinds.setdefault(group.tensor, set()).add(group.kind)
    read = [fold.moves[group.tensor].order for group, _ in before.outs if group.kind == "gathered"]
    return {order: "streamed" if "streamed" in kinds[order] else "spread" for order in read}


def picks_of(fold: Folding, takes: Sequence[Channel], before: Ports, port: Ports) -> Iterator[Pick]:
    """Inputs of which a beat reads K keys."""
    carried = _carried(takes)
    outs = {(group.tensor, group.kind): (group, at) for group, _, at in starts(before.outs)}
    for group, values, into in starts(port.ins):
        if group.keys is None:
            continue
        source, at = outs[group.tensor, group.kind]
        parts = by_keys(fold, kept_shape(fold, source), group.keys)
        first = _places(source, fold, fold.spread[group.tensor])[0] if group.kind == "spread" else None
        for place, value in enumerate(values):
            if not value.width:
                continue
            words = []
            for flat in parts[:, place].tolist():
                beat, out = beat_of(fold, group, source, flat)
                out = out if first is None else first[out]
                channel = carried.get((group.kind, f"v{at + out}"))
                one = f"[{beat}]" if group.kind == "filled" else ""
                words.append("0" if channel is None else f"{channel.name}_now{one}.v{at + out}")
            yield Pick(into + place, type_of(value), tuple(words))


def _carried(channels: Sequence[Channel]) -> dict[tuple[str, str], Channel]:
    """Kind of a store and name of a field -> the stream that has it."""
    return {(channel.kind, field.name): channel for channel in channels for field in channel.fields}


def _places(group: Group, fold: Folding, axis: int | None) -> tuple[list[int], int]:
    """Places in a group of what belongs to the first beat, and how far those of the next beat are; axis None = all."""
    places = np.arange(group.size).reshape(group.shape)
    if axis is None:
        return [int(place) for place in places.ravel()], 0
    first = np.split(places, fold.beats, axis=axis)[0]
    return [int(place) for place in first.ravel()], fold.together * math.prod(group.shape[axis + 1 :])


def starts(side: Side) -> Iterator[Read]:
    """Groups of a port and their values, each with the number of the first one."""
    at = 0
    for group, values in side:
        yield group, values, at
        at += group.size


def brought(channels: Collection[Channel], moved: Moved) -> set[int]:
    """Inputs of a kernel that streams bring, or rows that it gathers from them."""
    gathered = {number for rows in moved.rows for number, _ in rows.moves}
    return gathered | {
        field.into + stream * field.into_step
        for channel in channels
        if channel.kind != "gathered"
        for field in channel.fields
        if field.into is not None
        for stream in range(max(channel.streams, 1))
    }


def type_of(value: Value) -> str:
    """Of a value, in C++."""
    from alkaid.codegen.hls.hls_codegen import kif_to_vitis_type

    return str(kif_to_vitis_type(value.signed, value.integer_bits, value.fraction_bits))
