"""Tagging of jets: one answer per jet, its class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig, PhaseConfig
from qformers.data import dataset_of
from qformers.tasks.metrics import jets as metrics
from qformers.tasks.task import Labels, Outputs, Report


class JetTagging:
    """Classes of jets, told apart by cross-entropy.

    Args:
        class_names: in label order.
        unit: the word for what is tagged, `Dataset.unit`.
    """

    score = "accuracy"

    def __init__(self, class_names: Sequence[str], unit: str = "jets") -> None:
        self.unit = unit
        self.class_names = tuple(class_names)
        self._one_hot = np.eye(len(self.class_names), dtype=np.float32)

    @property
    def headline(self) -> tuple[str, ...]:
        """Accuracy and AUC; of two classes also the background rejections."""
        rejections = ("rejection", metrics.TWO_CLASS_KEY) if len(self.class_names) == 2 else ()
        return ("jets", "accuracy", "auc", *rejections)

    @classmethod
    def of(cls, config: DataConfig, class_names: Sequence[str]) -> JetTagging:
        """The task of a data section, with the classes of its data set."""
        return cls(class_names, dataset_of(config.dataset).unit)

    def loss(self, config: PhaseConfig) -> Any:
        """Cross-entropy of logits, with label smoothing."""
        import keras

        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.label_smoothing)

    def monitors(self) -> list[Any]:
        """The accuracy."""
        import keras

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

        plots.roc({"": outputs}, labels, self.class_names, folder / "roc.png")
        plots.confusion(np.asarray(report["confusion"]), self.class_names, folder / "confusion.png")
