"""What quantising costs in each layer: values in fixed point beside those of the float model, on the same events.

The quantised values may be those of the Keras model (`layer_errors`, which needs no compiler) or those of the firmware
(`hls.proof.fidelity`). A layer is compared with the float value that it stands for: behind the layers that were folded
into it, over real particles only, and without what may differ by construction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.data import AnyEvents
from qformers.models.inputs import host_inputs
from qformers.nn.memory import layer_of, memory_of
from qformers.quant.kinds import kind_of

Array = NDArray[np.float64]

SLOTS = ("point", "pair")  # roles of axes that count particle slots


@dataclass(frozen=True)
class Distance:
    """How far the values of a quantised layer are from float."""

    values: int
    mean: float  # mean of |quantised - float|
    largest: float
    relative: float  # mean over mean |float|
    correlation: float  # Pearson; 0 where either side is constant

    @classmethod
    def between(cls, quantised: Array, wanted: Array) -> Distance:
        """Of arrays of one shape; without values all is 0."""
        if not quantised.size:
            return cls(0, 0.0, 0.0, 0.0, 0.0)
        error, size = np.abs(quantised - wanted), float(np.abs(wanted).mean())
        mean, largest = float(error.mean()), float(error.max())
        return cls(int(error.size), mean, largest, mean / size if size else 0.0, correlation(quantised, wanted))


@dataclass(frozen=True)
class LayerError:
    """One layer of the quantised model against its float counterpart; see `Distance`."""

    layer: str
    mean: float
    largest: float
    relative: float
    correlation: float
    float_layer: str = ""  # whose values it stands for: itself, or the last layer that it took in

    def as_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


def layer_errors(float_model: keras.Model, model: keras.Model, jets: AnyEvents) -> tuple[LayerError, ...]:
    """One row per layer that both models have, in the order of the model, over real particles where slots count them.

    Args:
        float_model: vocabulary float32, with its memory.
        model: vocabulary hgq, with its memory.
        jets: n events.
    """
    return errors_between(float_model, model, host_inputs(float_model, jets), host_inputs(model, jets), jets.mask)


def errors_between(
    float_model: keras.Model,
    model: keras.Model,
    float_inputs: Mapping[str, NDArray[Any]],
    inputs: Mapping[str, NDArray[Any]],
    mask: NDArray[Any] | None = None,
) -> tuple[LayerError, ...]:
    """`layer_errors` of given inputs.

    Args:
        float_model, model: with their memories.
        float_inputs, inputs: the same n events for either model, by input.
        mask: (n, N), above 0 for a real particle; None where there is no padding.
    """
    pairs = {}
    for layer in model.layers:
        tensor = counterpart(float_model, model, layer.name)
        same = tensor is not None and tuple(tensor.shape[1:]) == tuple(layer.output.shape[1:])
        if same and not isinstance(layer, keras.layers.InputLayer):
            pairs[layer.name] = (layer.output, tensor)
    quantised, wanted = (
        keras.Model(one.inputs, {name: pair[side] for name, pair in pairs.items()})(dict(given), training=False)
        for side, (one, given) in enumerate(((model, inputs), (float_model, float_inputs)))
    )
    axes = {} if mask is None else axes_of(model)
    rows = []
    for name in pairs:
        ours, ideal = _numpy(quantised[name]), _numpy(wanted[name])
        real = real_values(ours.shape, axes.get(name), mask)
        between = distance(model, float_model, name, ours, ideal, real)
        rows.append(
            LayerError(
                name, between.mean, between.largest, between.relative, between.correlation, layer_of(pairs[name][1])
            )
        )
    return tuple(rows)


def distance(
    model: keras.Model, float_model: keras.Model, name: str, quantised: Array, wanted: Array, real: NDArray[np.bool_]
) -> Distance:
    """How far a layer is from float, but for what may differ: a bias that a softmax drops, a constant that it cancels.

    Args:
        model: the quantised model.
        float_model: its float model.
        name: of the layer.
        quantised, wanted: (n, ...), its values in fixed point and the float ones.
        real: (n, ...), which of them belong to real particles; see `real_values`.
    """
    if bias_dropped(model, float_model, name):
        wanted = wanted + mean_difference(quantised, wanted, real)
    memory = memory_of(model)
    if memory is not None and name in memory.shifted:
        quantised, wanted = centred(quantised, real), centred(wanted, real)
    return Distance.between(quantised[real], wanted[real])


def counterpart(float_model: keras.Model, model: keras.Model, name: str) -> Any:
    """The float tensor that layer `name` in fixed point stands for: behind the factors, norms and activation that it
    has taken in.

    Args:
        float_model: with its memory, which says where a step ends.
        model: the quantised model, which says where its layers end earlier.
        name: of the layer.

    Returns:
        None where the float model has no such layer, or has no memory; a layer that stands for "" has none.
    """
    memory = memory_of(float_model)
    layers = {layer.name: layer for layer in float_model.layers}
    own = memory_of(model)
    if memory is None:
        return None
    said = own.stands_for.get(name) if own is not None else None
    stands_for = memory.ends.get(name, name) if said is None else said
    return layers[stands_for].output if stands_for in layers else None


def bias_dropped(model: keras.Model, float_model: keras.Model, name: str) -> bool:
    """Whether a float layer has a bias and its quantised form has none (attention keys: a softmax sees none)."""
    own = model.get_layer(name)
    return hasattr(own, "bias") and own.bias is None and getattr(float_model.get_layer(name), "bias", None) is not None


def mean_difference(quantised: Array, wanted: Array, real: NDArray[np.bool_]) -> Array:
    """Mean of quantised - wanted per channel: over events, and over real particles on axis 1."""
    count = np.maximum(real.sum(axis=(0, 1), keepdims=True), 1)
    return np.asarray(np.where(real, quantised - wanted, 0.0).sum(axis=(0, 1), keepdims=True) / count)


def centred(values: Array, real: NDArray[np.bool_]) -> Array:
    """`values` minus their mean over the real entries of the last axis."""
    count = np.maximum(real.sum(axis=-1, keepdims=True), 1)
    return np.asarray(values - np.where(real, values, 0.0).sum(axis=-1, keepdims=True) / count)


def correlation(a: Array, b: Array) -> float:
    """Pearson correlation; 0 where it is not defined."""
    if a.size < 2 or np.std(a) == 0 or np.std(b) == 0:
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def axes_of(model: keras.Model) -> dict[str, tuple[str, ...]]:
    """Roles of the output axes of each layer, from its equation; of a layer without one, from those of its input.

    Args:
        model: with a memory of its roles; without one, no layer has any.
    """
    memory = memory_of(model)
    if memory is None:
        return {}
    known: dict[int, tuple[str, ...]] = {}
    named: dict[str, tuple[str, ...]] = {}
    for layer in model.layers:
        roles: tuple[str, ...] | None
        if isinstance(layer, keras.layers.InputLayer):
            roles = memory.inputs.get(layer.name)
        elif getattr(layer, "equation", None):
            letters = layer.equation.split("->")[1]
            roles = tuple(memory.roles.get(letter, "channel") for letter in letters)
        else:
            source = layer.input[0] if isinstance(layer.input, list) else layer.input
            given = known.get(id(source))
            roles = None if given is None else kind_of(layer).roles(given)
        if roles is not None and len(roles) == len(layer.output.shape):
            known[id(layer.output)] = named[layer.name] = roles
    return named


def real_values(shape: tuple[int, ...], axes: Sequence[str] | None, mask: NDArray[Any] | None) -> NDArray[np.bool_]:
    """Which values (of this shape) belong to real particles on all their particle axes.

    Args:
        shape: (n, ...).
        axes: a role per axis, from `axes_of`; None where they are not known: then all are real.
        mask: (n, N), above 0 for a real particle; None for a model without padding.
    """
    real = np.ones(shape, bool)
    if axes is None or mask is None:
        return real
    with_token = np.concatenate([np.ones((len(mask), 1)), mask], axis=1)  # slot 0 of class attention
    for axis, role in enumerate(axes):
        if role in SLOTS and axis > 0 and shape[axis] in (mask.shape[1], with_token.shape[1]):
            slots = mask if shape[axis] == mask.shape[1] else with_token
            real &= (slots > 0).reshape(len(mask), *[shape[axis] if a == axis else 1 for a in range(1, len(shape))])
    return real


def one_row_per_point(axes: Sequence[str] | None) -> bool:
    """Whether values of these axes, from `axes_of`, are (events, points, ...)."""
    return axes is not None and tuple(axes[:2]) == ("event", "point")


def behind_blocks(model: keras.Model) -> set[str]:
    """Names of the layers that read, at any distance, rows that a layer has put into another order than the slots'."""
    tensors: set[int] = set()
    names: set[str] = set()
    for layer in model.layers:
        read = layer.input if isinstance(layer.input, list) else [layer.input]
        if kind_of(layer).reorders or any(id(tensor) in tensors for tensor in read):
            tensors.add(id(layer.output))
            names.add(layer.name)
    return names


def in_slots(values: Array, order: NDArray[np.int64]) -> Array:
    """Rows (n, N, ...) that stand in an order (n, N) of slots, back in these slots."""
    back = np.empty_like(values)
    back[np.arange(len(order))[:, None], order] = values
    return back


def _numpy(tensor: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float64)
