"""Class attention: a learned token collects the jet (arXiv:2202.03772, fig. 3c; CaiT, arXiv:2103.17239).

Two forms, chosen by `PartConfig.class_attention`. ``tokens`` is the published one: the token stands in front of the
particles as one more key. In the first block the query is the raw token, a constant; so with one class block the scores
are a fixed map D -> H of the particles, and that is the form ``scores``, which firmware has: a softmax only sees
differences, so the token's own score is taken as 0 and the others relative to it; what the token adds by its own value,
and the residual, are constants times its attention weight and a bias. `DERIVATIONS` says how the weights of the second
form follow from the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.errors import ConfigError
from qformers.models.arch import Source
from qformers.models.part import layers as part_layers
from qformers.models.part.config import PartConfig
from qformers.models.part.feed_forward import feed_forward
from qformers.nn.vocabulary import COMPUTED, Linear, Norm, Tensor, Vocabulary

Array = NDArray[np.float64]

WEIGHT = "ufixed<16,1,RND,SAT>"  # attention weights on their way through wires
NO_TOKENS = (
    "class_attention: tokens joins the class token to the particles, which has no fixed-point form here; set "
    "model.class_attention: scores, the same function for one class block"
)


def class_blocks(cfg: PartConfig, nn: Vocabulary, x: Tensor, mask: Tensor) -> Tensor:
    """All class blocks: particles (B, N, D) and mask (B, N) -> the token (B, D). `x` is not updated.

    Raises:
        ConfigError: more than one class block of the form ``scores``, or a form that the vocabulary does not have.
    """
    return _scores(cfg, nn, x, mask) if cfg.class_attention == "scores" else _tokens(cfg, nn, x, mask)


def _tokens(cfg: PartConfig, nn: Vocabulary, x: Tensor, mask: Tensor) -> Tensor:
    token = nn.real(part_layers.ClassToken, x, "cls_token", NO_TOKENS)  # (B, 1, D)
    valid = nn.real(part_layers.PrependValid, mask, "cls_mask", NO_TOKENS)  # (B, 1 + N)
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


def _scores(cfg: PartConfig, nn: Vocabulary, x: Tensor, mask: Tensor) -> Tensor:
    if cfg.class_blocks != 1:
        raise ConfigError(
            "class_attention: scores, which a quantised class token needs, takes one class block, whose query is a "
            f"constant; set model.class_blocks: 1. Received: class_blocks={cfg.class_blocks}"
        )
    particles, heads = x.shape[1], cfg.heads
    x = nn.norm(x, Norm("c0_attn_pre_norm", cfg.norm, mask))
    scores = nn.derived_dense(x, "c0_attn_scores", Linear("bnd,dh->bhn", {"h": heads}, "h"), "class scores")
    shift = np.eye(particles + 1)[1:]  # (N, 1 + N): particle n to slot n + 1; slot 0, the token, keeps score 0
    scores = nn.wires(scores, shift, "bhn,nm->bhm", "c0_attn_slots", lambda formats: formats.quant.logits)
    logits = nn.class_logits(scores, mask, "c0_attn_logits")
    weights = nn.softmax(logits, "c0_attn_weights")  # (B, H, 1 + N)

    value = nn.dense(x, "c0_attn_v", Linear("bnd,dhe->bnhe", {"h": heads, "e": cfg.head_width}, "he"))
    on_particles = nn.wires(weights, shift.T, "bhm,mn->bhn", "c0_attn_on_particles", WEIGHT)
    context = nn.einsum("bhn,bnhe->bhe", on_particles, value, "c0_attn_context")
    out = nn.derived_dense(context, "c0_attn_out", Linear("bhe,hed->bd", {"d": cfg.width}, "d"), "class out")
    on_itself = nn.wires(weights, np.eye(particles + 1)[0], "bhm,m->bh", "c0_attn_on_itself", WEIGHT)
    own = nn.derived_dense(on_itself, "c0_attn_own", Linear("bh,hd->bd", {"d": cfg.width}, None), "class own")
    if _norm_behind(cfg):
        token = nn.norm(nn.add(out, own, "bd", "c0_attn_both"), Norm("c0_attn_post_norm", cfg.norm))
        token = nn.derived_dense(token, "c0_attn_residual", Linear("bd,d->bd", {}, "d"), "class token")
    else:
        token = nn.add(out, own, "bd", "c0_attn_residual")
    return feed_forward(cfg, nn, token, "bd", None, "c0")


def _token(source: Source) -> Array:
    """(D,)."""
    return np.asarray(source.weight("cls_token", "token")[0, 0])


def _before(cfg: PartConfig) -> tuple[str, ...]:
    return ("c0_attn_pre_norm",) if cfg.norm != "none" else ()


def _norm_behind(cfg: PartConfig) -> bool:
    """Whether the norm behind the attention is one that has to be computed."""
    return cfg.scale_attn and cfg.norm in COMPUTED


def _out(cfg: PartConfig, source: Source) -> tuple[Array, Array]:
    """Kernel (H, d, D) and bias (D,) of the projection, with the factors and the batch norm behind it."""
    post = ("c0_attn_post_norm",) if cfg.scale_attn and cfg.norm == "batch" else ()
    kernel, bias = source.dense("c0_attn_out", after=(("c0_attn_heads",) if cfg.scale_heads else ()) + post)
    return kernel, np.zeros(kernel.shape[-1]) if bias is None else bias


def derive_scores(cfg: PartConfig, source: Source, of: str = "") -> tuple[Array, Array]:
    """Scores of the particles relative to the token's own: kernel (D, H) on normed particles, bias (H,)."""
    query, shift = source.dense("c0_attn_q")  # of the raw token
    query = np.einsum("d,dhe->he", _token(source), query) + (0.0 if shift is None else shift)
    kernel, _ = source.dense("c0_attn_k", before=_before(cfg))  # its bias is the same for all keys
    kernel = np.einsum("dhe,he->dh", kernel, query / math.sqrt(cfg.head_width))
    return kernel, -(source.normed(_token(source), _before(cfg)) @ kernel)


def derive_own(cfg: PartConfig, source: Source, of: str = "") -> tuple[Array, None]:
    """What the token adds by its own value per unit of its attention weight: kernel (H, D)."""
    kernel, bias = source.dense("c0_attn_v", before=_before(cfg))
    token = source.normed(_token(source), _before(cfg))
    value = np.einsum("d,dhe->he", token, kernel) + (0.0 if bias is None else bias)
    return np.einsum("he,hed->hd", value, _out(cfg, source)[0]), None


def derive_out(cfg: PartConfig, source: Source, of: str = "") -> tuple[Array, Array]:
    """The projection of what the particles give; its bias holds the residual, the raw token, if no norm is between."""
    kernel, bias = _out(cfg, source)
    return kernel, bias if _norm_behind(cfg) else bias + _token(source)


def derive_token(cfg: PartConfig, source: Source, of: str = "") -> tuple[Array, Array]:
    """Behind a norm that is computed: what it learned, and the residual, the raw token. Kernel and bias (D,)."""
    scale, shift = source.affine(("c0_attn_post_norm",))
    token = _token(source)
    return np.broadcast_to(scale, token.shape), np.broadcast_to(shift, token.shape) + token


DERIVATIONS: dict[str, Callable[[Any, Source, str], tuple[Array, Array | None]]] = {
    "class scores": derive_scores,
    "class own": derive_own,
    "class out": derive_out,
    "class token": derive_token,
}
