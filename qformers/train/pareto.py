"""The Pareto set of a phase: models that no other model of the phase beats in both validation score and EBOPs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qformers.builds.saved import save_model
from qformers.files import sweep, write_json
from qformers.train.variables import read_arrays, read_variables, write_arrays, write_variables


@dataclass(frozen=True)
class Point:
    """One kept model: `epoch` counts from 1, `score` is on the validation split, EBOPs are 0 for a float model."""

    epoch: int
    score: float
    ebops: int

    @property
    def file(self) -> str:
        """Name of the model file in the Pareto folder."""
        return f"epoch_{self.epoch:04d}.keras"

    @property
    def arrays(self) -> str:
        """Name of the file with its variables."""
        return f"epoch_{self.epoch:04d}.npz"

    def beats(self, other: Point) -> bool:
        """Whether this model is at least as good in both and was there first, or is better in one."""
        return self.score >= other.score and self.ebops <= other.ebops


def front(points: Iterable[Point]) -> list[Point]:
    """The points that none before them equals or beats and none after them beats, sorted by EBOPs."""
    kept: list[Point] = []
    for point in points:
        if not any(old.beats(point) for old in kept):
            kept = [old for old in kept if not point.beats(old)] + [point]
    return sorted(kept, key=lambda point: point.ebops)


def choose(points: Iterable[Point], target: float | None) -> Point | None:
    """The point of the largest score whose EBOPs meet `target` (any, if None); None if there is none."""
    meeting = [point for point in points if target is None or point.ebops <= target]
    return max(meeting, key=lambda point: (point.score, -point.ebops), default=None)


class ParetoSet:
    """Keeps the models of the front in a folder: their variables while the phase runs, model files at its end.

    A file is written before the checkpoint that counts it, and those that fell out are removed after it (`prune`), so
    that a killed run never lacks a file that its checkpoint names. Saving whole models each epoch would take Keras
    longer than the epochs of a small model.
    """

    def __init__(self, folder: Path, points: Iterable[Point] = ()) -> None:
        self.folder = folder
        self.points = list(points)
        folder.mkdir(parents=True, exist_ok=True)

    def offer(self, point: Point, model: Any) -> bool:
        """Take the model in if nothing beats it; returns whether it was taken."""
        points = front([*self.points, point])
        taken = point in points
        if taken:
            write_arrays(self.folder / point.arrays, read_variables(model.variables))
        self.points = points
        return taken

    def prune(self) -> None:
        """Remove the files of models that are not in the set, and write ``pareto.json``."""
        sweep(self.folder)
        names = {name for point in self.points for name in (point.arrays, point.file)}
        for path in self.folder.glob("epoch_*"):
            if path.name not in names:
                path.unlink()
        write_json(self.folder / "pareto.json", [{**asdict(point), "file": point.file} for point in self.points])

    def restore(self, point: Point, model: Any) -> None:
        """Put the variables of a kept model into `model`, which is of the same architecture."""
        write_variables(model.variables, read_arrays(self.folder / point.arrays))

    def export(self, model: Any) -> None:
        """Write every kept model as a ``.keras`` file; `model` lends its architecture and is changed."""
        for point in self.points:
            self.restore(point, model)
            save_model(model, self.folder / point.file)

    def drop_arrays(self) -> None:
        """Remove the variables once the phase is finished for good: the model files hold them too."""
        for point in self.points:
            (self.folder / point.arrays).unlink(missing_ok=True)

    def state(self) -> list[dict[str, Any]]:
        """The points, as JSON."""
        return [asdict(point) for point in self.points]
