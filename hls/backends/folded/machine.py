"""Verilog around the kernels of folded firmware: which beat is where, and the stores between two phases.

A beat carries no stall: once taken, it goes through a kernel in as many clocks as that has stages, and a shift register
beside the kernel tells whether it is one, the first or the last one of an event. Behind the last one all stores of the
boundary change at once, and the next phase works through its beats in the following clocks; an event that comes as
early as it can, B clocks later, changes them again just when the last of these beats has been read. So gaps between
beats do no harm, and what comes out waits in a queue until it is taken. An event is let in only if the queue has a
place for its output.

The Verilog is ``machine.v`` beside this file; here are the numbers and wires for its holes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from hls.backends.alkaid.ports import Value, encode, joined, place, wires
from hls.backends.alkaid.stages import Pipeline
from hls.backends.folded.kernels import Group, Kernel
from hls.errors import HlsError
from hls.templates import fill
from qformers.quant.phases import Folding

HERE = Path(__file__).parent
WAITING = 2  # events in the queue beyond those that are on their way


@dataclass(frozen=True)
class Slice:
    """Bits of a vector."""

    low: int = 0
    width: int = 0


@dataclass(frozen=True)
class Sum:
    """An accumulator: bits of the sum, and Verilog of what a beat adds."""

    total: int
    given: str


@dataclass(frozen=True)
class Store:
    """Behind a phase: bits of the kernel's output that go into each kind of store."""

    streamed: Slice
    filled: Slice
    held: Slice
    running: tuple[Sum, ...]
    spread: tuple[str, ...]  # Verilog of the bits of each beat
    spread_width: int  # of a beat


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

    @property
    def beat_bits(self) -> int:
        """Of the number of a beat."""
        return max((self.beats - 1).bit_length(), 1)


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
    def outside(self) -> tuple[tuple[Group, tuple[Value, ...]], ...]:
        """Inputs that come from outside, at their bits in ``in_beat``."""
        shift = sum(value.width for value in self.rom)
        return tuple(
            (group, tuple(replace(value, low=value.low - shift) for value in values))
            for group, values in self.ins
            if group.kind != "rom"
        )

    def kept(self, kind: str) -> Slice:
        """Bits of the outputs that go into a kind of store."""
        values = [value for group, part in self.outs if group.kind == kind for value in part if value.width]
        return Slice(values[0].low, sum(value.width for value in values)) if values else Slice()

    def read(self, group: Group) -> tuple[Value, ...]:
        """Inputs that read what a store keeps of an output of the kernel in front."""
        return next(values for one, values in self.ins if (one.tensor, one.kind) == (group.tensor, group.kind))

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


def latency_cycles(phases: Sequence[Phase]) -> int:
    """Clock edges from the one that takes the first beat of an event in to the one that brings its output out."""
    *inner, last = phases
    return sum(phase.beats + phase.depth + 1 for phase in inner) + last.beats - 1 + last.depth + 1


def phases_of(
    fold: Folding, made: Sequence[Kernel], cuts: Sequence[Pipeline], ports: Sequence[Ports]
) -> tuple[Phase, ...]:
    """The phases as the template takes them."""
    phases = []
    for number, (kernel, cut, port) in enumerate(zip(made, cuts, ports, strict=True)):
        rom_width = sum(value.width for value in port.rom)
        words = encode(port.rom, kernel.rom) if rom_width else []
        rom = tuple(f"{rom_width}'h{word:x}" for word in words)
        before = ports[number - 1] if number else None
        given = _vector(_sources(fold, number, before, port))
        store = _store(fold, number, port, ports[number + 1]) if number + 1 < len(ports) else None
        phases.append(
            Phase(number, kernel.beats, cut.latency_cycles, port.in_width, port.out_width, given, store, rom, rom_width)
        )
    return tuple(phases)


def _store(fold: Folding, phase: int, port: Ports, behind: Ports) -> Store:
    running = [
        Sum(total.width, joined([wires(value, f"k{phase}_out", 0, total)]))
        for group, values in port.outs
        if group.kind == "running"
        for value, total in zip(values, behind.read(group), strict=True)
        if value.width and total.width
    ]
    rows = _spread(fold, phase, port, behind)
    width = sum(value.width for group, values in behind.ins if group.kind == "spread" for value in values)
    return Store(port.kept("streamed"), port.kept("filled"), port.kept("held"), tuple(running), rows, width)


def _spread(fold: Folding, phase: int, port: Ports, behind: Ports) -> tuple[str, ...]:
    """Verilog of what each beat reads of values of the event, in the format that all beats share."""
    wanted = {group.tensor: values for group, values in behind.ins if group.kind == "spread"}
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


def _sources(fold: Folding, phase: int, before: Ports | None, port: Ports) -> Iterator[Source]:
    """Where the bits of a kernel's inputs lie in its ROM and in the stores in front of it, lowest first."""
    rom_width = sum(value.width for value in port.rom)
    if rom_width:
        yield f"k{phase}_rom", 0, rom_width
    if before is None:
        yield "in_beat", 0, port.in_width - rom_width
        return
    name, sums, rows = f"s{phase - 1}", 0, 0
    written = {(group.tensor, group.kind): (group, values) for group, values in before.outs}
    lows = {kind: before.kept(kind).low for kind in ("streamed", "filled", "held")}
    filled = before.kept("filled").width
    for group, values in port.ins:
        if group.kind == "rom":
            continue
        source, outs = written[group.tensor, group.kind]
        if group.kind == "spread":
            for value in values:
                yield f"{name}_row", rows, value.width
                rows += value.width
            continue
        for flat, value in enumerate(values):
            beat, place_in_beat = _beat_of(fold, group, source, flat)
            out = outs[place_in_beat]
            if group.kind == "running":
                if value.width and out.width:
                    yield f"{name}_sum{sums}", 0, value.width
                    sums += 1
                continue
            if not value.width:
                continue  # the kernel does not read it
            if out.width != value.width:
                raise HlsError(f"tensor {group.tensor}: a store keeps {out.width} bits of which {value.width} are read")
            yield f"{name}_{group.kind}", beat * filled + out.low - lows[group.kind], value.width


def _beat_of(fold: Folding, group: Group, source: Group, flat: int) -> tuple[int, int]:
    """Beat and place within it of a value that is filled in beat by beat; (0, its place) of others."""
    axis = fold.axes[group.tensor]
    if group.kind != "filled" or axis is None:
        return 0, flat
    index = [int(part) for part in np.unravel_index(flat, group.shape)]
    beat, index[axis] = divmod(index[axis], fold.together)
    return beat, int(np.ravel_multi_index(index, source.shape))


def _vector(sources: Iterator[Source]) -> str:
    """Verilog of bits side by side, lowest first in `sources`; neighbours become one slice."""
    merged: list[Source] = []
    for vector, low, width in sources:
        if merged and merged[-1][0] == vector and sum(merged[-1][1:]) == low:
            merged[-1] = vector, merged[-1][1], merged[-1][2] + width
        else:
            merged.append((vector, low, width))
    return joined([f"{vector}[{low} +: {width}]" for vector, low, width in merged])


def verilog(top: str, phases: Sequence[Phase]) -> str:
    """The machine around its kernels, modules ``<top>_k<number>``."""
    flight = flight_of(phases)
    return fill(
        HERE / "machine.v",
        top=top,
        phases=phases,
        flight=flight,
        flight_bits=flight.bit_length() - 1,
        out_width=phases[-1].out_width,
    )


def flight_of(phases: Sequence[Phase]) -> int:
    """Events inside at a time, a power of two: those on their way at the smallest interval, and `WAITING` more."""
    most = -(-latency_cycles(phases) // phases[0].beats) + WAITING
    return 1 << (most - 1).bit_length()
