"""What quantising costs in each layer: the Keras model in fixed point beside the float model, on the same jets.

The C simulation compares the firmware with float in the same way (`hls.fidelity`); this needs no compiler.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.data import Events
from qformers.models.inputs import host_inputs

Array = NDArray[np.float64]
ONE_SHIFT = ("_attn_scores", "_logits_bias", "_logits")  # a constant per query cancels in the softmax behind them


@dataclass(frozen=True)
class LayerError:
    """One layer of the quantised model against its float counterpart."""

    layer: str
    mean: float  # mean of |quantised - float|
    largest: float
    relative: float  # mean over mean |float|
    correlation: float  # Pearson; 0 where either side is constant

    def as_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


def layer_errors(float_model: keras.Model, model: keras.Model, jets: Events) -> tuple[LayerError, ...]:
    """One row per layer that both models have, in the order of the model, over real particles where slots count them.

    Args:
        float_model: vocabulary float32.
        model: from `build_model(..., "hgq")`, which knows the norms that were folded into each layer.
        jets: n events.
    """
    folds = model._qformers_folds
    pairs = {}
    for layer in model.layers:
        fold = folds.get(layer.name)
        tensor = _counterpart(float_model, layer.name, fold.after if fold else ())
        same = tensor is not None and tuple(tensor.shape[1:]) == tuple(layer.output.shape[1:])
        if same and not isinstance(layer, keras.layers.InputLayer):
            pairs[layer.name] = (layer.output, tensor)
    inputs = host_inputs(model, jets)
    found = keras.Model(model.inputs, {name: pair[0] for name, pair in pairs.items()})(inputs, training=False)
    wanted = keras.Model(float_model.inputs, {name: pair[1] for name, pair in pairs.items()})(
        host_inputs(float_model, jets), training=False
    )
    mask = jets.mask > 0
    rows = []
    for name in pairs:
        ours, ideal = _numpy(found[name]), _numpy(wanted[name])
        if _bias_dropped(model, float_model, name):
            ideal = ideal + (ours - ideal).mean(axis=0)
        rows.append(_row(name, ours, ideal, mask))
    return tuple(rows)


def _counterpart(float_model: keras.Model, name: str, after: tuple[str, ...]) -> Any:
    """The float tensor behind a layer, its factors, the norms folded into it and its activation; None without."""
    layers = {layer.name: layer for layer in float_model.layers}
    if name not in layers:
        return None
    chain = [name, f"{name}_scaled", *after, f"{name}_relu", f"{name}_gelu"]
    return [layers[part] for part in chain if part in layers][-1].output


def _bias_dropped(model: keras.Model, float_model: keras.Model, name: str) -> bool:
    """Whether only the float layer has a bias (attention keys: a softmax does not see it)."""
    own = model.get_layer(name)
    return hasattr(own, "bias") and own.bias is None and getattr(float_model.get_layer(name), "bias", None) is not None


def _row(name: str, found: Array, wanted: Array, mask: NDArray[np.bool_]) -> LayerError:
    real = np.ones(found.shape, bool)
    for axis in range(1, found.ndim - (found.ndim == 3)):  # the last axis of (n, N, D) counts channels
        if found.shape[axis] == mask.shape[1]:
            shape = [1] * found.ndim
            shape[0], shape[axis] = mask.shape
            real &= mask.reshape(shape)
    if name.endswith(ONE_SHIFT):
        found, wanted = _centred(found, real), _centred(wanted, real)
    a, b = found[real], wanted[real]
    error = np.abs(a - b)
    if not error.size:
        return LayerError(name, 0.0, 0.0, 0.0, 0.0)
    size = float(np.abs(b).mean())
    varies = a.size > 1 and np.std(a) > 0 and np.std(b) > 0
    correlation = float(np.corrcoef(a, b)[0, 1]) if varies else 0.0
    return LayerError(
        name, float(error.mean()), float(error.max()), float(error.mean()) / size if size else 0.0, correlation
    )


def _centred(values: Array, real: NDArray[np.bool_]) -> Array:
    count = np.maximum(real.sum(axis=-1, keepdims=True), 1)
    return np.asarray(values - np.where(real, values, 0.0).sum(axis=-1, keepdims=True) / count)


def _numpy(tensor: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float64)
