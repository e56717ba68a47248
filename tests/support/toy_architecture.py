"""A toy architecture, written with nothing but what a new one needs: its record, its function, its forms."""

from __future__ import annotations

from typing import Literal

from qformers.config.section import Section, Width
from qformers.models.arch import Arch
from qformers.models.sizes import Jet
from qformers.nn.layers import Factor
from qformers.nn.vocabulary import Linear, Model, Norm, NormKind, Vocabulary


class ToyConfig(Section):
    """The model section of architecture toy."""

    architecture: Literal["toy"] = "toy"
    width: Width = 4
    norm: NormKind = "batch"
    pool: Literal["mean", "sum"] = "mean"
    third: bool = False  # of the pooled values: exact in float alone


def toy(cfg: ToyConfig, jet: Jet, nn: Vocabulary) -> Model:
    """Norm, one dense layer per particle, a pooling, logits."""
    nn.declare(point="n", channel="dec")
    features = nn.input("features", (jet.num_particles, jet.num_features), "bnd")  # (B, N, F)
    mask = nn.input("mask", (jet.num_particles,), "bn")  # (B, N)
    x = nn.norm(features, Norm("toy_norm", cfg.norm, mask))
    x = nn.dense(x, "toy_dense", Linear("bnd,de->bne", {"e": cfg.width}, "e", activation="relu"))  # (B, N, D)
    x = nn.mean(x, mask, "toy_pool") if cfg.pool == "mean" else nn.total(x, mask, "toy_pool")  # (B, D)
    if cfg.third:
        x = nn.real(Factor, x, "toy_third", "1/3 has no fixed-point form; set model.third: false", factor=1 / 3)
    logits = nn.dense(x, "logits", Linear("bd,dc->bc", {"c": jet.num_classes}, "c"))
    return nn.model({"features": features, "mask": mask}, logits, cfg)


TOY_ARCHITECTURE = Arch(ToyConfig, toy, forms={"mean": ToyConfig(), "sum": ToyConfig(pool="sum", norm="layer")})
