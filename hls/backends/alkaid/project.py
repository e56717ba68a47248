"""A written RTL project: its ports, its simulation at four levels, its cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid import csim as alkaid_csim
from hls.backends.alkaid.ports import Value, decode, encode
from hls.backends.alkaid.trace import predict
from hls.backends.protocol import Port, Project, Step
from hls.backends.simulators import icarus, rtl_stream
from hls.backends.simulators.levels import LEVELS, TIMED, Level
from hls.backends.simulators.verilator import find_verilator
from hls.errors import HlsError
from qformers.precision.fixed import Fixed
from qformers.progress import Reporter, Silent

PORTS = "ports.json"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AlkaidProject(Project):
    """A project of alkaid's in a folder.

    Attributes:
        level: what `outputs` runs: alkaid's interpreter of the traced arithmetic, its C++, compiled, or a simulation
            of the RTL.
    """

    level: Level = "interpreter"

    def at(self, level: Level) -> AlkaidProject:
        """The same project, simulated at another level.

        Raises:
            HlsError: there is no such level, or this flavour has no RTL.
        """
        if level not in LEVELS:
            raise HlsError(f"levels of simulation are {', '.join(LEVELS)}. Received: {level!r}")
        if level in TIMED and self.facts["flavour"] != "verilog":
            raise HlsError(
                f"{level} simulates Verilog, this project is {self.facts['flavour']}; set firmware.flavour: verilog "
                "and export again"
            )
        return replace(self, level=level)

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
        """Verilog of the model without the simulation wrapper."""
        return [path for path in self._verilog if path.stem != self._wrapper]

    @property
    def _verilog(self) -> list[Path]:
        return [*sorted((self.path / "src/static").glob("*.v")), *sorted((self.path / "src").glob("*.v"))]

    @property
    def _wrapper(self) -> str:
        return f"{self.layout.top}_wrapper"

    def compile(self, reporter: Reporter | None = None, trace: bool = False) -> None:
        """Compile the C++, or the RTL for Verilator, where that is the level; the others need no compilation."""
        if self.level == "csim":
            self._cxx(reporter)
        elif self.level == "verilator":
            self._library(reporter)

    def rows(self, inputs: Mapping[str, NDArray[Any]]) -> Array:
        """Events as the ports take them: (n, values of all inputs), rounded and saturated to the ports' formats."""
        self._check(inputs)
        parts = [
            Fixed.parse(port.format).quantise(np.asarray(inputs[port.name], np.float64)).reshape(-1, port.size)
            for port in self.layout.inputs
        ]
        return np.concatenate(parts, axis=1)

    def cycles(self, rows: Array, reporter: Reporter | None = None) -> Array:
        """Simulate the RTL with one event per clock cycle.

        Args:
            rows: (n, input values) as `rows` makes them.
            reporter: told of finished cycles.

        Returns:
            (n + latency + margin, output values) after each clock edge; NaN where a bit is undefined.
        """
        extra = self.latency_cycles + rtl_stream.MARGIN
        if self.level == "icarus":
            return self._icarus(rows, extra)
        return rtl_stream.run_library(self._library(reporter), rows, len(self.outs), extra, reporter)

    @cached_property
    def ins(self) -> tuple[Value, ...]:
        """Where each input value sits in ``model_inp``."""
        return _values(self.facts["model_inp"])

    @cached_property
    def outs(self) -> tuple[Value, ...]:
        """Where each output value sits in ``model_out``."""
        return _values(self.facts["model_out"])

    def write_bench(self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, Array]) -> None:
        """Write the self-checking test bench into ``tb/``.

        Args:
            inputs: model inputs, name -> (n, ...).
            outputs: what the quantised model makes of them, name -> (n, ...).
        """
        self._bench(self.rows(inputs), self.flat(outputs), self.latency_cycles).write(self.path / "tb")

    def _run(
        self, inputs: Mapping[str, NDArray[Any]], trace: bool, reporter: Reporter | None
    ) -> dict[str, NDArray[np.float64]]:
        from alkaid.types import CombLogic

        rows = self.rows(inputs)
        if trace:
            values = predict(CombLogic.load(self.path / "model/layers.json.gz"), rows)
            return _split(values, self.layout.steps)
        if self.level == "interpreter":
            tick = (reporter or Silent()).task("interpreter", len(rows))
            values = predict(CombLogic.load(self.path / "model/comb.json.gz"), rows)
            tick(len(rows))
        elif self.level == "csim":
            values = alkaid_csim.run_library(self._cxx(reporter), rows, len(self.outs), reporter)
        else:
            values = self.cycles(rows, reporter)[self.latency_cycles :][: len(rows)]
        return self.split(values)

    def split(self, values: Array) -> dict[str, Array]:
        """(n, output values) by output variable."""
        return _split(values, self.layout.outputs)

    def flat(self, outputs: Mapping[str, Array]) -> Array:
        """Output name -> (n, ...) as (n, output values), in the order of ``model_out``."""
        return np.concatenate([outputs[port.name].reshape(-1, port.size) for port in self.layout.outputs], axis=1)

    def _cxx(self, reporter: Reporter | None) -> Path:
        return alkaid_csim.compile_comb(self.path / "model/comb.json.gz", self.path / "csim", reporter)

    def _library(self, reporter: Reporter | None) -> Path:
        return find_verilator().compile(self._verilog, self._wrapper, self.path / "sim", reporter)

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


def _values(entries: list[list[Any]]) -> tuple[Value, ...]:
    return tuple(
        Value(port, tuple(index), low, bool(signed), integer, fraction)
        for port, index, low, signed, integer, fraction in entries
    )
