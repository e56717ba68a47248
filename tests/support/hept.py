"""Small float HEPTs with random weights, for the tests."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from qformers.interop import hept as upstream
from qformers.models.hept.config import HeptConfig
from qformers.models.hept.hept import hept
from qformers.models.sizes import Points
from qformers.nn.float32 import Float32
from support import oracle_hept

FEATURES = 5
CMS: dict[str, Any] = {
    "coords": 5, "region_axes": 3, "shared_scale": False, "activation": "silu", "head_activation": "silu",
    "head_norm": True, "embeddings": ((11, 1), (12, 1)), "head_width": 4,
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "tracking": {},
    "pileup": {"head": "logits", "embeddings": ((7, 6),)},
    "cms_tracking": CMS,
    "cms_pileup": {**CMS, "head": "logits", "outputs": 2, "hashes": 1},
    "sink": {"kernel": "sink"},
    "shared_order": {"hash": "coords"},
    "one_head": {"heads": 1, "region_axes": 1},
}


def small(**changes: Any) -> HeptConfig:
    """A HEPT of one layer and blocks of 6 in which no two sizes are equal that could be taken for each other."""
    sizes: dict[str, Any] = {
        "coords": 3, "width": 4, "heads": 2, "layers": 1, "block_size": 6, "hashes": 3, "regions": 6.0,
        "scale_terms": 2, "head_width": 7, "head_widths": (9, 8),
    }  # fmt: skip
    return HeptConfig(**{**sizes, **changes})


def empty_model(config: HeptConfig, points: int | None, dtype: str = "float64") -> keras.Model:
    """As built, weights at their random start."""
    return hept(config, Points(points, FEATURES), Float32(dtype))


def random_state(config: HeptConfig, seed: int = 1) -> dict[str, NDArray[np.float64]]:
    """What the oracle reads; with ``hash: coords`` also the one order that upstream does not have."""
    state = oracle_hept.random_state_dict(config, FEATURES, seed)
    if config.hash == "coords":
        rng = np.random.default_rng(seed)
        state["regions"] = state["regions"][:, :, :1]
        state[oracle_hept.SHARED_ALPHA] = rng.normal(0.0, 1.0, (1, config.region_axes, config.hashes))
    return state


def random_model(config: HeptConfig, points: int | None, seed: int = 1, dtype: str = "float64") -> keras.Model:
    """Filled with `random_state`."""
    model = empty_model(config, points, dtype)
    twin = config.model_copy(update={"hash": "latent", "order": "onchip"})
    full = model if config == twin else empty_model(twin, points, dtype)
    upstream.load(full, oracle_hept.random_state_dict(twin, FEATURES, seed))
    if full is not model:
        state = random_state(config, seed)
        for layer in model.layers:
            if layer.name == "regions":
                layer.set_weights([state["regions"]])
            elif layer.name == "order_of_coords":
                layer.set_weights([state[oracle_hept.SHARED_ALPHA]])
            elif layer.weights:
                layer.set_weights(full.get_layer(layer.name).get_weights())
    return model


def run(model: keras.Model, *events: ArrayLike, training: bool = False) -> NDArray[np.float64]:
    """Output (B, N, width) for features, coords, mask and perhaps order."""
    names = ("features", "coords", "mask", "order")[: len(events)]
    dtype = model.inputs[0].dtype
    inputs = {name: keras.ops.convert_to_tensor(x, dtype) for name, x in zip(names, events, strict=True)}
    return np.asarray(keras.ops.convert_to_numpy(model(inputs, training=training)))
