"""Particle Transformer (arXiv:2202.03772), written once over a vocabulary.

In the float vocabulary with the published configuration this is weaver-core's ParT (version 1) to rounding; smaller
configurations of the same function are what goes into firmware. Symbols in shapes: B batch, N particles, F features,
D width, H heads, d = D / H, U pair bias.
"""

from __future__ import annotations

import math

import numpy as np

from qformers.errors import ConfigError
from qformers.models.part import layers as part_layers
from qformers.models.part.class_attention import class_blocks
from qformers.models.part.config import PartConfig
from qformers.models.part.feed_forward import feed_forward
from qformers.models.part.pairs import onchip_features
from qformers.models.sizes import Jet
from qformers.nn import softmax
from qformers.nn.index import select
from qformers.nn.vocabulary import Linear, Model, Norm, NormKind, Tensor, Vocabulary

NO_VECTORS = (
    "pairs: vectors needs square roots and logarithms of four-momenta, which have no fixed-point form here; choose "
    "pairs: input (computed on the host) or pairs: onchip. Received: pairs=vectors"
)


def part(cfg: PartConfig, jet: Jet, nn: Vocabulary) -> Model:
    """Build a Particle Transformer.

    Args:
        cfg: the architecture.
        jet: sizes given by the data.
        nn: float or quantised arithmetic.

    Returns:
        A model with inputs ``features`` (B, N, F), ``mask`` (B, N; 1 = real) and, where `cfg.pairs` needs it,
        ``vectors`` (B, N, 4; px, py, pz, E) or ``pairs`` (B, N, N, 4), and the output ``logits`` (B, classes).

    Raises:
        ConfigError: the vocabulary cannot say what the configuration asks for.
    """
    nn.declare(point="nqkm", pair="ijp", head="h", channel="cdef" if cfg.softmax == "direct" else "cdefo")
    features = nn.input("features", (jet.num_particles, jet.num_features), "bnf")  # (B, N, F)
    mask = nn.input("mask", (jet.num_particles,), "bn")  # (B, N)
    front, bias = _pair_front_end(cfg, jet, nn, features, mask)  # bias (B, H, N, N)

    x = _embed(cfg, nn, features, mask)  # (B, N, D)
    for index in range(cfg.blocks):
        x = particle_block(cfg, nn, x, bias, mask, index)
    pooled = nn.mean(x, mask, "pool") if cfg.head == "mean" else class_blocks(cfg, nn, x, mask)  # (B, D)
    pooled = nn.norm(pooled, Norm("final_norm", cfg.norm))
    for index, width in enumerate(cfg.fc_widths):
        pooled = nn.dense(pooled, f"fc{index}", Linear("bd,de->be", {"e": width}, "e", activation="relu"))
    logits = nn.dense(pooled, "logits", Linear("bd,dc->bc", {"c": jet.num_classes}, "c"))
    inputs = [features, *front, mask]
    return nn.model({tensor.name: tensor for tensor in inputs}, logits, cfg)


def _embed(cfg: PartConfig, nn: Vocabulary, x: Tensor, mask: Tensor) -> Tensor:
    if cfg.norm != "none":
        x = nn.norm(x, Norm("input_norm", "batch"))  # counts padded positions too, as weaver does
    for index, width in enumerate(cfg.embed_widths):
        x = nn.norm(x, Norm(f"embed{index}_norm", cfg.norm, mask))
        x = nn.dense(x, f"embed{index}", Linear("bnf,fd->bnd", {"d": width}, "d", activation=cfg.activation))
    # tokens of padded slots are never read: the mask hides them as keys and in the pooling
    return nn.unread(part_layers.ZeroPadded, [x, mask], "embed_masked")


def _pair_front_end(
    cfg: PartConfig, jet: Jet, nn: Vocabulary, features: Tensor, mask: Tensor
) -> tuple[list[Tensor], Tensor | None]:
    """Model inputs besides features and mask, and the pair bias U (B, H, N, N), None without pairs."""
    if cfg.remove_self_pair and cfg.pairs != "vectors":
        raise ConfigError(
            "remove_self_pair: true goes with pairs: vectors; self pairs are standardised zeros with pairs: input and "
            f"have U = 0 with pairs: onchip. Received: pairs={cfg.pairs}"
        )
    if cfg.pairs == "none":
        return [], None
    if cfg.pairs == "vectors":
        vectors, bias = _exact_pairs(cfg, jet, nn, mask)
        return [vectors], bias
    both_real = nn.counted(part_layers.PairMask, mask, "pair_mask")  # (B, N, N)
    if cfg.pairs == "input":
        pairs = nn.input("pairs", (jet.num_particles, jet.num_particles, 4), "bijf")
        return [pairs], _pair_network(cfg, nn, pairs, "bhij", both_real)
    both_real = nn.counted(part_layers.LowerTriangle, both_real, "pair_mask_triangle", self_pairs=False)  # (B, P)
    values = onchip_features(jet.num_particles, jet.feature_set, nn, features)  # (B, P, 4)
    values = _pair_network(cfg, nn, values, "bph", both_real)
    return [], _pair_bias(nn, values, jet.num_particles, self_pairs=False)


def _exact_pairs(cfg: PartConfig, jet: Jet, nn: Vocabulary, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The published form: from four-momenta, each pair i >= j once, self pairs included unless removed."""
    vectors = nn.input("vectors", (jet.num_particles, 4), "bnf")
    square = nn.real(part_layers.PairFeatures, vectors, "pair_features", NO_VECTORS)  # (B, N, N, 4)
    kept = not cfg.remove_self_pair  # removed self pairs do not count in the statistics of the norms either
    triangle = nn.real(part_layers.LowerTriangle, square, "pair_triangle", NO_VECTORS, self_pairs=kept)  # (B, P, 4)
    both_real = nn.counted(part_layers.PairMask, mask, "pair_mask")
    counted = nn.counted(part_layers.LowerTriangle, both_real, "pair_mask_triangle", self_pairs=kept)
    values = _pair_network(cfg, nn, triangle, "bph", counted)  # (B, P, H)
    return vectors, _pair_bias(nn, values, jet.num_particles, self_pairs=kept)


def _pair_bias(nn: Vocabulary, values: Tensor, particles: int, self_pairs: bool) -> Tensor:
    """(B, P, H) of each pair once -> U (B, H, N, N), on the grid of the logits that it is added to."""
    return nn.symmetric(values, particles, lambda formats: formats.quant.logits, "pair_bias", self_pairs)


def _pair_network(cfg: PartConfig, nn: Vocabulary, x: Tensor, output: str, mask: Tensor | None) -> Tensor:
    """1x1 convolutions on the pair features (B, ..., 4); `output` spells the axes of the result with H channels."""
    x = nn.norm(x, Norm("pair_input_norm", _pair_norm(cfg), mask))
    widths = (*cfg.pair_widths, cfg.heads)
    inner = "bij" if len(x.shape) == 4 else "bp"
    for index, width in enumerate(widths):
        is_last = index == len(widths) - 1
        normed = not is_last or output.endswith("h")  # a norm needs the channels on the last axis
        linear = Linear(
            f"{inner}f,fh->{output if is_last else inner + 'h'}",
            {"h": width},
            "h",
            activation="linear" if is_last and cfg.pre_activation_pair else cfg.pair_activation,
            norm=Norm(f"pair{index}_norm", _pair_norm(cfg), mask) if normed else None,
            initial="torch_conv",
        )
        x = nn.dense(x, f"pair{index}", linear)
    return x


def _pair_norm(cfg: PartConfig) -> NormKind:
    """The pair network has batch norms in the published model too, where the blocks have layer norms."""
    return "none" if cfg.norm == "none" else "batch"


def _context(cfg: PartConfig, nn: Vocabulary, logits: Tensor, value: Tensor, p: str) -> Tensor:
    """Sum of values (B, N, H, d), weighted by the softmax of logits (B, H, N, N)."""
    if cfg.softmax == "direct":
        weights = nn.softmax(logits, f"{p}_weights")
        weights = nn.dropout(weights, cfg.attn_dropout, f"{p}_weights_dropout")
        return nn.einsum("bhqk,bkhe->bqhe", weights, value, f"{p}_context")
    keys = int(logits.shape[-1])
    logits = nn.round(logits, softmax.lifted_logits, f"{p}_rounded")
    top = nn.move(select.Largest, logits, f"{p}_top", axis=-1)  # (B, H, N, 1)
    exp = softmax.exp_below(nn, top, logits, f"{p}_exp")
    total = nn.wires(exp, np.ones((keys, 1)), "bhqk,ko->bhqo", f"{p}_total", softmax.EXPONENTIAL.value)
    exp = nn.dropout(exp, cfg.attn_dropout, f"{p}_weights_dropout")
    context = nn.einsum("bhqk,bkhe->bqhe", exp, value, f"{p}_sum")
    inverse = nn.table(total, softmax.reciprocals(keys), f"{p}_inverse")
    return nn.einsum("bqhe,bhqo->bqhe", context, inverse, f"{p}_context")


def particle_block(cfg: PartConfig, nn: Vocabulary, x: Tensor, bias: Tensor | None, mask: Tensor, index: int) -> Tensor:
    """Self-attention with the pair bias, then the feed-forward part: (B, N, D) -> (B, N, D)."""
    p = f"b{index}"
    heads, width = cfg.heads, cfg.head_width
    gain = 1 / math.sqrt(2 * (index + 1))  # smaller start of the residual branches, as weaver has it
    y = nn.norm(x, Norm(f"{p}_attn_pre_norm", cfg.norm, mask))

    def project(which: str, bias_axes: str | None, factor: float = 1.0) -> Tensor:
        linear = Linear("bnd,dhe->bnhe", {"h": heads, "e": width}, bias_axes, factor=factor)
        return nn.dense(y, f"{p}_attn_{which}", linear)

    query = project("q", "he", 1 / math.sqrt(width))  # (B, N, H, d)
    key = project("k", nn.key_bias_axes)
    value = project("v", "he")
    scores = nn.einsum("bqhe,bkhe->bhqk", query, key, f"{p}_attn_scores")  # (B, H, N, N)
    scores = nn.logits(scores, bias, mask, f"{p}_attn_logits")
    context = _context(cfg, nn, scores, value, f"{p}_attn")  # (B, N, H, d)
    linear = Linear(
        "bqhe,hed->bqd",
        {"d": cfg.width},
        "d",
        head_factors=f"{p}_attn_heads" if cfg.scale_heads else None,
        heads=heads,
        norm=Norm(f"{p}_attn_post_norm", cfg.norm, mask) if cfg.scale_attn else None,
        gain=gain,
    )
    y = nn.dense(context, f"{p}_attn_out", linear)
    y = nn.dropout(y, cfg.dropout, f"{p}_attn_dropout")
    x = nn.add(y, x, "bnd", f"{p}_attn_residual")
    return feed_forward(cfg, nn, x, "bnd", mask, p, gain, dropout=True)
