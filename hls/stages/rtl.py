"""Stage "rtl": is the RTL equal to the quantised model, event after event in every clock cycle?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from hls.backends.alkaid.project import AlkaidProject
from hls.backends.protocol import Project
from hls.backends.simulators.levels import RTL_LEVELS, TIMED, Level
from hls.backends.simulators.rtl_stream import Timing, timing
from hls.backends.simulators.verilator import ToolMissing
from hls.errors import HlsError
from hls.proof.adversarial import adversarial
from hls.proof.agree import Agreement, compare, keras_outputs
from hls.proof.samples import sample
from hls.reports.rtl import estimate, save, simulated
from hls.stages.csim import check_same_model
from hls.stages.export import export, load_quantised
from qformers.builds.build import Build
from qformers.files import write_json
from qformers.manifest import versions
from qformers.progress import Reporter

BACKEND = "alkaid"
ICARUS_EVENTS = (100, 50)  # jets and adversarial events: it is a thousand times slower than Verilator

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

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def part(self, rows: slice | NDArray[np.int64]) -> Group:
        """Some of the events; those of a slice are not copied."""
        inputs, expected = (
            {name: array[rows] for name, array in arrays.items()} for arrays in (self.inputs, self.expected)
        )
        return Group(inputs, expected)


@dataclass(frozen=True)
class Checked:
    """One level of simulation: what it said of the events, and of time."""

    jets: Agreement
    adversarial: Agreement
    timing: Timing | None  # None at levels without time, and where no shift makes all events right

    @property
    def equal(self) -> bool:
        """Whether every value of every event is equal."""
        return self.jets.equal and self.adversarial.equal

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "jets": self.jets.to_json(),
            "adversarial": self.adversarial.to_json(),
            "latency_cycles": self.timing.latency_cycles if self.timing else None,
            "ii_cycles": self.timing.ii_cycles if self.timing else None,
        }


@dataclass(frozen=True)
class Simulated:
    """Result of the stage; `path` is its JSON."""

    path: Path
    levels: Mapping[Level, Checked]
    equal: bool


def open_rtl(build: Build, run: Path, reporter: Reporter) -> AlkaidProject:
    """The RTL project of a run; written (again) where there is none, or one of another model or firmware section.

    Raises:
        HlsError: no model, or a layer without exact RTL.
    """
    path, model_path = run / "firmware" / BACKEND, run / "qat" / "model.keras"
    try:
        project = Project.open(path)
        check_same_model(project, load_quantised(model_path))
        written = json.loads((path / "manifest.json").read_text())["firmware"]
    except HlsError:
        written = None
    if written != build.firmware.model_dump(mode="json"):
        project = export(build, model_path, path, BACKEND, reporter)
    if not isinstance(project, AlkaidProject):
        raise HlsError(f"{path} is a project of backend '{project.layout.backend}'; remove it and run again")
    return project


def simulate_rtl(
    build: Build,
    run: Path,
    events: int,
    reporter: Reporter,
    console: Console,
    levels: Sequence[Level] = RTL_LEVELS,
) -> Simulated:
    """Simulate the RTL of a build at every level and compare it with the quantised model.

    Reads ``qat/model.keras`` and ``firmware/alkaid`` of the run folder (the latter is written if need be); writes
    ``rtl.json``, ``reports/alkaid.json`` and ``reports/verilator.json``.

    Args:
        build: the build.
        run: its run folder.
        events: test jets wanted.
        reporter: told of progress.
        console: where the results go.
        levels: of simulation; others of `RTL_LEVELS` are noted as left out.

    Raises:
        HlsError: a file or Verilator is missing.
    """
    project = open_rtl(build, run, reporter)
    model = load_quantised(run / "qat" / "model.keras")
    save(estimate(project), project, run)
    easy, hard = sample(build, model, events), adversarial(model)
    groups = [Group.of(model, part.inputs, reporter) for part in (easy, hard)]
    checked: dict[Level, Checked] = {}
    skipped: dict[str, str] = {level: "left out by --levels" for level in RTL_LEVELS if level not in levels}
    jobs = {level: partial(check, project.at(level), model, _for_level(level, *groups)) for level in levels}
    for level, result in _side_by_side(jobs, reporter):
        try:
            checked[level] = result()
        except ToolMissing as missing:
            if level != "icarus":
                raise
            skipped[level] = str(missing)
            console.print(f"{level}: {missing}", markup=False)
            continue
        tell(level, checked[level], project, console, easy.what)
    measured = checked["verilator"].timing if "verilator" in checked else None
    on_time = all(found.timing.latency_cycles == project.latency_cycles for found in checked.values() if found.timing)
    untimed = any(found.timing is None for level, found in checked.items() if level in TIMED)
    equal = all(found.equal for found in checked.values()) and on_time and not untimed
    if measured is not None:
        save(simulated(project, measured), project, run)
    facts = {
        "build": build.name,
        "build_hash": build.hash,
        "backend": BACKEND,
        "flavour": project.facts["flavour"],
        "project": str(project.path),
        "what": easy.what,
        "splits": easy.source,
        "levels": {level: found.to_json() for level, found in checked.items()},
        "skipped": skipped,
        "cases": dict(Counter(hard.cases)),
        "latency_cycles_reported": project.latency_cycles,
        "equal": equal,
        "versions": versions(),
    }
    write_json(run / "rtl.json", facts)
    return Simulated(run / "rtl.json", checked, equal)


def _side_by_side(
    jobs: Mapping[Level, Callable[..., Checked]], reporter: Reporter
) -> Iterator[tuple[Level, Callable[[], Checked]]]:
    """Levels in their order, each with what gives its result.

    Icarus works while the others do: for minutes it keeps one core busy, and so does Verilator's translation.
    """
    with ThreadPoolExecutor(1) as beside:
        icarus = beside.submit(jobs["icarus"]) if "icarus" in jobs else None
        for level, job in jobs.items():
            yield level, icarus.result if icarus and level == "icarus" else partial(job, reporter)


def _for_level(level: Level, jets: Group, hard: Group) -> tuple[Group, Group]:
    """All events; for Icarus the first of the jets, and adversarial ones evenly over all cases."""
    if level != "icarus":
        return jets, hard
    few, hardest = ICARUS_EVENTS
    chosen = np.linspace(0, len(hard) - 1, min(hardest, len(hard))).round().astype(int)
    return jets.part(slice(few)), hard.part(chosen)


def check(
    project: AlkaidProject, model: keras.Model, groups: tuple[Group, Group], reporter: Reporter | None = None
) -> Checked:
    """Compare one level of simulation with Keras; RTL gets both groups of events back to back, one per clock cycle.

    Args:
        project: at the level wanted.
        model: the quantised model.
        groups: jets, and adversarial events.
        reporter: told of progress.
    """
    found_timing = None
    if project.level not in TIMED:
        found = [project.outputs(group.inputs, reporter) for group in groups]
    else:
        cycles = project.cycles(np.concatenate([project.rows(group.inputs) for group in groups]), reporter)
        found_timing = timing(cycles, np.concatenate([project.flat(group.expected) for group in groups]))
        start = found_timing.latency_cycles if found_timing else project.latency_cycles
        first, both = start + len(groups[0]), start + len(groups[0]) + len(groups[1])
        found = [project.named(project.split(part)) for part in (cycles[start:first], cycles[first:both])]
    jets, hard = (
        compare(project, model, group.inputs, outputs, group.expected)
        for group, outputs in zip(groups, found, strict=True)
    )
    return Checked(jets, hard, found_timing)


def tell(level: Level, found: Checked, project: AlkaidProject, console: Console, what: str = "jets") -> None:
    """Print what a level of simulation found; `what` its events are."""
    console.print(f"{level}, {what}: {found.jets}", markup=False)
    console.print(f"{level}, adversarial events: {found.adversarial}", markup=False)
    if level not in TIMED:
        return
    reported = f"{project.latency_cycles} reported"
    if found.timing is None:
        console.print(f"{level}: no latency makes every event come out right ({reported})", markup=False)
    else:
        cycles = found.timing.latency_cycles
        console.print(
            f"{level}: latency {cycles} cycles measured, {reported}; an event every cycle (II = 1)", markup=False
        )
