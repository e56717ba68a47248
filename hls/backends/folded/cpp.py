"""Folded firmware in C++ for Vitis HLS: a process for each phase of the plan, and streams for the stores between them.

A process goes through the beats of one event after the other, a beat per clock, and calls its kernel, which is alkaid's
C++. What a store of the Verilog keeps, streams carry from a process to the next one; two words in a stream are the two
copies of a store, of which one is written while the other one is read:

- ``streamed``: a word per beat, room for the beats of two events; a word for all keys of its points;
- ``keyed``: a word per beat with its keys, room for those of two events;
- ``row_sums``, ``row_largest``: a word per beat of points, written with its last keys;
- ``filled``: a stream for each beat of an event, of two words; all of them are read when the event is complete, into
  registers that the beats of the next phase share;
- ``spread``: the same, but each beat of the next phase reads its own stream alone;
- ``rom``: a table for each value, of which a beat reads its entry;
- ``running``, ``held``: one word, written with the last beat of an event and read with the first one of the next phase.

Of what stands there for all keys, a beat picks its own K.

So a process waits where a word is missing or has no place yet, and several events are on their way. Streams join
neighbours alone and hold at least an event, so that no two processes can wait for each other. A word has a field for
each value, as wide as the plan says; the ports are those of the Verilog, bit for bit (``ports.json``).

The C++ is ``machine.cc`` and ``machine.hh`` beside this file; here are the types and places for their holes.
"""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hls.backends.alkaid.ports import Value
from hls.backends.folded.kernels import Group, Kernel, kept_shape
from hls.backends.folded.machine import Ports, beat_of
from hls.errors import HlsError
from hls.templates import fill
from qformers.files import replacing
from qformers.quant.phases import BY_ROW, CARRIED, Folding

HERE = Path(__file__).parent
KERNELS = "kernels"  # folder below src/: alkaid's functions; the C simulation takes them in parts instead
STATIC = "static"  # folder below src/: what all projects share
TYPES = "ap_types"  # folder below that: the types of Vitis HLS for other compilers; Vitis HLS has its own
DATA = "tb_data"  # of the test bench
NAMESPACE = "comb_logic"  # of alkaid's functions
MOST_BITS = 4096  # of an ap_uint, and of a word that Vitis HLS packs from the fields of a struct

Side = Sequence[tuple[Group, tuple[Value, ...]]]  # of a kernel, its inputs or its outputs


@dataclass(frozen=True)
class Field:
    """A value in a word.

    Attributes:
        name: in the word.
        type, width: in C++, and bits.
        out, out_step: number among the outputs of the kernel in front; what to add for the word of the next beat.
        into, into_step: the same among the inputs of the kernel behind; `into` None where only some keys are read.
    """

    name: str
    type: str
    width: int
    out: int
    into: int | None
    out_step: int = 0
    into_step: int = 0


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
class Bits:
    """A value in the word of a port: `number` among the inputs or outputs of a kernel, its bits and type in C++."""

    number: int
    high: int
    low: int
    type: str


@dataclass(frozen=True)
class Rom:
    """An input of a kernel that differs from beat to beat: `number` among the inputs, C++ type, value for each beat."""

    number: int
    type: str
    values: tuple[str, ...]


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
class Process:
    """A phase.

    Attributes:
        number: from 0.
        beats: of an event.
        chunks: of these for each beat of points.
        layers: in its kernel.
        types: C++ types of the kernel's inputs and outputs.
        sizes: inputs and outputs of the kernel.
        zeros: inputs without bits.
        roms: inputs from tables.
        picks: inputs that depend on which keys they are.
        takes, gives: streams.
        last: of all.
    """

    number: int
    beats: int
    chunks: int
    layers: tuple[str, ...]
    types: tuple[str, str]
    sizes: tuple[int, int]
    zeros: tuple[int, ...]
    roms: tuple[Rom, ...]
    picks: tuple[Pick, ...]
    takes: tuple[Channel, ...]
    gives: tuple[Channel, ...]
    last: bool

    @property
    def rows(self) -> int:
        """Beats of points."""
        return self.beats // self.chunks

    @property
    def arguments(self) -> tuple[str, ...]:
        """What it is called with: the number of events, and streams; none of these where no value has bits. The first
        phase takes beats from outside, the last one gives events."""
        names = [channel.name for channel in (*self.takes, *self.gives)]
        return ("events", *([] if self.number else ["in_beat"]), *names, *(["out_event"] if self.last else []))

    def parameters(self, top: str) -> tuple[str, ...]:
        """The same as they are declared."""
        ports = {"in_beat": f"{top}_beat", "out_event": f"{top}_event"}
        known = {channel.name: channel.parameter for channel in (*self.takes, *self.gives)}
        known["events"] = "unsigned events"
        return tuple(known.get(name) or f"hls::stream<{ports[name]}> &{name}" for name in self.arguments)


def write_cpp(
    source: Path,
    top: str,
    fold: Folding,
    made: Sequence[Kernel],
    combs: Sequence[Any],
    ports: Sequence[Ports],
    layers: Sequence[Sequence[str]],
) -> None:
    """Write the C++ of a plan.

    Args:
        source: folder of the sources.
        top: name of the top function.
        fold, made: of the plan.
        combs: the arithmetic of each kernel, as it is to be written.
        ports: of each kernel.
        layers: names of the layers in each kernel.

    Raises:
        HlsError: a port is wider than a word of Vitis HLS, or a kernel takes what no stream brings.
    """
    in_width = ports[0].in_width - ports[0].rom_width
    for width, what in ((in_width, "a beat"), (ports[-1].out_width, "the output of an event")):
        if width > MOST_BITS:
            raise HlsError(
                f"{what} has {width} bits, and a word of Vitis HLS {MOST_BITS} at most; take fewer points at a time "
                f"(firmware.points_per_clock, now {fold.together}), or set firmware.flavour: verilog"
            )
    text = fill(
        HERE / "machine.cc",
        top=top,
        room=NAMESPACE,
        processes=processes_of(fold, made, combs, ports, layers),
        given=_from_outside(ports[0]),
        made=_bits(ports[-1].outs, ""),
    )
    (source / KERNELS).mkdir(parents=True)
    (source / f"{top}.cc").write_text(text)
    header = fill(
        HERE / "machine.hh",
        top=top,
        beats=fold.beats,
        widths=(max(in_width, 1), max(ports[-1].out_width, 1)),  # an ap_uint has a bit, even where no value has one
        most_bits=MOST_BITS,
    )
    (source / f"{top}.hh").write_text(header)
    for number, comb in enumerate(combs):
        name = f"{top}_k{number}"
        (source / KERNELS / f"{name}.hh").write_text(_kernel(comb, name))
    _write_static(source / STATIC)


def processes_of(
    fold: Folding,
    made: Sequence[Kernel],
    combs: Sequence[Any],
    ports: Sequence[Ports],
    layers: Sequence[Sequence[str]],
) -> tuple[Process, ...]:
    """The phases as the template takes them."""
    from alkaid.codegen.hls.hls_codegen import get_io_types

    between = [channels_of(fold, number, before, behind) for number, (before, behind) in enumerate(pairwise(ports))]
    processes = []
    for number, (kernel, comb, port) in enumerate(zip(made, combs, ports, strict=True)):
        takes = between[number - 1] if number else ()
        gives = between[number] if number < len(between) else ()
        brought = _brought(takes) if number else {bits.number for bits in _bits(port.ins, "streamed")}
        roms = tuple(
            Rom(bits.number, bits.type, tuple(map(repr, kernel.rom[:, bits.number].tolist())))
            for bits in _bits(port.ins, "rom")
        )
        picks = tuple(_picks(fold, takes, ports[number - 1], port)) if number else ()
        known = brought | {rom.number for rom in roms} | {pick.number for pick in picks}
        zeros = tuple(sorted({*range(comb.shape[0])} - known))
        _refuse_unknown(number, port.ins, zeros)
        chunks = fold.chunks_in(kernel.beats)
        about = number, kernel.beats, chunks, tuple(layers[number]), get_io_types(comb, "vitis"), tuple(comb.shape)
        processes.append(Process(*about, zeros, roms, picks, takes, gives, number == len(between)))
    return tuple(processes)


def _refuse_unknown(phase: int, ins: Side, zeros: Sequence[int]) -> None:
    """Refuse to take zeros for inputs with bits: what keeps them has no form in C++."""
    for group, values, at in _starts(ins):
        if any(value.width and place in zeros for place, value in enumerate(values, at)):
            raise HlsError(
                f"phase {phase} reads tensor {group.tensor} from a store '{group.kind}', which the C++ has not; set "
                "firmware.flavour: verilog"
            )


def channels_of(fold: Folding, number: int, before: Ports, behind: Ports) -> tuple[Channel, ...]:
    """The streams behind phase `number`."""
    depths = dict.fromkeys(("streamed", *BY_ROW), 2 * fold.beats) | {"keyed": 2 * fold.interval}
    made = []
    for kind in CARRIED:
        streams = fold.beats if kind in ("filled", "spread") else 0
        for part, fields in enumerate(_words(_fields(fold, kind, before, behind))):
            name = f"s{number}_{kind}" + (f"_{part}" if part else "")
            made.append(Channel(name, kind, fields, streams, depths.get(kind, 2)))
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
    read = [one for one in _starts(behind.ins) if one[0].kind == kind]
    targets = {group.tensor: (group, values, at) for group, values, at in read if group.keys is None}
    some_keys = {group.tensor for group, _, _ in read if group.keys is not None}
    for source, given, at in _starts(before.outs):
        if source.kind != kind:
            continue
        if source.tensor in some_keys and kind == "spread":
            raise HlsError(f"tensor {source.tensor}: keys of values of the event; set firmware.flavour: verilog")
        if source.tensor in some_keys:
            yield from _whole(fold, source, given, at, targets.get(source.tensor))
            continue
        target, taken, into = targets[source.tensor]
        outs, out_step = _places(source, fold, fold.spread.get(source.tensor) if kind == "spread" else None)
        ins, into_step = _places(target, fold, fold.axes[source.tensor] if kind == "filled" else None)
        for out, place in zip(outs, ins, strict=True):
            value, bits = taken[place], given[out].width
            if kind not in ("running", "spread", *BY_ROW) and value.width and bits != value.width:  # 0: it is not read
                raise HlsError(f"tensor {source.tensor}: a stream carries {bits} bits of which {value.width} are read")
            if value.width and (bits or kind == "spread"):
                yield Field(f"v{at + out}", _type(value), value.width, at + out, into + place, out_step, into_step)


Read = tuple[Group, Sequence[Value], int]


def _whole(fold: Folding, source: Group, given: Sequence[Value], at: int, target: Read | None) -> Iterator[Field]:
    """Values of a store of which some keys are read, and perhaps all of them as well."""
    axis = fold.axes[source.tensor] if source.kind == "filled" else None
    ins, step = ([None] * source.size, 0) if target is None else _places(target[0], fold, axis)
    for out, (value, place) in enumerate(zip(given, ins, strict=True)):
        into = None if place is None or target is None or not target[1][place].width else target[2] + place
        if value.width:
            yield Field(f"v{at + out}", _type(value), value.width, at + out, into, 0, step)


def _picks(fold: Folding, takes: Sequence[Channel], before: Ports, port: Ports) -> Iterator[Pick]:
    """Inputs of which a beat reads K keys."""
    carried = {(channel.kind, field.name): channel for channel in takes for field in channel.fields}
    outs = {(group.tensor, group.kind): (group, at) for group, _, at in _starts(before.outs)}
    for group, values, into in _starts(port.ins):
        if group.keys is None:
            continue
        source, at = outs[group.tensor, group.kind]
        shape = kept_shape(fold, source)
        parts = np.split(np.arange(math.prod(shape)).reshape(shape), fold.chunks, axis=group.keys)
        for place, value in enumerate(values):
            if not value.width:
                continue
            words = []
            for part in parts:
                beat, out = beat_of(fold, group, source, int(part.ravel()[place]))
                channel = carried.get((group.kind, f"v{at + out}"))
                one = f"[{beat}]" if group.kind == "filled" else ""
                words.append("0" if channel is None else f"{channel.name}_now{one}.v{at + out}")
            yield Pick(into + place, _type(value), tuple(words))


def _places(group: Group, fold: Folding, axis: int | None) -> tuple[list[int], int]:
    """Places in a group of what belongs to the first beat, and how far those of the next beat are; axis None = all."""
    places = np.arange(group.size).reshape(group.shape)
    if axis is None:
        return [int(place) for place in places.ravel()], 0
    first = np.split(places, fold.beats, axis=axis)[0]
    return [int(place) for place in first.ravel()], fold.together * math.prod(group.shape[axis + 1 :])


def _starts(side: Side) -> Iterator[tuple[Group, tuple[Value, ...], int]]:
    """Groups of a port and their values, each with the number of the first one."""
    at = 0
    for group, values in side:
        yield group, values, at
        at += group.size


def _brought(channels: Sequence[Channel]) -> set[int]:
    """Inputs of a kernel that streams bring."""
    return {
        field.into + stream * field.into_step
        for channel in channels
        for field in channel.fields
        if field.into is not None
        for stream in range(max(channel.streams, 1))
    }


def _bits(side: Side, kind: str) -> tuple[Bits, ...]:
    """Values of a port that come from outside, or go there; those without bits do neither."""
    return tuple(
        Bits(number, value.low + value.width - 1, value.low, _type(value))
        for group, values, at in _starts(side)
        for number, value in enumerate(values, at)
        if group.kind == kind and value.width
    )


def _from_outside(port: Ports) -> tuple[Bits, ...]:
    """Values of a beat: numbers among the inputs of the kernel, bits of the word."""
    shift = port.rom_width
    given = _bits(port.ins, "streamed")
    return tuple(Bits(bits.number, bits.high - shift, bits.low - shift, bits.type) for bits in given)


def _type(value: Value) -> str:
    from alkaid.codegen.hls.hls_codegen import kif_to_vitis_type

    return str(kif_to_vitis_type(value.signed, value.integer_bits, value.fraction_bits))


def write_bench(project: Path, top: str, beats: Sequence[int], events: Sequence[int]) -> None:
    """Write ``tb/tb_<top>.cc``, which any C++ compiler and the C simulation of Vitis HLS take, and its data.

    Args:
        project: the folder.
        top: name of the top function.
        beats, events: words that go in, and that are to come out.
    """
    (project / "tb").mkdir(exist_ok=True)
    (project / DATA).mkdir(exist_ok=True)
    for name, words in (("in_beat", beats), ("out_event", events)):
        with replacing(project / DATA / f"{name}.hex") as temporary:
            temporary.write_text("".join(f"{word:x}\n" for word in words))
    text = fill(HERE / "machine_bench.cc", top=top, data=DATA, beats=len(beats), events=len(events))
    with replacing(project / f"tb/tb_{top}.cc") as temporary:
        temporary.write_text(text)


def _kernel(comb: Any, name: str) -> str:
    """alkaid's function; it becomes part of the pipelined loop that calls it."""
    from alkaid.codegen.hls.hls_codegen import hls_logic_and_bridge_gen

    code, _ = hls_logic_and_bridge_gen(comb, name, "vitis", ["#pragma HLS INLINE"], namespace=NAMESPACE)
    return f'#pragma once\n#include "bitshift.hh"\nnamespace {NAMESPACE} {{\n\n{code}\n}} // namespace {NAMESPACE}\n'


def _write_static(folder: Path) -> None:
    """Copy what alkaid's function needs, and, for other compilers than Vitis HLS, the types and streams of that."""
    alkaid, hls4ml = (package(name) for name in ("alkaid", "hls4ml"))
    source = alkaid / "codegen/hls/source"
    shutil.copytree(source / "ap_types/include", folder / TYPES)
    shutil.copy(source / "vitis_bitshift.hh", folder / "bitshift.hh")
    shutil.copy(hls4ml / "templates/vivado/ap_types/hls_stream.h", folder / TYPES)  # alkaid has none


def package(name: str) -> Path:
    """Folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise HlsError(f"{name} is not installed, whose headers the C++ needs: pip install 'qformers[hls]'")
    return Path(next(iter(spec.submodule_search_locations)))
