"""A written RTL project: its ports, its simulation at five levels, its cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid import csim as alkaid_csim
from hls.backends.alkaid.compiled import Forms, Program, compile_program, run_program
from hls.backends.alkaid.ports import Value, decode, encode, values_of
from hls.backends.alkaid.trace import predict
from hls.backends.folder import ProjectFolder
from hls.backends.protocol import Clocked, Port, Step
from hls.backends.simulators import icarus, rtl_stream
from hls.backends.simulators.levels import OF_VERILOG
from hls.backends.simulators.rtl_stream import timing
from hls.backends.simulators.verilator import find_verilator
from hls.errors import HlsError
from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from qformers.manifest import versions
from qformers.progress import Reporter, Silent

PORTS = "ports.json"
COMB = "model/comb.json.gz"
ARITHMETIC = ("interpreter", "compiled", "csim")  # levels without a clock

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AlkaidProject(ProjectFolder):
    """A project of alkaid's in a folder.

    Its levels are alkaid's interpreter of the traced arithmetic, the same compiled for many events at once, alkaid's
    C++, compiled, and two simulations of the RTL.
    """

    @property
    def levels(self) -> tuple[str, ...]:
        """Those of the RTL only where it is Verilog."""
        return (*ARITHMETIC, *self.timed)

    @property
    def timed(self) -> tuple[str, ...]:
        """Simulations of the RTL, clock by clock."""
        return OF_VERILOG if self._verilog else ()

    def level_of(self, level: str | None) -> str:
        """See `ProjectFolder.level_of`; says what to do where the project has no Verilog to simulate."""
        if level in OF_VERILOG:
            self._need_verilog(f"{level} simulates Verilog")
        return super().level_of(level)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """``ports.json``: bits of the ports, latency, stages, cost."""
        tree: dict[str, Any] = json.loads((self.path / PORTS).read_text())
        return tree

    @property
    def latency_cycles(self) -> int:
        """Clock edges from taking an event in to bringing its output out, as alkaid reports it."""
        return int(self.facts["latency_cycles"])

    @property
    def sources(self) -> list[Path]:
        """Verilog of the model without the simulation wrapper.

        Raises:
            HlsError: this flavour has none.
        """
        self._need_verilog("synthesis reads Verilog")
        return [path for path in self._files if path.stem != self._wrapper]

    @property
    def _verilog(self) -> bool:
        return bool(self.facts["flavour"] == "verilog")

    def _need_verilog(self, why: str) -> None:
        if not self._verilog:
            raise HlsError(
                f"{why}, this project is {self.facts['flavour']}; set firmware.flavour: verilog and export again"
            )

    @property
    def _files(self) -> list[Path]:
        return [*sorted((self.path / "src/static").glob("*.v")), *sorted((self.path / "src").glob("*.v"))]

    @property
    def _wrapper(self) -> str:
        return f"{self.layout.top}_wrapper"

    def compile(self, level: str | None = None, reporter: Reporter | None = None) -> None:
        """Compile the arithmetic, the C++, or the RTL for Verilator, as the level wants; the others need nothing."""
        level = self.level_of(level)
        if level == "compiled":
            self._compiled(reporter)
        elif level == "csim":
            self._cxx(reporter)
        elif level == "verilator":
            self._library(reporter)

    def outputs(
        self, inputs: Mapping[str, NDArray[Any]], level: str | None = None, reporter: Reporter | None = None
    ) -> dict[str, Array]:
        """See `Project.outputs`."""
        level, rows = self.level_of(level), self.rows(inputs)
        if level == "interpreter":
            tick = (reporter or Silent()).task("interpreter", len(rows))
            values = predict(self._comb, rows)
            tick(len(rows))
        elif level == "compiled":
            values = run_program(self._program, self._compiled(reporter), rows, reporter)
        elif level == "csim":
            values = alkaid_csim.run_library(self._cxx(reporter), rows, len(self.outs), reporter)
        else:
            values = self.cycles(rows, level, reporter)[self.latency_cycles :][: len(rows)]
        return self._by_name(values)

    def trace(self, inputs: Mapping[str, NDArray[Any]], reporter: Reporter | None = None) -> dict[str, Array]:
        """Output of every layer in the traced arithmetic: name of the step -> (n, ...)."""
        from alkaid.types import CombLogic

        steps = self.layout.steps
        values = _split(predict(CombLogic.load(self.path / "model/layers.json.gz"), self.rows(inputs)), steps)
        return {step.name: values[step.variable].reshape(-1, *step.shape) for step in steps}

    def clock(
        self,
        inputs: Mapping[str, NDArray[Any]],
        expected: Mapping[str, Array],
        level: str | None = None,
        reporter: Reporter | None = None,
    ) -> Clocked:
        """One event per clock cycle, back to back; see `Project.clock`."""
        level = self.level_of(level or OF_VERILOG[0])
        if level not in self.timed:
            raise HlsError(f"levels with a clock are {', '.join(self.timed)}. Received: {level!r}")
        rows = self.rows(inputs)
        cycles = self.cycles(rows, level, reporter)
        measured = timing(cycles, self.flat(expected))
        start = measured.latency_cycles if measured else self.latency_cycles
        return Clocked(self._by_name(cycles[start : start + len(rows)]), measured, self.latency_cycles)

    def reports(self) -> list[Report]:
        """alkaid's estimate, made when the project was written."""
        facts = self.facts
        keys = ("longest_path_ns", "stage_paths_ns", "unpipelined_path_ns", "table_bits", "operations")
        estimate = Report(
            source="alkaid",
            stage="estimate",
            tool=f"alkaid {versions()['alkaid']}",
            part=json.loads((self.path / "manifest.json").read_text())["firmware"]["part"],
            resources={
                "lut": round(facts["lut_estimate"]),
                "lut_unfused": round(facts["lut_estimate_before_ternary_adders"]),
                "ff": int(facts["register_bits"]),
                "dsp": int(facts.get("dsp_estimate", 0)),  # products in LUTs, as far as the estimate knows
                "bram18": 0,
            },
            clock_ns=facts["clock_ns"],
            latency_cycles=self.latency_cycles,
            latency_ns=self.latency_cycles * facts["clock_ns"],
            ii_cycles=1,
            error_bar=error_bar("alkaid"),
            detail={key: facts[key] for key in keys},
        )
        return [estimate.of_project(self.path)]

    def rows(self, inputs: Mapping[str, NDArray[Any]]) -> Array:
        """Events as the ports take them: (n, values of all inputs), rounded and saturated to the ports' formats."""
        rounded = self.rounded(inputs)
        return np.concatenate([rounded[port.name].reshape(-1, port.size) for port in self.layout.inputs], axis=1)

    def cycles(self, rows: Array, level: str, reporter: Reporter | None = None) -> Array:
        """Simulate the RTL with one event per clock cycle.

        Args:
            rows: (n, input values) as `rows` makes them.
            level: one of `timed`.
            reporter: told of finished cycles.

        Returns:
            (n + latency + margin, output values) after each clock edge; NaN where a bit is undefined.
        """
        extra = self.latency_cycles + rtl_stream.MARGIN
        if level == "icarus":
            return self._icarus(rows, extra)
        return rtl_stream.run_library(self._library(reporter), rows, len(self.outs), extra, reporter)

    @cached_property
    def ins(self) -> tuple[Value, ...]:
        """Where each input value sits in ``model_inp``."""
        return values_of(self.facts["model_inp"])

    @cached_property
    def outs(self) -> tuple[Value, ...]:
        """Where each output value sits in ``model_out``."""
        return values_of(self.facts["model_out"])

    def write_bench(self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, Array]) -> None:
        """Write the self-checking test bench into ``tb/``.

        Args:
            inputs: model inputs, name -> (n, ...).
            outputs: what the quantised model makes of them, name -> (n, ...).
        """
        self._bench(self.rows(inputs), self.flat(outputs), self.latency_cycles).write(self.path / "tb")

    def _by_name(self, values: Array) -> dict[str, Array]:
        """(n, output values) by output name."""
        return self.named(_split(values, self.layout.outputs))

    @cached_property
    def _comb(self) -> Any:
        from alkaid.types import CombLogic

        return CombLogic.load(self.path / COMB)

    @cached_property
    def _program(self) -> Program:
        """The model, to be compiled for many events at once."""
        kifs = [[int(getattr(value, key)) for value in self.ins] for key in ("signed", "integer_bits", "fraction_bits")]
        return Program.of(self._comb, Forms.of(kifs))

    def _compiled(self, reporter: Reporter | None) -> Path:
        return compile_program(self._program, [self.path / COMB], self.path / "compiled", reporter)

    def _cxx(self, reporter: Reporter | None) -> Path:
        return alkaid_csim.compile_comb(self.path / COMB, self.path / "csim", reporter)

    def _library(self, reporter: Reporter | None) -> Path:
        return find_verilator().compile(self._files, self._wrapper, self.path / "sim", reporter)

    def _bench(self, rows: Array, expected: Array, extra: int) -> icarus.Bench:
        widths = (sum(v.width for v in self.ins), sum(v.width for v in self.outs))
        vectors = encode(self.ins, rows), encode(self.outs, expected)
        return icarus.Bench(self.layout.top, widths, self.latency_cycles, self.facts["clock_ns"], *vectors, extra)

    def _icarus(self, rows: Array, extra: int) -> Array:
        expected = np.zeros((len(rows), len(self.outs)))  # compared outside, with the latency left open
        vectors = icarus.run_icarus(self._bench(rows, expected, extra), self.sources)
        numbers = decode(self.outs, [0 if vector is None else vector for vector in vectors])
        numbers[[vector is None for vector in vectors]] = np.nan
        return numbers


def _split(values: Array, holders: Sequence[Port | Step]) -> dict[str, Array]:
    """(n, values) by variable."""
    ends = np.cumsum([holder.size for holder in holders])[:-1]
    parts = np.split(values, ends, axis=1)
    return {holder.variable: part for holder, part in zip(holders, parts, strict=True)}
