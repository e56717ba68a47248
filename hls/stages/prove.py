"""Stage "prove": many events through the fastest simulation of firmware beside quantised Keras, with a journal.

Every chunk of events is written down when it is compared, so that a proof that was stopped, or killed, goes on with the
next one; a journal of another project, model, seed or level is not taken for this one's.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType

from hls.backends import open_backend, open_project
from hls.backends.protocol import Port, Project
from hls.backends.simulators.levels import FAST
from hls.backends.writing import weights_hash
from hls.backends.written import command, using
from hls.errors import HlsError
from hls.proof.agree import CompiledKeras, compare, keras_outputs
from hls.proof.draws import Draws
from hls.proof.exact import exact
from hls.proof.samples import refuse_none, sample
from hls.stages.csim import check_same_model, refuse_stale
from hls.stages.export import load_quantised
from qformers.builds.build import Build
from qformers.manifest import machine, versions
from qformers.precision.fixed import Fixed
from qformers.progress import Reporter, Silent
from qformers.quant.worst_events import save_events
from qformers.records import WRITTEN, append_record, read_journal, seal_of, write_record
from qformers.results import Result
from qformers.train.stop import StopRequest, forget_stop, stop_requests

PROTOCOL = 1  # raised when the events of a seed, or what is counted, come to be others: journals start over
EVENTS = 1_000_000
CHUNK = 4096  # events between two lines of the journal
SLOW, SLOW_CHUNK = ("icarus", "emulator"), 100  # levels of some ten events per second; the same for them
EAGER = 256  # of these, events that Keras also computes layer by layer
POOL = 100_000  # real events to draw from, at most
SAVED = 16  # events that differ, kept for a replay
AFRESH = "start over with --fresh"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Chunk:
    """Events of a proof that were compared.

    Attributes:
        number: of the chunk, from 0.
        events, values, bits: compared.
        events_different, values_different, bits_different: that are not equal.
        kinds: kind of event -> how many.
        eager: events that Keras, compiled for all of them, also computed layer by layer: some, and all that differ.
        first: in words, where the first difference arises; "" without one.
        firmware_s, keras_s: seconds of both.
    """

    number: int
    events: int
    values: int
    bits: int
    events_different: int
    values_different: int
    bits_different: int
    kinds: Mapping[str, int]
    eager: int
    first: str
    firmware_s: float
    keras_s: float

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Chunk:
        """Inverse of `dataclasses.asdict`; other keys are left aside."""
        return cls(**{name: line[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, repr=False)
class Proof(Result):
    """Firmware beside the quantised model on many events.

    Attributes:
        run: the run folder.
        name: of what is written there: ``prove``, or ``prove_<backend>`` of another backend than the build's.
        level: of simulation.
        chunks: all that were compared, in this run and before.
        wanted: events.
        facts: for the JSON.
    """

    run: Path
    name: str
    level: str
    chunks: tuple[Chunk, ...] = field(repr=False)
    wanted: int
    facts: dict[str, Any] = field(repr=False)

    @property
    def path(self) -> Path:
        """The JSON of the result."""
        return self.run / f"{self.name}.json"

    @property
    def complete(self) -> bool:
        """Whether all events were compared; the same call goes on where one was stopped."""
        return self.total("events") == self.wanted

    @property
    def equal(self) -> bool:
        """Whether every value is equal."""
        return not self.total("values_different")

    def total(self, key: str) -> int:
        """Sum of a number over all chunks."""
        return sum(getattr(chunk, key) for chunk in self.chunks)

    def rate(self, side: str) -> float | None:
        """Events per second of "firmware" or "keras"; None before any."""
        seconds = sum(getattr(chunk, f"{side}_s") for chunk in self.chunks)
        return self.total("events") / seconds if seconds else None

    def pieces(self) -> Iterator[RenderableType]:
        """What came out, in a few lines."""
        verdict = "= quantised Keras" if self.equal else "is NOT equal to quantised Keras"
        yield (
            f"{self.level} {verdict}: {self.total('bits_different'):,} of {self.total('bits'):,} bits differ, "
            f"{self.total('values_different'):,} of {self.total('values'):,} values, in "
            f"{self.total('events_different'):,} of {self.total('events'):,} events"
        )
        if first := next((chunk for chunk in self.chunks if chunk.first), None):
            yield f"first: {first.first}; the events are in {self.name}_events.npz, for qformers audit --replay"
        kinds = sum((Counter(chunk.kinds) for chunk in self.chunks), Counter[str]())
        yield f"events: {', '.join(f'{count:,} {kind}' for kind, count in kinds.items())}; seed {self.facts['seed']}"
        rates = [f"{side} {rate:,.0f}" for side in ("firmware", "keras") if (rate := self.rate(side)) is not None]
        yield f"events per second: {', '.join(rates)} (compiled; {self.total('eager'):,} events also layer by layer)"

    def save(self) -> Path:
        """Write ``<name>.json``; returns it.

        Raises:
            HlsError: it is not complete.
        """
        if not self.complete:
            raise HlsError(f"{self.total('events')} of {self.wanted} events are compared; run it again to go on")
        numbers = ("events", "values", "bits", "events_different", "values_different", "bits_different", "eager")
        kinds = sum((Counter(chunk.kinds) for chunk in self.chunks), Counter[str]())
        counted = {key: self.total(key) for key in numbers}
        found = {
            **counted,
            "equal": self.equal,
            "kinds": dict(kinds),
            "first": next((chunk.first for chunk in self.chunks if chunk.first), None),
            "events_per_second": {side: self.rate(side) for side in ("firmware", "keras")},
        }
        write_record(self.path, {**self.facts, **found})
        return self.path


def prove(
    build: Build,
    run: Path | str,
    events: int = EVENTS,
    backend: str | None = None,
    level: str | None = None,
    seed: int | None = None,
    fresh: bool = False,
    reporter: Reporter | None = None,
) -> Proof:
    """Compare firmware and the quantised model on many events.

    Reads ``qat/model.keras`` and ``firmware/<backend>`` of the run folder. Events are drawn from those of the build,
    unchanged and changed, from adversarial ones, and evenly over the ranges of the inputs.

    Args:
        build: the build.
        run: its run folder.
        events: to compare.
        backend: instead of the one of the build.
        level: of simulation; None = the fastest that the project has.
        seed: of the events; None = that of the build.
        fresh: forget what the journal has of this proof.
        reporter: told of progress.

    Returns:
        What was compared; not complete after a stop by Ctrl-C, SIGTERM or a file STOP in the run folder.

    Raises:
        HlsError: a file is missing, the project is not of this model, or has no such level.
        DamagedError: the journal is.
    """
    run, reporter = Path(run), reporter or Silent()
    own = open_backend(build.firmware.backend).name
    backend = open_backend(backend or own).name
    path = run / "firmware" / backend
    refuse_none(build, events)
    refuse_stale(build, run, path)
    asked = _Asked(run, f"prove_{backend}" if backend != own else "prove", events, level, seed, fresh)
    with using(path, command()), _stopping(run) as stop:
        return _prove(build, path, asked, stop, reporter)


@dataclass(frozen=True)
class _Asked:
    """What `prove` was asked for."""

    run: Path
    name: str
    events: int
    level: str | None
    seed: int | None
    fresh: bool


@contextmanager
def _stopping(run: Path) -> Iterator[StopRequest]:
    """Stop requests for the length of a proof; a file STOP goes before it and when it was obeyed."""
    forget_stop(run)
    try:
        with stop_requests(run) as stop:
            yield stop
    finally:
        forget_stop(run)


def _prove(build: Build, path: Path, asked: _Asked, stop: StopRequest, reporter: Reporter) -> Proof:
    """`prove`, while the project is held."""
    project = open_project(path)
    level = asked.level or next((name for name in FAST if name in project.levels), project.levels[0])
    model = load_quantised(asked.run / "qat" / "model.keras", build)
    manifest = check_same_model(project, model)
    pool = sample(build, model, POOL)
    real = pool.inputs if pool.jets is not None else None
    draws = Draws(model, real, build.seed if asked.seed is None else asked.seed)
    facts = {
        "build": build.name,
        "build_hash": build.hash,
        "backend": project.layout.backend,
        "project": str(project.path),
        "project_sha256": seal_of(manifest.get(WRITTEN, {})),
        "firmware": manifest["firmware"],
        "model_sha256": weights_hash(model),
        "level": level,
        "seed": draws.seed,
        "drawn_from": pool.source,
        "drawn_from_sha256": draws.content,
        "versions": versions(),
        "machine": machine(),
    }
    journal = asked.run / f"{asked.name}.jsonl"
    most = min(CHUNK, SLOW_CHUNK) if level in SLOW else CHUNK
    own = {name: facts[name] for name in facts if name not in ("project", "build", "machine")}
    key = seal_of(own | {"protocol": PROTOCOL, "chunk": most})
    if asked.fresh:
        journal.unlink(missing_ok=True)
    known = {line["number"]: Chunk.from_json(line) for line in read_journal(journal, AFRESH) if line["key"] == key}
    sizes = [min(most, asked.events - start) for start in range(0, asked.events, most)]
    chunks = {n: known[n] for n, size in enumerate(sizes) if n in known and known[n].events == size}
    wrong = sum(chunk.values_different for chunk in chunks.values())
    tick = reporter.task(f"{level} beside Keras", asked.events, sum(chunk.events for chunk in chunks.values()))
    project.compile(level, reporter)
    comparing = _Comparing(project, exact(model, project), level, most, asked.run / f"{asked.name}_events.npz")
    if len(chunks) < len(sizes):
        comparing.prepare(draws.chunk(0, 1)[0])
    for number, size in enumerate(sizes):
        if stop.reason:
            break
        if number in chunks:
            continue
        inputs, kinds = draws.chunk(number, size)
        chunks[number] = comparing.chunk(number, inputs, kinds, follow=not wrong)
        append_record(journal, {"key": key, **vars(chunks[number])})
        wrong += chunks[number].values_different
        tick(size, f"{wrong:,} values differ")
    return Proof(asked.run, asked.name, level, tuple(chunks[number] for number in sorted(chunks)), asked.events, facts)


@dataclass(frozen=True)
class _Comparing:
    """Firmware and model side by side.

    Attributes:
        project, model, level: the two sides.
        most: events of a chunk.
        saved: file for the first events that differ.
    """

    project: Project
    model: keras.Model
    level: str
    most: int
    saved: Path

    def chunk(self, number: int, inputs: Mapping[str, NDArray[Any]], kinds: Mapping[str, int], follow: bool) -> Chunk:
        """Compare events; with `follow` a difference is followed through the layers and its events are saved."""
        start = time.perf_counter()
        found = self.project.outputs(inputs, self.level)
        between = time.perf_counter()
        wanted, eager = self._wanted(inputs, found)
        end = time.perf_counter()
        events, ports = len(next(iter(inputs.values()))), self.project.layout.outputs
        unequal = _unequal(found, wanted)
        rows = np.flatnonzero(unequal.any(axis=1))
        first = ""
        if follow and len(rows):
            first = self._followed(number * self.most + rows, {name: array[rows] for name, array in inputs.items()})
        return Chunk(
            number=number,
            events=events,
            values=unequal.size,
            bits=sum(_bits(port, found[port.name].size) for port in ports),
            events_different=len(rows),
            values_different=int(unequal.sum()),
            bits_different=sum(_bits_different(port, found[port.name], wanted[port.name]) for port in ports),
            kinds=dict(kinds),
            eager=eager,
            first=first,
            firmware_s=between - start,
            keras_s=end - between,
        )

    def prepare(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Let both sides compile what they do with the first events, which is no part of their speed."""
        self.project.outputs(inputs, self.level)
        self._keras.outputs(inputs)

    @cached_property
    def _keras(self) -> CompiledKeras:
        return CompiledKeras(self.model, self.most)

    def _wanted(self, inputs: Mapping[str, NDArray[Any]], found: Mapping[str, Array]) -> tuple[dict[str, Array], int]:
        """What the model makes of events, and how many of them it computed layer by layer.

        That is done with some, and with all for which the compiled model says other values than the firmware; with all
        of the chunk, if compiled and uncompiled model differ in one.

        Raises:
            HlsError: outputs of other names or shapes than the firmware's.
        """
        wanted = self._keras.outputs(inputs)
        shapes = [{name: array.shape for name, array in side.items()} for side in (found, wanted)]
        if shapes[0] != shapes[1]:
            raise HlsError(f"firmware and model have different outputs: {shapes[0]} and {shapes[1]}; export again")
        events = len(next(iter(inputs.values())))
        looked = np.asarray(_unequal(found, wanted).any(axis=1))
        looked[np.linspace(0, events - 1, min(EAGER, events)).astype(int)] = True
        rows = np.flatnonzero(looked)
        eager = keras_outputs(self.model, {name: array[rows] for name, array in inputs.items()})
        if _unequal(eager, {name: array[rows] for name, array in wanted.items()}).any():
            return keras_outputs(self.model, inputs), events
        return wanted, len(rows)

    def _followed(self, numbers: NDArray[np.int64], inputs: Mapping[str, NDArray[Any]]) -> str:
        """In words, of events that differ; the first of them are saved."""
        few = {name: array[:SAVED] for name, array in inputs.items()}
        save_events(self.saved, numbers[:SAVED], few)
        wanted, found = keras_outputs(self.model, few), self.project.outputs(few, self.level)
        agreement = compare(self.project, self.model, few, found, wanted)
        where = str(agreement.first) if agreement.first else "no single layer differs"
        return f"event {numbers[0]} of this seed, by up to {agreement.worst:g} in the first {len(few)} events; {where}"


def _unequal(one: Mapping[str, Array], other: Mapping[str, Array]) -> NDArray[np.bool_]:
    """(n, values of all outputs)."""
    parts = [np.asarray(one[name] != other[name]).reshape(len(one[name]), -1) for name in one]
    return np.concatenate(parts, axis=1)


def _bits(port: Port, values: int) -> int:
    return Fixed.parse(port.format).width * values


def _bits_different(port: Port, found: Array, wanted: Array) -> int:
    """Bits of values, as the port has them; of one that the port cannot hold all bits."""
    unequal = np.flatnonzero(np.ravel(found != wanted))
    form = Fixed.parse(port.format)
    sides = [np.ravel(side)[unequal] * 2.0**form.fraction_bits for side in (found, wanted)]
    whole = np.logical_and.reduce(
        [np.isfinite(side) & (side == np.rint(side)) & (abs(side) < 2.0**62) for side in sides]
    )
    mask = (1 << form.width) - 1 if form.width < 63 else -1
    first, second = (side[whole].astype(np.int64) for side in sides)
    return int(np.bitwise_count((first ^ second) & mask).sum()) + form.width * int((~whole).sum())
