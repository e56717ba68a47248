"""Class attention: a learned token collects the jet (arXiv:2202.03772, fig. 3c; CaiT, arXiv:2103.17239)."""

from __future__ import annotations

import math
from typing import cast

from keras import ops

from qformers.models.part import layers as part_layers
from qformers.models.part.config import PartConfig
from qformers.nn.vocabulary import Linear, Norm, Tensor, Vocabulary


def class_blocks(cfg: PartConfig, nn: Vocabulary, x: Tensor, mask: Tensor) -> Tensor:
    """All class blocks: particles (B, N, D) and mask (B, N) -> the token (B, D). `x` is not updated."""
    from qformers.models.part.part import feed_forward

    if not nn.norms:
        from qformers.models.part.class_attention_fixed import fixed_class_blocks
        from qformers.nn.hgq import Hgq

        return fixed_class_blocks(cfg, cast(Hgq, nn), x, mask)
    token = part_layers.ClassToken(dtype=x.dtype, name="cls_token")(x)  # (B, 1, D)
    valid = part_layers.PrependValid(dtype=mask.dtype, name="cls_mask")(mask)  # (B, 1 + N)
    for index in range(cfg.class_blocks):
        p = f"c{index}"
        u = ops.concatenate([token, x], axis=1)  # (B, 1 + N, D)
        u = nn.norm(u, Norm(f"{p}_attn_pre_norm", cfg.norm, valid))
        y = _attend(cfg, nn, token, u, valid, p)
        token = nn.add(y, token, "bnd", f"{p}_attn_residual")
        token = feed_forward(cfg, nn, token, "bnd", None, p)
    return token[:, 0]


def _attend(cfg: PartConfig, nn: Vocabulary, token: Tensor, u: Tensor, valid: Tensor, p: str) -> Tensor:
    """One query, the raw token; keys and values are normalised; no pair bias; the token's own key is valid."""
    sizes, he = {"h": cfg.heads, "e": cfg.head_width}, "he"
    query_linear = Linear("bnd,dhe->bnhe", sizes, he, factor=1 / math.sqrt(cfg.head_width))
    query = nn.dense(token, f"{p}_attn_q", query_linear)  # (B, 1, H, d)
    key = nn.dense(u, f"{p}_attn_k", Linear("bnd,dhe->bnhe", sizes, nn.key_bias_axes))
    value = nn.dense(u, f"{p}_attn_v", Linear("bnd,dhe->bnhe", sizes, he))
    scores = nn.einsum("bqhe,bkhe->bhqk", query, key, f"{p}_attn_scores")  # (B, H, 1, 1 + N)
    weights = nn.softmax(nn.logits(scores, None, valid, f"{p}_attn_logits"), f"{p}_attn_weights")
    context = nn.einsum("bhqk,bkhe->bqhe", weights, value, f"{p}_attn_context")  # (B, 1, H, d)
    linear = Linear(
        "bqhe,hed->bqd",
        {"d": cfg.width},
        "d",
        head_factors=f"{p}_attn_heads" if cfg.scale_heads else None,
        heads=cfg.heads,
        norm=Norm(f"{p}_attn_post_norm", cfg.norm) if cfg.scale_attn else None,
    )
    return nn.dense(context, f"{p}_attn_out", linear)
