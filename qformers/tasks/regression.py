"""Regression: one answer per event, a number in a unit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig, PhaseConfig
from qformers.data import dataset_of
from qformers.data.events import Target
from qformers.data.jets.split import JetDataset
from qformers.errors import ConfigError, TrainingError
from qformers.tasks.metrics import regression as metrics
from qformers.tasks.metrics.jets import Measured
from qformers.tasks.task import Labels, Outputs, Report


class Regression:
    """A number of each event, by its mean squared error.

    A model has one output, z = (value - shift) * scale with the constants of the data set (`Target`), so that the
    numbers of a report, which are in the unit of the value, need nothing of the training.

    Args:
        target: what is predicted.
    """

    score, unit = "r2", "events"
    headline = ("events", "r2", "rmse", "mae", "of_mean")

    def __init__(self, target: Target) -> None:
        self.target = target

    @classmethod
    def of(cls, config: DataConfig, class_names: Sequence[str]) -> Regression:
        """The task of a data section.

        Raises:
            ConfigError: its data set does not have one target.
        """
        dataset = dataset_of(config.dataset)
        targets = dataset.targets if isinstance(dataset, JetDataset) else ()
        if len(targets) != 1:
            raise ConfigError(
                f"data.dataset: regression is of data sets with one target; take another one. Received: "
                f"'{config.dataset}' with {len(targets)}"
            )
        return cls(targets[0])

    def predicted(self, outputs: Outputs) -> NDArray[np.float64]:
        """Outputs (n, 1) as values (n,) in the unit of the target."""
        return np.asarray(outputs[:, 0].astype(np.float64) / self.target.scale + self.target.shift)

    def truth(self, labels: Labels) -> NDArray[np.float64]:
        """Labels (n, 1) as values (n,)."""
        return np.asarray(labels[:, 0], np.float64)

    def loss(self, config: PhaseConfig) -> Any:
        """Mean squared error of z.

        Raises:
            ConfigError: label smoothing, which is of classes.
        """
        import keras

        if config.label_smoothing:
            raise ConfigError(
                f"label_smoothing: classes have it, and '{self.target.name}' is a number; leave the key out. "
                f"Received: {config.label_smoothing:g}"
            )
        return keras.losses.MeanSquaredError()

    def monitors(self) -> list[Any]:
        """None: R^2 is that of a whole split."""
        return []

    def targets(self, labels: Labels, seed: int = 0, epoch: int = 0) -> NDArray[np.float32]:
        """(n, 1) -> z (n, 1)."""
        return np.asarray((labels - self.target.shift) * self.target.scale, np.float32)

    def joined(self, parts: Sequence[Labels]) -> Labels:
        """Concatenated."""
        return np.concatenate(parts)

    def arrays(self, labels: Labels) -> dict[str, NDArray[Any]]:
        """``labels``, in the unit of the target."""
        return {"labels": labels}

    def validate(self, outputs: Outputs, labels: Labels) -> tuple[float, float]:
        """Mean squared error of z, and R^2.

        Raises:
            TrainingError: R^2, by which an epoch is chosen, cannot be computed.
        """
        loss = float(np.mean((outputs.astype(np.float64) - self.targets(labels)) ** 2))
        measured = self.measured(outputs, labels)
        if measured.value is None:
            raise TrainingError(f"data.val: has no R^2, by which the best epoch is chosen: {measured.reason}")
        return loss, measured.value

    def measured(self, outputs: Outputs, labels: Labels) -> Measured:
        """R^2."""
        return metrics.r2(self.predicted(outputs), self.truth(labels))

    def report(self, outputs: Outputs, labels: Labels) -> Report:
        """See `qformers.tasks.metrics.regression.report`; with name and unit of the target."""
        numbers = metrics.report(self.predicted(outputs), self.truth(labels))
        return {"target": self.target.name, "target_unit": self.target.unit, **numbers}

    def pictures(self, outputs: Outputs, labels: Labels, report: Report, folder: Path) -> None:
        """``predicted.png`` and ``residuals.png``."""
        from qformers.tasks.plots import regression as plots

        predicted, truth = self.predicted(outputs), self.truth(labels)
        plots.predicted(predicted, truth, self.target, folder / "predicted.png")
        plots.residuals(predicted, truth, self.target, folder / "residuals.png")
