"""What folded firmware costs for every number of points per clock (T) and of their keys (K), without writing it.

The smallest T are traced, as long as the time lasts, and with the smallest T the smallest K; the others are scaled,
kernel by kernel, from the largest T that was traced with as many keys and has the same kernels:

- LUT, products of two variables, DSP blocks and register bits: what operations take that need no value of a beat is a
  part per event and stays; the rest is a part per point of a beat and grows as T.
- Stages: the path from a kernel's inputs to its outputs, without registers, grows as log2 T, for a sum over the points
  of a beat is a tree of adders; how fast the two largest T traced say. The kernel has the stages of the largest T
  traced, and one more for every `stage_ns`, or part of it, that its path is longer. A single T says nothing of that.
- Stores hold an event, whatever T is, and the longest path between two registers is bounded by `stage_ns`: both are
  those of the largest T traced.

What takes K keys grows along a straight line through the two largest K traced, and as K where one was. A row of which
neither T nor K was traced is scaled by K first.

Where none that was traced has the same kernels, those of the largest T traced are scaled. A plan is cut otherwise where
that takes less logic, so that LUT are an upper estimate there; registers, stores and latency are those of the kernels
that were scaled. Beats and initiation interval are exact in every row, the latency (a formula of beats and stages,
`hls.backends.folded.machine.latency_cycles`) in those that were traced.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from hls.backends.alkaid.stages import Amount
from hls.backends.folded.machine import ii_cycles, latency_cycles
from hls.backends.folded.writer import NAME, costs, design, planned, stage_ns
from hls.backends.writing import refusal_of
from hls.errors import ExportRefused
from qformers.builds.build import Build
from qformers.progress import Reporter, Silent
from qformers.quant.phases import TOGETHER, Unfolded, points_of

Layers = tuple[tuple[str, ...], ...]  # of each kernel


@dataclass(frozen=True)
class Choice:
    """What of the section `firmware` decides how an event comes.

    Attributes:
        points_per_clock: T.
        keys_per_clock: K; None where no keys are folded.
    """

    points_per_clock: int
    keys_per_clock: int | None = None

    def __str__(self) -> str:
        """As a table has it."""
        keys = "" if self.keys_per_clock is None else f", K = {self.keys_per_clock}"
        return f"T = {self.points_per_clock}{keys}"

    @property
    def yaml(self) -> str:
        """The line of a build file."""
        keys = "" if self.keys_per_clock is None else f", keys_per_clock: {self.keys_per_clock}"
        return f"firmware: {{backend: {NAME}, points_per_clock: {self.points_per_clock}{keys}}}"

    def of(self, build: Build) -> Build:
        """The build with this choice."""
        update = {"backend": NAME, "points_per_clock": self.points_per_clock, "keys_per_clock": self.keys_per_clock}
        return build.model_copy(update={"firmware": build.firmware.model_copy(update=update)})


def choices(model: Any, build: Build) -> dict[Choice, Layers]:
    """All choices that a model can be folded with, and the layers of their kernels: by rising T, then those with folded
    keys by rising T and K.

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
    parts = [number for number in range(1, points + 1) if points % number == 0]
    for choice in map(Choice, parts):
        try:
            found[choice] = _layers(model, build, choice)
        except ExportRefused as refused:
            if any(refusal.layer != TOGETHER for refusal in refused.refusals) or choice.points_per_clock == points:
                raise
    for choice in [Choice(one.points_per_clock, keys) for one in found for keys in parts[:-1]]:
        try:
            found[choice] = _layers(model, build, choice)
        except ExportRefused:  # no pairs of all points, or not in this flavour
            break
    return found


def _layers(model: Any, build: Build, choice: Choice) -> Layers:
    works = planned(model, choice.of(build)).works
    return tuple(tuple(work.layer.name for work in kernel) for kernel in works)


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
        chunks: beats for each beat of points, where keys are folded.
        pace: clocks between two beats.
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
    chunks: int = 1
    pace: int = 1


@dataclass(frozen=True)
class Row:
    """What a choice costs.

    Attributes:
        choice: of the build.
        kernels: in order.
        clock_ns: clock period.
        ways_bits: of the memory of words with which the host says where rows lie.
        scaled_from: the T, or K, from which it was scaled; empty where it was traced.
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
        return ii_cycles(self.kernels)

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
        rows: by rising T, then those with folded keys, by rising T and K.
    """

    points: int
    clock_ns: float
    rows: tuple[Row, ...]


def survey(model: Any, build: Build, seconds: float, reporter: Reporter | None = None) -> Survey:
    """What each choice costs.

    Args:
        model: quantised.
        build: its section `firmware` says clock and stages.
        seconds: for tracing. The smallest T is traced whatever it takes, with all keys and with one; another choice
            only if there is time left for it, should it take as long per point and key as the one before.
        reporter: told of progress.

    Raises:
        ExportRefused: the model cannot be folded, with every layer that is the reason.
        HlsError: alkaid cannot trace a layer.
    """
    options = choices(model, build)
    tick = (reporter or Silent()).task("trace folded kernels", len(options))
    plain = [choice for choice in options if choice.keys_per_clock is None]
    keyed = [
        choice for choice in options if choice.keys_per_clock and choice.points_per_clock == plain[0].points_per_clock
    ]
    known: list[Row] = []
    left, points = seconds, points_of(model)
    for some in (plain[:1], keyed, plain[1:]):
        for choice in some:
            if known and choice not in keyed[:1] and left < _expected(known[-1], choice, points):
                break
            known.append(traced(model, build, choice))
            left -= known[-1].traced_s or 0.0
            tick(note=str(choice))
    found, limit = {row.choice: row for row in known}, stage_ns(build.firmware)
    for choice in [choice for choice in options if choice not in found]:
        found[choice] = scaled(known, choice, points, options[choice], limit)
        tick()
    return Survey(points, build.firmware.clock_ns, tuple(found[choice] for choice in options))


def _expected(last: Row, choice: Choice, points: int) -> float:
    """Seconds that tracing a choice may take."""
    pairs = [one.points_per_clock * (one.keys_per_clock or points) for one in (choice, last.choice)]
    return (last.traced_s or 0.0) * pairs[0] / pairs[1]


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
            chunks=kernel["chunks"],
            pace=kernel["pace"],
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
    same = [row for row in known if row.choice.keys_per_clock == choice.keys_per_clock]
    known = same or [_of_more_keys(known, choice, points)]
    alike = [row for row in known if row.layers == layers]
    used = (alike or [row for row in known if row.layers == known[-1].layers])[-2:]
    parts = points // choice.points_per_clock, points // (choice.keys_per_clock or points)
    kernels = tuple(
        _scaled([row.kernels[number] for row in used], [row.choice for row in used], choice, parts, limit_ns)
        for number in range(len(used[-1].kernels))
    )
    places = tuple(row.choice.points_per_clock for row in used) if same else used[0].scaled_from
    return Row(choice, kernels, used[-1].clock_ns, used[-1].ways_bits, places, other_kernels=not alike)


def _of_more_keys(known: Sequence[Row], choice: Choice, points: int) -> Row:
    """The row of the smallest T with as many keys as a choice, scaled from some with fewer keys."""
    last, *others = [row for row in reversed(known) if row.choice.keys_per_clock is not None]
    before = next((row for row in others if row.layers == last.layers), None)
    used = [last] if before is None else [before, last]
    kernels = tuple(
        _with_keys([row.kernels[number] for row in used], [row.choice.keys_per_clock or points for row in used], choice)
        for number in range(len(last.kernels))
    )
    places = tuple(row.choice.keys_per_clock or points for row in used)
    return replace(
        last,
        choice=Choice(last.choice.points_per_clock, choice.keys_per_clock),
        kernels=kernels,
        scaled_from=places,
        traced_s=None,
        facts=None,
    )


def _with_keys(known: Sequence[KernelCost], at: Sequence[int], choice: Choice) -> KernelCost:
    """A kernel that was traced with `at` keys per clock, one or two, with those of a choice."""
    last, first, keys = known[-1], known[0], choice.keys_per_clock or at[-1]
    if last.chunks == 1:
        return last
    span = at[-1] - (at[0] if len(at) > 1 else 0)

    def line(end: float, start: float) -> float:
        return end + (end - (start if len(at) > 1 else 0.0)) * (keys - at[-1]) / span

    path = last.unpipelined_path_ns
    if len(at) > 1:
        path += (path - first.unpipelined_path_ns) * math.log2(keys / at[-1]) / math.log2(at[-1] / at[0])
    lut, *counts = map(line, astuple(last.of_event), astuple(first.of_event))
    stays = Amount(lut, *(round(count) for count in counts))
    return replace(
        last,
        lut=line(last.lut, first.lut),
        products=round(line(last.products, first.products)),
        dsp=round(line(last.dsp, first.dsp)),
        register_bits=round(line(last.register_bits, first.register_bits)),
        of_event=stays,
        unpipelined_path_ns=path,
    )


def _scaled(
    known: Sequence[KernelCost], at: Sequence[Choice], choice: Choice, parts: tuple[int, int], limit_ns: float
) -> KernelCost:
    """A kernel that was traced for the choices `at`, one or two, for another one, which has B and C `parts`."""
    last, stays = known[-1], known[-1].of_event
    growth = choice.points_per_clock / at[-1].points_per_clock
    path = last.unpipelined_path_ns
    if len(known) > 1:
        octaves = math.log2(at[-1].points_per_clock / at[0].points_per_clock)
        path += (path - known[0].unpipelined_path_ns) * math.log2(growth) / octaves
    rows, chunks = min(last.beats // last.chunks, parts[0]), min(last.chunks, parts[1])
    return replace(
        last,
        beats=rows * chunks,
        chunks=chunks,
        pace=parts[1] if last.number == 0 else 1,
        depth=last.depth + max(math.ceil((path - last.unpipelined_path_ns) / limit_ns), 0),
        lut=stays.lut + growth * (last.lut - stays.lut),
        products=round(stays.products + growth * (last.products - stays.products)),
        dsp=round(stays.dsp + growth * (last.dsp - stays.dsp)),
        register_bits=round(stays.register_bits + growth * (last.register_bits - stays.register_bits)),
        unpipelined_path_ns=path,
    )
