"""What the labels of events say of a model of one's own: accuracy of classes, or R² of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.builds.build import Build
from qformers.builds.own_events import Metric, read_labels
from qformers.errors import ConfigError, DataError
from qformers.models.own import OwnConfig
from qformers.nn.activation import end_of
from qformers.nn.memory import layer_of
from qformers.records import write_record
from qformers.tasks.metrics import jets, regression

METRICS_FILE = "metrics.json"
OF_VALUES = ("r2", "rmse", "mae")
LEAST = 2.0**-12  # a probability that a table rounds to 0 counts as this much
OF_SIGNAL = "rejection"  # scores that need a class that is known to be the signal


@dataclass(frozen=True)
class Truth:
    """Labels of events, and how outputs are read.

    Attributes:
        metric: "accuracy" or "mse".
        labels: classes (n,), or what all outputs should be, (n, values).
        read: from the outputs of a model, in its order, to logits (n, classes) or values (n, values).
    """

    metric: Metric
    labels: NDArray[Any]
    read: Any

    def __getitem__(self, rows: Any) -> Truth:
        """Of some of the events."""
        return Truth(self.metric, self.labels[rows], self.read)

    def report(self, outputs: Any) -> dict[str, Any]:
        """Scores with their errors, as a ``metrics.json`` has them.

        Args:
            outputs: of a form of the model on these events.
        """
        values = self.read(outputs)
        if self.metric == "accuracy":
            names = [f"class {number}" for number in range(values.shape[1])]
            scores = jets.report(values, self.labels, names)
            return {key: value for key, value in scores.items() if not key.startswith(OF_SIGNAL)}
        mean = self.labels.mean(axis=0)  # R² of several outputs is against the mean of each
        scores = regression.report((values - mean).ravel(), (self.labels - mean).ravel())
        if values.shape[1] > 1:  # outputs of an event go together, and errors of so many values would be too small
            for key in OF_VALUES:
                scores[key] = {**scores[key], "error": None}
        return {**scores, "events": len(self.labels)}


def truth_of(build: Build, model: keras.Model, events: int) -> Truth | None:
    """What the labels that a build names say of its model; None where it names none.

    Args:
        build: of a model of one's own.
        model: one of its forms.
        events: of the file that data.test names.

    Raises:
        ConfigError, DataError: as `truth`, and labels of another number of events.
    """
    config = build.model
    if not isinstance(config, OwnConfig) or config.labels is None:
        return None
    return truth(model, config.metric, read_labels(Path(config.labels), events))


def truth(model: keras.Model, metric: Metric, labels: NDArray[Any]) -> Truth:
    """Labels as those of a model.

    Args:
        model: float or quantised.
        metric: "accuracy" of one output of classes (or of one number, whose sign decides), "mse" of all outputs.
        labels: classes (n,) or one-hot (n, classes); for "mse" what the outputs should be.

    Raises:
        ConfigError: a metric that the outputs of the model do not have.
        DataError: labels that are none of its classes, or of another shape.
    """
    sizes = [int(np.prod(tensor.shape[1:])) for tensor in model.outputs]
    if metric == "mse":
        wanted = labels.reshape(len(labels), -1).astype(np.float64)
        if wanted.shape[1] != sum(sizes):
            raise DataError(
                f"--labels hold what the outputs should be, {(len(labels), sum(sizes))}. Received: {wanted.shape}"
            )
        return Truth(metric, wanted, flat)
    reader = logits_of(model)
    return Truth(metric, _classes(labels, max(sizes[0], 2)), reader)


def logits_of(model: keras.Model) -> Logits:
    """How the outputs of a classifier are read.

    Raises:
        ConfigError: it has several outputs, or one that is no row of classes.
    """
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        shapes = [tuple(tensor.shape[1:]) for tensor in model.outputs]
        raise ConfigError(f"the accuracy is of one output (events, classes): use --metric mse. Received: {shapes}")
    return Logits(end_of(model.get_layer(layer_of(model.outputs[0]))))


def scores_of(
    model: keras.Model, events: Mapping[str, NDArray[Any]] | None, truth: Truth | None
) -> dict[str, Any] | None:
    """What a ``metrics.json`` says of a model; None where nothing is known of these events."""
    if truth is None or events is None:
        return None
    given = keras.tree.pack_sequence_as(model._inputs_struct, [events[tensor.name] for tensor in model.inputs])
    return truth.report(model.predict(given, batch_size=1024, verbose=0))


def write_metrics(folder: Path, scores: Mapping[str, Any] | None) -> None:
    """Write ``metrics.json`` beside a model, or remove that of another one."""
    if scores is None:
        (folder / METRICS_FILE).unlink(missing_ok=True)
    else:
        write_record(folder / METRICS_FILE, scores)


class Logits:
    """From the one output of a classifier to logits (n, classes).

    Args:
        end: the activation that gave it: softmax, sigmoid, or another one.
    """

    def __init__(self, end: str) -> None:
        self.end = end

    def __call__(self, outputs: Any) -> NDArray[np.float64]:
        """Of one array, or of a list or dictionary of one; one column is that of the second class."""
        values = np.asarray(ops.convert_to_numpy(keras.tree.flatten(outputs)[0]), np.float64)
        if self.end in ("softmax", "sigmoid"):
            values = np.clip(values, LEAST, None)
        if self.end == "sigmoid":
            values = np.clip(values, None, 1.0 - LEAST)
            values = np.log(values / (1.0 - values))
        elif self.end == "softmax":
            values = np.log(values)
        return np.concatenate([np.zeros_like(values), values], axis=1) if values.shape[1] == 1 else values


def flat(outputs: Any) -> NDArray[np.float64]:
    """All outputs of each event in a row."""
    arrays = [np.asarray(ops.convert_to_numpy(one), np.float64) for one in keras.tree.flatten(outputs)]
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)


def _classes(labels: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Numbers of classes, of numbers or of ones in their places."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    found = labels
    if labels.ndim == 2 and labels.shape[1] == count and ((labels == 0) | (labels == 1)).all():
        found = labels.argmax(axis=1) if (labels.sum(axis=1) == 1).all() else labels
    whole = found.astype(np.int64)
    if found.ndim != 1 or (found != whole).any() or whole.min() < 0 or whole.max() >= count:
        raise DataError(
            f"--labels hold the number of a class, 0 to {count - 1}, or a one in the place of it. "
            f"Received: {labels.shape}, {labels.min():g} to {labels.max():g}"
        )
    return whole
