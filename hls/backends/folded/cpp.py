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
- ``gathered``: as ``filled``; a beat picks the rows that it reads by the numbers of the order, which come as
  ``streamed`` or ``spread``;
- ``scattered``: registers of all rows, which a beat writes where the kernel says (``places``), and from which they come
  as ``spread`` with the last beat of an event;
- ``rom``: a table for each value, of which a beat reads its entry;
- ``running``, ``held``: one word, written with the last beat of an event and read with the first one of the next phase.

Of what stands there for all keys, a beat picks its own K. Outputs of points leave beat by beat, those of an event with
its last beat.

So a process waits where a word is missing or has no place yet, and several events are on their way. Streams join
neighbours alone and hold at least an event, so that no two processes can wait for each other. A word has a field for
each value, as wide as the plan says; the ports are those of the Verilog, bit for bit (``ports.json``).

Rows in memory banks are not written: a host's words of a beat, which say where each row lies, would have to go through
all phases, and two events share a memory that one process writes while the other one reads it.

The C++ is ``machine.cc`` and ``machine.hh`` beside this file; here are the types and places for their holes.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from hls.backends.folded.channels import (
    MOST_BITS,
    Channel,
    Moved,
    Pick,
    Side,
    brought,
    channels_of,
    gathered_of,
    picks_of,
    scattered_of,
    starts,
    type_of,
)
from hls.backends.folded.kernels import Kernel
from hls.backends.folded.machine import Ports
from hls.backends.folded.orders import address_bits
from hls.backends.folded.ports import OUT_BEAT, answers_of
from hls.errors import HlsError
from hls.templates import fill
from qformers.files import replacing
from qformers.quant.phases import Folding

HERE = Path(__file__).parent
KERNELS = "kernels"  # folder below src/: alkaid's functions; the C simulation takes them in parts instead
STATIC = "static"  # folder below src/: what all projects share
TYPES = "ap_types"  # folder below that: the types of Vitis HLS for other compilers; Vitis HLS has its own
DATA = "tb_data"  # of the test bench
NAMESPACE = "comb_logic"  # of alkaid's functions


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
        gathered: rows that it reads where an order says.
        scattered: rows that it writes where an order says.
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
    gathered: Moved
    scattered: Moved
    takes: tuple[Channel, ...]
    gives: tuple[Channel, ...]
    last: bool

    @property
    def rows(self) -> int:
        """Beats of points."""
        return self.beats // self.chunks

    def arguments(self, out: str) -> tuple[str, ...]:
        """What it is called with: the number of events, and streams; none of these where no value has bits. The first
        phase takes beats from outside, the last one gives outputs at port `out`."""
        names = [channel.name for channel in (*self.takes, *self.gives)]
        return ("events", *([] if self.number else ["in_beat"]), *names, *([out] if self.last else []))

    def parameters(self, top: str, out: str) -> tuple[str, ...]:
        """The same as they are declared."""
        ports = {"in_beat": f"{top}_beat", out: f"{top}_answer"}
        known = {channel.name: channel.parameter for channel in (*self.takes, *self.gives)}
        known["events"] = "unsigned events"
        return tuple(known.get(name) or f"hls::stream<{ports[name]}> &{name}" for name in self.arguments(out))


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
    out, answers = answers_of(fold, ports[-1].outs)
    answer = "the output of a beat" if out == OUT_BEAT else "the output of an event"
    for width, what in ((in_width, "a beat"), (ports[-1].out_width, answer)):
        if width > MOST_BITS:
            raise HlsError(
                f"{what} has {width} bits, and a word of Vitis HLS {MOST_BITS} at most; take fewer points at a time "
                f"(firmware.points_per_clock, now {fold.together}), or set firmware.flavour: verilog"
            )
    text = fill(
        HERE / "machine.cc",
        top=top,
        room=NAMESPACE,
        out=out,
        points=fold.points,
        slot_bits=address_bits(fold.points),
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
        out=out,
        answers=answers,
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
        gathered = gathered_of(fold, number - 1, ports[number - 1], port, takes) if number else Moved()
        scattered = scattered_of(fold, number, port, ports[number + 1]) if gives else Moved()
        known = brought(takes, gathered) if number else {bits.number for bits in _bits(port.ins, "streamed")}
        roms = tuple(
            Rom(bits.number, bits.type, tuple(map(repr, kernel.rom[:, bits.number].tolist())))
            for bits in _bits(port.ins, "rom")
        )
        picks = tuple(picks_of(fold, takes, ports[number - 1], port)) if number else ()
        known |= {rom.number for rom in roms} | {pick.number for pick in picks}
        zeros = tuple(sorted({*range(comb.shape[0])} - known))
        _refuse_unknown(number, port.ins, zeros)
        chunks = fold.chunks_in(kernel.beats)
        about = number, kernel.beats, chunks, tuple(layers[number]), get_io_types(comb, "vitis"), tuple(comb.shape)
        moved = gathered, scattered
        processes.append(Process(*about, zeros, roms, picks, *moved, takes, gives, number == len(between)))
    return tuple(processes)


def _refuse_unknown(phase: int, ins: Side, zeros: Sequence[int]) -> None:
    """Refuse to take zeros for inputs with bits: what keeps them has no form in C++."""
    for group, values, at in starts(ins):
        if any(value.width and place in zeros for place, value in enumerate(values, at)):
            raise HlsError(
                f"phase {phase} reads tensor {group.tensor} from a store '{group.kind}', which the C++ has not; set "
                "firmware.flavour: verilog"
            )


def _bits(side: Side, kind: str) -> tuple[Bits, ...]:
    """Values of a port that come from outside, or go there; those without bits do neither."""
    return tuple(
        Bits(number, value.low + value.width - 1, value.low, type_of(value))
        for group, values, at in starts(side)
        for number, value in enumerate(values, at)
        if group.kind == kind and value.width
    )


def _from_outside(port: Ports) -> tuple[Bits, ...]:
    """Values of a beat: numbers among the inputs of the kernel, bits of the word."""
    shift = port.rom_width
    given = _bits(port.ins, "streamed")
    return tuple(Bits(bits.number, bits.high - shift, bits.low - shift, bits.type) for bits in given)


def write_bench(project: Path, top: str, beats: Sequence[int], answers: Sequence[int], out: str, each: int = 1) -> None:
    """Write ``tb/tb_<top>.cc``, which any C++ compiler and the C simulation of Vitis HLS take, and its data.

    Args:
        project: the folder.
        top: name of the top function.
        beats, answers: words that go in, and that are to come out.
        out: port of outputs.
        each: words there for each event.
    """
    (project / "tb").mkdir(exist_ok=True)
    (project / DATA).mkdir(exist_ok=True)
    for name, words in (("in_beat", beats), (out, answers)):
        with replacing(project / DATA / f"{name}.hex") as temporary:
            temporary.write_text("".join(f"{word:x}\n" for word in words))
    counts = {"beats": len(beats), "answers": each, "events": len(answers) // each}
    text = fill(HERE / "machine_bench.cc", top=top, data=DATA, out=out, **counts)
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
