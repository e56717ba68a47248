"""Which values of a layer belong to real particles, and which to padded slots."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

PARTICLES = set("nmqkij")  # letters of einsum equations that count particle slots
INPUT_AXES = {"features": "bnf", "mask": "bn", "pairs": "bijf"}  # of the model inputs


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
    """Which values (of this shape) belong to real particles on all their particle axes.

    Args:
        shape: (n, ...).
        axes: a letter per axis, from `axes_of`; None where they are not known: then all are real.
        mask: (n, N), above 0 for a real particle; None for a model without padding.
    """
    real = np.ones(shape, bool)
    if axes is None or mask is None:
        return real
    with_token = np.concatenate([np.ones((len(mask), 1)), mask], axis=1)  # slot 0 of class attention
    for axis, letter in enumerate(axes):
        if letter in PARTICLES and axis > 0 and shape[axis] in (mask.shape[1], with_token.shape[1]):
            slots = mask if shape[axis] == mask.shape[1] else with_token
            real &= (slots > 0).reshape(len(mask), *[shape[axis] if a == axis else 1 for a in range(1, len(shape))])
    return real
