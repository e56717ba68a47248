"""Stage "replay": the events of an audit that overflow most, through the C simulation of the firmware."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType

from hls.backends import open_project
from hls.backends.written import check_project, command, using
from hls.proof.agree import Agreement, agree
from hls.stages.csim import check_same_model, level_without_clock
from hls.stages.export import load_quantised
from qformers.progress import Reporter
from qformers.quant.worst_events import read_worst
from qformers.records import write_record
from qformers.results import Result


@dataclass(frozen=True, repr=False)
class Replayed(Result):
    """Firmware beside the quantised model on the worst events.

    Attributes:
        events: the file of the events.
        numbers: of the events among those that were audited.
        agreement: None where no event overflowed.
    """

    events: Path
    numbers: tuple[int, ...]
    agreement: Agreement | None

    @property
    def equal(self) -> bool:
        """Whether firmware and model agree on all of them."""
        return self.agreement is None or self.agreement.equal

    def __str__(self) -> str:
        if self.agreement is None:
            return f"{self.events}: no event overflowed, nothing to simulate"
        lines = [f"{len(self.numbers)} saved events: {self.agreement}"]
        if self.agreement.event is not None:
            number = self.numbers[self.agreement.event]
            lines.append(f"  event {self.agreement.event} is number {number} of those audited")
        return "\n".join(lines)

    def pieces(self) -> Iterator[RenderableType]:
        """The words of `str`."""
        yield str(self)

    def save(self) -> Path:
        """Write ``<name of the events>_replay.json`` beside the events."""
        path = self.events.with_name(f"{self.events.stem}_replay.json")
        agreement = self.agreement.to_json() if self.agreement else None
        write_record(path, {"equal": self.equal, "events": list(self.numbers), "agreement": agreement})
        return path


def replay(model_path: Path, project_path: Path, events: Path, reporter: Reporter | None = None) -> Replayed:
    """Simulate the events that an audit saved.

    Args:
        model_path: the quantised model.
        project_path: its firmware project.
        events: file of `qformers audit`.
        reporter: told of progress.

    Raises:
        HlsError, ConfigError: a file is missing, or the project is of another model.
    """
    check_project(project_path)
    with using(project_path, command()):
        return _replay(model_path, project_path, events, reporter)


def _replay(model_path: Path, project_path: Path, events: Path, reporter: Reporter | None) -> Replayed:
    """`replay`, while the project is held."""
    model = load_quantised(model_path)
    project = open_project(project_path)
    check_same_model(project, model)
    numbers, inputs = read_worst(events)
    if not len(numbers):
        return Replayed(events, (), None)
    level = level_without_clock(project)
    project.compile(level, reporter)
    agreement = agree(project, model, inputs, reporter, level)
    return Replayed(events, tuple(int(number) for number in numbers), agreement)
