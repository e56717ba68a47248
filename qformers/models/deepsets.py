"""DeepSets (arXiv:1703.06114): a network per particle, a mean over the particles, a network of the jet.

As the jet taggers of arXiv:2402.01876 have it: phi of three layers of 32, the mean, rho of one layer of 32, ReLU. Ours:
batch norms (folded into the dense steps in fixed point), a mean over real particles only, where theirs counts empty
slots too, and the choice of a sum instead. The order of the particles does not matter.

Symbols in shapes: B batch, N particles, F features, D width.
"""

from __future__ import annotations

import keras

from qformers.architectures import DeepSetsConfig
from qformers.models.mlp import classify, input_norm, mlp, pool
from qformers.models.part import Jet
from qformers.nn.vocabulary import Vocabulary


def deepsets(cfg: DeepSetsConfig, jet: Jet, nn: Vocabulary) -> keras.Model:
    """Build a DeepSets network.

    Args:
        cfg: the architecture.
        jet: sizes given by the data.
        nn: float or quantised arithmetic.

    Returns:
        A model with inputs ``features`` (B, N, F) and ``mask`` (B, N; 1 = real) and the output ``logits`` (B, classes).
    """
    features = nn.input("features", (jet.num_particles, jet.num_features))  # (B, N, F)
    mask = nn.input("mask", (jet.num_particles,))  # (B, N)
    x = mlp(nn, input_norm(nn, features, cfg.norm, mask), "phi", cfg.phi_widths, cfg.norm, mask)  # (B, N, D)
    x = mlp(nn, pool(nn, x, mask, cfg.pool, "pool"), "rho", cfg.rho_widths, cfg.norm)  # (B, D)
    logits = classify(nn, x, (), cfg.norm, jet.num_classes)
    return nn.finish(keras.Model({"features": features, "mask": mask}, logits, name="deepsets"))
