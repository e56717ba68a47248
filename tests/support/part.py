"""Small float ParTs with random weights, for the tests."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from qformers.interop import weaver
from qformers.models.part.config import PartConfig
from qformers.models.part.part import part
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32
from support import oracle_part

FEATURES, CLASSES = 5, 3
VARIANTS: dict[str, dict[str, Any]] = {
    "published_form": {},
    "mean_head": {"head": "mean", "class_blocks": 0},
    "no_pairs": {"pairs": "none"},
    "remove_self_pair": {"remove_self_pair": True},
    "pre_activation_pair": {"pre_activation_pair": True},
    "relu": {"activation": "relu"},
    "two_hidden_layers": {"fc_widths": (12, 10)},
    "no_scales": {"scale_fc": False, "scale_attn": False, "scale_heads": False, "scale_resids": False},
    "one_head": {"heads": 1, "class_blocks": 1},
    "wider_ffn": {"ffn_ratio": 3, "blocks": 1},
}


def small(**changes: Any) -> PartConfig:
    """A ParT of width 6 and head width 3 in which no two sizes are equal that could be taken for each other."""
    sizes: dict[str, Any] = {"embed_widths": (10, 6), "pair_widths": (5, 7), "heads": 2, "blocks": 2, "class_blocks": 2}
    return PartConfig(**{**sizes, **changes})


def empty_model(config: PartConfig, particles: int, dtype: str = "float64") -> keras.Model:
    """As built, weights at their random start."""
    return part(config, Jet(particles, FEATURES, CLASSES), Float32(dtype))


def random_model(config: PartConfig, particles: int, seed: int = 1, dtype: str = "float64") -> keras.Model:
    """Filled with `oracle_part.random_state_dict`."""
    model = empty_model(config, particles, dtype)
    weaver.load(model, oracle_part.random_state_dict(config, FEATURES, CLASSES, seed))
    return model


def logits(
    model: keras.Model, features: ArrayLike, vectors: ArrayLike, mask: ArrayLike, training: bool = False
) -> NDArray[np.float64]:
    """Logits (B, classes), in evaluation mode unless `training`."""
    arrays = {"features": features, "vectors": vectors, "mask": mask}
    inputs = {tensor.name: keras.ops.convert_to_tensor(arrays[tensor.name], tensor.dtype) for tensor in model.inputs}
    return np.asarray(keras.ops.convert_to_numpy(model(inputs, training=training)))
