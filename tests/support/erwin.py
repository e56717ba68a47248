"""Small float Erwins with random weights, for the tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.interop import erwin as upstream
from qformers.models.erwin.config import ErwinConfig
from qformers.models.erwin.erwin import erwin
from qformers.models.inputs import host_neighbours, host_order
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32
from support import oracle_erwin

FEATURES, CLASSES = 5, 3
VARIANTS: dict[str, dict[str, Any]] = {
    "published": {},
    "plane": {"coords": 2},
    "no_messages": {"mp_steps": 0},
    "no_rotation": {"rotate": 0.0},
    "stride1": {"widths": (8, 8), "balls": (4, 4), "enc_heads": (2, 4), "enc_depths": (1, 2), "dec_heads": (2,),
                "dec_depths": (2,), "strides": (1,), "coords": 2},
    "stride4": {"strides": (4, 2), "balls": (8, 4, 2)},
    "flat": {"widths": (8,), "balls": (8,), "enc_heads": (2,), "enc_depths": (3,), "dec_heads": (), "dec_depths": (),
             "strides": ()},
    "squared": {"distance": "squared"},
    "no_distance": {"distance": "none", "coords": 2},
    "masked": {"pads": "masked"},
    "masked_plane": {"pads": "masked", "coords": 2, "distance": "squared", "mp_steps": 0},
    "jet": {"head": "jet", "coords": 2},
    "jet_bottleneck": {"head": "jet", "decode": False, "head_widths": ()},
    "jet_masked": {"head": "jet", "decode": False, "pads": "masked"},
    "channels": {"head": "none"},
    "bottleneck": {"head": "none", "decode": False, "pads": "masked"},
}  # fmt: skip


def small(**changes: Any) -> ErwinConfig:
    """Three levels in which no two sizes are equal that could be taken for each other."""
    sizes: dict[str, Any] = {
        "coords": 3, "widths": (6, 8, 12), "balls": (8, 4, 4), "enc_heads": (2, 4, 3), "enc_depths": (2, 1, 2),
        "dec_heads": (3, 2), "dec_depths": (2, 2), "strides": (2, 2), "mlp_ratio": 3, "mp_steps": 1, "neighbours": 4,
        "rotate": 30.0 if changes.get("coords", 3) == 3 else 45.0, "head_widths": (7,), "outputs": 2,
    }  # fmt: skip
    return ErwinConfig(**{**sizes, **changes})


def empty_model(config: ErwinConfig, points: int, dtype: str = "float64") -> keras.Model:
    """As built."""
    return erwin(config, Jet(points, FEATURES, CLASSES), Float32(dtype))


def wrapped(state: dict[str, Any]) -> dict[str, Any]:
    """As the wrapper of a task has it: a head beside the model."""
    return {name if name.startswith("pred_head") else f"main_model.{name}": array for name, array in state.items()}


def random_state(config: ErwinConfig, seed: int = 1) -> dict[str, Any]:
    """Weights under upstream's names."""
    return oracle_erwin.random_state_dict(config, FEATURES, CLASSES, seed)


def random_model(config: ErwinConfig, points: int, seed: int = 1, dtype: str = "float64") -> keras.Model:
    """Filled with `random_state`; that of a distance which upstream does not have by way of one which it has."""
    state = random_state(config, seed)
    exact = config.model_copy(update={"distance": "exact"})
    full = empty_model(exact, points, dtype)
    upstream.load(full, wrapped({**random_state(exact, seed), **state}))
    if exact == config:
        return full
    model = empty_model(config, points, dtype)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(full.get_layer(layer.name).get_weights())
    return model


def random_events(config: ErwinConfig, points: int, counts: list[int], seed: int = 0) -> Any:
    """Events with so many real points each, anywhere in their slots; numbers in masked slots too."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((len(counts), points))
    for event, count in enumerate(counts):
        mask[event, rng.permutation(points)[:count]] = 1
    features = rng.normal(size=(len(counts), points, FEATURES))
    return SimpleNamespace(features=features, coords=rng.normal(size=(len(counts), points, config.coords)), mask=mask)


def inputs_of(model: keras.Model, events: Any) -> dict[str, NDArray[Any]]:
    """What the model takes, by name."""
    made = {"features": events.features, "coords": events.coords, "mask": events.mask}
    made["order"] = host_order(model, events)
    if any(tensor.name == "neighbours" for tensor in model.inputs):
        made["neighbours"] = host_neighbours(model, events)
    return {tensor.name: np.asarray(made[tensor.name], tensor.dtype) for tensor in model.inputs}


def run(model: keras.Model, events: Any, **more: Any) -> NDArray[np.float64]:
    """Outputs for events."""
    return np.asarray(keras.ops.convert_to_numpy(model(inputs_of(model, events), **more)))


def expected(config: ErwinConfig, events: Any, model: keras.Model, seed: int = 1) -> list[NDArray[np.float64]]:
    """Of the plain loops."""
    neighbours = inputs_of(model, events).get("neighbours")
    return oracle_erwin.erwin(
        random_state(config, seed), config, events.features, events.coords, events.mask, neighbours
    )


def real_rows(config: ErwinConfig, model: keras.Model, events: Any, found: NDArray[Any]) -> list[NDArray[Any]]:
    """Of each event the rows that mean something."""
    if config.head == "jet":
        return list(found)
    if config.decode:
        return [rows[real > 0] for rows, real in zip(found, events.mask, strict=True)]
    level = model.get_layer(f"l{config.levels - 2}_real_pooled").output
    shown = keras.Model(model.inputs, level)(inputs_of(model, events))
    return [rows[real > 0] for rows, real in zip(found, np.asarray(shown), strict=True)]
