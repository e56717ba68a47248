"""Hrrformer (arXiv:2305.19534): a transformer whose attention is linear in the number of tokens.

What the published tasks have in common: an embedding, blocks of attention and feed-forward part, the mean over tokens,
a dense layer and the logits; `qformers.models.hrrformer.published` has their sizes. Particles of a jet are tokens too:
their features go through dense layers instead of a table (``vocabulary: 0``).

Symbols in shapes: B batch, N tokens, F features, D width.
"""

from __future__ import annotations

import math
from dataclasses import replace

import keras

from qformers.errors import ConfigError
from qformers.models.attend import attend
from qformers.models.hrrformer import layers as own
from qformers.models.hrrformer.attention import attention, head_linear
from qformers.models.hrrformer.config import HrrformerConfig
from qformers.models.sizes import Jet
from qformers.nn.vocabulary import Linear, Model, Norm, Tensor, Vocabulary

EPSILON = 1e-6  # of norms, flax's
OTHER_HEAD = "has no fixed point; set model.head: mean"
ONE_SEQUENCE = "has no fixed point; set model.pair: false"
POOLED = "the mean over all slots has no fixed point; set model.mask_pool: true"


def hrrformer(cfg: HrrformerConfig, jet: Jet, nn: Vocabulary) -> Model:
    """Build a Hrrformer.

    Args:
        cfg: the architecture.
        jet: sizes given by the data; of ``pair`` the particles are the tokens of both sequences.
        nn: float or quantised arithmetic.

    Returns:
        A model with inputs ``features`` (B, N, F) or, of tokens, ``tokens`` (B, N; whole numbers; in fixed point
        ``tokens_one_hot`` (B, N, V)), ``mask`` (B, N; 1 = real) where something reads it, and the output ``logits``
        (B, classes).

    Raises:
        ConfigError: a pair of an odd number of tokens, or tokens of several features.
    """
    nn.declare(point="nqk", head="h", channel="defvc")
    if cfg.pair and jet.num_particles % 2:
        raise ConfigError(f"model.pair: data.num_particles must be even. Received: {jet.num_particles}")
    inputs: dict[str, Tensor] = {}
    if cfg.vocabulary:
        tokens = nn.tokens("tokens", jet.num_particles, cfg.vocabulary)
        inputs[tokens.name] = tokens
    else:
        inputs["features"] = nn.input("features", (jet.num_particles, jet.num_features), "bnd")  # (B, N, F)
    mask = None
    if _reads_mask(cfg):
        mask = inputs["mask"] = nn.input("mask", (jet.num_particles,), "bn")  # (B, N)
    given = next(iter(inputs.values()))
    if cfg.pair:  # in front of the embedding: places are counted anew in the second sequence
        given = nn.real(own.Halves, given, "halves", f"pair: true {ONE_SEQUENCE}")
        if mask is not None:
            mask = nn.real(own.Halves, mask, "mask_halves", f"pair: true {ONE_SEQUENCE}")
    x = _embedded(cfg, nn, given, mask)  # (B, N, D)
    x = nn.dropout(x, cfg.dropout, "embed_dropout")
    if cfg.head == "class_token":
        x = nn.real(own.TokenInFront, x, "class_token", f"head: class_token {OTHER_HEAD}")
        if mask is not None:
            mask = nn.real(own.ClassMask, mask, "class_mask", f"head: class_token {OTHER_HEAD}")
    for index in range(cfg.blocks):
        x = _block(cfg, nn, x, mask, f"b{index}")
    x = _pooled(cfg, nn, x, mask)  # (B, D)
    if cfg.pair:
        x = nn.real(own.Compared, x, "compared", f"pair: true {ONE_SEQUENCE}")
    for index, width in enumerate(cfg.fc_widths):
        linear = Linear("bd,de->be", {"e": width}, "e", activation=cfg.activation, initial="lecun")
        x = nn.dense(x, f"fc{index}", linear)
    logits = nn.dense(x, "logits", Linear("bd,dc->bc", {"c": jet.num_classes}, "c", initial="lecun"))
    return nn.model(inputs, logits, cfg)


def _reads_mask(cfg: HrrformerConfig) -> bool:
    """Whether anything reads the mask."""
    attends = cfg.attention != "none" and (cfg.masked or cfg.mask_beta)
    counts = cfg.norm == "batch" or (cfg.input_norm == "batch" and not cfg.vocabulary)
    return attends or cfg.mask_pool or counts


def _norm(cfg: HrrformerConfig, name: str, mask: Tensor | None) -> Norm:
    return Norm(name, cfg.norm, mask, epsilon=EPSILON)


def _embedded(cfg: HrrformerConfig, nn: Vocabulary, given: Tensor, mask: Tensor | None) -> Tensor:
    """Tokens (B, N) or features (B, N, F) as (B, N, D)."""
    norm = _norm(cfg, "embed_norm", mask) if cfg.embed_norm else None
    if cfg.vocabulary:
        linear = Linear("bnv,vd->bnd", {"v": cfg.vocabulary, "d": cfg.width}, None, norm=norm)
        return nn.embedding(given, "embed", cfg.vocabulary, linear, cfg.positions)
    x = nn.norm(given, Norm("input_norm", cfg.input_norm, mask))
    for index, width in enumerate(cfg.embed_widths[:-1]):
        linear = Linear("bnd,de->bne", {"e": width}, "e", activation=cfg.activation, initial="lecun")
        x = nn.dense(x, f"embed{index}", linear)
    bias = "ne" if cfg.positions == "learned" else "e"
    return nn.dense(x, "embed", Linear("bnd,de->bne", {"e": cfg.width}, bias, norm=norm, initial="lecun"))


def _block(cfg: HrrformerConfig, nn: Vocabulary, x: Tensor, mask: Tensor | None, p: str) -> Tensor:
    """Attention and feed-forward part, each with its residual: (B, N, D) -> (B, N, D)."""
    if cfg.attention != "none":
        given = nn.norm(x, _norm(cfg, f"{p}_attn_norm", mask)) if cfg.residuals == "pre" else x
        attend_by = attention if cfg.attention == "hrr" else _dot
        y = nn.dropout(attend_by(cfg, nn, given, mask, f"{p}_attn"), cfg.dropout, f"{p}_attn_dropout")
        x = nn.add(y, x, "bnd", f"{p}_attn_residual")
        x = nn.norm(x, _norm(cfg, f"{p}_attn_norm", mask)) if cfg.residuals == "post" else x
    given = x if cfg.residuals == "post" else nn.norm(x, _norm(cfg, f"{p}_ffn_norm", mask))
    hidden = Linear("bnd,de->bne", {"e": cfg.ffn_width}, "e", activation=cfg.activation, initial="lecun")
    linear = Linear("bnd,de->bne", {"e": cfg.width}, "e" if cfg.biases else None, initial="lecun")
    y = nn.dense(nn.dense(given, f"{p}_ffn_hidden", hidden), f"{p}_ffn_out", linear)
    x = nn.add(nn.dropout(y, cfg.dropout, f"{p}_ffn_dropout"), x, "bnd", f"{p}_ffn_residual")
    return nn.norm(x, _norm(cfg, f"{p}_ffn_norm", mask)) if cfg.residuals == "post" else x


def _dot(cfg: HrrformerConfig, nn: Vocabulary, x: Tensor, mask: Tensor | None, p: str) -> Tensor:
    """Dot-product attention of the same shape (arXiv:1706.03762), the control: (B, N, D) -> (B, N, D)."""

    def project(which: str, factor: float = 1.0) -> Tensor:
        return nn.dense(x, f"{p}_{which}", replace(head_linear(cfg, cfg.head_width), factor=factor))

    query, key, value = project("q", 1 / math.sqrt(cfg.head_width)), project("k"), project("v")
    context = attend(nn, query, key, value, mask if cfg.masked else None, p)
    linear = Linear("bqhe,hed->bqd", {"d": cfg.width}, "d" if cfg.biases else None, initial="lecun")
    return nn.dense(context, f"{p}_out", linear)


def _pooled(cfg: HrrformerConfig, nn: Vocabulary, x: Tensor, mask: Tensor | None) -> Tensor:
    """One vector of an event: (B, N, D) -> (B, D)."""
    if cfg.head == "class_token":
        return nn.real(own.FirstToken, x, "pool", f"head: class_token {OTHER_HEAD}")
    if cfg.mask_pool:
        return nn.mean(x, mask, "pool")
    return nn.real(keras.layers.GlobalAveragePooling1D, x, "pool", POOLED)
