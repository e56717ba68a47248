"""What fixed point costs: firmware against the float model, layer by layer and at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from hls.backends.project import Project, Step
from qformers import metrics
from qformers.precision import Fixed

Array = NDArray[np.float64]

PARTICLES = set("nmqkij")  # letters of einsum equations that count particle slots
# attention scores: a constant per query (bias of the keys, lift of the real keys) cancels in the softmax
UP_TO_A_CONSTANT = ("_attn_scores", "_logits_bias", "_logits")
INPUT_AXES = {"features": "bnf", "mask": "bn", "pairs": "bijf"}  # of the model inputs


@dataclass(frozen=True)
class LayerFidelity:
    """One layer of the firmware against its float counterpart, over real particles only."""

    layer: str
    step: str  # firmware layer whose values are taken
    format: str
    values: int
    max_error: float
    mean_error: float  # mean of |firmware - float|
    max_lsb: float  # the same two in steps of the firmware's format
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

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {"layers": [asdict(row) for row in self.layers], "skipped": [asdict(row) for row in self.skipped]}


def layer_fidelity(
    project: Project,
    model: keras.Model,
    float_model: keras.Model,
    after: Mapping[str, Sequence[str]],
    inputs: Mapping[str, NDArray[Any]],
    float_inputs: Mapping[str, NDArray[Any]],
) -> Fidelity:
    """Compare every firmware layer that has a counterpart in the float model.

    Args:
        project: the firmware.
        model: the quantised model that it was made from.
        float_model: the model that this one was trained from.
        after: layer -> float layers that were folded into it behind its sum (`_qformers_folds[name].after` of a model
            built from the build file); the float value is taken behind them.
        inputs, float_inputs: the same events for either model.
    """
    traced = project.trace(inputs)
    steps = last_steps(project)
    tensors: dict[str, Any] = {}
    skipped: list[Skipped] = []
    for name in steps:
        tensor = counterpart(float_model, name, after.get(name, ()))
        if tensor is None:
            skipped.append(Skipped(name, "the float model has no layer of this name"))
        else:
            tensors[name] = tensor
    floats = keras.Model(float_model.inputs, tensors)(
        {tensor.name: np.asarray(float_inputs[tensor.name], np.float32) for tensor in float_model.inputs},
        training=False,
    )
    axes, mask = axes_of(model), np.asarray(inputs["mask"]) if "mask" in inputs else None
    rows = []
    for name in tensors:
        firmware, wanted = traced[steps[name].name], np.asarray(keras.ops.convert_to_numpy(floats[name]), np.float64)
        if firmware.shape != wanted.shape:
            skipped.append(Skipped(name, f"its shape is {firmware.shape[1:]}, in float {wanted.shape[1:]}"))
            continue
        real = real_values(firmware.shape, axes.get(name), mask)
        if bias_dropped(model, float_model, name):
            wanted = wanted + mean_difference(firmware, wanted, real)
        if name.endswith(UP_TO_A_CONSTANT):
            firmware, wanted = centred(firmware, real), centred(wanted, real)
        rows.append(_row(steps[name], firmware, wanted, real))
    return Fidelity(tuple(rows), tuple(skipped))


def last_steps(project: Project) -> dict[str, Step]:
    """Keras layer -> the firmware step that has its output (the activation, where there is one)."""
    return {step.layer: step for step in project.layout.steps if not step.part.startswith("iq")}


def counterpart(float_model: keras.Model, name: str, after: Sequence[str]) -> Any:
    """The float tensor behind layer `name`, its factors, the norms folded into it and its activation; None without."""
    layers = {layer.name: layer for layer in float_model.layers}
    if name not in layers:
        return None
    chain = [name, f"{name}_scaled", *after, f"{name}_relu", f"{name}_gelu"]
    return [layers[part] for part in chain if part in layers][-1].output


def axes_of(model: keras.Model) -> dict[str, str]:
    """Letters of the output axes of each layer, from einsum equations; layers without one keep those of their input."""
    letters: dict[int, str] = {}
    named: dict[str, str] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            found = INPUT_AXES.get(layer.name)
        elif getattr(layer, "equation", None):
            found = layer.equation.split("->")[1]
        else:
            source = layer.input[0] if isinstance(layer.input, list) else layer.input
            found = letters.get(id(source))
        if found is not None and len(found) == len(layer.output.shape):
            letters[id(layer.output)] = named[layer.name] = found
    return named


def real_values(shape: tuple[int, ...], axes: str | None, mask: NDArray[Any] | None) -> NDArray[np.bool_]:
    """Which values (of this shape) belong to real particles on all their particle axes."""
    real = np.ones(shape, bool)
    if axes is None or mask is None:
        return real
    with_token = np.concatenate([np.ones((len(mask), 1)), mask], axis=1)  # slot 0 of class attention
    for axis, letter in enumerate(axes):
        if letter in PARTICLES and axis > 0 and shape[axis] in (mask.shape[1], with_token.shape[1]):
            slots = mask if shape[axis] == mask.shape[1] else with_token
            real &= (slots > 0).reshape(len(mask), *[shape[axis] if a == axis else 1 for a in range(1, len(shape))])
    return real


def bias_dropped(model: keras.Model, float_model: keras.Model, name: str) -> bool:
    """Whether a float layer has a bias and its quantised form has none (attention keys: a softmax sees none)."""
    own = model.get_layer(name)
    return hasattr(own, "bias") and own.bias is None and getattr(float_model.get_layer(name), "bias", None) is not None


def mean_difference(firmware: Array, wanted: Array, real: NDArray[np.bool_]) -> Array:
    """Mean of firmware - float per channel: over events, and over real particles on axis 1."""
    count = np.maximum(real.sum(axis=(0, 1), keepdims=True), 1)
    return np.asarray(np.where(real, firmware - wanted, 0.0).sum(axis=(0, 1), keepdims=True) / count)


def centred(values: Array, real: NDArray[np.bool_]) -> Array:
    """`values` minus their mean over the real entries of the last axis."""
    count = np.maximum(real.sum(axis=-1, keepdims=True), 1)
    return np.asarray(values - np.where(real, values, 0.0).sum(axis=-1, keepdims=True) / count)


def _row(step: Step, firmware: Array, wanted: Array, real: NDArray[np.bool_]) -> LayerFidelity:
    found, ideal = firmware[real], wanted[real]
    error, lsb = np.abs(found - ideal), Fixed.parse(step.format).step
    size = float(np.abs(ideal).mean()) if ideal.size else 0.0
    worst, mean = (float(error.max()), float(error.mean())) if error.size else (0.0, 0.0)
    relative = mean / size if size else 0.0
    return LayerFidelity(
        step.layer, step.name, step.format, int(error.size), worst, mean, worst / lsb, mean / lsb, relative,
        correlation(found, ideal),
    )  # fmt: skip


def correlation(a: Array, b: Array) -> float:
    """Pearson correlation; 0 where it is not defined."""
    if a.size < 2 or np.std(a) == 0 or np.std(b) == 0:
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def end_to_end(logits: Mapping[str, Array], labels: NDArray[np.int64], class_names: Sequence[str]) -> dict[str, Any]:
    """Physics of several forms of one model on the same jets, and how often they decide otherwise.

    Args:
        logits: form ("float", "quantised", "csim") -> (n, classes).
        labels: (n,).
        class_names: in label order.

    Returns:
        JSON: per form `qformers.metrics.report`; per pair of forms the share of changed decisions and the differences.
    """
    forms = list(logits)
    physics = {form: metrics.report(np.asarray(values), labels, class_names) for form, values in logits.items()}
    pairs = {f"{a} -> {b}": _changed(logits[a], logits[b]) for i, a in enumerate(forms) for b in forms[i + 1 :]}
    return {"metrics": physics, "changes": pairs}


def _changed(a: Array, b: Array) -> dict[str, float]:
    error = np.abs(a - b)
    return {
        "decisions_changed": float((a.argmax(axis=1) != b.argmax(axis=1)).mean()),
        "max_difference": float(error.max()),
        "mean_difference": float(error.mean()),
        "correlation": correlation(a, b),
    }
