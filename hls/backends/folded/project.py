"""Written folded firmware: its ports, its kernels in NumPy, its RTL beat by beat or its C++."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.compiled import Program, compile_program, run_program
from hls.backends.alkaid.ports import Value, encode
from hls.backends.folded import csim
from hls.backends.folded.cpp import write_bench
from hls.backends.folded.emulator import Emulator
from hls.backends.folded.fast import program_of
from hls.backends.folded.kernels import Group, Kernel, beats_of, of_event, run
from hls.backends.folded.orders import ways_of
from hls.backends.folded.ports import IN, OUT, OUT_BEAT, sides_of
from hls.backends.folded.simulators import Rtl
from hls.backends.folded.stream import Pauses, Streamed
from hls.backends.folded.vendor import build_project
from hls.backends.folder import ProjectFolder
from hls.backends.protocol import Clocked, Disturbed, Timing
from hls.backends.simulators.levels import TIMED
from hls.backends.written import AGAIN
from hls.errors import HlsError
from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from qformers.manifest import versions
from qformers.progress import Reporter, Silent
from qformers.quant.phases import Folding, Move

PORTS = "ports.json"
PLAN = "plan.json"
NEEDED = (  # keys of a plan
    "flavour", "points", "points_per_clock", "keys_per_clock", "ii_cycles", "latency_cycles", "events_inside",
    "clock_ns", "lut_estimate", "dsp_estimate", "register_bits", "store_bits", "longest_path_ns", "axes", "key_axes",
    "spread", "moves", "outputs", "kernels",
)  # fmt: skip
OF_KERNEL = ("kernel", "beats", "stages", "ins", "outs", "rom")
KERNELS = ("interpreter", "compiled")  # levels without a clock
CHUNK = 1000  # events per call of the kernels
MARGIN = 100  # clock edges simulated beyond those that a stream takes
RESETS = 8  # in a stream with disturbances

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FoldedProject(ProjectFolder):
    """Folded firmware in a folder: ``src/``, ``ports.json``, ``plan.json``, ``model/``.

    Its levels are the traced kernels and stores in NumPy, the same compiled for many events at once, the RTL in
    Verilator and in Icarus Verilog and the machine in Python, clock by clock; or, in the place of these, the C++.
    """

    @property
    def levels(self) -> tuple[str, ...]:
        """The kernels first; those of the RTL only where it is Verilog."""
        return (*KERNELS, "csim") if self._cpp else (*KERNELS, *TIMED)

    @property
    def timed(self) -> tuple[str, ...]:
        """The RTL, then the emulator."""
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
        """``plan.json``: kernels, stores, cost.

        Raises:
            HlsError: it is no plan, or one of an older version.
        """
        path = self.path / PLAN
        try:
            tree: dict[str, Any] = json.loads(path.read_text())
            lacking = [key for key in NEEDED if key not in tree]
            lacking += [
                f"{key} of a kernel" for key in OF_KERNEL if any(key not in row for row in tree.get("kernels", ()))
            ]
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise HlsError(f"{path} is damaged ({error}); {AGAIN}") from error
        if lacking:
            raise HlsError(f"{path}: an older version wrote it, it lacks {', '.join(lacking)}; {AGAIN}")
        return tree

    @property
    def fold(self) -> Folding:
        """How an event comes."""
        facts = self.facts
        moves = {layer: Move(*names) for layer, names in facts["moves"].items()}
        one_by_one = facts["points"], facts["points_per_clock"], facts["axes"], facts["spread"], moves
        return Folding(*one_by_one, facts["keys_per_clock"], facts["key_axes"])

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
        path = self.path / PORTS
        try:
            return sides_of(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise HlsError(f"{path} is damaged ({reason}); {AGAIN}") from error

    @cached_property
    def rtl(self) -> Rtl:
        """The Verilog, to be simulated."""
        sides = self._ports[IN], self._ports[self.out_port]
        return Rtl(self.layout.top, tuple(self.sources), *sides, self.out_port == OUT_BEAT, self._quiet)

    @cached_property
    def emulator(self) -> Emulator:
        """The machine in Python, from the plan alone."""
        rows = self.facts["kernels"]
        depths = tuple(int(row["stages"]) for row in rows)
        places = int(self.facts["events_inside"])
        return Emulator(self.fold, self.kernels, depths, places, self.out_port == OUT_BEAT, self._quiet)

    @cached_property
    def program(self) -> Program:
        """Kernels and stores, to be compiled for many events at once."""
        return program_of(self.fold, self.kernels)

    @property
    def _quiet(self) -> int:
        """Clock edges in which everything that is on its way comes out."""
        return self.latency_cycles + self.words + MARGIN

    def compile(self, level: str | None = None, reporter: Reporter | None = None) -> None:
        """Compile the kernels, the RTL for Verilator, or the C++, where that is the level."""
        level = self.level_of(level)
        if level == "compiled":
            self._compiled(reporter)
        elif level == "csim":
            self._cxx(reporter)
        elif level == "verilator":
            self.rtl.library(self.path / "sim", reporter)

    def outputs(
        self, inputs: Mapping[str, NDArray[Any]], level: str | None = None, reporter: Reporter | None = None
    ) -> dict[str, Array]:
        """See `Project.outputs`."""
        if (level := self.level_of(level)) in TIMED:
            return self._named(self.stream(inputs, level=level, reporter=reporter).outputs)
        if level == "csim":
            beats, sides = self._beats(inputs), (self._ports[IN], self._ports[self.out_port])
            words = csim.run_library(self._cxx(reporter), beats, *sides, self.words, reporter)
            return self._named(self._event(words))
        if level == "compiled":
            rows = self._events(self.rounded(inputs))
            return self._named(run_program(self.program, self._compiled(reporter), rows, reporter))
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
        """Events back to back; the level itself says when an output comes, `expected` is not looked at."""
        found = self.stream(inputs, level=self._timed(level), reporter=reporter)
        latencies, intervals = set(found.given - found.taken), set(np.diff(found.taken).tolist())
        same = len(latencies) == 1 and len(intervals) <= 1
        # an output is taken one edge after it has come
        measured = Timing(int(latencies.pop()) - 1, intervals.pop() if intervals else None) if same else None
        return Clocked(self._named(found.outputs), measured, self.latency_cycles, int(self.facts["ii_cycles"]))

    def disturb(
        self, inputs: Mapping[str, NDArray[Any]], level: str, seed: int = 0, reporter: Reporter | None = None
    ) -> Disturbed | None:
        """Beats that pause, outputs that wait, and resets; see `Project.disturb`."""
        clocks = self._clocks(len(next(iter(inputs.values()))))
        resets = np.random.default_rng(seed).integers(0, clocks, RESETS)
        pauses = Pauses(seed=seed, resets=tuple(sorted({int(edge) for edge in resets})), mixed=True)
        found = self.stream(inputs, pauses, self._timed(level), reporter)
        script, last = pauses.script(pauses.edges(clocks)), int(found.given.max()) + 1
        played = replace(script, offered=script.offered[:last], wanted=script.wanted[:last], reset=script.reset[:last])
        return Disturbed(
            outputs=self._named(found.outputs[found.came]),
            came=found.came,
            edges=last,
            gaps=int((~played.offered & ~played.reset).sum()),
            stalls=int((~played.wanted & ~played.reset).sum()),
            resets=int(played.reset.sum()),
        )

    def stream(
        self,
        inputs: Mapping[str, NDArray[Any]],
        pauses: Pauses | None = None,
        level: str = TIMED[0],
        reporter: Reporter | None = None,
    ) -> Streamed:
        """Events through the machine in one stream.

        Args:
            inputs: name -> (n, ...).
            pauses: of the stream; None = none.
            level: one of `timed`.
            reporter: told of progress.

        Raises:
            HlsError: an output of no event, or events whose output does not come.
        """
        beats, pauses = self._beats(inputs), pauses or Pauses()
        script = pauses.script(pauses.edges(self._clocks(len(beats))))
        if level == "emulator":
            words = self.emulator.play(beats, script, reporter)
        elif level == "icarus":
            words = self.rtl.icarus(beats, script)
        else:
            words = self.rtl.verilated(self.path / "sim", beats, script, reporter)
        return Streamed(self._event(words.values), words.taken, words.given)

    def _event(self, words: Array) -> Array:
        """Words of the output, (n, words, values), as the outputs of events, (n, values)."""
        outs = self.kernels[-1].outs
        parts = np.split(words, np.cumsum([group.size for group in outs])[:-1], axis=2)
        named = [of_event(self.fold, group, part) for group, part in zip(outs, parts, strict=True)]
        return np.concatenate([part.reshape(len(words), -1) for part in named], axis=1)

    def _answers(self, outputs: Mapping[str, Array]) -> Array:
        """Outputs of events, name -> (n, ...), as words of the output, (n, words, values): inverse of `_event`."""
        if self.out_port == OUT:
            return self.flat(outputs)[:, None]
        ends = zip(self.kernels[-1].outs, self.layout.outputs, strict=True)
        return np.concatenate([beats_of(self.fold, group.tensor, outputs[port.name]) for group, port in ends], axis=2)

    def _clocks(self, events: int) -> int:
        """That a stream takes without pauses, and some more."""
        return events * self.fold.interval + self._quiet

    def _timed(self, level: str | None) -> str:
        """The level with a clock that is meant.

        Raises:
            HlsError: it has none.
        """
        if self.level_of(level or TIMED[0]) not in TIMED:
            raise HlsError(f"levels with a clock are {', '.join(TIMED)}. Received: {level!r}")
        return level or TIMED[0]

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
            given, made = (
                encode(self._ports[port], values.reshape(-1, values.shape[2]))
                for port, values in ((IN, self._beats(inputs)), (self.out_port, self._answers(outputs)))
            )
            write_bench(self.path, self.layout.top, given, made, self.out_port, self.words)

    def build(self) -> Path:
        """See `Project.build`; Vivado, Quartus or Vitis HLS, by part and flavour."""
        part = json.loads((self.path / "manifest.json").read_text())["firmware"]["part"]
        return build_project(self.path, self.layout.top, part, self.facts["flavour"])

    def _beats(self, inputs: Mapping[str, NDArray[Any]]) -> Array:
        """Events as they come in, (n, B, values of a beat), in the formats of the ports."""
        rounded = self.rounded(inputs)
        return np.concatenate([self._outside(rounded), ways_of(self.fold, rounded)], axis=2)

    def _outside(self, rounded: Mapping[str, Array]) -> Array:
        """What kernels read of them, (n, B, values of a beat)."""
        outside = [group.tensor for group in self.kernels[0].ins if group.kind != "rom"]
        return np.concatenate([beats_of(self.fold, tensor, rounded[tensor]) for tensor in outside], axis=2)

    def _events(self, rounded: Mapping[str, Array]) -> Array:
        """Events as `program` takes them: what kernels read, one beat after the other, then the orders of the host."""
        beats = self._outside(rounded)
        orders = [rounded[name].reshape(len(beats), -1) for name in self.fold.host_orders]
        return np.concatenate([beats.reshape(len(beats), -1), *orders], axis=1)

    def _compiled(self, reporter: Reporter | None) -> Path:
        sources = [self.path / PLAN, *sorted((self.path / "model").glob("*.gz"))]
        return compile_program(self.program, sources, self.path / "compiled", reporter)

    def _cxx(self, reporter: Reporter | None) -> Path:
        return csim.compile_cpp(self.path / "src", self.layout.top, self.path / "csim", reporter)

    def _named(self, values: Array) -> dict[str, Array]:
        ends = np.cumsum([port.size for port in self.layout.outputs])[:-1]
        parts = np.split(values, ends, axis=1)
        return self.named({port.variable: part for port, part in zip(self.layout.outputs, parts, strict=True)})
