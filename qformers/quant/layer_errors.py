"""What quantising costs in each layer: the Keras model in fixed point beside the float model, on the same jets.

The C simulation compares the firmware with float in the same way (`hls.proof.fidelity`); this needs no compiler.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.data import Events
from qformers.models.inputs import host_inputs
from qformers.nn.memory import memory_of
from qformers.quant.beside_float import (
    UP_TO_A_CONSTANT,
    bias_dropped,
    centred,
    correlation,
    counterpart,
    mean_difference,
)
from qformers.quant.real_values import axes_of, real_values

Array = NDArray[np.float64]


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
    memory = memory_of(model)
    folds = memory.folds if memory is not None else {}
    pairs = {}
    for layer in model.layers:
        fold = folds.get(layer.name)
        tensor = counterpart(float_model, layer.name, fold.after if fold else ())
        same = tensor is not None and tuple(tensor.shape[1:]) == tuple(layer.output.shape[1:])
        if same and not isinstance(layer, keras.layers.InputLayer):
            pairs[layer.name] = (layer.output, tensor)
    inputs = host_inputs(model, jets)
    found = keras.Model(model.inputs, {name: pair[0] for name, pair in pairs.items()})(inputs, training=False)
    wanted = keras.Model(float_model.inputs, {name: pair[1] for name, pair in pairs.items()})(
        host_inputs(float_model, jets), training=False
    )
    axes = axes_of(model)
    rows = []
    for name in pairs:
        ours, ideal = _numpy(found[name]), _numpy(wanted[name])
        real = real_values(ours.shape, axes.get(name), jets.mask)
        if bias_dropped(model, float_model, name):
            ideal = ideal + mean_difference(ours, ideal, real)
        if name.endswith(UP_TO_A_CONSTANT):
            ours, ideal = centred(ours, real), centred(ideal, real)
        rows.append(_row(name, ours[real], ideal[real]))
    return tuple(rows)


def _row(name: str, a: Array, b: Array) -> LayerError:
    error = np.abs(a - b)
    if not error.size:
        return LayerError(name, 0.0, 0.0, 0.0, 0.0)
    size = float(np.abs(b).mean())
    return LayerError(
        name, float(error.mean()), float(error.max()), float(error.mean()) / size if size else 0.0, correlation(a, b)
    )


def _numpy(tensor: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float64)
