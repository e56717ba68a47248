"""Small forms of the peers of ParT, float and quantised, for the tests."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import QuantConfig
from qformers.models import MODELS
from qformers.models.deepsets import DeepSetsConfig
from qformers.models.jedi_linear import JediLinearConfig
from qformers.models.mixer import MixerConfig
from qformers.models.sizes import Jet
from qformers.models.transformer import TransformerConfig
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from support.quantised import shaken

FEATURES, CLASSES = 4, 3
_SMALL: dict[str, Any] = {"embed_widths": (6,), "head_width": 4, "feed_forwards": 1, "ffn_width": 7, "fc_widths": (5,)}
FORMS: dict[str, Any] = {
    "deepsets": DeepSetsConfig(phi_widths=(8, 7), rho_widths=(6,)),
    "deepsets_sum": DeepSetsConfig(phi_widths=(8,), rho_widths=(), pool="sum"),
    "mixer": MixerConfig(feature_widths=(7,), token_widths=(6,), fc_widths=(5,)),
    "mixer_flat": MixerConfig(
        blocks=2, feature_widths=(), particle_widths=(6,), token_widths=(), fc_widths=(5,), head="flatten"
    ),
    "jedi": JediLinearConfig(embed_widths=(6,), edge_width=7, object_widths=(8,), fc_widths=(5,)),
    "jedi_affine": JediLinearConfig(
        embed_widths=(6,), edge_width=7, edge_activation="linear", object_widths=(5,), fc_widths=(), pool="mean"
    ),
    "mha": TransformerConfig(**_SMALL),
    "mha_mean": TransformerConfig(**{**_SMALL, "heads": 2, "pool": "mean", "feed_forwards": 2}),
    "linformer": TransformerConfig(**_SMALL, attention="linformer"),
    "linformer_mean": TransformerConfig(**_SMALL, attention="linformer", pool="mean", projected=3),
}
MASKED = ["deepsets", "deepsets_sum", "jedi", "jedi_affine", "mha_mean", "linformer_mean"]  # see no padded slot
UNORDERED = ["deepsets", "deepsets_sum", "jedi", "jedi_affine", "mha_mean"]  # see no order of the particles
NARROW = QuantConfig(activation="fixed<8,4>", weight="fixed<6,2,RND,SAT_SYM>")


def float_peer(form: str, particles: int, dtype: str = "float32", **changes: Any) -> keras.Model:
    """A shaken float model."""
    cfg = FORMS[form].model_copy(update=changes)
    keras.utils.set_random_seed(3)
    return shaken(MODELS[cfg.architecture].build(cfg, Jet(particles, FEATURES, CLASSES), Float32(dtype)))


def quantised_peer(form: str, particles: int, quant: QuantConfig = NARROW) -> keras.Model:
    """A quantised model, as built."""
    cfg = FORMS[form]
    keras.utils.set_random_seed(3)
    return MODELS[cfg.architecture].build(cfg, Jet(particles, FEATURES, CLASSES), Hgq(quant))


def peer_jets(particles: int, count: int, seed: int = 0, fewest: int = 0) -> dict[str, NDArray[np.float32]]:
    """Jets of `fewest` to N particles; padded slots are zero."""
    random = np.random.default_rng(seed)
    mask = np.arange(particles) < random.integers(fewest, particles + 1, (count, 1))
    features = random.normal(0.0, 1.5, (count, particles, FEATURES)) * mask[..., None]
    return {"features": features.astype(np.float32), "mask": mask.astype(np.float32)}
