"""The block engine of HEPT: RTL that takes events of any number of blocks, written, simulated, its cost counted."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.writer import own_module_names
from hls.backends.block_engine import banks as engine_banks
from hls.backends.block_engine import driver as engine_driver
from hls.backends.block_engine import verilog as engine_verilog
from hls.backends.block_engine.driver import DRIVER, Bench
from hls.backends.block_engine.parts import Engine, Part
from hls.backends.block_engine.rows import numbers, raw
from hls.backends.block_engine.sizes import Sizes, sizes
from hls.backends.simulators.verilator import find_verilator
from hls.errors import HlsError
from qformers.files import write_json
from qformers.progress import Reporter

TIMESCALE = "`timescale 1 ns / 1 ps"
MARGIN = 100  # clock edges simulated beyond the expected latency

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EngineProject:
    """A written engine.

    Attributes:
        path: folder with ``src/`` and ``engine.json``.
        made: its parts.
        sizes: its ports and memories.
    """

    path: Path
    made: Engine
    sizes: Sizes

    @property
    def sources(self) -> list[Path]:
        """All Verilog."""
        return sorted((self.path / "src").rglob("*.v"))

    def bench(self, reporter: Reporter | None = None) -> Bench:
        """Compile for Verilator; nothing is compiled twice."""
        folder = self.path / "sim"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DRIVER).write_text(engine_driver.source(self.sizes.top))
        library = find_verilator().compile(self.sources, self.sizes.top, folder, reporter, DRIVER)
        return Bench(library, self.sizes.ports(self.made))

    def words(self, event: Mapping[str, NDArray[Any]]) -> list[int]:
        """``in_block`` of each block of an event: features (N, F), coords (N, C), mask (N,), order (O, N).

        Raises:
            HlsError: N is not a whole number of blocks that the engine holds, or an order is not one.
        """
        size, made = self.sizes.size, self.made
        order = np.asarray(event["order"]).astype(np.int64)
        slots = order.shape[1]
        if slots % size or not 0 < slots <= size * self.sizes.blocks:
            raise HlsError(
                f"the engine takes 1 to {self.sizes.blocks} whole blocks of {size} points. Received: {slots} points"
            )
        if not np.array_equal(np.sort(order, axis=1), np.broadcast_to(np.arange(slots), order.shape)):
            raise HlsError(f"order: each row has to hold the slots 0 to {slots - 1} once each")
        rounded = {name: form.quantise(np.asarray(event[name], np.float64)) for name, form in made.formats.items()}
        rows, width = raw(made.given, rounded), made.given.width
        packed = [_joined(rows[start : start + size], width) for start in range(0, slots, size)]
        for number, one in enumerate(order):
            for name, values in engine_banks.words(one, size).items():
                low, bits = self.sizes.words[f"{name}{number}"]
                for block, row in enumerate(values.tolist()):
                    packed[block] |= _joined(row, bits // size) << low + size * width
        return packed

    def simulate(self, bench: Bench, event: Mapping[str, NDArray[Any]], pause: int = 0) -> tuple[Array, int]:
        """One event through the simulated RTL: outputs (N, E), and the latency in clock edges (see `Bench.run`)."""
        given = self.words(event)
        most = self.made.latency_cycles(len(given)) + pause * len(given) + MARGIN
        found, cycles = bench.run(given, most, pause)
        width = self.made.out.width
        rows = [word >> lane * width & ((1 << width) - 1) for word in found for lane in range(self.sizes.size)]
        return numbers(self.made.out, "x", rows), cycles

    def costs(self) -> dict[str, Any]:
        """Estimates of alkaid of the parts, and the memories as written; nothing is synthesised."""
        parts = {part.name: _cost(part) for part in self.made.all}
        kept = self.sizes.memories(self.made)
        chosen, size, blocks = self.sizes.multiplexed_bits(self.made), self.sizes.size, self.sizes.blocks
        bits = {name: count * width * blocks for name, (count, width) in kept.items()}
        rams = {name: count * -(-width // 72) * -(-blocks // 512) for name, (count, width) in kept.items()}
        return {
            "source": "estimates, nothing synthesised: alkaid's of the parts; a 4:1 multiplexer per LUT; memories "
            "of 512 words of 72 bits",
            "most_blocks": blocks,
            "block_size": size,
            "parts": parts,
            "lut_estimate_parts": sum(part["lut_estimate"] for part in parts.values()),
            "lut_estimate_permutations": chosen * -(-(size - 1) // 3),
            "register_bits_parts": sum(part["register_bits"] for part in parts.values()),
            "memory_bits": bits,
            "memory_bits_total": sum(bits.values()),
            "bram36_estimate": rams,
            "bram36_estimate_total": sum(rams.values()),
            "longest_path_ns": max(part["longest_path_ns"] for part in parts.values()),
        }


def _joined(values: Sequence[int], width: int) -> int:
    return sum(value << place * width for place, value in enumerate(values))


def _cost(part: Part) -> dict[str, Any]:
    return {
        "copies": part.copies,
        "stages": part.depth,
        "lut_estimate": part.copies * part.cut.comb.cost,
        "register_bits": part.copies * part.cut.register_bits,
        "longest_path_ns": max(part.cut.delays_ns),
    }


def write_engine(made: Engine, top: str, folder: Path, blocks: int) -> EngineProject:
    """Write the Verilog of an engine.

    Args:
        made: its parts.
        top: name of the module.
        folder: takes ``src/`` and ``engine.json``; an older ``src/`` there goes.
        blocks: most blocks of an event.
    """
    from alkaid.codegen import rtl
    from alkaid.codegen.rtl.verilog.fsm import fsm_logic_gen
    from alkaid.codegen.rtl.verilog.lookup import lookup_source

    project = EngineProject(folder, made, sizes(made, top, blocks))
    source = folder / "src"
    shutil.rmtree(source, ignore_errors=True)
    for part in made.all:
        name = f"{top}_{part.name}"
        codes = fsm_logic_gen(part.cut.machine, name, timescale=TIMESCALE)
        codes.pop(f"{name}_tables", None)  # two parts may have the same table; its name says what is in it
        _write(source / part.name, codes)
        own_module_names(source / part.name, name)
    logic = [comb for part in made.all for comb in part.cut.machine.logic.values()]
    static = (Path(rtl.__file__).parent / "verilog/source").glob("*.v")
    _write(source / "static", {path.stem: path.read_text() for path in static})
    own = {name: f"{TIMESCALE}\n\n{code}" for name, code in engine_verilog.verilog(made, project.sizes).items()}
    _write(source, {**own, f"{top}_tables": lookup_source(logic, TIMESCALE)})
    write_json(folder / "engine.json", project.costs())
    return project


def _write(folder: Path, codes: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, code in codes.items():
        (folder / f"{name}.v").write_text(code)
