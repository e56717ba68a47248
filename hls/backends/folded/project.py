"""Written folded firmware: its ports, its kernels in NumPy, its RTL beat by beat or its C++."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.ports import Value, decode, encode
from hls.backends.folded import csim
from hls.backends.folded.cpp import write_bench
from hls.backends.folded.kernels import Group, Kernel, beats_of, of_event, run
from hls.backends.folded.orders import ways_of
from hls.backends.folded.ports import IN, OUT, OUT_BEAT, sides_of
from hls.backends.folded.vendor import build_project
from hls.backends.folder import ProjectFolder
from hls.backends.protocol import Clocked, Timing
from hls.backends.simulators.verilator import find_verilator, port_bytes
from hls.errors import HlsError
from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from hls.templates import fill
from qformers.manifest import versions
from qformers.progress import Reporter, Silent
from qformers.quant.phases import Folding, Move

PORTS = "ports.json"
PLAN = "plan.json"
LEVELS = ("interpreter", "verilator")
TIMED = ("verilator",)
DRIVER = "machine_driver.cc"
CHUNK = 1000  # events per call of the simulation, and of the kernels
MARGIN = 100  # clock edges simulated per event beyond the initiation interval, at most

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pauses:
    """Of 256 clocks those, drawn at random from `seed`, in which no beat is offered and in which no output is taken."""

    gaps: int = 0
    stalls: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Streamed:
    """Events as they came out of the RTL.

    Attributes:
        outputs: (n, output values).
        taken, given: (n,), clock edge of the first beat and of the (last) output of each event.
    """

    outputs: Array
    taken: NDArray[np.int64]
    given: NDArray[np.int64]


@dataclass(frozen=True)
class FoldedProject(ProjectFolder):
    """Folded firmware in a folder: ``src/``, ``ports.json``, ``plan.json``, ``model/``.

    Its levels are the traced kernels and stores in NumPy, and the RTL in Verilator or, in its place, the C++.
    """

    @property
    def levels(self) -> tuple[str, ...]:
        """The kernels first; those of the RTL only where it is Verilog."""
        return (*(level for level in LEVELS if level not in TIMED), "csim") if self._cpp else LEVELS

    @property
    def timed(self) -> tuple[str, ...]:
        """The RTL."""
        return () if self._cpp else TIMED

    @property
    def sources(self) -> list[Path]:
        """All Verilog.

        Raises:
            HlsError: this flavour has none.
        """
        if self._cpp:
            raise self._no_verilog("synthesis reads Verilog")
        return sorted((self.path / "src").rglob("*.v"))

    @property
    def _cpp(self) -> bool:
        """Whether it is C++ for Vitis HLS."""
        return bool(self.facts["flavour"] == "vitis")

    def _no_verilog(self, why: str) -> HlsError:
        return HlsError(f"{why}, this project is vitis; set firmware.flavour: verilog and export again")

    def level_of(self, level: str | None) -> str:
        """See `ProjectFolder.level_of`; says what to do where the project has no Verilog to simulate."""
        if level in TIMED and self._cpp:
            raise self._no_verilog(f"{level} simulates Verilog")
        return super().level_of(level)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """``plan.json``: kernels, stores, cost."""
        tree: dict[str, Any] = json.loads((self.path / PLAN).read_text())
        return tree

    @property
    def fold(self) -> Folding:
        """How an event comes."""
        facts = self.facts
        moves = {layer: Move(*names) for layer, names in facts["moves"].items()}
        return Folding(facts["points"], facts["points_per_clock"], facts["axes"], facts["spread"], moves)

    @cached_property
    def out_port(self) -> str:
        """Of the outputs: ``out_beat`` where points have outputs of their own, else ``out_event``."""
        return next(name for name in (OUT_BEAT, OUT) if name in self._ports)

    @property
    def words(self) -> int:
        """Outputs of an event at that port."""
        return self.fold.beats if self.out_port == OUT_BEAT else 1

    @property
    def latency_cycles(self) -> int:
        """Clock edges from the one that takes the first beat of an event in to the one that brings its output out."""
        return int(self.facts["latency_cycles"])

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """As they were traced."""
        from alkaid.types import CombLogic

        return tuple(
            Kernel(
                CombLogic.load(self.path / f"model/kernel{row['kernel']}.json.gz"),
                tuple(map(Group.from_json, row["ins"])),
                tuple(map(Group.from_json, row["outs"])),
                row["beats"],
                np.asarray(row["rom"], np.float64).reshape(row["beats"], -1),
            )
            for row in self.facts["kernels"]
        )

    @cached_property
    def _ports(self) -> dict[str, tuple[Value, ...]]:
        return sides_of(json.loads((self.path / PORTS).read_text()))

    def compile(self, level: str | None = None, reporter: Reporter | None = None) -> None:
        """Compile the RTL for Verilator, or the C++, where that is the level."""
        if (level := self.level_of(level)) == "csim":
            self._cxx(reporter)
        elif level in TIMED:
            self._library(reporter)

    def outputs(
        self, inputs: Mapping[str, NDArray[Any]], level: str | None = None, reporter: Reporter | None = None
    ) -> dict[str, Array]:
        """See `Project.outputs`."""
        if (level := self.level_of(level)) in TIMED:
            return self._named(self.stream(inputs, reporter=reporter).outputs)
        if level == "csim":
            beats, sides = self._beats(inputs), (self._ports[IN], self._ports[OUT])
            return self._named(csim.run_library(self._cxx(reporter), beats, *sides, reporter))
        rounded = self.rounded(inputs)
        events = len(next(iter(rounded.values())))
        tick = (reporter or Silent()).task("kernels", events)
        parts = []
        for start in range(0, events, CHUNK):
            chosen = slice(start, start + CHUNK)
            found = run(self.fold, self.kernels, {name: array[chosen] for name, array in rounded.items()})
            parts.append(
                np.concatenate([found[name].reshape(len(found[name]), -1) for name in self.facts["outputs"]], 1)
            )
            tick(len(parts[-1]))
        return self._named(np.concatenate(parts))

    def clock(
        self,
        inputs: Mapping[str, NDArray[Any]],
        expected: Mapping[str, Array],
        level: str | None = None,
        reporter: Reporter | None = None,
    ) -> Clocked:
        """Events back to back; the RTL itself says when an output comes, `expected` is not looked at."""
        if self.level_of(level or TIMED[0]) not in TIMED:
            raise HlsError(f"levels with a clock are {', '.join(TIMED)}. Received: {level!r}")
        found = self.stream(inputs, reporter=reporter)
        latencies, intervals = set(found.given - found.taken), set(np.diff(found.taken))
        same = len(latencies) == 1 and len(intervals) <= 1
        ii = int(intervals.pop()) if intervals else self.facts["ii_cycles"]
        measured = Timing(int(latencies.pop()) - 1, ii) if same else None  # it is taken one edge after it has come
        return Clocked(self._named(found.outputs), measured, self.latency_cycles)

    def stream(
        self,
        inputs: Mapping[str, NDArray[Any]],
        pauses: Pauses | None = None,
        reporter: Reporter | None = None,
        reset_after: int = 0,
    ) -> Streamed:
        """Events through the simulated RTL in one stream.

        Args:
            inputs: name -> (n, ...).
            pauses: of the stream; None = none.
            reporter: told of progress.
            reset_after: clock edges of other beats in front of the stream, which a reset then ends; 0 = none.

        Raises:
            HlsError: fewer outputs came than events went in.
        """
        rows, pauses = self._beats(inputs), pauses or Pauses()
        events, beats = len(rows), self.fold.beats
        words = encode(self._ports[IN], rows.reshape(events * beats, -1))
        with self._running(reporter) as (bench, reset):
            if reset_after:
                bench(words, beats, Pauses(), reset_after)
                reset()
            came, taken, given = bench(words, beats, pauses, events * (beats + MARGIN) * 8 + self.latency_cycles)
        if len(came) != events * self.words:
            raise HlsError(f"{self.path}: {len(came)} outputs came for {events} events, {self.words} for each")
        values = decode(self._ports[self.out_port], came).reshape(events, self.words, -1)
        outs = self.kernels[-1].outs
        parts = np.split(values, np.cumsum([group.size for group in outs])[:-1], axis=2)
        named = [of_event(self.fold, group, part) for group, part in zip(outs, parts, strict=True)]
        return Streamed(np.concatenate([part.reshape(events, -1) for part in named], axis=1), taken, given)

    def reports(self) -> list[Report]:
        """alkaid's estimate of the kernels, and the registers of kernels and stores as written."""
        facts = self.facts
        bits = facts["register_bits"] + facts["store_bits"]
        estimate = Report(
            source="folded",
            stage="estimate",
            tool=f"alkaid {versions()['alkaid']}",
            part=json.loads((self.path / "manifest.json").read_text())["firmware"]["part"],
            resources={
                "lut": round(facts["lut_estimate"]),
                "ff": int(bits),
                "dsp": facts["dsp_estimate"],
                "bram18": 0,
            },
            clock_ns=facts["clock_ns"],
            latency_cycles=self.latency_cycles,
            latency_ns=self.latency_cycles * facts["clock_ns"],
            ii_cycles=facts["ii_cycles"],
            error_bar=error_bar("alkaid"),
            detail={key: facts[key] for key in ("points_per_clock", "longest_path_ns", "store_bits")},
        )
        return [estimate.of_project(self.path)]

    def write_bench(self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, Array]) -> None:
        """Write a self-checking test bench in C++, where that is the flavour: `hls.backends.folded.cpp.write_bench`.

        Args:
            inputs: model inputs, name -> (n, ...).
            outputs: what the quantised model makes of them, name -> (n, ...).
        """
        if self._cpp:
            beats, made = self._beats(inputs), self.flat(outputs)
            words = encode(self._ports[IN], beats.reshape(-1, beats.shape[2])), encode(self._ports[OUT], made)
            write_bench(self.path, self.layout.top, *words)

    def build(self) -> Path:
        """See `Project.build`; Vivado, Quartus or Vitis HLS, by part and flavour."""
        part = json.loads((self.path / "manifest.json").read_text())["firmware"]["part"]
        return build_project(self.path, self.layout.top, part, self.facts["flavour"])

    def _beats(self, inputs: Mapping[str, NDArray[Any]]) -> Array:
        """Events as they come in, (n, B, values of a beat), in the formats of the ports."""
        rounded = self.rounded(inputs)
        outside = [group for group in self.kernels[0].ins if group.kind != "rom"]
        parts = [beats_of(self.fold, group.tensor, rounded[group.tensor]) for group in outside]
        return np.concatenate([*parts, ways_of(self.fold, rounded)], axis=2)

    def _cxx(self, reporter: Reporter | None) -> Path:
        return csim.compile_cpp(self.path / "src", self.layout.top, self.path / "csim", reporter)

    def _named(self, values: Array) -> dict[str, Array]:
        ends = np.cumsum([port.size for port in self.layout.outputs])[:-1]
        parts = np.split(values, ends, axis=1)
        return self.named({port.variable: part for port, part in zip(self.layout.outputs, parts, strict=True)})

    def _library(self, reporter: Reporter | None) -> Path:
        folder = self.path / "sim"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DRIVER).write_text(self._driver)
        return find_verilator().compile(self.sources, self.layout.top, folder, reporter, DRIVER)

    @property
    def _driver(self) -> str:
        by_beat = self.out_port == OUT_BEAT
        return fill(Path(__file__).with_name(DRIVER), top=self.layout.top, out=self.out_port, by_beat=by_beat)

    @contextmanager
    def _running(self, reporter: Reporter | None) -> Iterator[tuple[Any, Any]]:
        """Hardware fresh from reset: (words, beats, pauses, most) -> outputs, taken, given; and what resets it."""
        functions = ctypes.CDLL(str(self._library(reporter)))
        functions.machine_create.restype = ctypes.c_void_p
        functions.machine_destroy.argtypes = functions.machine_reset.argtypes = [ctypes.c_void_p]
        functions.machine_run.restype = ctypes.c_int64
        size, pointer, number = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_uint64
        functions.machine_run.argtypes = [
            pointer, pointer, size, size, size, size, pointer, size, number, number, number, ctypes.c_int64, pointer,
            pointer,
        ]  # fmt: skip
        stride, room = (port_bytes(sum(value.width for value in self._ports[side])) for side in (IN, self.out_port))
        handle = ctypes.c_void_p(functions.machine_create())

        def bench(words: list[int], beats: int, pauses: Pauses, most: int) -> tuple[list[int], Any, Any]:
            given = np.frombuffer(b"".join(word.to_bytes(stride, "little") for word in words), np.uint8)
            events = len(words) // beats
            out, times = np.zeros((events * self.words, room), np.uint8), np.zeros((2, events), np.int64)
            came = functions.machine_run(
                handle, given.ctypes.data, stride, len(words), beats, self.words, out.ctypes.data, room, pauses.seed,
                pauses.gaps, pauses.stalls, most, times[0].ctypes.data, times[1].ctypes.data,
            )  # fmt: skip
            if came < 0:
                raise HlsError(f"{self.path}: out_last does not stand at the last output of each event")
            return [int.from_bytes(row.tobytes(), "little") for row in out[:came]], times[0], times[1]

        try:
            yield bench, lambda: functions.machine_reset(handle)
        finally:
            functions.machine_destroy(handle)
