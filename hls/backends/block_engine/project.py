"""A written block engine of HEPT: RTL that takes events of any number of blocks, simulated block by block."""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.backends.block_engine import driver as engine_driver
from hls.backends.block_engine.driver import DRIVER, Bench
from hls.backends.block_engine.ports import EnginePorts
from hls.backends.block_engine.rows import numbers, raw
from hls.backends.block_engine.sizes import Sizes
from hls.backends.folded.banks import words
from hls.backends.folder import ProjectFolder
from hls.backends.protocol import Clocked, Timing
from hls.backends.simulators.verilator import find_verilator
from hls.errors import HlsError
from hls.reports.report import Report
from qformers.manifest import versions
from qformers.progress import Reporter, Silent

PORTS = "ports.json"
COSTS = "engine.json"
LEVEL = "verilator"
MARGIN = 100  # clock edges simulated beyond the expected latency

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EngineProject(ProjectFolder):
    """A block engine in a folder: ``src/``, ``ports.json``, ``engine.json``.

    Its ports in the layout are those of one block; an event is any number of whole blocks that its memories hold.
    """

    @property
    def levels(self) -> tuple[str, ...]:
        """RTL in Verilator."""
        return (LEVEL,)

    @property
    def timed(self) -> tuple[str, ...]:
        """All of them."""
        return (LEVEL,)

    @property
    def sources(self) -> list[Path]:
        """All Verilog."""
        return sorted((self.path / "src").rglob("*.v"))

    @cached_property
    def ports(self) -> EnginePorts:
        """``ports.json``: how a block is packed."""
        return EnginePorts.from_json(json.loads((self.path / PORTS).read_text()))

    @cached_property
    def costs(self) -> dict[str, Any]:
        """``engine.json``: estimates of alkaid of the parts, and the memories as written; nothing is synthesised."""
        tree: dict[str, Any] = json.loads((self.path / COSTS).read_text())
        return tree

    @property
    def sizes(self) -> Sizes:
        """Widths of its ports and memories."""
        return self.ports.sizes

    def compile(self, level: str | None = None, reporter: Reporter | None = None) -> None:
        """Compile for Verilator; nothing is compiled twice."""
        self.level_of(level)
        self.bench(reporter)

    def outputs(
        self, inputs: Mapping[str, NDArray[Any]], level: str | None = None, reporter: Reporter | None = None
    ) -> dict[str, Array]:
        """Simulate events of N points: features (n, N, F), coords (n, N, C), mask (n, N), order (n, O, N).

        All events of a project run one after the other in the same simulated hardware, without a reset between them.

        Raises:
            HlsError: other inputs, or N is not a whole number of blocks that the engine holds.
        """
        self.level_of(level)
        return self._simulated(inputs, reporter)[0]

    def clock(
        self,
        inputs: Mapping[str, NDArray[Any]],
        expected: Mapping[str, Array],
        level: str | None = None,
        reporter: Reporter | None = None,
    ) -> Clocked:
        """See `Project.clock` and `outputs`; the engine itself says when an output comes, `expected` is not looked at.

        An event waits for the one in front of it, so that this shows no initiation interval.
        """
        self.level_of(level)
        outputs, cycles = self._simulated(inputs, reporter)
        measured = Timing(cycles[0], None) if len(set(cycles)) == 1 else None
        blocks = inputs["order"].shape[-1] // self.sizes.size
        return Clocked(outputs, measured, self.ports.latency_cycles(blocks))

    def _simulated(
        self, inputs: Mapping[str, NDArray[Any]], reporter: Reporter | None
    ) -> tuple[dict[str, Array], list[int]]:
        """Outputs, and the latency of each event in clock edges."""
        self.check_inputs(inputs)
        events, slots = len(inputs["order"]), inputs["order"].shape[-1]
        tick = (reporter or Silent()).task(f"Verilator, {slots} points", events)
        answers, cycles = [], []
        for event in range(events):
            answer, taken = self.simulate(self._running, {name: array[event] for name, array in inputs.items()})
            answers.append(answer)
            cycles.append(taken)
            tick()
        return {self.layout.outputs[0].name: np.stack(answers)}, cycles

    def check_inputs(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Refuse other names or shapes than the layout has, but for the number of points; see `ProjectFolder`."""
        wanted = {port.name: port.shape for port in self.layout.inputs}
        if set(inputs) != set(wanted):
            raise HlsError(f"the engine takes {', '.join(sorted(wanted))}. Received: {', '.join(sorted(inputs))}")
        shapes = {name: np.shape(array) for name, array in inputs.items()}
        head = shapes["mask"][:2]  # events, points
        right = {
            name: (head[0], shape[0], head[1]) if name == "order" else (*head, *shape[1:])
            for name, shape in wanted.items()
        }
        if shapes != right or not head[0]:
            raise HlsError(f"inputs of {head} events and points must be {right}. Received: {shapes}")
        for name in inputs:
            if not np.isfinite(inputs[name]).all():
                raise HlsError(f"input '{name}' has NaN or infinity, which have no fixed-point form")

    def reports(self) -> list[Report]:
        """The estimate made when it was written; its latency depends on the event."""
        costs, firmware = self.costs, json.loads((self.path / "manifest.json").read_text())["firmware"]
        lut = costs["lut_estimate_parts"] + costs["lut_estimate_permutations"]
        counted = {"lut": round(lut), "ff": round(costs["register_bits_parts"]), "dsp": 0}
        estimate = Report(
            source="block_engine",
            stage="estimate",
            tool=f"alkaid {versions()['alkaid']}",
            part=firmware["part"],
            resources={**counted, "bram18": 2 * costs["bram36_estimate_total"]},
            clock_ns=firmware["clock_ns"],
            error_bar=costs["source"],
        )
        return [estimate.of_project(self.path)]

    def bench(self, reporter: Reporter | None = None) -> Bench:
        """Hardware of its own to simulate on, compiled for Verilator; nothing is compiled twice."""
        folder = self.path / "sim"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DRIVER).write_text(engine_driver.source(self.sizes.top))
        library = find_verilator().compile(self.sources, self.sizes.top, folder, reporter, DRIVER)
        return Bench(library, self.ports.widths)

    @cached_property
    def _running(self) -> Bench:
        """The hardware of `outputs` and `clock`, for as long as the project is in use."""
        bench = self.bench()
        bench.__enter__()
        weakref.finalize(self, bench.__exit__, None, None, None)
        return bench

    def words(self, event: Mapping[str, NDArray[Any]]) -> list[int]:
        """``in_block`` of each block of an event: features (N, F), coords (N, C), mask (N,), order (O, N).

        Raises:
            HlsError: N is not a whole number of blocks that the engine holds, or an order is not one.
        """
        size, ports = self.sizes.size, self.ports
        order = np.asarray(event["order"]).astype(np.int64)
        slots = order.shape[1]
        if slots % size or not 0 < slots <= size * self.sizes.blocks:
            raise HlsError(
                f"the engine takes 1 to {self.sizes.blocks} whole blocks of {size} points. Received: {slots} points"
            )
        if not np.array_equal(np.sort(order, axis=1), np.broadcast_to(np.arange(slots), order.shape)):
            raise HlsError(f"order: each row has to hold the slots 0 to {slots - 1} once each")
        rounded = {name: form.quantise(np.asarray(event[name], np.float64)) for name, form in ports.formats.items()}
        rows, width = raw(ports.given, rounded), ports.given.width
        packed = [_joined(rows[start : start + size], width) for start in range(0, slots, size)]
        for number, one in enumerate(order):
            for name, values in words(one, size).items():
                low, bits = self.sizes.words[f"{name}{number}"]
                for block, row in enumerate(values.tolist()):
                    packed[block] |= _joined(row, bits // size) << low + size * width
        return packed

    def simulate(self, bench: Bench, event: Mapping[str, NDArray[Any]], pause: int = 0) -> tuple[Array, int]:
        """One event through the simulated RTL: outputs (N, E), and the latency in clock edges (see `Bench.run`)."""
        given = self.words(event)
        most = self.ports.latency_cycles(len(given)) + pause * len(given) + MARGIN
        blocks, cycles = bench.run(given, most, pause)
        width = self.ports.out.width
        rows = [word >> lane * width & ((1 << width) - 1) for word in blocks for lane in range(self.sizes.size)]
        return numbers(self.ports.out, "x", rows), cycles


def _joined(values: Sequence[int], width: int) -> int:
    return sum(value << place * width for place, value in enumerate(values))
