"""Stage "audit": what the formats of a quantised model do to the events of a split, and which events overflow most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType

from qformers.builds.build import Build
from qformers.builds.models import load_model
from qformers.builds.nouns import nouns_of
from qformers.builds.own_events import is_own, own_events
from qformers.data import AnyEvents, Split, SplitName, open_split
from qformers.errors import ConfigError
from qformers.files import sha256
from qformers.models.inputs import host_inputs
from qformers.progress import Reporter, Silent
from qformers.quant.audit import WORST, Inputs, Overflow, Row, as_json, as_table, audit_stream
from qformers.quant.within import is_quantised
from qformers.quant.worst_events import save_worst
from qformers.records import write_record
from qformers.results import Result

BATCH = 2048  # events in memory at a time, with the values of one layer
EVENTS = 2000  # of the split, unless told otherwise


@dataclass(frozen=True, repr=False)
class Audited(Result):
    """Formats of a model on the events of a split.

    Attributes:
        path: the model.
        source: where the events come from, e.g. the test split.
        events: looked at.
        rows: one per quantiser.
        overflows: the worst events of each quantiser that overflows.
        worst: their numbers in the split, ascending (n,).
        inputs: theirs by name, (n, ...).
        what: the word for them.
    """

    path: Path
    source: str
    events: int
    rows: tuple[Row, ...]
    overflows: tuple[Overflow, ...] = field(repr=False)
    worst: NDArray[np.int64] = field(repr=False)
    inputs: Inputs = field(repr=False)
    what: str = "jets"

    @property
    def worst_path(self) -> Path:
        """Where `save` writes the worst events."""
        return self.path.with_name("audit_worst.npz")

    def __str__(self) -> str:
        """How many formats do not hold all that they see; those of weights do not depend on the events."""
        flowing, fixed = [row for row in self.rows if row.events], [row for row in self.rows if not row.events]
        outside = [row for row in flowing if row.events_outside]
        wrapping = sum(row.overflow == "WRAP" for row in outside)
        clipped = sum(row.saturated > 0 for row in fixed)
        return (
            f"{len(outside)} of {len(flowing)} formats of values overflow on these {self.what}, {wrapping} of them "
            f"wrap around; {clipped} of {len(fixed)} formats of weights and biases cut some off"
        )

    def pieces(self) -> Iterator[RenderableType]:
        """A row per quantiser, then the sum of it."""
        title = f"{self.path}: formats on {self.events} {self.what} of {self.source}"
        yield as_table(list(self.rows), title)
        yield str(self)

    def save(self) -> Path:
        """Write ``audit.json`` and ``audit_worst.npz`` beside the model."""
        path = self.path.with_name("audit.json")
        write_record(path, {"model_file_sha256": sha256(self.path), "quantisers": as_json(list(self.rows))})
        save_worst(self.worst_path, list(self.overflows), lambda events: self.inputs)
        return path


def audit_split(
    build: Build,
    path: Path,
    split: SplitName = "test",
    events: int | None = EVENTS,
    worst: int = WORST,
    reporter: Reporter | None = None,
) -> Audited:
    """Run a quantised model on events of a split and look at every quantiser.

    Args:
        build: names the data.
        path: the quantised model.
        split: which events.
        events: how many; None for all of the split, batch by batch.
        worst: events kept per quantiser that overflows.
        reporter: told of progress.

    Raises:
        ConfigError, DataError: with the way out in the message.
    """
    if (events is not None and events < 1) or worst < 0:
        raise ConfigError(f"--events must be at least 1 and --worst at least 0. Received: {events} and {worst}")
    model = load_model(path)
    if not is_quantised(model):
        raise ConfigError(
            f"{path}: has no quantisers to audit, it is a float model; name a quantised one (qat/model.keras)"
        )
    if is_own(build):
        return _audit_own(build, path, model, events, worst)
    source = open_split(build.data, split)
    count = len(source) if events is None else min(events, len(source))

    def parts() -> Iterator[AnyEvents]:
        return batches(source, count, build.data.shuffle_jets)

    tick = (reporter or Silent()).task(f"audit, {split} split", count)
    rows, overflows = audit_stream(model, (host_inputs(model, part) for part in parts()), worst, tick)
    numbers = np.array(sorted({one.event for one in overflows}), np.int64)
    picked, first = [], 0
    for part in parts():
        picked.append(part[numbers[(numbers >= first) & (numbers < first + len(part))] - first])
        first += len(part)
    inputs = [host_inputs(model, part) for part in picked]
    chosen = {name: np.concatenate([one[name] for one in inputs]) for name in inputs[0]}
    nouns = nouns_of(build)
    return Audited(path, nouns.of_split(split), count, tuple(rows), tuple(overflows), numbers, chosen, nouns.events)


def _audit_own(build: Build, path: Path, model: Any, events: int | None, worst: int) -> Audited:
    """Of a model of one's own, on the events of the file that its build names.

    Raises:
        ConfigError: it names none.
    """
    given = own_events(build, model)
    if given is None:
        raise ConfigError(
            f"{path}: its formats are looked at on events, and the build names none: take the model over again with "
            "--events FILE (qformers export)"
        )
    taken = {name: array[:events] for name, array in given.items()}
    count = len(next(iter(taken.values())))
    parts = ({name: array[at : at + BATCH] for name, array in taken.items()} for at in range(0, count, BATCH))
    rows, overflows = audit_stream(model, parts, worst)
    numbers = np.array(sorted({one.event for one in overflows}), np.int64)
    chosen = {name: array[numbers] for name, array in taken.items()}
    nouns = nouns_of(build)
    return Audited(path, nouns.file, count, tuple(rows), tuple(overflows), numbers, chosen, nouns.events)


def batches(source: Split, events: int | None, keep: int) -> Iterator[AnyEvents]:
    """Events of a split, in the order of the files where `keep` fit in memory, else in that of the stream of seed 0.

    Args:
        source: the split.
        events: how many; None for all.
        keep: events that may be in memory.
    """
    wanted = len(source) if events is None else min(events, len(source))
    if len(source) <= keep:
        loaded = source.load()
        yield from (loaded[at : min(at + BATCH, wanted)] for at in range(0, wanted, BATCH))
        return
    for batch in source.stream(BATCH, 0, 0, drop_last=False):
        yield batch[:wanted]
        wanted -= len(batch)
        if wanted <= 0:
            return
