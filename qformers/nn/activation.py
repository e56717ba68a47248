"""The activation that a layer ends in, by name."""

from __future__ import annotations

from typing import Any

import keras
from hgq.layers import QSoftmax


def name_of(activation: Any) -> str:
    """Of the activation of a layer."""
    return "linear" if activation is None else str(getattr(activation, "__name__", type(activation).__name__))


def end_of(layer: Any) -> str:
    """The activation that gives the values of a layer."""
    softmax = isinstance(layer, keras.layers.Softmax | QSoftmax)
    return "softmax" if softmax else name_of(getattr(layer, "activation", None))
