"""Particle Transformer as plain loops: what `qformers.models.part.part` must compute, in NumPy and float64.

One jet at a time, one particle at a time, one head at a time, and only real particles: padding does not exist here,
so that a model that agrees for padded jets has treated padding rightly. Weights are a mapping from weaver-core names
to arrays, as PyTorch's ``state_dict()`` gives it (weaver-core 0.5.3 ``ParticleTransformer``, version 1, evaluation
mode, trimmer off; arXiv:2202.03772). Names of older checkpoints (``attn.in_proj_weight``) are read too.

Letters: n real particles, F features, D width, H heads, d = D / H.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qformers.models.part.config import PartConfig

Array = NDArray[np.float64]
Weights = Mapping[str, Array]
NORM_EPSILON = 1e-5  # of layer and batch norms alike
PAIR_EPSILON = 1e-8  # floor of every logarithm of the pair features


def part(
    state: Mapping[str, ArrayLike], config: PartConfig, features: ArrayLike, vectors: ArrayLike, mask: ArrayLike
) -> Array:
    """Logits (B, classes) of features (B, N, F), four-momenta (B, N, 4; px, py, pz, E) and mask (B, N; 1 = real)."""
    weights = {name.replace("in_proj_", "in_proj."): np.asarray(value, np.float64) for name, value in state.items()}
    jets = []
    for x, v, m in zip(np.asarray(features), np.asarray(vectors), np.asarray(mask), strict=True):
        real = [i for i in range(len(m)) if m[i] > 0]
        jets.append(one_jet(weights, config, [x[i].astype(float) for i in real], [v[i].astype(float) for i in real]))
    return np.array(jets)


def one_jet(w: Weights, config: PartConfig, features: Sequence[Array], vectors: Sequence[Array]) -> Array:
    """Logits (classes,) of one jet given as lists of n features (F,) and n four-momenta (4,); n may be 0."""
    tokens = [embed(w, config, x) for x in features]
    bias = pair_bias(w, config, vectors)
    for b in range(config.blocks):
        tokens = particle_block(w, f"blocks.{b}", config, tokens, bias)
    if config.head == "class_token":
        pooled = w["cls_token"][0, 0]
        for c in range(config.class_blocks):
            pooled = class_block(w, f"cls_blocks.{c}", config, pooled, tokens)
    else:
        pooled = np.zeros(config.width)
        for token in tokens:
            pooled = pooled + token / len(tokens)
    hidden = layer_norm(w, "norm", pooled)
    for i in range(len(config.fc_widths)):
        hidden = np.maximum(linear(w, f"fc.{i}.0", hidden), 0.0)
    return linear(w, f"fc.{len(config.fc_widths)}", hidden)


def embed(w: Weights, config: PartConfig, x: Array) -> Array:
    """Features of one particle (F,) to its token (D,): input norm, then norm, linear, activation per width."""
    x = batch_norm(w, "embed.input_bn", x)
    for i in range(len(config.embed_widths)):
        x = layer_norm(w, f"embed.embed.{3 * i}", x)
        x = activate(config.activation, linear(w, f"embed.embed.{3 * i + 1}", x))
    return x


def pair_bias(w: Weights, config: PartConfig, vectors: Sequence[Array]) -> Array:
    """Bias U (H, n, n) on the attention scores, shared by all particle blocks; zero where there is no pair network."""
    bias = np.zeros((config.heads, len(vectors), len(vectors)))
    if config.pairs == "none":
        return bias
    layers = len(config.pair_widths) + 1  # the last one has one output per head
    for i, p in enumerate(vectors):
        for j, q in enumerate(vectors):
            if config.remove_self_pair and i == j:
                continue
            x = batch_norm(w, "pair_embed.embed.0", pair_features(p, q))
            for k in range(layers):
                x = w[f"pair_embed.embed.{3 * k + 1}.weight"][:, :, 0] @ x + w[f"pair_embed.embed.{3 * k + 1}.bias"]
                x = batch_norm(w, f"pair_embed.embed.{3 * k + 2}", x)
                if k < layers - 1 or not config.pre_activation_pair:
                    x = activate(config.pair_activation, x)
            bias[:, i, j] = x
    return bias


def pair_features(p: Array, q: Array) -> Array:
    """ln kT, ln z, ln Delta, ln m^2 of two four-momenta (px, py, pz, E); Delta is made of rapidity and azimuth."""
    pt_p, pt_q = math.hypot(p[0], p[1]), math.hypot(q[0], q[1])
    dphi = math.atan2(p[1], p[0]) - math.atan2(q[1], q[0])
    dphi = (dphi + math.pi) % (2 * math.pi) - math.pi
    delta = math.hypot(rapidity(p) - rapidity(q), dphi)
    softer = min(pt_p, pt_q)
    px, py, pz, energy = p + q
    mass2 = energy**2 - (px**2 + py**2 + pz**2)
    fraction = softer / max(pt_p + pt_q, PAIR_EPSILON)
    return np.array([math.log(max(x, PAIR_EPSILON)) for x in (softer * delta, fraction, delta, mass2)])


def rapidity(p: Array) -> float:
    """0.5 ln((E + pz) / (E - pz)), with weaver's guard against E = pz."""
    return 0.5 * math.log(1.0 + 2.0 * p[2] / max(p[3] - p[2], 1e-20))


def particle_block(w: Weights, name: str, config: PartConfig, tokens: Sequence[Array], bias: Array) -> list[Array]:
    """Self-attention of n tokens (D,) under the bias U (H, n, n), then the feed-forward part of each."""
    normed = [layer_norm(w, f"{name}.pre_attn_norm", x) for x in tokens]
    result = []
    for i, x in enumerate(tokens):
        a = attention(w, name, config, normed[i], normed, bias[:, i, :])
        result.append(feed_forward(w, name, config, x + scaled(w, name, config, a)))
    return result


def class_block(w: Weights, name: str, config: PartConfig, cls: Array, tokens: Sequence[Array]) -> Array:
    """Attention of the class token (D,) to itself and the n tokens. The query is the raw token, keys are normed."""
    normed = [layer_norm(w, f"{name}.pre_attn_norm", x) for x in (cls, *tokens)]
    a = attention(w, name, config, cls, normed, np.zeros((config.heads, len(normed))))
    return feed_forward(w, name, config, cls + scaled(w, name, config, a))


def attention(w: Weights, name: str, config: PartConfig, query: Array, keys: Sequence[Array], bias: Array) -> Array:
    """Multi-head attention of one query (D,) to keys (each (D,), also the values); bias (H, keys); result (D,)."""
    width, d = config.width, config.head_width
    matrix, shift = w[f"{name}.attn.in_proj.weight"], w[f"{name}.attn.in_proj.bias"]  # rows: D of Q, D of K, D of V
    context = np.zeros(width)
    for h in range(config.heads):
        of_q, of_k, of_v = (slice(part * width + h * d, part * width + (h + 1) * d) for part in range(3))
        q = matrix[of_q] @ query + shift[of_q]  # (d,)
        scores = [float(q @ (matrix[of_k] @ x + shift[of_k])) / math.sqrt(d) + bias[h, j] for j, x in enumerate(keys)]
        shares = [math.exp(s - max(scores)) for s in scores]
        for share, x in zip(shares, keys, strict=True):
            context[h * d : (h + 1) * d] += share / sum(shares) * (matrix[of_v] @ x + shift[of_v])
    return linear(w, f"{name}.attn.out_proj", context)


def scaled(w: Weights, name: str, config: PartConfig, a: Array) -> Array:
    """What happens to the attention output (D,) before the residual: one factor per d channels, then a norm."""
    if config.scale_heads:
        a = np.concatenate([w[f"{name}.c_attn"][h] * part for h, part in enumerate(np.split(a, config.heads))])
    return layer_norm(w, f"{name}.post_attn_norm", a) if config.scale_attn else a


def feed_forward(w: Weights, name: str, config: PartConfig, x: Array) -> Array:
    """The second half of a block for one token (D,); the residual carries one factor per channel."""
    f = layer_norm(w, f"{name}.pre_fc_norm", x)
    f = activate(config.activation, linear(w, f"{name}.fc1", f))
    if config.scale_fc:
        f = layer_norm(w, f"{name}.post_fc_norm", f)
    f = linear(w, f"{name}.fc2", f)
    return f + (w[f"{name}.w_resid"] * x if config.scale_resids else x)


def linear(w: Weights, name: str, x: Array) -> Array:
    """Matrix (out, in) times vector (in,) plus bias."""
    return w[f"{name}.weight"] @ x + w[f"{name}.bias"]


def layer_norm(w: Weights, name: str, x: Array) -> Array:
    """Centre and scale over the channels of one token."""
    variance = float(np.mean((x - x.mean()) ** 2))
    normed: Array = (x - x.mean()) / math.sqrt(variance + NORM_EPSILON)
    return normed * w[f"{name}.weight"] + w[f"{name}.bias"]


def batch_norm(w: Weights, name: str, x: Array) -> Array:
    """Centre and scale each channel by its running statistics."""
    spread = np.sqrt(w[f"{name}.running_var"] + NORM_EPSILON)
    return (x - w[f"{name}.running_mean"]) / spread * w[f"{name}.weight"] + w[f"{name}.bias"]


def activate(kind: str, x: Array) -> Array:
    """ReLU, or GELU with the exact error function."""
    if kind == "relu":
        return np.maximum(x, 0.0)
    return np.array([0.5 * t * (1.0 + math.erf(t / math.sqrt(2.0))) for t in x])


def random_state_dict(config: PartConfig, num_features: int, num_classes: int, seed: int) -> dict[str, Array]:
    """Weights under weaver-core 0.5.3 names, nothing left at a starting value that would hide an error.

    Norm factors and variances, c_attn and w_resid are drawn around one; matrices keep the scale of their input.
    """
    rng = np.random.default_rng(seed)
    state: dict[str, Array] = {}

    def put_linear(name: str, inputs: int, outputs: int, tail: tuple[int, ...] = ()) -> None:
        state[f"{name}.weight"] = rng.normal(0.0, 1.3 / math.sqrt(inputs), (outputs, inputs, *tail))
        state[f"{name}.bias"] = rng.normal(0.0, 0.3, outputs)

    def put_norm(name: str, size: int, running: bool = False) -> None:
        state[f"{name}.weight"] = rng.uniform(0.5, 1.5, size)
        state[f"{name}.bias"] = rng.normal(0.0, 0.3, size)
        if running:
            state[f"{name}.running_mean"] = rng.normal(0.0, 0.5, size)
            state[f"{name}.running_var"] = rng.uniform(0.5, 2.0, size)
            state[f"{name}.num_batches_tracked"] = np.array(7.0)

    def put_block(name: str) -> None:
        width, inner = config.width, config.ffn_ratio * config.width
        norms = [("pre_attn_norm", width, True), ("post_attn_norm", width, config.scale_attn)]
        norms += [("pre_fc_norm", width, True), ("post_fc_norm", inner, config.scale_fc)]
        for norm, size, present in norms:
            if present:
                put_norm(f"{name}.{norm}", size)
        for layer, inputs, outputs in [("attn.in_proj", width, 3 * width), ("attn.out_proj", width, width)]:
            put_linear(f"{name}.{layer}", inputs, outputs)
        put_linear(f"{name}.fc1", width, inner)
        put_linear(f"{name}.fc2", inner, width)
        if config.scale_heads:
            state[f"{name}.c_attn"] = rng.uniform(0.5, 1.5, config.heads)
        if config.scale_resids:
            state[f"{name}.w_resid"] = rng.uniform(0.5, 1.5, width)

    put_norm("embed.input_bn", num_features, running=True)
    for i, (inputs, outputs) in enumerate(steps(num_features, *config.embed_widths)):
        put_norm(f"embed.embed.{3 * i}", inputs)
        put_linear(f"embed.embed.{3 * i + 1}", inputs, outputs)
    if config.pairs != "none":
        put_norm("pair_embed.embed.0", 4, running=True)
        for i, (inputs, outputs) in enumerate(steps(4, *config.pair_widths, config.heads)):
            put_linear(f"pair_embed.embed.{3 * i + 1}", inputs, outputs, (1,))
            put_norm(f"pair_embed.embed.{3 * i + 2}", outputs, running=True)
    for b in range(config.blocks):
        put_block(f"blocks.{b}")
    for c in range(config.class_blocks):
        put_block(f"cls_blocks.{c}")
    if config.head == "class_token":
        state["cls_token"] = rng.normal(0.0, 0.5, (1, 1, config.width))
    put_norm("norm", config.width)
    for i, (inputs, outputs) in enumerate(steps(config.width, *config.fc_widths)):
        put_linear(f"fc.{i}.0", inputs, outputs)
    put_linear(f"fc.{len(config.fc_widths)}", (config.width, *config.fc_widths)[-1], num_classes)
    return state


def steps(*widths: int) -> list[tuple[int, int]]:
    """(a, b), (b, c), ... of a, b, c, ..."""
    return list(itertools.pairwise(widths))


def random_jets(
    particles: int, num_features: int, multiplicities: Sequence[int], seed: int, mass: float = 0.1396
) -> tuple[Array, Array, Array]:
    """Features (B, N, F), four-momenta (B, N, 4) of particles of a mass in GeV, and mask (B, N).

    Jet b has multiplicities[b] real particles in front; padded slots hold noise, which must not matter. ln m^2 of light
    particles cancels in float32: comparisons in float32 take a mass of some GeV.
    """
    rng = np.random.default_rng(seed)
    size = (len(multiplicities), particles)
    pt = rng.exponential(20.0, size) + 0.5
    eta, phi = rng.normal(0.4, 0.3, size), rng.normal(3.0, 0.3, size)  # around phi = pi: the wrap is crossed
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    energy = np.sqrt(px**2 + py**2 + pz**2 + mass**2)
    features = rng.normal(0.0, 1.5, (*size, num_features))
    mask = np.array([[1.0 if i < count else 0.0 for i in range(particles)] for count in multiplicities])
    return features, np.stack([px, py, pz, energy], axis=-1), mask
