"""Outputs of a model on a whole split, and the check that a saved model is the one in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.builds.models import load_model
from qformers.errors import DivergedError, TrainingError
from qformers.tasks.task import Task
from qformers.train.feed import Batch, Feed, Inputs


def _full(batch: Batch, batch_size: int) -> Inputs:
    """Inputs of `batch`, its first jet repeated up to `batch_size`: one shape means one compilation."""
    missing = batch_size - len(batch)
    if not missing:
        return batch.inputs
    return {name: np.concatenate([x, np.repeat(x[:1], missing, axis=0)]) for name, x in batch.inputs.items()}


def outputs_of(model: Any, feed: Feed, batch_size: int, task: Task) -> tuple[NDArray[np.float32], Any]:
    """Outputs (n, ...) of all jets of a split, and what is known of them.

    Raises:
        DivergedError: an output is NaN or infinite.
    """
    outputs, labels = [], []
    for batch in feed.in_order(batch_size):
        values = ops.convert_to_numpy(model.predict_on_batch(_full(batch, batch_size)))
        outputs.append(values[: len(batch)])
        labels.append(batch.labels)
    whole = np.concatenate(outputs)
    bad = ~np.isfinite(whole.reshape(len(whole), -1)).all(axis=1)
    if bad.any():
        raise DivergedError(
            f"outputs of model '{model.name}' must be finite: lower learning_rate or set clip_norm, and start over "
            f"with --fresh. Received: NaN or infinity for {bad.sum()} of {len(bad)} {task.unit}"
        )
    return whole, labels[0] if len(labels) == 1 else task.joined(labels)


def reload_equal(path: Path, model: Any, inputs: Inputs, at_once: int | None = None) -> Any:
    """Load the model saved at `path` and return it, after checking that it gives what `model` gives, bit for bit.

    Both are called operation by operation, where the order of the arithmetic is the same for both.

    Args:
        path: the file.
        model: the model in memory.
        inputs: what both are called on, by name.
        at_once: events in memory at a time; None = all.

    Raises:
        TrainingError: an output differs; a file that evaluates otherwise than the model in memory must not go on.
    """
    loaded = load_model(path)
    expected, outputs = (_called(one, inputs, at_once) for one in (model, loaded))
    differing = int((outputs != expected).sum())
    if differing:
        raise TrainingError(
            f"{path}: the saved model must give the outputs of the model in memory, bit for bit: a layer does not save "
            f"all of its state. Received: {differing} of {expected.size} outputs differ, by up to "
            f"{np.abs(outputs - expected).max()}"
        )
    return loaded


def _called(model: Any, inputs: Inputs, at_once: int | None) -> NDArray[Any]:
    """Outputs (n, ...) of a model, operation by operation."""
    events = len(next(iter(inputs.values())))
    size = at_once or events
    parts = ({name: array[at : at + size] for name, array in inputs.items()} for at in range(0, events, size))
    return np.concatenate([ops.convert_to_numpy(model(part, training=False)) for part in parts])
