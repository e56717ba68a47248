"""JEDI-linear (arXiv:2508.15468): an interaction network whose cost grows with N, not with N^2.

An interaction network gives each ordered pair of particles to f_R, sums over partners and gives the sum to f_O. Where
f_R is affine in (x_i, x_j) the sum over partners of particle i is W1 x_i + W2 mean_j x_j: one term per particle and one
per jet. After it come f_O per particle, a sum over particles and a network of the jet.

What follows the published code: the widths; ReLU on both terms before their sum (`edge_activation`; with ``linear`` it
is the affine f_R of the text); the sum over all particles, j = i included; batch norm behind each dense step; the two
sums scaled by powers of two. What is ours: sums over real particles only, where theirs runs over empty slots too; the
second sum is scaled by 2^-round(log2 N) as the first is, where theirs has 1/16 for every N.

The pT-sorted form of the paper is no other network: it has one activation width per slot and channel, where the
permutation-invariant form shares the widths between slots. Here that is ``quant.granularity: element`` or ``channel``.
The function itself is permutation-invariant in both; only the rounding tells the slots apart.

Symbols in shapes: B batch, N particles, F features, D width.
"""

from __future__ import annotations

from typing import Literal

from qformers.config.section import Section, Width, Widths
from qformers.models.arch import Arch
from qformers.models.mlp import FoldedNorm, classify, input_norm, mlp, pool
from qformers.models.sizes import Jet
from qformers.nn.vocabulary import Linear, Model, Norm, Tensor, Vocabulary


class JediLinearConfig(Section):
    """Interaction network of linear complexity (JEDI-linear, arXiv:2508.15468; read by `models.jedi_linear`)."""

    architecture: Literal["jedi_linear"] = "jedi_linear"  # says whose keys these are
    embed_widths: Widths = (64,)  # per particle, in front of the interaction
    edge_width: Width = 64  # of f_R, the sum of what a particle and the whole jet give
    edge_activation: Literal["relu", "linear"] = "relu"  # of both terms before their sum
    object_widths: Widths = (64,)  # f_O, per particle, behind the interaction
    pool: Literal["sum", "mean"] = "sum"  # over real particles, both times; sum is scaled by 2^-round(log2 N)
    fc_widths: Widths = (64, 32, 16)  # hidden layers in front of the logits
    norm: FoldedNorm = "batch"  # folded into dense layers in fixed point


def jedi_linear(cfg: JediLinearConfig, jet: Jet, nn: Vocabulary) -> Model:
    """Build a JEDI-linear network.

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
    x = mlp(nn, input_norm(nn, features, cfg.norm, mask), "embed", cfg.embed_widths, cfg.norm, mask)  # (B, N, D)
    x = _interaction(cfg, nn, x, mask)  # (B, N, D)
    x = mlp(nn, x, "object", cfg.object_widths, cfg.norm, mask)
    logits = classify(nn, pool(nn, x, mask, cfg.pool, "pool"), cfg.fc_widths, cfg.norm, jet.num_classes)
    return nn.model({"features": features, "mask": mask}, logits, cfg)


def _interaction(cfg: JediLinearConfig, nn: Vocabulary, x: Tensor, mask: Tensor) -> Tensor:
    """f_R summed over partners: what particle i gives plus what the jet gives, (B, N, D) -> (B, N, D)."""

    def term(source: Tensor, outer: str, name: str, counted: Tensor | None) -> Tensor:
        linear = Linear(
            f"{outer}d,de->{outer}e",
            {"e": cfg.edge_width},
            "e",
            activation=cfg.edge_activation,
            norm=Norm(f"{name}_norm", cfg.norm, counted),
        )
        return nn.dense(source, name, linear)

    own = term(x, "bn", "edge_own", mask)  # (B, N, D)
    shared = term(pool(nn, x, mask, cfg.pool, "edge_pool"), "b", "edge_shared", None)  # (B, D)
    shared = nn.spread(shared, x.shape[1], "edge_spread")  # (B, N, D)
    return nn.add(own, shared, "bne", "edge")


JEDI_LINEAR = Arch(
    config=JediLinearConfig,
    build=jedi_linear,
    forms={
        "relu": JediLinearConfig(embed_widths=(6,), edge_width=7, object_widths=(8,), fc_widths=(5,)),
        "affine": JediLinearConfig(
            embed_widths=(6,), edge_width=7, edge_activation="linear", object_widths=(5,), fc_widths=(), pool="mean"
        ),
    },
)
