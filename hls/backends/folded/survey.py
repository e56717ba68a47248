"""What folded firmware costs for every number of points per clock (T), without writing it.

The smallest T are traced, as long as the time lasts; the others are scaled, kernel by kernel, from the largest T that
was traced and has the same kernels:

- LUT, products of two variables, DSP blocks and register bits: what operations take that need no value of a beat is a
  part per event and stays; the rest is a part per point of a beat and grows as T.
- Stages: the path from a kernel's inputs to its outputs, without registers, grows as log2 T, for a sum over the points
  of a beat is a tree of adders; how fast the two largest T traced say. The kernel has the stages of the largest T
  traced, and one more for every `stage_ns`, or part of it, that its path is longer. A single T says nothing of that.
- Stores hold an event, whatever T is, and the longest path between two registers is bounded by `stage_ns`: both are
  those of the largest T traced.

Where none that was traced has the same kernels, those of the largest T traced are scaled. A plan is cut otherwise where
that takes less logic, so that LUT are an upper estimate there; registers, stores and latency are those of the kernels
that were scaled. Beats and initiation interval are exact in every row, the latency (a formula of beats and stages,
`hls.backends.folded.machine.latency_cycles`) in those that were traced.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hls.backends.alkaid.stages import Amount
from hls.backends.folded.machine import latency_cycles
from hls.backends.folded.writer import NAME, costs, design, planned, stage_ns
from hls.backends.writing import refusal_of
from hls.errors import ExportRefused
from qformers.builds.build import Build
from qformers.progress import Reporter, Silent
from qformers.quant.phases import Unfolded, points_of

SETTING = "firmware.points_per_clock"  # a refusal of it is one of this T alone
Layers = tuple[tuple[str, ...], ...]  # of each kernel


@dataclass(frozen=True)
class Choice:
    """What of the section `firmware` decides how an event comes.

    Attributes:
        points_per_clock: T.
    """

    points_per_clock: int

    def __str__(self) -> str:
        """As a table has it."""
        return f"T = {self.points_per_clock}"

    @property
    def yaml(self) -> str:
        """The line of a build file."""
        return f"firmware: {{backend: {NAME}, points_per_clock: {self.points_per_clock}}}"

    def of(self, build: Build) -> Build:
        """The build with this choice."""
        firmware = build.firmware.model_copy(update={"backend": NAME, "points_per_clock": self.points_per_clock})
        return build.model_copy(update={"firmware": firmware})


def choices(model: Any, build: Build) -> dict[Choice, Layers]:
    """All choices that a model can be folded with, the one with least logic first, and the layers of their kernels.

    Args:
        model: quantised.
        build: its section `firmware` says all else.

    Raises:
        ExportRefused: there is none, with every layer that is the reason.
    """
    try:
        points = points_of(model)
    except Unfolded as unfolded:
        raise ExportRefused(NAME, [refusal_of(unfolded)]) from unfolded
    found: dict[Choice, Layers] = {}
    for choice in (Choice(together) for together in range(1, points + 1) if points % together == 0):
        try:
            works = planned(model, choice.of(build)).works
            found[choice] = tuple(tuple(work.layer.name for work in kernel) for kernel in works)
        except ExportRefused as refused:
            if any(refusal.layer != SETTING for refusal in refused.refusals) or choice.points_per_clock == points:
                raise
    return found


@dataclass(frozen=True)
class KernelCost:
    """What a kernel takes.

    Attributes:
        number: from 0.
        layers: of the model, in order.
        beats: of an event.
        depth: stages.
        lut: alkaid's estimate, with what moves rows behind it.
        products: of two variables.
        dsp: DSP48E2 of those that are in some.
        register_bits: of its pipeline.
        of_event: the same four, of operations that need no value of a beat.
        store_bits: of the stores behind it.
        longest_path_ns: between two registers, in alkaid's delay model.
        unpipelined_path_ns: from inputs to outputs, without registers.
    """

    number: int
    layers: tuple[str, ...]
    beats: int
    depth: int
    lut: float
    products: int
    dsp: int
    register_bits: int
    of_event: Amount
    store_bits: int
    longest_path_ns: float
    unpipelined_path_ns: float


@dataclass(frozen=True)
class Row:
    """What a choice costs.

    Attributes:
        choice: of the build.
        kernels: in order.
        clock_ns: clock period.
        ways_bits: of the memory of words with which the host says where rows lie.
        scaled_from: the T from which it was scaled; empty where it was traced.
        other_kernels: whether these have other kernels than the choice.
        traced_s: how long it was traced; None where it was scaled.
        facts: its ``plan.json`` (`hls.backends.folded.writer.costs`); None where it was scaled.
    """

    choice: Choice
    kernels: tuple[KernelCost, ...]
    clock_ns: float
    ways_bits: int = 0
    scaled_from: tuple[int, ...] = ()
    other_kernels: bool = False
    traced_s: float | None = None
    facts: Mapping[str, Any] | None = None

    @property
    def layers(self) -> Layers:
        """Of each kernel."""
        return tuple(kernel.layers for kernel in self.kernels)

    @property
    def traced(self) -> bool:
        """Whether its kernels were traced."""
        return not self.scaled_from

    @property
    def ii_cycles(self) -> int:
        """Clocks from an event to the next."""
        return self.kernels[0].beats

    @property
    def ii_ns(self) -> float:
        """The same in ns."""
        return self.ii_cycles * self.clock_ns

    @property
    def latency_cycles(self) -> int:
        """Clock edges from the one that takes the first beat of an event in to the one that brings its output out."""
        return latency_cycles(self.kernels)

    @property
    def latency_ns(self) -> float:
        """The same in ns."""
        return self.latency_cycles * self.clock_ns

    @property
    def lut(self) -> float:
        """alkaid's estimate, of all kernels."""
        return sum(kernel.lut for kernel in self.kernels)

    @property
    def products(self) -> int:
        """Products of two variables, of all kernels."""
        return sum(kernel.products for kernel in self.kernels)

    @property
    def dsp(self) -> int:
        """DSP48E2 of products, of all kernels."""
        return sum(kernel.dsp for kernel in self.kernels)

    @property
    def register_bits(self) -> int:
        """Of all kernels."""
        return sum(kernel.register_bits for kernel in self.kernels)

    @property
    def store_bits(self) -> int:
        """Of all stores."""
        return self.ways_bits + sum(kernel.store_bits for kernel in self.kernels)

    @property
    def longest_path_ns(self) -> float:
        """Between two registers."""
        return max(kernel.longest_path_ns for kernel in self.kernels)


@dataclass(frozen=True)
class Survey:
    """All choices of a model.

    Attributes:
        points: N.
        clock_ns: clock period.
        rows: by rising T; the first ones were traced.
    """

    points: int
    clock_ns: float
    rows: tuple[Row, ...]


def survey(model: Any, build: Build, seconds: float, reporter: Reporter | None = None) -> Survey:
    """What each choice costs.

    Args:
        model: quantised.
        build: its section `firmware` says clock and stages.
        seconds: for tracing. The smallest T is traced whatever it takes; another one only if there is time left for
            it, should it take as long per point as the one before.
        reporter: told of progress.

    Raises:
        ExportRefused: the model cannot be folded, with every layer that is the reason.
        HlsError: alkaid cannot trace a layer.
    """
    options = choices(model, build)
    tick = (reporter or Silent()).task("trace folded kernels", len(options))
    known: list[Row] = []
    left = seconds
    for choice in options:
        if known and left < _expected(known[-1], choice):
            break
        known.append(traced(model, build, choice))
        left -= known[-1].traced_s or 0.0
        tick(note=str(choice))
    rest = list(options)[len(known) :]
    points, limit = points_of(model), stage_ns(build.firmware)
    rows = [*known, *(scaled(known, choice, points, options[choice], limit) for choice in rest)]
    tick(len(rest))
    return Survey(points, build.firmware.clock_ns, tuple(rows))


def _expected(last: Row, choice: Choice) -> float:
    """Seconds that tracing a choice may take."""
    return (last.traced_s or 0.0) * choice.points_per_clock / last.choice.points_per_clock


def traced(model: Any, build: Build, choice: Choice) -> Row:
    """The row of a choice, its kernels traced.

    Args:
        model: quantised.
        build: its section `firmware` says clock and stages.
        choice: what it is to cost.

    Raises:
        ExportRefused, HlsError: as `survey`.
    """
    start = time.perf_counter()
    facts = costs(design(model, choice.of(build)))
    kernels = tuple(
        KernelCost(
            number=kernel["kernel"],
            layers=tuple(kernel["layers"]),
            beats=kernel["beats"],
            depth=kernel["stages"],
            lut=kernel["lut_estimate"] + kernel["moves_lut_estimate"],
            products=kernel["products"],
            dsp=kernel["dsp_estimate"],
            register_bits=kernel["register_bits"],
            of_event=Amount(**kernel["of_event"]),
            store_bits=sum(kernel["stores"].values()),
            longest_path_ns=kernel["longest_path_ns"],
            unpipelined_path_ns=kernel["unpipelined_path_ns"],
        )
        for kernel in facts["kernels"]
    )
    spent = time.perf_counter() - start
    return Row(choice, kernels, build.firmware.clock_ns, facts["ways_bits"], traced_s=spent, facts=facts)


def scaled(known: Sequence[Row], choice: Choice, points: int, layers: Layers, limit_ns: float) -> Row:
    """The row of a choice, scaled from some that were traced; the text of this module says how.

    Args:
        known: traced rows, by rising T.
        choice: what it is to cost.
        points: N.
        layers: of the kernels that it has.
        limit_ns: longest path between two registers.
    """
    alike = [row for row in known if row.layers == layers]
    used = (alike or [row for row in known if row.layers == known[-1].layers])[-2:]
    beats = points // choice.points_per_clock
    kernels = tuple(
        _scaled([row.kernels[number] for row in used], [row.choice for row in used], choice, beats, limit_ns)
        for number in range(len(used[-1].kernels))
    )
    places = tuple(row.choice.points_per_clock for row in used)
    return Row(choice, kernels, used[-1].clock_ns, used[-1].ways_bits, places, other_kernels=not alike)


def _scaled(
    known: Sequence[KernelCost], at: Sequence[Choice], choice: Choice, beats: int, limit_ns: float
) -> KernelCost:
    """A kernel that was traced for the choices `at`, one or two, for another one of so many beats per event."""
    last, stays = known[-1], known[-1].of_event
    growth = choice.points_per_clock / at[-1].points_per_clock
    path = last.unpipelined_path_ns
    if len(known) > 1:
        octaves = math.log2(at[-1].points_per_clock / at[0].points_per_clock)
        path += (path - known[0].unpipelined_path_ns) * math.log2(growth) / octaves
    return replace(
        last,
        beats=min(last.beats, beats),
        depth=last.depth + max(math.ceil((path - last.unpipelined_path_ns) / limit_ns), 0),
        lut=stays.lut + growth * (last.lut - stays.lut),
        products=round(stays.products + growth * (last.products - stays.products)),
        dsp=round(stays.dsp + growth * (last.dsp - stays.dsp)),
        register_bits=round(stays.register_bits + growth * (last.register_bits - stays.register_bits)),
        unpipelined_path_ns=path,
    )
