"""Which values of a layer belong to real particles, and which to padded slots."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.nn.memory import memory_of

SLOTS = ("point", "pair")  # roles of axes that count particle slots


def axes_of(model: keras.Model) -> dict[str, tuple[str, ...]]:
    """Roles of the output axes of each layer, from its equation; layers without one keep those of their input.

    Args:
        model: with a memory of its roles; without one, no layer has any.
    """
    memory = memory_of(model)
    if memory is None:
        return {}
    known: dict[int, tuple[str, ...]] = {}
    named: dict[str, tuple[str, ...]] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            roles: tuple[str, ...] | None = memory.inputs.get(layer.name)
        elif getattr(layer, "equation", None):
            letters = layer.equation.split("->")[1]
            roles = tuple(memory.roles.get(letter, "channel") for letter in letters)
        else:
            source = layer.input[0] if isinstance(layer.input, list) else layer.input
            roles = known.get(id(source))
        if roles is not None and len(roles) == len(layer.output.shape):
            known[id(layer.output)] = named[layer.name] = roles
    return named


def real_values(shape: tuple[int, ...], axes: tuple[str, ...] | None, mask: NDArray[Any] | None) -> NDArray[np.bool_]:
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
