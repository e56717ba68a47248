"""DeepSets (arXiv:1703.06114): a network per particle, a mean over the particles, a network of the jet.

As the jet taggers of arXiv:2402.01876 have it: phi of three layers of 32, the mean, rho of one layer of 32, ReLU. Ours:
batch norms (folded into the dense steps in fixed point), a mean over real particles only, where theirs counts empty
slots too, and the choice of a sum instead. The order of the particles does not matter.

Symbols in shapes: B batch, N particles, F features, D width.
"""

from __future__ import annotations

from typing import Literal

from qformers.config.section import Section, Widths
from qformers.models.arch import Arch
from qformers.models.mlp import FoldedNorm, classify, input_norm, mlp, pool
from qformers.models.sizes import Jet
from qformers.nn.vocabulary import Model, Vocabulary


class DeepSetsConfig(Section):
    """DeepSets (arXiv:1703.06114), sized as for jets on FPGAs in arXiv:2402.01876 (read by `models.deepsets`)."""

    architecture: Literal["deepsets"] = "deepsets"  # says whose keys these are
    phi_widths: Widths = (32, 32, 32)  # network of each particle
    pool: Literal["mean", "sum"] = "mean"  # over real particles; sum is scaled by 2^-round(log2 N)
    rho_widths: Widths = (32,)  # network of the jet, in front of the logits
    norm: FoldedNorm = "batch"  # folded into dense layers in fixed point


def deepsets(cfg: DeepSetsConfig, jet: Jet, nn: Vocabulary) -> Model:
    """Build a DeepSets network.

    Args:
        cfg: the architecture.
        jet: sizes given by the data.
        nn: float or quantised arithmetic.

    Returns:
        A model with inputs ``features`` (B, N, F) and ``mask`` (B, N; 1 = real) and the output ``logits`` (B, classes).
    """
    nn.declare(point="n", channel="dec")
    features = nn.input("features", (jet.num_particles, jet.num_features), "bnd")  # (B, N, F)
    mask = nn.input("mask", (jet.num_particles,), "bn")  # (B, N)
    x = mlp(nn, input_norm(nn, features, cfg.norm, mask), "phi", cfg.phi_widths, cfg.norm, mask)  # (B, N, D)
    x = mlp(nn, pool(nn, x, mask, cfg.pool, "pool"), "rho", cfg.rho_widths, cfg.norm)  # (B, D)
    logits = classify(nn, x, (), cfg.norm, jet.num_classes)
    return nn.model({"features": features, "mask": mask}, logits, cfg)


DEEPSETS = Arch(
    config=DeepSetsConfig,
    build=deepsets,
    forms={
        "mean": DeepSetsConfig(phi_widths=(8, 7), rho_widths=(6,)),
        "sum": DeepSetsConfig(phi_widths=(8,), rho_widths=(), pool="sum"),
    },
)
