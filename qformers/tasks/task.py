"""`Task`: what is learned from the labels of a data set: loss, score and report. The loop knows no more than this."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import PhaseConfig
from qformers.tasks.metrics.jets import Measured

Outputs = NDArray[np.float32]
Labels = Any  # what is known of n events: an array (n, ...) of jets, `PointEvents` of points
Report = dict[str, Any]


class Task(Protocol):
    """What a phase trains for. Outputs and labels have the events (jets) on their first axis."""

    @property
    def score(self) -> str:
        """Key of the number in `report` (value and error) that is to be large, e.g. "accuracy"."""

    @property
    def unit(self) -> str:
        """The word for what is counted: jets, sequences, windows or events."""

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

    def measured(self, outputs: Outputs, labels: Labels) -> Measured:
        """The score of a split with its statistical error."""

    def report(self, outputs: Outputs, labels: Labels) -> Report:
        """All numbers of a split, as JSON."""

    def pictures(self, outputs: Outputs, labels: Labels, report: Report, folder: Path) -> None:
        """Draw what a physicist wants to see of a split."""
