"""Shapes of values between the steps of an architecture: what several say alike."""

from __future__ import annotations

from typing import Any

import keras

from qformers.nn.vocabulary import Tensor, Vocabulary


def reshape(nn: Vocabulary, x: Tensor, shape: tuple[Any, ...], name: str) -> Tensor:
    """Another shape behind the batch."""
    return nn.move(keras.layers.Reshape, x, name, target_shape=tuple(shape))
