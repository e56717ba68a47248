"""What the labels of events say of a model of one's own: accuracy of classes, or R² of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.builds.build import Build
from qformers.builds.own_events import BUILDS, labels_of
from qformers.data import SplitName
from qformers.errors import ConfigError, DataError, first_line
from qformers.models.own import OwnConfig
from qformers.nn.activation import end_of
from qformers.nn.memory import layer_of
from qformers.records import write_record
from qformers.tasks.metrics import jets, regression

Metric = Literal["accuracy", "mse"]
METRICS: tuple[Metric, ...] = ("accuracy", "mse")
METRICS_FILE = "metrics.json"
LEAST = 2.0**-12  # a probability that a table rounds to 0 counts as this much
OF_SIGNAL = ("rejection", "rejection_30", "rejection_against")  # of classes of which one is known to be the signal


@dataclass(frozen=True)
class Said:
    """What the user said of labels.

    Attributes:
        labels: a ``.npy`` file, or a build file for those of its data set.
        metric: "accuracy" of classes, "mse" of what the outputs should be.
    """

    labels: Path
    metric: Metric = "accuracy"


def said_of(labels: Path | None, metric: Metric | None, events: Path | None) -> Said | None:
    """What options say of labels: a data set that is asked for accuracy has its own.

    Raises:
        ConfigError: labels without events, or accuracy without labels.
    """
    if labels is None and metric == "accuracy" and events is not None and events.suffix in BUILDS:
        labels = events
    if labels is None and metric == "accuracy":
        raise ConfigError("--metric accuracy needs the classes of the events: give --labels LABELS.npy")
    if labels is not None and events is None:
        raise ConfigError(f"--labels are those of events: give --events FILE too. Received: {labels}")
    return None if labels is None else Said(labels, metric or "accuracy")


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
            return {
                key: value for key, value in scores.items() if key not in OF_SIGNAL and not key.startswith(OF_SIGNAL)
            }
        mean = self.labels.mean(axis=0)  # R² of several outputs is against the mean of each
        return regression.report((values - mean).ravel(), (self.labels - mean).ravel())


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


def write_metrics(
    folder: Path, model: keras.Model, events: Mapping[str, NDArray[Any]] | None, truth: Truth | None
) -> None:
    """Write ``metrics.json`` beside a model, or remove that of another one where nothing is known of these events."""
    path = folder / METRICS_FILE
    if truth is None or events is None:
        path.unlink(missing_ok=True)
        return
    given = keras.tree.pack_sequence_as(model._inputs_struct, [events[tensor.name] for tensor in model.inputs])
    write_record(path, truth.report(model.predict(given, batch_size=1024, verbose=0)))


def read_labels(path: Path, events: int, split: SplitName = "test") -> NDArray[Any]:
    """The labels of events, or what the outputs should be: the one array of a ``.npy`` file.

    Of a build file, those of a split of its data set.

    Raises:
        DataError: no such file, no numbers, or another number of events.
    """
    if path.suffix in BUILDS:
        return labels_of(path, split)[:events]
    if path.suffix != ".npy":
        raise DataError(f"{path}: labels are the array of a .npy file. Received: {path.suffix or 'no ending'}")
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {first_line(error)}") from error
    if labels.dtype.kind not in "biuf" or labels.ndim < 1 or len(labels) != events:
        received = f"{labels.dtype} {labels.shape}"
        raise DataError(f"{path}: holds a number or a row for each of the {events} events. Received: {received}")
    finite = np.isfinite(labels.reshape(events, -1)).all(axis=1)
    if not finite.all():
        raise DataError(f"{path}: labels are finite numbers. Received: another one in event {int(finite.argmin())}")
    return np.asarray(labels)


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
    found = labels.argmax(axis=1) if labels.ndim == 2 and labels.shape[1] == count else labels
    whole = found.astype(np.int64)
    if found.ndim != 1 or (found != whole).any() or whole.min() < 0 or whole.max() >= count:
        raise DataError(
            f"--labels hold the number of a class, 0 to {count - 1}, or a one in the place of it. "
            f"Received: {labels.shape}, {labels.min():g} to {labels.max():g}"
        )
    return whole
