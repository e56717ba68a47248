"""Class attention in fixed point: the query is a constant, and so are the token's own score and value.

One class block sees the raw class token as its query, so the scores are a fixed map D -> H of the particles. A softmax
only sees differences, so the token's own score is taken as 0 and the others relative to it. What the token adds by its
own value, and the residual, are constants times its attention weight and a bias.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from qformers.errors import ConfigError
from qformers.models.part.config import PartConfig
from qformers.nn.hgq import Hgq
from qformers.nn.vocabulary import Fold, Linear, Norm, Tensor
from qformers.quant.fold import folded_dense, to_numpy

WEIGHT = "ufixed<16,1,RND,SAT>"  # attention weights on their way through wires


def fixed_class_blocks(cfg: PartConfig, nn: Hgq, x: Tensor, mask: Tensor) -> Tensor:
    """One class block on particles (B, N, D) and mask (B, N): the token (B, D).

    Raises:
        ConfigError: more than one class block (from the second on the query depends on the jet).
    """
    from qformers.models.part.part import feed_forward

    if cfg.class_blocks != 1:
        raise ConfigError(
            "a quantised class token takes one class block, whose query is a constant; set model.class_blocks: 1. "
            f"Received: class_blocks={cfg.class_blocks}"
        )
    particles, heads = x.shape[1], cfg.heads
    x = nn.norm(x, Norm("c0_attn_pre_norm", cfg.norm))
    scores = nn.derived_dense(x, "c0_attn_scores", Linear("bnd,dh->bhn", {"h": heads}, "h"), _Scores(cfg))
    shift = np.eye(particles + 1)[1:]  # (N, 1 + N): particle n to slot n + 1; slot 0, the token, keeps score 0
    scores = nn.wires(scores, shift, "bhn,nm->bhm", "c0_attn_slots", nn.logits_format)
    logits = nn.class_logits(scores, mask, "c0_attn_logits")
    weights = nn.softmax(logits, "c0_attn_weights")  # (B, H, 1 + N)

    value = nn.dense(x, "c0_attn_v", Linear("bnd,dhe->bnhe", {"h": heads, "e": cfg.head_width}, "he"))
    on_particles = nn.wires(weights, shift.T, "bhm,mn->bhn", "c0_attn_on_particles", WEIGHT)
    context = nn.einsum("bhn,bnhe->bhe", on_particles, value, "c0_attn_context")
    out = nn.derived_dense(context, "c0_attn_out", Linear("bhe,hed->bd", {"d": cfg.width}, "d"), _Out(cfg))
    on_itself = nn.wires(weights, np.eye(particles + 1)[0], "bhm,m->bh", "c0_attn_on_itself", WEIGHT)
    own = nn.derived_dense(on_itself, "c0_attn_own", Linear("bh,hd->bd", {"d": cfg.width}, None), _Own(cfg))
    token = nn.add(out, own, "bd", "c0_attn_residual")
    return feed_forward(cfg, nn, token, "bd", None, "c0")


class _Derived:
    """Weights of one layer as a function of the float model (see `Hgq.derived_dense`)."""

    def __init__(self, cfg: PartConfig) -> None:
        self.cfg = cfg
        self.before = ("c0_attn_pre_norm",) if cfg.norm != "none" else ()
        post = ("c0_attn_post_norm",) if cfg.scale_attn and cfg.norm != "none" else ()
        self.after = (("c0_attn_heads",) if cfg.scale_heads else ()) + post

    def token(self, model: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.asarray(to_numpy(model.get_layer("cls_token").token)[0, 0])  # (D,)

    def query(self, model: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(H, d), of the raw token, scaled."""
        layer = model.get_layer("c0_attn_q")
        query = np.einsum("d,dhe->he", self.token(model), to_numpy(layer._kernel)) + to_numpy(layer.bias)
        return np.asarray(query / math.sqrt(self.cfg.head_width))

    def out(self, model: Any) -> tuple[Any, Any]:
        return folded_dense(model, "c0_attn_out", Fold((), self.after))


class _Scores(_Derived):
    def __call__(self, model: Any) -> tuple[Any, Any]:
        kernel, _ = folded_dense(model, "c0_attn_k", Fold(self.before))  # its bias is the same for all keys
        kernel = np.einsum("dhe,he->dh", kernel, self.query(model))
        own = self.token(model) @ kernel  # (H,), the token's own score: norm and token meet the same folded kernel
        return kernel, -own


class _Own(_Derived):
    def __call__(self, model: Any) -> tuple[Any, Any]:
        kernel, bias = folded_dense(model, "c0_attn_v", Fold(self.before))
        value = np.einsum("d,dhe->he", self.token(model), kernel) + bias
        return np.einsum("he,hed->hd", value, self.out(model)[0]), None


class _Out(_Derived):
    def __call__(self, model: Any) -> tuple[Any, Any]:
        kernel, bias = self.out(model)
        return kernel, bias + self.token(model)  # the residual
