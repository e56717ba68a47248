"""Holographic attention: bind keys to values, add all up, unbind by each query, weigh each value by the match.

    beta = sum_t k_t (*) v_t        circular convolution, over all positions
    f_t  = q_t (corr) beta          circular correlation: what query t finds
    a_t  = cos(v_t, f_t)
    w    = softmax of a over t      e_t / sum_s e_s with e_t = exp(a_t), which needs no maximum: a is in [-1, 1]
    o_t  = w_t v_t                  no sum over t

(arXiv:2305.19534, equations 1 to 5.) The cost grows with N, not with N^2. In the form `fft` convolution and correlation
are products of Fourier transforms, as published. In the form `dft` the orthonormal real Fourier transform U (n, n) of
each head is folded into the dense layers around it, W_q <- W_q U^T and so on, W_o <- U W_o, and no transform is left:
of n numbers, two are the real ones at frequency 0 and n/2 (`edge`), the others n/2 - 1 complex ones (`re`, `im`). Then

    B    = sum_t K_t V_t            complex products; of edges real ones
    P_t  = c conj(Q_t) B / |B|      c = 2 for edges, 1 elsewhere: by so much the scale of complex numbers differs
    a_t  = cos(V_t, P_t)            U changes no angle

is the same function; the factor 2 is folded into the edges of the queries. B grows with the number of tokens, and a
cosine does not change with its length, which is taken out so that P_t has a range that fixed point holds.

Symbols in shapes: B batch, N tokens, h heads, n head width, D model width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qformers.models.arch import Source
from qformers.models.hrrformer import tables
from qformers.models.hrrformer.config import HrrformerConfig
from qformers.models.hrrformer.layers import Unbinding
from qformers.nn import norms
from qformers.nn.vocabulary import Linear, Tensor, Vocabulary

if TYPE_CHECKING:
    from qformers.nn.formats import Formats

REFUSAL = "form: fft has no fixed point; set model.form: dft, the same function"
EXACT = "inverse: exact has no fixed point; set model.inverse: approximate, which is another function"
PARTS = ("edge", "re", "im")


@dataclass(frozen=True)
class Spectrum:
    """Real Fourier coefficients of each head, (B, N, h, ...) or summed over tokens (B, h, ...): 2, n/2 - 1, n/2 - 1."""

    edge: Tensor
    re: Tensor
    im: Tensor

    def joined(self, nn: Vocabulary, name: str) -> Tensor:
        """Side by side, (B, N, h, n)."""
        return nn.concatenate([self.edge, self.re, self.im], name)


def attention(cfg: HrrformerConfig, nn: Vocabulary, x: Tensor, mask: Tensor | None, p: str) -> Tensor:
    """Holographic attention without its residual: (B, N, D), which may be normed -> (B, N, D).

    Args:
        cfg: the architecture.
        nn: the vocabulary.
        x: tokens.
        mask: (B, N), 1 = real; None where nothing is masked.
        p: prefix of the names of layers.
    """
    keys_mask = mask if cfg.mask_beta else None
    if cfg.form == "fft":
        q, k, v = (nn.dense(x, f"{p}_{which}", head_linear(cfg, cfg.head_width)) for which in "qkv")
        k = k if keys_mask is None else nn.gate(k, keys_mask, f"{p}_k_real")
        found = nn.real(
            Unbinding, [q, k, v], f"{p}_found", EXACT if cfg.inverse == "exact" else REFUSAL, inverse=cfg.inverse
        )
    else:
        found, v = _unbound(cfg, nn, x, keys_mask, p)
    cosine = nn.cosine(v, found, "bnhe", f"{p}_cosine", cfg.cosine_epsilon)  # (B, N, h)
    weights, factor = _weights(cfg, nn, cosine, mask if cfg.masked else None, p)
    weighed = nn.einsum("bnh,bnhe->bnhe", weights, v, f"{p}_context")
    linear = Linear("bnhe,hed->bnd", {"d": cfg.width}, "d" if cfg.biases else None, factor=factor, initial="lecun")
    if cfg.form == "fft":
        return nn.dense(weighed, f"{p}_out", linear)
    return nn.derived_dense(weighed, f"{p}_out", linear, "dft out", f"{p}_out")


def head_linear(cfg: HrrformerConfig, width: int) -> Linear:
    """Of queries, keys and values; a norm in front that is folded in needs a bias."""
    bias = "he" if cfg.biases else None
    sizes = {"h": cfg.heads, "e": width}
    return Linear("bnd,dhe->bnhe", sizes, bias, initial="lecun", folded_bias_axes="he")


def _unbound(
    cfg: HrrformerConfig, nn: Vocabulary, x: Tensor, keys_mask: Tensor | None, p: str
) -> tuple[Tensor, Tensor]:
    """What queries find, and the values, both (B, N, h, n) in the basis of U."""
    complex_width = cfg.head_width // 2 - 1

    def project(which: str, part: str) -> Tensor:
        linear = head_linear(cfg, 2 if part == "edge" else complex_width)
        rule = "dft edge twice" if (which, part) == ("q", "edge") else f"dft {part}"
        made = nn.derived_dense(x, f"{p}_{which}_{part}", linear, rule, f"{p}_{which}")
        if which == "k" and keys_mask is not None:
            return nn.gate(made, keys_mask, f"{p}_k_{part}_real")
        return made

    q, k, v = (Spectrum(*(project(which, part) for part in PARTS)) for which in "qkv")

    def bound(a: Tensor, b: Tensor, name: str) -> Tensor:
        return nn.einsum("bnhe,bnhe->bhe", a, b, f"{p}_{name}")

    total = Spectrum(
        bound(k.edge, v.edge, "bound_edge"),
        nn.minus(bound(k.re, v.re, "bound_rr"), bound(k.im, v.im, "bound_ii"), f"{p}_bound_re", axes="bhe"),
        nn.add(bound(k.re, v.im, "bound_ri"), bound(k.im, v.re, "bound_ir"), "bhe", f"{p}_bound_im"),
    )
    beta = _split(cfg, nn, nn.unit(total.joined(nn, f"{p}_bound"), f"{p}_beta", cfg.cosine_epsilon), f"{p}_beta")

    def found(a: Tensor, b: Tensor, name: str) -> Tensor:
        return nn.einsum("bnhe,bhe->bnhe", a, b, f"{p}_{name}")

    unbound = Spectrum(
        found(q.edge, beta.edge, "found_edge"),
        nn.add(found(q.re, beta.re, "found_rr"), found(q.im, beta.im, "found_ii"), "bnhe", f"{p}_found_re"),
        nn.minus(found(q.re, beta.im, "found_ri"), found(q.im, beta.re, "found_ir"), f"{p}_found_im", axes="bnhe"),
    )
    return unbound.joined(nn, f"{p}_found"), v.joined(nn, f"{p}_v")


def _split(cfg: HrrformerConfig, nn: Vocabulary, x: Tensor, name: str) -> Spectrum:
    """Coefficients (B, h, n) of mean square 1 as the parts of a spectrum."""
    rows = np.split(np.eye(cfg.head_width), np.cumsum([2, cfg.head_width // 2 - 1]))

    def form(formats: Formats) -> str:
        return norms.unit_form(formats.quant.norm_bits, cfg.head_width)

    return Spectrum(
        *(nn.wires(x, kept.T, "bhe,ef->bhf", f"{name}_{part}", form) for part, kept in zip(PARTS, rows, strict=True))
    )


def _weights(cfg: HrrformerConfig, nn: Vocabulary, cosine: Tensor, mask: Tensor | None, p: str) -> tuple[Tensor, float]:
    """Softmax over the tokens, (B, N, h), and a factor that is left for the dense layer behind it."""
    tokens = cosine.shape[1]
    weights = nn.table(cosine, tables.EXPONENTIAL, f"{p}_exp")
    if mask is not None:
        weights = nn.gate(weights, mask, f"{p}_exp_real")
    if mask is not None and cfg.scale_by_T:
        level = nn.mean(weights, mask, f"{p}_level")  # (B, h)
        share = nn.table(level, tables.SHARE_OF_MEAN, f"{p}_share")
        return nn.einsum("bnh,bh->bnh", weights, share, f"{p}_weights"), 1.0
    total = nn.wires(weights, np.ones(tokens), "bnh,n->bh", f"{p}_sum", tables.exponentials)
    if mask is None:  # times T here, which keeps the bits, and divided by T in the dense layer
        share = nn.table(total, tables.share_of_tokens(tokens), f"{p}_share")
        factor = 1.0 if cfg.scale_by_T else 1.0 / tokens
    else:
        share, factor = nn.table(total, tables.share_of_some(tokens), f"{p}_share"), 1.0
    return nn.einsum("bnh,bh->bnh", weights, share, f"{p}_weights"), factor


def transform(width: int) -> dict[str, NDArray[np.float64]]:
    """Rows of the orthonormal real Fourier transform of n numbers: edge (2, n), re and im (n/2 - 1, n)."""
    places = np.arange(width)
    angles = 2 * math.pi * np.outer(np.arange(1, width // 2), places) / width
    return {
        "edge": np.stack([np.ones(width), (-1.0) ** places]) / math.sqrt(width),
        "re": math.sqrt(2 / width) * np.cos(angles),
        "im": -math.sqrt(2 / width) * np.sin(angles),
    }


def _derive(part: str, factor: float = 1.0) -> Callable[..., Any]:
    """Kernel (D, h, e) and bias (h, e) of a part of what a dense layer of the form `fft` gives."""

    def derive(cfg: HrrformerConfig, source: Source, of: str) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        norm = (f"{of.rsplit('_', 1)[0]}_norm",) if cfg.residuals == "pre" and cfg.norm != "none" else ()
        kernel, bias = source.dense(of, norm)
        rows = factor * transform(cfg.head_width)[part]
        return kernel @ rows.T, None if bias is None else bias @ rows.T

    return derive


def _derive_out(
    cfg: HrrformerConfig, source: Source, of: str
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Kernel (h, e, D) that takes coefficients instead of numbers."""
    kernel, bias = source.dense(of)
    rows = np.concatenate([transform(cfg.head_width)[part] for part in PARTS])
    return np.einsum("ej,hjd->hed", rows, kernel), bias


DERIVATIONS = {
    **{f"dft {part}": _derive(part) for part in PARTS},
    "dft edge twice": _derive("edge", 2.0),
    "dft out": _derive_out,
}
