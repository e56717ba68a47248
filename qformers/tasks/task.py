"""`Task`: what is learned from the labels of a data set: loss, score and report. The loop knows no more than this."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.builds.build import Build
from qformers.config.sections import PhaseConfig
from qformers.tasks.metrics import jets as metrics
from qformers.train.feed import Source

Outputs = NDArray[np.float32]
Labels = Any  # what is known of n events: an array (n,) of jets, `PointEvents` of points
Report = dict[str, Any]


class Task(Protocol):
    """What a phase trains for. Outputs and labels have the events (jets) on their first axis."""

    @property
    def score(self) -> str:
        """Key of the number in `report` (value and error) that is to be large, e.g. "accuracy"."""

    @property
    def unit(self) -> str:
        """What is counted: "jets"."""

    @property
    def headline(self) -> tuple[str, ...]:
        """Keys of `report` that manifests and summaries repeat."""

    def loss(self, config: PhaseConfig) -> Any:
        """Keras loss of (targets, outputs)."""

    def monitors(self) -> list[Any]:
        """Keras metrics that are watched while it trains; where there is one of the score, it has its name."""

    def targets(self, labels: Labels, seed: int, epoch: int) -> NDArray[Any]:
        """What the loss takes, from the labels of a batch; where it is drawn, (seed, epoch) and the event decide."""

    def joined(self, parts: Sequence[Labels]) -> Labels:
        """Labels of batches, one after the other."""

    def arrays(self, labels: Labels) -> dict[str, NDArray[Any]]:
        """Labels as arrays to be saved beside outputs."""

    def validate(self, outputs: Outputs, labels: Labels) -> tuple[float, float]:
        """Loss (without smoothing and penalties) and score of a split."""

    def measured(self, outputs: Outputs, labels: Labels) -> metrics.Measured:
        """The score of a split with its statistical error."""

    def report(self, outputs: Outputs, labels: Labels) -> Report:
        """All numbers of a split, as JSON."""

    def pictures(self, outputs: Outputs, labels: Labels, report: Report, folder: Path) -> None:
        """Draw what a physicist wants to see of a split."""


class JetTagging:
    """Classes of jets, told apart by cross-entropy.

    Args:
        class_names: in label order.
    """

    score, unit = "accuracy", "jets"
    headline = ("jets", "accuracy", "auc")

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self._one_hot = np.eye(len(self.class_names), dtype=np.float32)

    def loss(self, config: PhaseConfig) -> Any:
        """Cross-entropy of logits, with label smoothing."""
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.label_smoothing)

    def monitors(self) -> list[Any]:
        """The accuracy."""
        return [keras.metrics.CategoricalAccuracy(name="accuracy")]

    def targets(self, labels: Labels, seed: int = 0, epoch: int = 0) -> NDArray[np.float32]:
        """(n,) -> one-hot (n, classes)."""
        return np.asarray(self._one_hot[labels])

    def joined(self, parts: Sequence[Labels]) -> Labels:
        """Concatenated."""
        return np.concatenate(parts)

    def arrays(self, labels: Labels) -> dict[str, NDArray[Any]]:
        """``labels``."""
        return {"labels": labels}

    def validate(self, outputs: Outputs, labels: Labels) -> tuple[float, float]:
        """Cross-entropy in nats, and accuracy."""
        loss = -metrics.log_probabilities(outputs)[np.arange(len(labels)), labels].mean()
        return float(loss), float((outputs.argmax(axis=1) == labels).mean())

    def measured(self, outputs: Outputs, labels: Labels) -> metrics.Measured:
        """The accuracy."""
        return metrics.accuracy(outputs, labels)

    def report(self, outputs: Outputs, labels: Labels) -> Report:
        """See `qformers.tasks.metrics.jets.report`."""
        return metrics.report(outputs, labels, self.class_names)

    def pictures(self, outputs: Outputs, labels: Labels, report: Report, folder: Path) -> None:
        """``roc.png`` and ``confusion.png``."""
        from qformers.tasks.plots import jets as plots

        plots.roc(outputs, labels, self.class_names, folder / "roc.png")
        plots.confusion(np.asarray(report["confusion"]), self.class_names, folder / "confusion.png")


def task_of(build: Build, source: Source) -> Task:
    """What a build learns from the labels of its data set."""
    points = build.data.points
    if points is None:
        return JetTagging(source.class_names)
    from qformers.tasks.points import PileupRemoval, Tracking

    return Tracking(points) if points.task == "tracking" else PileupRemoval(points, build.data.dataset == "candidates")
