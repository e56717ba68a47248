"""A quantised layer and its float counterpart: where the float value stands, and what may differ between the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# attention scores: a constant per query (bias of the keys, lift of the real keys) cancels in the softmax
UP_TO_A_CONSTANT = ("_attn_scores", "_logits_bias", "_logits")


def counterpart(float_model: keras.Model, name: str, after: Sequence[str]) -> Any:
    """The float tensor behind layer `name`, its factors, the norms folded into it and its activation; None without."""
    layers = {layer.name: layer for layer in float_model.layers}
    if name not in layers:
        return None
    chain = [name, f"{name}_scaled", *after, f"{name}_relu", f"{name}_gelu"]
    return [layers[part] for part in chain if part in layers][-1].output


def bias_dropped(model: keras.Model, float_model: keras.Model, name: str) -> bool:
    """Whether a float layer has a bias and its quantised form has none (attention keys: a softmax sees none)."""
    own = model.get_layer(name)
    return hasattr(own, "bias") and own.bias is None and getattr(float_model.get_layer(name), "bias", None) is not None


def mean_difference(found: Array, wanted: Array, real: NDArray[np.bool_]) -> Array:
    """Mean of found - wanted per channel: over events, and over real particles on axis 1."""
    count = np.maximum(real.sum(axis=(0, 1), keepdims=True), 1)
    return np.asarray(np.where(real, found - wanted, 0.0).sum(axis=(0, 1), keepdims=True) / count)


def centred(values: Array, real: NDArray[np.bool_]) -> Array:
    """`values` minus their mean over the real entries of the last axis."""
    count = np.maximum(real.sum(axis=-1, keepdims=True), 1)
    return np.asarray(values - np.where(real, values, 0.0).sum(axis=-1, keepdims=True) / count)


def correlation(a: Array, b: Array) -> float:
    """Pearson correlation; 0 where it is not defined."""
    if a.size < 2 or np.std(a) == 0 or np.std(b) == 0:
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
