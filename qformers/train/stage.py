"""Stage "train": the phases of a build in its run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import keras
from rich.console import Console, RenderableType
from rich.table import Table

from qformers.builds.build import Build
from qformers.builds.run_place import refuse_foreign_run
from qformers.errors import ConfigError, nearest
from qformers.progress import Reporter
from qformers.records import write_record
from qformers.results import Result, spell
from qformers.tasks.score_names import two_classes
from qformers.train.finish import Finished
from qformers.train.phases import PhaseName, indeterministic, train_build


@dataclass(frozen=True, repr=False)
class Trained(Result):
    """What the phases left, in their order.

    Attributes:
        run: the run folder.
        phases: that were asked for.
        finished: those that are done; fewer after a stop on request.
    """

    run: Path
    phases: tuple[PhaseName, ...]
    finished: tuple[Finished, ...]

    @property
    def complete(self) -> bool:
        """Whether every phase is done."""
        return len(self.finished) == len(self.phases)

    @property
    def model(self) -> Path:
        """The model of the last phase that is done."""
        return self.finished[-1].model

    def __str__(self) -> str:
        """One line per phase: its model, its score on the test split, its EBOPs; of two classes another one with AUC
        and background rejections."""
        lines = []
        for one in self.finished:
            bits = f"  EBOPs {one.ebops}" if one.ebops else ""
            lines.append(f"{one.model}  test {one.score} {spell(one.value, one.error, '+-')}{bits}\n")
            if more := two_classes(one.test, "+-"):
                lines.append(f"  {'  '.join(f'{name} {value}' for name, value in more.items())}\n")
        return "".join(lines)

    def pieces(self) -> Iterator[RenderableType]:
        """A row per phase."""
        table = Table(title=f"{self.run}: trained" if self.complete else f"{self.run}: stopped before the end")
        for head in ("phase", "model", "score", "test split", "EBOPs"):
            table.add_column(head)
        for one in self.finished:
            value = spell(one.value, one.error)
            table.add_row(one.folder.name, str(one.model), one.score, value, f"{one.ebops:,}" if one.ebops else "")
            for name, number in two_classes(one.test).items():
                table.add_row("", "", name, number, "")
        yield table

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        rows = [
            {"phase": one.folder.name, "model": str(one.model), "score": one.score, "value": one.value}
            | {"error": one.error, "ebops": one.ebops}
            for one in self.finished
        ]
        return {"phases": list(self.phases), "complete": self.complete, "finished": rows}

    def save(self) -> Path:
        """Write ``train.json``; the models, metrics and histories lie in the run folder already."""
        path = self.run / "train.json"
        write_record(path, self.to_json())
        return path


def train(
    build: Build,
    run: Path | str | None = None,
    phases: Sequence[PhaseName] | None = None,
    fresh: bool = False,
    console: Console | None = None,
    reporter: Reporter | None = None,
    refuse: Callable[[Build], None] | None = None,
) -> Trained:
    """Train a build; what is finished is not trained again, what was interrupted goes on from its last checkpoint.

    Args:
        build: the build.
        run: its run folder; None for ``runs/<name of the build>``.
        phases: ``float``, ``qat`` or both, in order; None for all that the build has.
        fresh: throw away what these phases left before.
        console: for a line per epoch and messages; None for standard output.
        reporter: told how far it is, step by step.
        refuse: raises where the quantised model of the build, which it makes, is not what it should be; called before
            anything is written, unless the quantised phase has begun already.

    Raises:
        TrainingError, ConfigError, DataError: with the way out in the message.
    """
    folder = Path("runs") / build.name if run is None else Path(run)
    chosen = _all_phases(build) if phases is None else _known(phases)
    refuse_foreign_run(folder)
    begun = (folder / "qat").is_dir() and not fresh
    with as_before():
        if refuse is not None and not begun:
            refuse(build)
        checked = refuse is not None and not begun
        return Trained(folder, chosen, tuple(train_build(build, folder, chosen, fresh, console, reporter, checked)))


def _known(phases: Sequence[PhaseName]) -> tuple[PhaseName, ...]:
    names = get_args(PhaseName)
    if isinstance(phases, str) or not phases:
        raise ConfigError(f"phases is a list of some of {', '.join(names)}. Received: {phases!r}")
    for phase in phases:
        if phase not in names:
            raise ConfigError(f"phases: unknown phase '{phase}'{nearest(str(phase), names)}")
    return tuple(phases)


def _all_phases(build: Build) -> tuple[PhaseName, ...]:
    """Without the quantised one where the build has none."""
    return ("float", "qat") if build.train.qat is not None and build.quant is not None else ("float",)


@contextmanager
def as_before() -> Iterator[None]:
    """Undo at the end of a block what a training sets for the whole process (`phases.deterministic`).

    So what follows in one process gives the numbers that it gives in a process of its own.
    """
    try:
        yield
    finally:
        keras.backend.clear_session()
        indeterministic()
