"""Small forms of the peers of ParT, float and quantised, for the tests."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import QuantConfig
from qformers.models import MODELS
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from support.quantised import shaken

FEATURES, CLASSES = 4, 3
FORMS: dict[str, Any] = {  # forms of `MODELS`, by short names
    "deepsets": MODELS["deepsets"].forms["mean"],
    "deepsets_sum": MODELS["deepsets"].forms["sum"],
    "mixer": MODELS["mixer"].forms["weighted"],
    "mixer_flat": MODELS["mixer"].forms["flat"],
    "jedi": MODELS["jedi_linear"].forms["relu"],
    "jedi_affine": MODELS["jedi_linear"].forms["affine"],
    "mha": MODELS["transformer"].forms["flat"],
    "mha_mean": MODELS["transformer"].forms["mean"],
    "linformer": MODELS["transformer"].forms["linformer"],
    "linformer_mean": MODELS["transformer"].forms["linformer_mean"],
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
