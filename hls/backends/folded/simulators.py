"""The Verilog of folded firmware in simulators: a stream in Verilator and in Icarus Verilog."""

from __future__ import annotations

import ctypes
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.ports import Value, decode, encode
from hls.backends.folded.ports import OUT, OUT_BEAT
from hls.backends.folded.stream import Array, Script, Words, refuse_unfinished
from hls.backends.simulators import icarus
from hls.backends.simulators.verilator import MANY_CLOCKS, find_verilator, port_bytes
from hls.errors import HlsError
from hls.templates import fill
from qformers.progress import Reporter, Silent

DRIVER = "machine_driver.cc"
BENCH = "machine_bench.v"
EDGES = 20_000  # of a call of the compiled simulation
# bytes of Verilog beyond which each kernel is compiled by itself: 10 MB, of 200,000 LUT, took Verilator 2.8 GB in one
# piece, and 1.5 GB as four; of less, reading more headers takes longer
APART = 4_000_000
WRONG = {  # what a driver says -> in words
    -1: "an output came, and no event is complete that it could be of",
    -2: "out_last does not stand at the last output of an event",
    -3: "an output came behind the last event",
}

Edges = NDArray[np.int64]


@dataclass(frozen=True)
class Rtl:
    """The Verilog, and how its ports are packed.

    Attributes:
        top: its module.
        sources: its files.
        ins, outs: where each value sits in ``in_beat`` and in the word of outputs.
        by_beat: outputs come beat by beat, as ``out_beat``, with ``out_last``; else one of each event, ``out_event``.
        quiet: clock edges behind the last output, in which nothing else may come.
    """

    top: str
    sources: tuple[Path, ...]
    ins: tuple[Value, ...]
    outs: tuple[Value, ...]
    by_beat: bool
    quiet: int

    @property
    def _port(self) -> dict[str, Any]:
        return {"out": OUT_BEAT if self.by_beat else OUT, "by_beat": self.by_beat}

    def library(self, folder: Path, reporter: Reporter | None = None) -> Path:
        """Compile it for Verilator in a folder; what has not changed is not compiled again."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DRIVER).write_text(fill(Path(__file__).with_name(DRIVER), top=self.top, **self._port))
        apart = self._kernels if sum(path.stat().st_size for path in self.sources) > APART else {}
        return find_verilator().compile(self.sources, self.top, folder, reporter, DRIVER, MANY_CLOCKS, apart)

    @property
    def _kernels(self) -> dict[str, list[Path]]:
        """Module of a kernel -> its files: those in the folder in which it lies; the largest first.

        While Verilator takes that, nothing else is compiled that would take memory beside it.
        """
        folders = {path.parent for path in self.sources if path.stem == f"{self.top}_{path.parent.name}"}
        files = {one: [path for path in self.sources if path.parent == one] for one in folders}
        sizes = {one: sum(path.stat().st_size for path in some) for one, some in files.items()}
        return {f"{self.top}_{one.name}": files[one] for one in sorted(folders, key=lambda one: (-sizes[one], one))}

    def verilated(self, folder: Path, rows: Array, script: Script, reporter: Reporter | None = None) -> Words:
        """Play a stream in Verilator.

        Args:
            folder: of the library.
            rows: (n, beats, values of a beat), in the formats of the ports.
            script: what the world does.
            reporter: told of compiled files, and of events that are over.

        Raises:
            HlsError: an output that belongs to no event, or no end.
        """
        (events, beats), words = rows.shape[:2], self._encoded(rows)
        each = beats if self.by_beat else 1
        stride, room = (port_bytes(max(sum(value.width for value in side), 1)) for side in (self.ins, self.outs))
        given_bytes = np.frombuffer(b"".join(word.to_bytes(stride, "little") for word in words), np.uint8)
        out, times = np.zeros((events * each, room), np.uint8), np.full((2, events), -1, np.int64)
        bits = _bits(script)
        with _running(self.library(folder, reporter)) as (functions, handle):
            tick, over, until = (reporter or Silent()).task("verilator", events), 0, 0
            while over < events and until < len(script):
                until, before = min(until + EDGES, len(script)), over
                over = functions.machine_play(
                    handle, given_bytes.ctypes.data, stride, len(words), beats, each, out.ctypes.data, room,
                    bits.ctypes.data, until, times[0].ctypes.data, times[1].ctypes.data,
                )  # fmt: skip
                if over < 0:
                    raise HlsError(f"{WRONG[over]}, before edge {until}")
                tick(over - before)
            refuse_unfinished(over, events, until)
            if more := functions.machine_idle(handle, self.quiet):
                raise HlsError(f"{WRONG[-3]}, in {more} clocks")
        whole = np.flatnonzero(np.repeat(times[1] >= 0, each))
        came = {int(place): int.from_bytes(out[place].tobytes(), "little") for place in whole}
        return Words(self._values(came, (events, each)), times[0], times[1])

    def icarus(self, rows: Array, script: Script) -> Words:
        """Play a stream in Icarus Verilog; see `verilated`.

        Raises:
            ToolMissing: it is absent or too old.
        """
        events, beats = rows.shape[:2]
        each = beats if self.by_beat else 1
        test = fill(
            Path(__file__).with_name(BENCH),
            top=self.top,
            in_high=max(sum(value.width for value in self.ins) - 1, 0),
            out_high=max(sum(value.width for value in self.outs) - 1, 0),
            beats=events * beats,
            per_event=beats,
            words=each,
            **self._port,
            events=events,
            edges=len(script),
            quiet=self.quiet,
        )
        files = {
            "beats.hex": "".join(f"{word:x}\n" for word in self._encoded(rows)),
            "script.hex": "".join(f"{bits:x}\n" for bits in _bits(script).tolist()),
        }
        with tempfile.TemporaryDirectory(prefix="icarus_") as scratch:
            folder = Path(scratch)
            icarus.simulate(test, files, f"tb_{self.top}", self.sources, folder)
            lines = [line.split() for line in (folder / "edges.txt").read_text().splitlines()]
        times, came = np.full((2, events), -1, np.int64), dict[int, int | None]()
        for word, place, edge, *rest in lines:
            if word == "wrong":
                raise HlsError(f"{WRONG[int(place)]}, at edge {edge}")
            if word == "over":
                refuse_unfinished(int(place), events, int(edge))
            elif word == "taken":
                times[0, int(place)] = int(edge)
            else:
                came[int(place)] = icarus.vector(rest[0])
                if (int(place) + 1) % each == 0:
                    times[1, int(place) // each] = int(edge)
        whole = {place: vector for place, vector in came.items() if times[1, place // each] >= 0}
        return Words(self._values(whole, (events, each)), times[0], times[1])

    def _encoded(self, rows: Array) -> list[int]:
        return encode(self.ins, rows.reshape(-1, rows.shape[-1]))

    def _values(self, came: Mapping[int, int | None], shape: tuple[int, int]) -> Array:
        """Vectors, by their numbers, as values of (n, words of an event); NaN where none came or a bit is undefined."""
        whole = {place: vector for place, vector in came.items() if vector is not None}
        values = np.full((math.prod(shape), len(self.outs)), np.nan)
        values[list(whole)] = decode(self.outs, list(whole.values()))
        return values.reshape(*shape, -1)


def _bits(script: Script) -> NDArray[np.uint8]:
    """A byte per clock edge: 1 offered, 2 wanted, 4 reset."""
    return np.asarray(script.offered + 2 * script.wanted + 4 * script.reset, np.uint8)


@contextmanager
def _running(library: Path) -> Iterator[tuple[Any, ctypes.c_void_p]]:
    """Functions of a compiled simulation, and hardware of its own, fresh from a reset."""
    functions = ctypes.CDLL(str(library))
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64
    signatures: dict[str, tuple[Any, Sequence[Any]]] = {
        "machine_create": (pointer, ()),
        "machine_destroy": (None, (pointer,)),
        "machine_idle": (number, (pointer, number)),
        "machine_play": (
            number,
            (pointer, pointer, size, number, number, number, pointer, size, pointer, number, pointer, pointer),
        ),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(functions, name)
        function.restype, function.argtypes = result, arguments
    handle = ctypes.c_void_p(functions.machine_create())
    try:
        yield functions, handle
    finally:
        functions.machine_destroy(handle)
