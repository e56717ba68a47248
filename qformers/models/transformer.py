"""Transformer without pair bias, with full attention or Linformer attention, as on FPGAs in arXiv:2510.24784.

The published models (their released files): two dense layers of 16 with ReLU, one attention of one head of 16, two
feed-forward parts 16 -> 32 -> 16, a residual sum behind each of the three, then all slots side by side into 16, ReLU
and five logits; no norm, no position, no mask. Ours: batch norms that fold into the dense steps, padded particles
hidden as keys, and ``pool: mean``.

Linformer attention (arXiv:2006.04768) projects the N particles to k tokens by learned matrices (N, k), one for keys and
one for values, in front of the key and value layers; padded particles enter as zeros. Each slot has weights of its own.

A padded slot never changes a logit with ``pool: mean``. With ``pool: flatten`` each slot has a kernel of its own in the
head, and an empty slot is what the network makes of a row of zeros (``data.padding: zero``). Only full attention with
``pool: mean`` does not depend on the order of the particles.

Symbols in shapes: B batch, N particles, F features, D width, H heads, d head width, K keys (N, or k of the Linformer).
"""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import model_validator

from qformers.config.section import Few, Section, Width, Widths
from qformers.models.arch import Arch
from qformers.models.attend import attend
from qformers.models.mlp import FoldedNorm, classify, flatten_dense, input_norm, mlp
from qformers.models.sizes import Jet
from qformers.nn.vocabulary import Linear, Model, Norm, Tensor, Vocabulary


class TransformerConfig(Section):
    """Transformer without pair bias, with full or Linformer attention (arXiv:2510.24784; `models.transformer`)."""

    architecture: Literal["transformer"] = "transformer"  # says whose keys these are
    embed_widths: Widths = (16, 16)  # per particle; the last one is the model width D
    attention: Literal["mha", "linformer"] = "mha"  # full, or linformer: of projected keys and values
    projected: Width = 2  # linformer: tokens that the particles are projected to as keys and values (k)
    heads: Few = 1  # of attention
    head_width: Width = 16  # of queries, keys and values
    blocks: Few = 1  # of attention and feed-forward parts
    feed_forwards: Few = 2  # feed-forward parts behind each attention, each with its residual
    ffn_width: Width = 32  # their hidden layer
    pool: Literal["flatten", "mean"] = "flatten"  # every slot with its own kernel, or the mean over real particles
    fc_widths: Widths = (16,)  # hidden layers in front of the logits
    norm: FoldedNorm = "batch"  # folded into dense layers in fixed point

    @property
    def width(self) -> int:
        """Model width D."""
        return self.embed_widths[-1]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.embed_widths:
            raise ValueError("embed_widths needs at least the model width. Received: embed_widths=()")
        if self.pool == "flatten" and not self.fc_widths:
            raise ValueError("pool: flatten needs a layer of its own. Received: fc_widths=()")
        return self


def transformer(cfg: TransformerConfig, jet: Jet, nn: Vocabulary) -> Model:
    """Build a transformer without pair bias.

    Args:
        cfg: the architecture.
        jet: sizes given by the data.
        nn: float or quantised arithmetic.

    Returns:
        A model with inputs ``features`` (B, N, F) and ``mask`` (B, N; 1 = real) and the output ``logits`` (B, classes).
    """
    nn.declare(point="nqk", head="h", channel="dec")
    features = nn.input("features", (jet.num_particles, jet.num_features), "bnd")  # (B, N, F)
    mask = nn.input("mask", (jet.num_particles,), "bn")  # (B, N)
    x = mlp(nn, input_norm(nn, features, cfg.norm, mask), "embed", cfg.embed_widths, cfg.norm, mask)  # (B, N, D)
    for index in range(cfg.blocks):
        p = f"b{index}"
        x = nn.add(_attention(cfg, nn, x, mask, f"{p}_attn"), x, "bnd", f"{p}_attn_residual")
        for part in range(cfg.feed_forwards):
            y = _feed_forward(cfg, nn, x, mask, f"{p}_ffn{part}")
            x = nn.add(y, x, "bnd", f"{p}_ffn{part}_residual")
    widths = cfg.fc_widths
    if cfg.pool == "mean":
        x = nn.mean(x, mask, "pool")  # (B, D)
    else:
        x, widths = flatten_dense(nn, x, "flat", widths[0], cfg.norm), widths[1:]  # (B, D)
    logits = classify(nn, x, widths, cfg.norm, jet.num_classes)
    return nn.model({"features": features, "mask": mask}, logits, cfg)


def _attention(cfg: TransformerConfig, nn: Vocabulary, x: Tensor, mask: Tensor, p: str) -> Tensor:
    """Self-attention without its residual: (B, N, D) -> (B, N, D)."""
    keys, values, hidden = x, x, mask
    if cfg.attention == "linformer":
        gated = nn.gate(x, mask, f"{p}_real")  # (B, N, D)
        projection = Linear("bnd,nk->bkd", {"k": cfg.projected}, None)
        keys = nn.dense(gated, f"{p}_k_projected", projection)  # (B, K, D)
        values = nn.dense(gated, f"{p}_v_projected", projection)
        hidden = None  # no projected token is padding

    def project(source: Tensor, which: str, bias_axes: str | None, factor: float = 1.0) -> Tensor:
        linear = Linear("bnd,dhe->bnhe", {"h": cfg.heads, "e": cfg.head_width}, bias_axes, factor=factor)
        return nn.dense(source, f"{p}_{which}", linear)

    query = project(x, "q", "he", 1 / math.sqrt(cfg.head_width))  # (B, N, H, d)
    key = project(keys, "k", nn.key_bias_axes)  # (B, K, H, d)
    value = project(values, "v", "he")
    context = attend(nn, query, key, value, hidden, p)  # (B, N, H, d)
    linear = Linear("bqhe,hed->bqd", {"d": cfg.width}, "d", norm=Norm(f"{p}_post_norm", cfg.norm, mask))
    return nn.dense(context, f"{p}_out", linear)


def _feed_forward(cfg: TransformerConfig, nn: Vocabulary, x: Tensor, mask: Tensor, p: str) -> Tensor:
    """Dense, ReLU, dense, without the residual: (B, N, D) -> (B, N, D)."""
    y = mlp(nn, x, f"{p}_hidden", (cfg.ffn_width,), cfg.norm, mask)
    linear = Linear("bnd,de->bne", {"e": cfg.width}, "e", norm=Norm(f"{p}_out_norm", cfg.norm, mask))
    return nn.dense(y, f"{p}_out", linear)


TRANSFORMER = Arch(
    config=TransformerConfig,
    build=transformer,
    forms={
        "flat": TransformerConfig(embed_widths=(6,), head_width=4, ffn_width=7, fc_widths=(5,), feed_forwards=1),
        "mean": TransformerConfig(embed_widths=(6,), head_width=4, ffn_width=7, fc_widths=(5,), heads=2, pool="mean"),
        "linformer": TransformerConfig(
            embed_widths=(6,), head_width=4, ffn_width=7, fc_widths=(5,), feed_forwards=1, attention="linformer"
        ),
        "linformer_mean": TransformerConfig(
            embed_widths=(6,),
            head_width=4,
            ffn_width=7,
            fc_widths=(5,),
            feed_forwards=1,
            attention="linformer",
            pool="mean",
            projected=3,
        ),
    },
)
