"""Stage "rtl": is the RTL equal to the quantised model, event after event in every clock cycle?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType

from hls.backends import open_project, rtl_backend
from hls.backends.protocol import Clocked, Disturbed, Project
from hls.backends.simulators.levels import OF_VERILOG, RTL_LEVELS, SLOW
from hls.backends.simulators.verilator import ToolMissing
from hls.backends.writing import weights_hash
from hls.backends.written import command, using
from hls.errors import HlsError
from hls.proof.adversarial import adversarial
from hls.proof.agree import Agreement, compare, keras_outputs
from hls.proof.exact import exact
from hls.proof.samples import refuse_none, sample
from hls.reports.report import Report
from hls.reports.rtl import simulated
from hls.stages.csim import check_same_model
from hls.stages.export import export, load_quantised, refuse_other_build
from qformers.builds.build import Build
from qformers.manifest import versions
from qformers.progress import Reporter, Silent
from qformers.records import write_record
from qformers.results import Result

ARITHMETIC = "arithmetic"  # what a level without a clock compares: it reads no Verilog
MACHINE = "emulated machine"  # what a level with a clock compares that reads none either
LEFT_OUT = "left out by --levels"
EVENTS = (10_000, 2_000)  # simulated unless told otherwise: up to `MANY` points, and above
MANY = 32
FEW_EVENTS = (100, 50)  # jets and adversarial events for a level of `SLOW`

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """Events and what the quantised model makes of them: name -> (n, ...), of its inputs and of its outputs."""

    inputs: Mapping[str, NDArray[Any]]
    expected: Mapping[str, Array]

    @classmethod
    def of(cls, model: keras.Model, inputs: Mapping[str, NDArray[Any]], reporter: Reporter | None = None) -> Group:
        """Events through the quantised model; `reporter` is told of finished ones."""
        return cls(inputs, keras_outputs(model, inputs, reporter, "quantised Keras"))

    @classmethod
    def joined(cls, first: Group, second: Group) -> Group:
        """The events of both, those of the first one in front."""
        inputs, expected = (
            {name: np.concatenate([values, after[name]]) for name, values in before.items()}
            for before, after in ((first.inputs, second.inputs), (first.expected, second.expected))
        )
        return cls(inputs, expected)

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def part(self, rows: slice | NDArray[np.int64]) -> Group:
        """Some of the events; those of a slice are not copied."""
        inputs, expected = (
            {name: array[rows] for name, array in arrays.items()} for arrays in (self.inputs, self.expected)
        )
        return Group(inputs, expected)


@dataclass(frozen=True)
class LevelCheck:
    """One level of simulation: what it said of the events, and of time."""

    jets: Agreement
    adversarial: Agreement
    clocked: Clocked | None  # None at levels without a clock
    disturbed: tuple[Disturbed, Agreement] | None = None  # all events once more; None where the interface never pauses

    @property
    def equal(self) -> bool:
        """Whether every value of every event is equal."""
        parts = [self.jets, self.adversarial, *([self.disturbed[1]] if self.disturbed else [])]
        return all(part.equal for part in parts)

    @property
    def on_time(self) -> bool:
        """Whether every event comes when the project says; levels without a clock are never late."""
        return self.clocked is None or self.clocked.on_time

    @property
    def latency_cycles(self) -> int | None:
        """As measured; None without a clock, and where no latency makes every event come out right."""
        return self.clocked.timing.latency_cycles if self.clocked and self.clocked.timing else None

    def lines(self, level: str, what: str = "jets") -> Iterator[str]:
        """What the level came to; `what` its events are."""
        side = ARITHMETIC if self.clocked is None else "firmware" if level in OF_VERILOG else MACHINE
        yield f"{level}, {what}: {self.jets.said_of(side)}"
        yield f"{level}, adversarial events: {self.adversarial.said_of(side)}"
        if self.disturbed is not None:
            yield f"{level}, {_disturbances(self.disturbed[0])}: {self.disturbed[1].said_of(side)}"
        if self.clocked is None:
            return
        reported = f"{self.clocked.latency_expected} reported"
        if self.clocked.timing is None:
            yield f"{level}: no latency makes every event come out right ({reported})"
            return
        cycles, ii = self.clocked.timing.latency_cycles, self.clocked.timing.ii_cycles
        rate = "; an event every cycle (II = 1)" if ii == 1 else "" if ii is None else f"; II = {ii}"
        if ii is not None and self.clocked.ii_expected is not None:
            rate += f" measured, {self.clocked.ii_expected} reported"
        yield f"{level}: latency {cycles} cycles measured, {reported}{rate}"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "jets": self.jets.to_json(),
            "adversarial": self.adversarial.to_json(),
            "disturbed": _disturbed_json(*self.disturbed) if self.disturbed else None,
            "latency_cycles": self.latency_cycles,
            "ii_cycles": self.clocked.timing.ii_cycles if self.clocked and self.clocked.timing else None,
        }


def _disturbances(stream: Disturbed) -> str:
    lost = int((~stream.came).sum())
    return (
        f"beats that pause ({stream.gaps:,} of {stream.edges:,} clock edges), outputs that wait ({stream.stalls:,}), "
        f"{stream.resets} resets (which ended {lost} events)"
    )


def _disturbed_json(stream: Disturbed, agreement: Agreement) -> dict[str, Any]:
    counts = {key: getattr(stream, key) for key in ("edges", "gaps", "stalls", "resets")}
    return {**agreement.to_json(), **counts, "events_lost": int((~stream.came).sum())}


@dataclass(frozen=True, repr=False)
class RtlResult(Result):
    """RTL beside the quantised model, at every level of simulation.

    Attributes:
        run: the run folder.
        what: the events are, e.g. jets.
        levels: those that were run.
        skipped: those that were not -> why.
        reports: what the project says of its cost, and what the simulation showed of its time.
        facts: for the JSON.
    """

    run: Path
    what: str
    levels: Mapping[str, LevelCheck]
    skipped: Mapping[str, str]
    reports: tuple[Report, ...] = field(repr=False)
    facts: dict[str, Any] = field(repr=False)

    @property
    def path(self) -> Path:
        """The JSON of the result."""
        return self.run / "rtl.json"

    @property
    def equal(self) -> bool:
        """Whether every value is equal at every level and comes when the project says."""
        return all(one.equal and one.on_time for one in self.levels.values())

    def pieces(self) -> Iterator[RenderableType]:
        """Lines per level."""
        for level, one in self.levels.items():
            yield from one.lines(level, self.what)
        yield from (f"{level}: {why}" for level, why in self.skipped.items() if why != LEFT_OUT)

    def save(self) -> Path:
        """Write ``rtl.json`` and ``reports/<source>.json``; returns the JSON."""
        for report in self.reports:
            report.save(self.run)
        write_record(self.path, self.facts)
        return self.path


def written_before(build: Build, path: Path, model: keras.Model | Path) -> Project | None:
    """The project in a folder, where it is of this model (or that of a file) and firmware section."""
    try:
        project = open_project(path)
        manifest = check_same_model(project, load_quantised(model) if isinstance(model, Path) else model)
    except HlsError:
        return None
    return project if manifest.get("firmware") == build.firmware.model_dump(mode="json") else None


def open_rtl(build: Build, run: Path, reporter: Reporter | None = None, backend: str | None = None) -> Project:
    """The RTL project of a run; written (again) where there is none, or one of another model or firmware section.

    Args:
        build: the build.
        run: its run folder.
        reporter: told of progress.
        backend: that writes it; None = see `hls.backends.rtl_backend`.

    Raises:
        HlsError: no model, a layer without exact RTL, or a project of another backend in the folder.
    """
    backend = backend or rtl_backend(build.firmware.backend)
    path, model_path = run / "firmware" / backend, run / "qat" / "model.keras"
    refuse_other_build(model_path, build)
    project = written_before(build, path, model_path)
    if project is None:
        project = export(build, model_path, path, backend, reporter=reporter).project
    if project.layout.backend != backend:
        raise HlsError(f"{path} is a project of backend '{project.layout.backend}'; remove it and run again")
    return project


def simulate_rtl(
    build: Build,
    run: Path | str,
    events: int | None = None,
    levels: Sequence[str] | None = None,
    backend: str | None = None,
    reporter: Reporter | None = None,
) -> RtlResult:
    """Simulate the RTL of a build at every level and compare it with the quantised model.

    Reads ``qat/model.keras`` and ``firmware/<backend>`` of the run folder; the latter is written if need be.

    Args:
        build: the build.
        run: its run folder.
        events: test jets wanted; None = `events_of`.
        levels: of simulation; others of `RTL_LEVELS` that the project has are noted as left out. None = all of these.
        backend: that writes the RTL; None = see `hls.backends.rtl_backend`.
        reporter: told of progress.

    Raises:
        HlsError: a file or Verilator is missing, or the project has no such level.
    """
    run, reporter = Path(run), reporter or Silent()
    backend = backend or rtl_backend(build.firmware.backend)
    events = events_of(build) if events is None else events
    refuse_none(build, events)
    refuse_other_build(run / "qat" / "model.keras", build)
    with using(run / "firmware" / backend, command()):
        return _simulate(build, run, events, levels, backend, reporter)


def events_of(build: Build) -> int:
    """Events to simulate unless told otherwise: fewer of many points, whose simulation takes the longer."""
    return EVENTS[build.data.num_particles > MANY]


def _simulate(
    build: Build, run: Path, events: int, levels: Sequence[str] | None, backend: str, reporter: Reporter
) -> RtlResult:
    """`simulate_rtl`, while the project is held."""
    project = open_rtl(build, run, reporter, backend)
    model = load_quantised(run / "qat" / "model.keras")
    reports = project.reports()
    easy, hard = sample(build, model, events), adversarial(model)
    digest = weights_hash(model)  # of the model itself: its form in float64 has another
    model = exact(model, project)
    groups = [Group.of(model, part.inputs, reporter) for part in (easy, hard)]
    checked: dict[str, LevelCheck] = {}
    ours = [level for level in RTL_LEVELS if level in project.levels]
    levels = (ours or RTL_LEVELS) if levels is None else levels
    skipped: dict[str, str] = {level: LEFT_OUT for level in ours if level not in levels}
    if known := [level for level in levels if level in project.levels]:  # if there is none, the project says so
        lacking = f"firmware of backend '{project.layout.backend}' is not simulated at this level"
        skipped |= {level: lacking for level in levels if level not in known}
        levels = known
    jobs = {level: partial(check, project, model, _for_level(level, *groups), level, build.seed) for level in levels}
    for level, result in _side_by_side(jobs, reporter):
        try:
            checked[level] = result()
        except ToolMissing as missing:
            if level not in SLOW:
                raise
            skipped[level] = str(missing)
    timed = []
    first = next(iter(project.timed), "")
    if first in checked and (clocked := checked[first].clocked) and (measured := clocked.timing):
        said = simulated(first, build.firmware.clock_ns, measured.latency_cycles, measured.ii_cycles)
        timed.append(said.of_project(project.path))
    facts = {
        "build": build.name,
        "build_hash": build.hash,
        "backend": project.layout.backend,
        "flavour": build.firmware.flavour,
        "project": str(project.path),
        "firmware": build.firmware.model_dump(mode="json"),
        "model_sha256": digest,
        "what": easy.what,
        "splits": easy.source,
        "levels": {level: one.to_json() for level, one in checked.items()},
        "skipped": skipped,
        "cases": dict(Counter(hard.cases)),
        "latency_cycles_reported": next((report.latency_cycles for report in reports), None),
        "ii_cycles_reported": next((report.ii_cycles for report in reports), None),
        "compared": "RTL" if any(level in OF_VERILOG for level in checked) else ARITHMETIC,
        "equal": all(one.equal and one.on_time for one in checked.values()),
        "versions": versions(),
    }
    return RtlResult(run, easy.what, checked, skipped, (*reports, *timed), facts)


def _side_by_side(
    jobs: Mapping[str, Callable[..., LevelCheck]], reporter: Reporter
) -> Iterator[tuple[str, Callable[[], LevelCheck]]]:
    """Levels in their order, each with what gives its result.

    A slow one (Icarus) works while the others do: for minutes it keeps one core busy, and so does Verilator's
    translation.
    """
    with ThreadPoolExecutor(1) as beside:
        slow = {level: beside.submit(job) for level, job in jobs.items() if level in SLOW}
        for level, job in jobs.items():
            yield level, slow[level].result if level in slow else partial(job, reporter=reporter)


def _for_level(level: str, jets: Group, hard: Group) -> tuple[Group, Group]:
    """All events; for a slow level the first of the jets, and adversarial ones evenly over all cases."""
    if level not in SLOW:
        return jets, hard
    few, hardest = FEW_EVENTS
    chosen = np.linspace(0, len(hard) - 1, min(hardest, len(hard))).round().astype(int)
    return jets.part(slice(few)), hard.part(chosen)


def check(
    project: Project,
    model: keras.Model,
    groups: tuple[Group, Group],
    level: str,
    seed: int = 0,
    reporter: Reporter | None = None,
) -> LevelCheck:
    """Compare one level of simulation with Keras.

    Where it has a clock, both groups go through it in one stream, and, where the interface knows pauses, once more with
    such and resets.

    Args:
        project: written from `model`.
        model: the quantised model.
        groups: jets, and adversarial events.
        level: of simulation.
        seed: of pauses and resets.
        reporter: told of progress.
    """
    clocked, disturbed = None, None
    if level not in project.timed:
        outputs = [project.outputs(group.inputs, level, reporter) for group in groups]
    else:
        both = Group.joined(*groups)
        clocked = project.clock(both.inputs, both.expected, level, reporter)
        first = len(groups[0])
        parts = (slice(first), slice(first, None))
        outputs = [{name: array[rows] for name, array in clocked.outputs.items()} for rows in parts]
        if (found := project.disturb(both.inputs, level, seed, reporter)) is not None:
            came = both.part(np.flatnonzero(found.came))
            disturbed = found, compare(project, model, came.inputs, found.outputs, came.expected)
    jets, hard = (
        compare(project, model, group.inputs, answer, group.expected)
        for group, answer in zip(groups, outputs, strict=True)
    )
    return LevelCheck(jets, hard, clocked, disturbed)
