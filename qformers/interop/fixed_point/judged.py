"""How good a model of one's own is: accuracy by labels, or squared differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.errors import ConfigError, DataError, first_line
from qformers.interop.fixed_point.functions import end_of
from qformers.nn.memory import layer_of
from qformers.quant.ptq.evaluator import SearchJets

Metric = Literal["accuracy", "mse"]
METRICS: tuple[Metric, ...] = ("accuracy", "mse")
LEAST = 2.0**-12  # a probability that a table rounds to 0 counts as this much


def read_labels(path: Path, events: int) -> NDArray[Any]:
    """The labels of events, or what the outputs should be: the one array of a ``.npy`` file.

    Raises:
        DataError: no such file, no numbers, or another number of events.
    """
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


def judged(
    model: keras.Model, inputs: dict[str, NDArray[Any]], metric: Metric, labels: NDArray[Any] | None
) -> SearchJets:
    """Events with the answers of a float model, to measure its quantised forms on.

    Args:
        model: the float model.
        inputs: n events by input.
        metric: "accuracy" of one output of classes (or of one number, whose sign decides), "mse" of all outputs.
        labels: classes (n,) or one-hot (n, classes); for "mse" what the outputs should be, None: what float gives.

    Raises:
        ConfigError: a metric that the outputs of the model do not have.
        DataError: labels that are none of its classes, or of another shape.
    """
    answers = model.predict(inputs, batch_size=1024, verbose=0)
    if metric == "mse":
        floats = _flat(answers)
        truth = floats if labels is None else labels.reshape(len(labels), -1).astype(np.float64)
        if truth.shape != floats.shape:
            raise DataError(f"--labels hold what the outputs should be, {floats.shape}. Received: {truth.shape}")
        return SearchJets(inputs, truth, floats.astype(np.float32), values=True, read=_flat)
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        shapes = [tuple(tensor.shape[1:]) for tensor in model.outputs]
        raise ConfigError(f"the accuracy is of one output (events, classes): use --metric mse. Received: {shapes}")
    if labels is None:
        raise ConfigError("--metric accuracy needs the classes of the events: give --labels LABELS.npy")
    reader = _Logits(end_of(model.get_layer(layer_of(model.outputs[0]))))
    floats = reader(answers)
    return SearchJets(inputs, _classes(labels, floats.shape[1]), floats.astype(np.float32), read=reader)


class _Logits:
    """From the one output of a classifier to logits (n, classes).

    Args:
        end: the activation that gave it: softmax, sigmoid, or another one.
    """

    def __init__(self, end: str) -> None:
        self.end = end

    def __call__(self, outputs: Any) -> NDArray[np.float64]:
        """Of one array, or of a list or dictionary of one."""
        values = np.asarray(ops.convert_to_numpy(keras.tree.flatten(outputs)[0]), np.float64)
        if self.end in ("softmax", "sigmoid"):
            values = np.clip(values, LEAST, None)
        if self.end == "sigmoid":
            values = np.clip(values, None, 1.0 - LEAST)
            values = np.log(values / (1.0 - values))
        elif self.end == "softmax":
            values = np.log(values)
        return np.concatenate([np.zeros_like(values), values], axis=1) if values.shape[1] == 1 else values


def _flat(outputs: Any) -> NDArray[np.float64]:
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
