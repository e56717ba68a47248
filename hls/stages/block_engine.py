"""Stage "block engine": HEPT for events of thousands of points, simulated on whole events, its latency and its cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType

from hls.backends.block_engine.backend import BlockEngineBackend
from hls.backends.block_engine.project import COSTS
from hls.backends.block_engine.writer import hept_of, most_blocks
from hls.backends.protocol import Project
from hls.backends.written import command, using
from hls.errors import HlsError
from hls.proof.adversarial import adversarial, uniform
from hls.proof.exact import exact, precisely
from hls.stages.export import export, load_quantised, refuse_other_build
from hls.stages.rtl import written_before
from qformers.builds.build import Build
from qformers.data import DataError, open_split
from qformers.manifest import versions
from qformers.models.hept.blocks import order_of, resized, slots_of
from qformers.progress import Reporter, Silent
from qformers.records import write_record
from qformers.results import Result

FOLDER = "firmware/block_engine"  # in the run folder
AT_ONCE = 8192  # points through Keras
FORMULA = "M (1 + L (O + 1)) + stages of all parts + 6 L - 1, for M blocks, L layers, O orders"

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
        latency_expected: by the formula.
        latency_us: measured, at the clock of the build.
    """

    points: int
    blocks: int
    events: int
    values: int
    values_different: int
    latency_cycles: int | None
    latency_expected: int
    latency_us: float | None

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
            f"{self.latency_expected} expected"
        )


@dataclass(frozen=True, repr=False)
class EngineResult(Result):
    """Block engine beside the quantised models of the sizes that were asked for.

    Attributes:
        run: the run folder.
        project: the engine.
        sizes: one per size of events.
        facts: for the JSON.
    """

    run: Path
    project: Project
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
        """Costs, then a line per size."""
        costs = self.facts["costs"]
        yield (
            f"engine of at most {costs['most_blocks']} blocks of {costs['block_size']} points: "
            f"{costs['lut_estimate_parts']:.0f} LUT of parts, {costs['lut_estimate_permutations']} of permutations, "
            f"{costs['register_bits_parts']} register bits, {costs['memory_bits_total']} memory bits in "
            f"{costs['bram36_estimate_total']} BRAM36 (all estimates, nothing synthesised)"
        )
        yield from (str(size) for size in self.sizes)

    def save(self) -> Path:
        """Write ``engine.json``; the project itself was written to be simulated."""
        write_record(self.path, self.facts)
        return self.path


def simulate_engine(
    build: Build,
    run: Path | str,
    points: Sequence[int],
    events: int = 2,
    most: int = 0,
    reporter: Reporter | None = None,
) -> EngineResult:
    """Write the block engine of a build, simulate whole events, compare them with the quantised model of that size.

    Reads ``qat/model.keras`` of the run folder; writes ``firmware/block_engine``.

    Args:
        build: the build.
        run: its run folder.
        points: sizes of events.
        events: of each size; the smallest one also has adversarial ones.
        most: points of the largest event that the engine's memories hold, if more than the largest of `points`.
        reporter: told of progress.

    Raises:
        HlsError: no HEPT, no model, no size, or Verilator is missing.
    """
    run, reporter = Path(run), reporter or Silent()
    hept_of(build)
    if not points or min(points) < 1 or events < 1:
        raise HlsError(f"sizes and numbers of events are at least 1. Received: points {list(points)}, events {events}")
    refuse_other_build(run / "qat" / "model.keras", build)
    with using(run / FOLDER, command()):
        return _simulate(build, run, points, (events, most), reporter)


def _simulate(
    build: Build, run: Path, points: Sequence[int], sizes: tuple[int, int], reporter: Reporter
) -> EngineResult:
    """`simulate_engine`, while the project is held; `sizes` are its `events` and `most`."""
    (cfg, quant), (events, most) = hept_of(build), sizes
    path, clock_ns = run / "qat" / "model.keras", build.firmware.clock_ns
    model = load_quantised(path)
    project = _engine(build, run, path, max(*points, most), cfg.block_size, reporter)
    costs = json.loads((project.path / COSTS).read_text())
    pool = _points_of(build, model)
    project.compile(reporter=reporter)
    checked = []
    for count in points:
        whole = exact(resized(cfg, quant, model, -(-count // cfg.block_size) * cfg.block_size), project)
        groups = [_events(pool, model, whole, count, events, build.seed)]
        if count == min(points):  # arithmetic and control are the same at every size
            groups.append(_hard(whole, build.seed))
        blocks = slots_of(whole) // cfg.block_size
        checked.append(_check(project, whole, groups, (count, blocks, clock_ns), reporter))
    facts = {
        "build": build.name,
        "build_hash": build.hash,
        "points": pool[2],
        "clock_ns": clock_ns,
        "latency_formula": FORMULA,
        "events": [{**asdict(size), "source": "simulated by Verilator", "equal": size.equal} for size in checked],
        "costs": costs,
        "equal": all(size.equal for size in checked),
        "versions": versions(),
    }
    return EngineResult(run, project, tuple(checked), facts)


def _engine(build: Build, run: Path, model: Path, most: int, block_size: int, reporter: Reporter) -> Project:
    """The engine of a run for events of `most` points; written (again) where there is no such one."""
    path, blocks = (run / FOLDER).resolve(), most_blocks(most, block_size)
    before = written_before(build, path, model, most_blocks=blocks)
    return before or export(build, model, path, BlockEngineBackend(most_points=most), reporter=reporter).project


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
    project: Project,
    whole: keras.Model,
    groups: Sequence[Mapping[str, Array]],
    asked: tuple[int, int, float],
    reporter: Reporter,
) -> EngineCheck:
    """All events one after the other; `asked` is points, blocks and the clock period (ns)."""
    points, blocks, clock_ns = asked
    name, values, different, events = project.layout.outputs[0].name, 0, 0, 0
    latencies, expected = set[int | None](), 0
    for group in groups:
        with precisely(whole):
            wanted = np.stack(list(_outputs(whole, group)))
        clocked = project.clock(group, {name: wanted}, None, reporter)
        answers, expected = clocked.outputs[name], clocked.latency_expected
        values, different, events = (
            values + wanted.size,
            different + int(np.sum(answers != wanted)),
            events + len(wanted),
        )
        latencies.add(clocked.timing.latency_cycles if clocked.timing else None)
    measured = latencies.pop() if len(latencies) == 1 else None
    time = None if measured is None else measured * clock_ns / 1000
    return EngineCheck(points, blocks, events, values, different, measured, expected, time)


def _outputs(model: keras.Model, group: Mapping[str, Array]) -> Iterator[Array]:
    """Of each event, (N, E); as many events at once as fit."""
    slots = slots_of(model)
    batch = max(AT_ONCE // slots, 1)
    for start in range(0, len(group["mask"]), batch):
        yield from np.asarray(model({name: array[start : start + batch] for name, array in group.items()}))
