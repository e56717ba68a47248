"""Stage "block engine": HEPT for events of thousands of points, simulated on whole events, its latency and its cost.

An engine is folded firmware that takes one block of points per clock and has their rows in memory banks, written from
the quantised model for so many points: weights and formats do not depend on their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType

from hls.backends import open_backend
from hls.backends.folded.project import FoldedProject
from hls.backends.folded.writer import NAME as FOLDED
from hls.backends.writing import refuse_foreign
from hls.backends.written import command, using
from hls.errors import ExportRefused, HlsError, Refusal
from hls.proof.adversarial import adversarial, uniform
from hls.proof.agree import keras_outputs
from hls.proof.exact import exact
from hls.stages.export import load_quantised, refuse_other_build
from hls.stages.rtl import written_before
from qformers.builds.build import Build
from qformers.config.section import architecture_of
from qformers.config.sections import QuantConfig
from qformers.data import DataError, open_split
from qformers.errors import ConfigError
from qformers.manifest import versions
from qformers.models.hept.blocks import order_of, resized, slots_of
from qformers.models.hept.config import HeptConfig
from qformers.progress import Reporter, Silent
from qformers.records import write_record
from qformers.results import Result

FOLDER = "block_engine"  # in the run folder: a project per size
NAME = "block engine"
LEVEL = "verilator"

Array = NDArray[Any]


@dataclass(frozen=True)
class EngineCheck:
    """Events of one size through the simulated engine.

    Attributes:
        points: asked for; the slots of the last block beyond them are masked.
        blocks: M.
        events: compared, the adversarial ones among them.
        values: compared.
        values_different: from those of the quantised model of so many points.
        latency_cycles: measured: clock edges from the one that takes the first block in to the one that brings the
            last block's output out; None where it was not the same for all events.
        latency_expected: by the formula of the plan.
        latency_us: measured, at the clock of the build.
        ii_cycles: clocks from an event to the next one; M.
        lut_estimate, register_bits, store_bits: alkaid's estimates, nothing is synthesised.
    """

    points: int
    blocks: int
    events: int
    values: int
    values_different: int
    latency_cycles: int | None
    latency_expected: int
    latency_us: float | None
    ii_cycles: int
    lut_estimate: int
    register_bits: int
    store_bits: int

    @property
    def equal(self) -> bool:
        """Whether every value is equal and comes when it should."""
        return self.values_different == 0 and self.latency_cycles == self.latency_expected

    def __str__(self) -> str:
        cycles = "not the same for all events" if self.latency_cycles is None else f"{self.latency_cycles} cycles"
        time = "" if self.latency_us is None else f" = {self.latency_us:.2f} us"
        return (
            f"{self.points} points, {self.blocks} blocks: {self.values_different} of {self.values} values in "
            f"{self.events} events differ from quantised Keras; latency {cycles}{time} (Verilator), "
            f"{self.latency_expected} expected; an event every {self.ii_cycles} cycles\n"
            f"  {self.lut_estimate:,} LUT, {self.register_bits:,} register bits, {self.store_bits:,} bits in stores "
            f"(estimates, nothing synthesised)"
        )


@dataclass(frozen=True, repr=False)
class EngineResult(Result):
    """Engines beside the quantised models of the sizes that were asked for.

    Attributes:
        run: the run folder.
        projects: the engines.
        sizes: one per size of events.
        facts: for the JSON.
    """

    run: Path
    projects: tuple[FoldedProject, ...]
    sizes: tuple[EngineCheck, ...]
    facts: dict[str, Any] = field(repr=False)

    @property
    def path(self) -> Path:
        """The JSON of the result."""
        return self.run / "engine.json"

    @property
    def equal(self) -> bool:
        """Whether all events of all sizes are."""
        return all(checked.equal for checked in self.sizes)

    def pieces(self) -> Iterator[RenderableType]:
        """What is compared and taken at each size."""
        yield from (str(size) for size in self.sizes)

    def save(self) -> Path:
        """Write ``engine.json``; the projects themselves were written to be simulated."""
        write_record(self.path, self.facts)
        return self.path


def simulate_engine(
    build: Build, run: Path | str, points: Sequence[int], events: int = 2, reporter: Reporter | None = None
) -> EngineResult:
    """Write the block engine of a build for each size, simulate whole events, compare them with the quantised model.

    Reads ``qat/model.keras`` of the run folder; writes ``block_engine/<slots>``.

    Args:
        build: the build.
        run: its run folder.
        points: sizes of events.
        events: of each size; the smallest one also has adversarial ones.
        reporter: told of progress.

    Raises:
        HlsError: no HEPT, no model, no size, or Verilator is missing.
    """
    run, reporter = Path(run), reporter or Silent()
    cfg, quant = _hept_of(build)
    if not points or min(points) < 1 or events < 1:
        raise HlsError(f"sizes and numbers of events are at least 1. Received: points {list(points)}, events {events}")
    path = run / "qat" / "model.keras"
    refuse_other_build(path, build)
    for count in points:
        refuse_foreign(run / FOLDER / str(_slots(cfg, count)), "move them away, or name another run folder with --run")
    model = load_quantised(path, build)
    pool = _points_of(build, model)
    projects, checked = [], []
    for count in points:
        slots = _slots(cfg, count)
        whole = _resized(cfg, quant, model, slots)
        with using(run / FOLDER / str(slots), command()):
            project = _engine(_build_of(build, cfg, slots), run / FOLDER / str(slots), whole, reporter)
            groups = [_events(pool, model, whole, count, events, build.seed)]
            if count == min(points):  # arithmetic and control are the same at every size
                groups.append(_hard(whole, build.seed))
            checked.append(_check(project, exact(whole, project), groups, count, reporter))
        projects.append(project)
    facts = {
        "build": build.name,
        "build_hash": build.hash,
        "points": pool[2],
        "clock_ns": build.firmware.clock_ns,
        "events": [{**asdict(size), "source": "simulated by Verilator", "equal": size.equal} for size in checked],
        "equal": all(size.equal for size in checked),
        "versions": versions(),
    }
    return EngineResult(run, tuple(projects), tuple(checked), facts)


def _slots(cfg: HeptConfig, points: int) -> int:
    """Slots of an event: whole blocks."""
    return -(-points // cfg.block_size) * cfg.block_size


def _hept_of(build: Build) -> tuple[HeptConfig, QuantConfig]:
    """Sections `model` and `quant` of a build that can become an engine.

    Raises:
        ExportRefused: another architecture, or no section `quant`.
    """
    if isinstance(build.model, HeptConfig) and build.quant is not None:
        return build.model, build.quant
    given = f"{architecture_of(build.model)}, quant {'missing' if build.quant is None else 'given'}"
    reason = f"the block engine is for a quantised model of architecture hept. Received: {given}"
    raise ExportRefused(NAME, [Refusal("model", "build", reason, "set model.architecture and a section quant")])


def _resized(cfg: HeptConfig, quant: QuantConfig, model: keras.Model, slots: int) -> keras.Model:
    try:
        return resized(cfg, quant, model, slots)
    except ConfigError as error:
        raise ExportRefused(NAME, [Refusal("model", "build", str(error), "give the build of this model")]) from error


def _build_of(build: Build, cfg: HeptConfig, slots: int) -> Build:
    """The build of an engine: a block per clock, rows in banks."""
    one_by_one = {"backend": FOLDED, "points_per_clock": cfg.block_size, "keys_per_clock": None, "moved_rows": "banks"}
    firmware = build.firmware.model_copy(update={**one_by_one, "flavour": "verilog"})
    data = build.data.model_copy(update={"num_particles": slots})
    return build.model_copy(update={"firmware": firmware, "data": data})


def _engine(build: Build, path: Path, whole: keras.Model, reporter: Reporter) -> FoldedProject:
    """The engine of a size; written (again) where there is no such one."""
    project = written_before(build, path, whole) or open_backend(FOLDED).write(whole, build, path, reporter)
    if not isinstance(project, FoldedProject):
        raise HlsError(f"{path} is a project of backend '{project.layout.backend}'; remove it and run again")
    return project


def _points_of(build: Build, model: keras.Model) -> tuple[Array, Array, str]:
    """Features (n, F) and coordinates (n, C) of points, and where they come from."""
    try:
        loaded: Any = open_split(build.data, "test").load()
        real = np.asarray(loaded.mask) > 0
        return loaded.features[real], loaded.coords[real], "points of the test split, windows joined to whole events"
    except DataError:
        drawn = uniform(model, 64, build.seed)
        features, coords = (drawn[name].reshape(-1, drawn[name].shape[-1]) for name in ("features", "coords"))
        return features, coords, "random over the range of the input formats"


def _events(
    pool: tuple[Array, Array, str], model: keras.Model, whole: keras.Model, points: int, count: int, seed: int
) -> dict[str, Array]:
    """`count` events of `points` drawn points, in the order that the model's own numbers give."""
    random, slots = np.random.default_rng(seed), slots_of(whole)
    mask = np.broadcast_to(np.arange(slots) < points, (count, slots)).astype(np.float32)
    chosen = random.integers(0, len(pool[0]), (count, slots))
    features, coords = (values[chosen].astype(np.float32) * mask[..., None] for values in pool[:2])
    return {"features": features, "coords": coords, "mask": mask, "order": order_of(model, coords, mask)}


def _hard(whole: keras.Model, seed: int) -> dict[str, Array]:
    """Adversarial events, one of every case: they are as large as the others."""
    hard = adversarial(whole, seed, each=1)
    _, first = np.unique(hard.cases, return_index=True)
    return {name: array[first] for name, array in hard.inputs.items()}


def _check(
    project: FoldedProject,
    whole: keras.Model,
    groups: Sequence[Mapping[str, Array]],
    points: int,
    reporter: Reporter,
) -> EngineCheck:
    """All events, back to back."""
    inputs = {name: np.concatenate([group[name] for group in groups]) for name in groups[0]}
    wanted = keras_outputs(whole, inputs)
    clocked = project.clock(inputs, wanted, LEVEL, reporter)
    (name, values), facts = next(iter(wanted.items())), project.facts
    measured = clocked.timing.latency_cycles if clocked.timing else None
    return EngineCheck(
        points=points,
        blocks=project.fold.beats,
        events=len(values),
        values=values.size,
        values_different=int(np.sum(clocked.outputs[name] != values)),
        latency_cycles=measured,
        latency_expected=clocked.latency_expected,
        latency_us=None if measured is None else measured * facts["clock_ns"] / 1000,
        ii_cycles=facts["ii_cycles"],
        lut_estimate=round(facts["lut_estimate"]),
        register_bits=facts["register_bits"],
        store_bits=facts["store_bits"],
    )
