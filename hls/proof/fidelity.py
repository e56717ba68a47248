"""What fixed point costs: firmware against the float model, layer by layer and at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from hls.backends.protocol import Project, Step
from hls.proof.exact import precisely
from qformers.data.clouds import PointEvents
from qformers.interop.truth import Truth
from qformers.nn.index.ball_slots import TreeOrder
from qformers.nn.index.lsh import FromBlocks
from qformers.nn.index.sorted_tree import SortedTree
from qformers.nn.memory import memory_of
from qformers.quant.fidelity import (
    Distance,
    axes_of,
    behind_blocks,
    correlation,
    counterpart,
    distance,
    in_slots,
    one_row_per_point,
    real_values,
)
from qformers.quant.kept import kept
from qformers.tasks.metrics import jets as metrics
from qformers.tasks.task import Task

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LayerFidelity:
    """One layer of the firmware against its float counterpart, over real particles only."""

    layer: str
    step: str  # firmware layer whose values are taken
    format: str  # of the firmware layer; each backend has its own
    values: int
    max_error: float
    mean_error: float  # mean of |firmware - float|
    lsb: float  # step of the layer's format in the quantised Keras model: the same for every backend
    max_lsb: float  # the two errors in these steps
    mean_lsb: float
    relative: float  # mean_error over mean |float|
    correlation: float  # Pearson; 0 where either side is constant


@dataclass(frozen=True)
class Skipped:
    """A firmware layer without a float counterpart."""

    layer: str
    reason: str


@dataclass(frozen=True)
class Fidelity:
    """All layers, in the order of the firmware."""

    layers: tuple[LayerFidelity, ...]
    skipped: tuple[Skipped, ...]
    events: int = 0  # that were followed through them

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        layers, skipped = ([asdict(row) for row in rows] for rows in (self.layers, self.skipped))
        return {"events": self.events, "layers": layers, "skipped": skipped}


def layer_fidelity(
    project: Project,
    model: keras.Model,
    float_model: keras.Model,
    inputs: Mapping[str, NDArray[Any]],
    float_inputs: Mapping[str, NDArray[Any]],
) -> Fidelity:
    """Compare every firmware layer that has a counterpart in the float model.

    Values are taken as what reads them rounds them, and steps are those of the Keras model: hls4ml rounds where a value
    is made, alkaid where it is read, and each keeps it in a format of its own. So all backends give the same numbers.

    Args:
        project: the firmware.
        model: the quantised model that it was made from.
        float_model: the model that this one was trained from.
        inputs, float_inputs: the same events for either model.
    """
    traced = project.trace(inputs)
    steps = last_steps(project)
    tensors: dict[str, Any] = {}
    skipped: list[Skipped] = []
    for name in steps:
        tensor = counterpart(float_model, model, name)
        if tensor is None:
            reason = "the float model has no layer of this name"
            if memory_of(float_model) is None:
                reason = "the float model was saved before models kept where their steps end"
            skipped.append(Skipped(name, reason))
        else:
            tensors[name] = tensor
    if not tensors:  # of a backend that shows no layers
        return Fidelity((), tuple(skipped))
    floats = keras.Model(float_model.inputs, tensors)(
        {tensor.name: np.asarray(float_inputs[tensor.name], np.float32) for tensor in float_model.inputs},
        training=False,
    )
    with precisely(model):
        formats = kept(model)
    axes, mask = axes_of(model), np.asarray(inputs["mask"]) if "mask" in inputs else None
    order, moved = _single_order(inputs), behind_blocks(model)
    in_tree = _in_tree(model)  # rows of the float model stand in the same order there
    tree_mask = None if mask is None or order is None else np.take_along_axis(mask, order, axis=1)
    rows = []
    for name in tensors:
        firmware, wanted = traced[steps[name].name], np.asarray(keras.ops.convert_to_numpy(floats[name]), np.float64)
        if firmware.shape != wanted.shape:
            skipped.append(Skipped(name, f"its shape is {firmware.shape[1:]}, in float {wanted.shape[1:]}"))
            continue
        if order is not None and name in moved and not in_tree:
            if not one_row_per_point(axes.get(name)):
                skipped.append(Skipped(name, "its points stand in blocks, by their order, and those in float in slots"))
                continue
            firmware = in_slots(firmware, order)
        firmware, lsb = formats[name].read(firmware), formats[name].step(firmware)
        real = real_values(firmware.shape, axes.get(name), tree_mask if name in in_tree else mask)
        rows.append(_row(steps[name], lsb, distance(model, float_model, name, firmware, wanted, real)))
    return Fidelity(tuple(rows), tuple(skipped), len(next(iter(inputs.values()))))


def _in_tree(model: keras.Model) -> set[str]:
    """Names of the layers of an Erwin whose rows stand in the order of its tree; of other models none."""
    if not any(isinstance(layer, TreeOrder | SortedTree) for layer in model.layers):
        return set()
    back: set[int] = set()  # tensors behind the layer that puts rows back into the slots of their points
    restored = set()
    for layer in model.layers:
        read = layer.input if isinstance(layer.input, list) else [layer.input]
        if isinstance(layer, FromBlocks) or any(id(tensor) in back for tensor in read):
            back.add(id(layer.output))
            restored.add(layer.name)
    return behind_blocks(model) - restored


def _single_order(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.int64] | None:
    """The order (n, N) in which a model with one hash keeps its points from the first layer to the last; else None."""
    order = np.asarray(inputs["order"]).astype(np.int64) if "order" in inputs else None
    return order[:, 0] if order is not None and order.shape[1] == 1 else None


def last_steps(project: Project) -> dict[str, Step]:
    """Keras layer -> the firmware step that has its output (the activation, where there is one)."""
    return {step.layer: step for step in project.layout.steps if not step.of_input}


def _row(step: Step, lsb: float, apart: Distance) -> LayerFidelity:
    return LayerFidelity(
        step.layer,
        step.name,
        step.format,
        apart.values,
        apart.largest,
        apart.mean,
        lsb,
        apart.largest / lsb,
        apart.mean / lsb,
        apart.relative,
        apart.correlation,
    )


def end_to_end_points(task: Task, outputs: Mapping[str, Array], events: PointEvents) -> dict[str, Any]:
    """Scores of several forms of a model with one answer per point on the same windows, and how far they are apart.

    Args:
        task: what the model was trained for.
        outputs: form -> (n, N, channels).
        events: n windows.

    Returns:
        JSON: name of the score and of what is counted; per form the report of the task; per pair of forms the
        differences over real points.

    Raises:
        TrainingError: too few windows for an error of the score.
    """
    real = events.mask > 0
    points = {form: values[real] for form, values in outputs.items()}
    return _of_task(task, outputs, events, points)


def end_to_end_targets(task: Task, outputs: Mapping[str, Array], labels: NDArray[Any]) -> dict[str, Any]:
    """Scores of several forms of a model of numbers to be predicted on the same events, and how far they are apart.

    Args:
        task: what the model was trained for.
        outputs: form -> (n, targets).
        labels: (n, targets).

    Returns:
        JSON as of `end_to_end_points`.
    """
    return _of_task(task, outputs, labels, outputs)


def end_to_end_own(truth: Truth, outputs: Mapping[str, Mapping[str, Array]]) -> dict[str, Any]:
    """Scores of several forms of a model of one's own by the labels of its events, and how far they are apart.

    Args:
        truth: the labels of n events.
        outputs: form -> its outputs by name, in the order of the model, (n, ...) each.

    Returns:
        JSON as of `end_to_end_points`; of classes also the share of changed decisions.
    """
    read = {form: truth.read(list(values.values())) for form, values in outputs.items()}
    classes = truth.metric == "accuracy"
    return {
        "score": "accuracy" if classes else "r2",
        "unit": "events",
        "metrics": {form: truth.report(list(values.values())) for form, values in outputs.items()},
        "changes": _pairs(read, _changed if classes else _apart),
    }


def _of_task(task: Task, outputs: Mapping[str, Array], labels: Any, compared: Mapping[str, Array]) -> dict[str, Any]:
    reports: dict[str, Any] = {}
    for form, values in outputs.items():  # firmware equals what it was made from, and its report is that one's
        alike = next((other for other in reports if np.array_equal(outputs[other], values)), None)
        reports[form] = reports[alike] if alike else task.report(values.astype(np.float32), labels)
    return {"score": task.score, "unit": task.unit, "metrics": reports, "changes": _pairs(compared, _apart)}


def end_to_end(logits: Mapping[str, Array], labels: NDArray[np.int64], class_names: Sequence[str]) -> dict[str, Any]:
    """Physics of several forms of one model on the same jets, and how often they decide otherwise.

    Args:
        logits: form ("float", "quantised", "csim") -> (n, classes).
        labels: (n,).
        class_names: in label order.

    Returns:
        JSON: per form `qformers.tasks.metrics.jets.report`; per pair of forms the share of changed decisions and the
        differences.
    """
    physics = {form: metrics.report(np.asarray(values), labels, class_names) for form, values in logits.items()}
    return {"metrics": physics, "changes": _pairs(logits, _changed)}


def _pairs(
    outputs: Mapping[str, Array], measure: Callable[[Array, Array], dict[str, float]]
) -> dict[str, dict[str, float]]:
    forms = list(outputs)
    pairs = [(a, b) for i, a in enumerate(forms) for b in forms[i + 1 :]]
    return {f"{a} -> {b}": measure(outputs[a], outputs[b]) for a, b in pairs}


def _changed(a: Array, b: Array) -> dict[str, float]:
    return {"decisions_changed": float((a.argmax(axis=1) != b.argmax(axis=1)).mean()), **_apart(a, b)}


def _apart(a: Array, b: Array) -> dict[str, float]:
    error = np.abs(a - b)
    return {
        "max_difference": float(error.max()),
        "mean_difference": float(error.mean()),
        "correlation": correlation(a, b),
    }
