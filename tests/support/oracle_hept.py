"""HEPT as plain loops: what `qformers.models.hept.hept` must compute, in NumPy and float64.

One event at a time, one point, head and hash at a time, and only real points: padding and masks do not exist here, so
that a model that agrees on padded events has treated them rightly. Weights are a mapping from the names of
Graph-COM/HEPT (and HEPT-CMS, for what it has more) to arrays, as PyTorch's ``state_dict()`` gives it.

Letters: n real points, F features, C coordinates, D width, H heads, O hashes, A coordinates that make regions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qformers.models.hept.config import HeptConfig

Array = NDArray[np.float64]
Weights = Mapping[str, Array]
SHARED_ALPHA = "order.alpha"  # (1, A, O), of the form with hash: coords, which upstream does not have
EMBEDDINGS = {0: (), 1: ("pids_enc",), 2: ("layer0_emb", "layer1_emb")}


def hept(
    state: Mapping[str, ArrayLike], config: HeptConfig, features: ArrayLike, coords: ArrayLike, mask: ArrayLike
) -> Array:
    """Output (B, N, width) of features (B, N, F), coords (B, N, C), mask (B, N; 1 = real); NaN in masked rows."""
    weights = {name: np.asarray(value, np.float64) for name, value in state.items()}
    events = []
    for x, c, m in zip(np.asarray(features), np.asarray(coords), np.asarray(mask), strict=True):
        real = [i for i in range(len(m)) if m[i] > 0]
        found = one_event(weights, config, [x[i] for i in real], np.reshape(c[real], (-1, config.coords)))
        width = config.head_width if config.head == "embedding" else config.outputs
        rows = np.full((len(m), width), np.nan)
        rows[real] = np.array(found).reshape(len(real), width)
        events.append(rows)
    return np.array(events)


def one_event(w: Weights, config: HeptConfig, features: list[Array], coords: Array) -> list[Array]:
    """Output of n points, given as a list of n features (F,) and coordinates (n, C)."""
    points = [encode(w, config, x) for x in features]
    seen = [points]
    for index in range(config.layers):
        points = layer(w, f"attns.{index}", config, points, coords)
        seen.append(points)
    return [head(w, config, np.concatenate([step[i] for step in seen])) for i in range(len(features))]


def encode(w: Weights, config: HeptConfig, x: Array) -> Array:
    """Features (F,) to a point (D,); the last columns are looked up in tables."""
    tables = EMBEDDINGS[len(config.embeddings)]
    plain = len(x) - len(tables)
    looked_up = [w[f"{table}.weight"][int(x[plain + i])] for i, table in enumerate(tables)]
    x = np.concatenate([x[:plain], *looked_up])
    return linear(w, "feat_encoder.2", activate(config.activation, linear(w, "feat_encoder.0", x)))


def head(w: Weights, config: HeptConfig, x: Array) -> Array:
    """A point after each layer, side by side, to the embedding or the logits."""
    z = w["W.weight"] @ x
    if config.head_norm:
        z = layer_norm(w, "norm_mid", z)
    y = z
    for i in range(len(config.head_widths)):
        y = activate(config.head_activation, layer_norm(w, f"mlp_out.norms.{i}", linear(w, f"mlp_out.lins.{i}", y)))
    y = z + linear(w, f"mlp_out.lins.{len(config.head_widths)}", y)
    return linear(w, "out_proj", y) if config.head == "logits" else y


def layer(w: Weights, name: str, config: HeptConfig, points: list[Array], coords: Array) -> list[Array]:
    """Attention and feed-forward part of n points (D,)."""
    context = attention(w, name, config, [layer_norm(w, f"{name}.norm1", x) for x in points], coords)
    result = []
    for x, c in zip(points, context, strict=True):
        x = x + linear(w, f"{name}.attn.out_linear", c)
        inner = activate(config.activation, linear(w, f"{name}.ff.0", layer_norm(w, f"{name}.norm2", x)))
        result.append(x + linear(w, f"{name}.ff.2", inner))
    return result


def attention(w: Weights, name: str, config: HeptConfig, normed: list[Array], coords: Array) -> list[Array]:
    """Context (H D,) of n points: per head the ratio of two sums over all hashes and the points of the block."""
    d, n = config.width, len(normed)
    contexts = [np.zeros(config.heads * d) for _ in range(n)]
    for h in range(config.heads):
        rows = slice(h * d, (h + 1) * d)
        factors = np.sqrt(2 * scales(w, name, config)[h])
        q_hat = [np.concatenate([w[f"{name}.w_q.weight"][rows] @ x, factors * c]) for x, c in zip(normed, coords)]  # noqa: B905
        k_hat = [np.concatenate([w[f"{name}.w_k.weight"][rows] @ x, factors * c]) for x, c in zip(normed, coords)]  # noqa: B905
        value = [w[f"{name}.w_v.weight"][rows] @ x for x in normed]
        above, below = [np.zeros(d) for _ in range(n)], [0.0] * n
        for o in range(config.hashes):
            of_queries, of_keys = orders(w, name, config, (o, h), (q_hat, k_hat), coords)
            for start in range(0, n, config.block_size):
                for i in of_queries[start : start + config.block_size]:
                    below[i] += 1e-20
                    for j in of_keys[start : start + config.block_size]:
                        closeness = math.exp(min(0.0, -float(np.sum((q_hat[i] - k_hat[j]) ** 2)) / 2))
                        above[i] += closeness * value[j]
                        below[i] += closeness
        for i in range(n):
            contexts[i][rows] = above[i] / below[i]
    return contexts


def scales(w: Weights, name: str, config: HeptConfig) -> Array:
    """s (H, C): how much the squared distance in each coordinate counts."""
    matrix = w[f"{name}.w_rpe.weight"]
    result = np.zeros((config.heads, config.coords))
    for h in range(config.heads):
        for c in range(config.coords):
            r = max(c - 1, 0) if config.shared_scale else c
            for k in range(config.scale_terms):
                column = matrix[h * config.width : (h + 1) * config.width, r * config.scale_terms + k]
                result[h, c] += math.exp(min(float(column.sum()), 50.0))
    return result


def orders(
    w: Weights, name: str, config: HeptConfig, which: tuple[int, int], hats: tuple[list[Array], ...], coords: Array
) -> list[list[int]]:
    """The order of the queries and that of the keys for (hash, head)."""
    o, h = which
    if config.hash == "coords":
        return [order(w, config, (o, 0), coords[:, : config.region_axes], coords, w[SHARED_ALPHA][0, :, o])] * 2
    alpha = w[f"{name}.attn.e2lsh.alpha"][h, :, o]
    return [order(w, config, which, vectors, coords, alpha) for vectors in hats]


def order(
    w: Weights, config: HeptConfig, which: tuple[int, int], vectors: list[Array] | Array, coords: Array, alpha: Array
) -> list[int]:
    """Points by region on the last coordinate that is cut, ..., on the first, then by hash, then as they came."""
    o, h = which
    regions = [cut(coords[:, a], w["regions"][o, a, h]) for a in reversed(range(config.region_axes))]
    hashes = [float(vector @ alpha) for vector in vectors]
    return sorted(range(len(coords)), key=lambda i: (*(region[i] for region in regions), hashes[i], i))


def cut(values: Array, regions: float) -> list[int]:
    """The region of each value: runs of ceil(n / regions) along the ascending order."""
    n = len(values)
    size = max(math.ceil(n / regions), 1) if n else 1
    result = [0] * n
    for rank, i in enumerate(sorted(range(n), key=lambda i: (values[i], i))):
        result[i] = rank // size + 1
    return result


def linear(w: Weights, name: str, x: Array) -> Array:
    """Matrix (out, in) times vector (in,) plus bias."""
    return w[f"{name}.weight"] @ x + w[f"{name}.bias"]


def layer_norm(w: Weights, name: str, x: Array) -> Array:
    """Centre and scale over the channels of one point."""
    variance = float(np.mean((x - x.mean()) ** 2))
    return np.asarray((x - x.mean()) / math.sqrt(variance + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"])


def activate(kind: str, x: Array) -> Array:
    """ReLU, SiLU or tanh."""
    return {"relu": np.maximum(x, 0.0), "silu": x / (1.0 + np.exp(-x)), "tanh": np.tanh(x)}[kind]


def random_state_dict(config: HeptConfig, num_features: int, seed: int) -> dict[str, Array]:
    """Weights under upstream's names, nothing left at a starting value that would hide an error."""
    rng = np.random.default_rng(seed)
    state: dict[str, Array] = {}

    def put(name: str, inputs: int, outputs: int, bias: bool = True) -> None:
        state[f"{name}.weight"] = rng.normal(0.0, 1.2 / math.sqrt(inputs), (outputs, inputs))
        if bias:
            state[f"{name}.bias"] = rng.normal(0.0, 0.3, outputs)

    def put_norm(name: str, size: int) -> None:
        state[f"{name}.weight"] = rng.uniform(0.5, 1.5, size)
        state[f"{name}.bias"] = rng.normal(0.0, 0.3, size)

    d, heads = config.width, config.heads
    state["regions"] = np.round(rng.uniform(0.8, 4.0, (config.hashes, config.region_axes, heads)) * 3) / 3
    for table, (entries, width) in zip(EMBEDDINGS[len(config.embeddings)], config.embeddings, strict=True):
        state[f"{table}.weight"] = rng.normal(0.0, 1.0, (entries, width))
    put("feat_encoder.0", num_features + sum(width - 1 for _, width in config.embeddings), d)
    put("feat_encoder.2", d, d)
    for index in range(config.layers):
        name = f"attns.{index}"
        for which in ("w_q", "w_k", "w_v"):
            put(f"{name}.{which}", d, heads * d, bias=False)
        put(f"{name}.attn.out_linear", heads * d, d)
        state[f"{name}.attn.e2lsh.alpha"] = rng.normal(0.0, 1.0, (heads, d + config.coords, config.hashes))
        put_norm(f"{name}.norm1", d)
        put_norm(f"{name}.norm2", d)
        put(f"{name}.ff.0", d, d)
        put(f"{name}.ff.2", d, d)
        put(f"{name}.w_rpe", (config.coords - config.shared_scale) * config.scale_terms, heads * d)
    put("W", (config.layers + 1) * d, config.head_width, bias=False)
    if config.head_norm:
        put_norm("norm_mid", config.head_width)
    widths = [config.head_width, *config.head_widths, config.head_width]
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        put(f"mlp_out.lins.{i}", inputs, outputs)
    for i, width in enumerate(config.head_widths):
        put_norm(f"mlp_out.norms.{i}", width)
    if config.head == "logits":
        put("out_proj", config.head_width, config.outputs)
    return state


def random_events(
    points: int, num_features: int, config: HeptConfig, multiplicities: list[int], seed: int
) -> tuple[Array, Array, Array]:
    """Features (B, N, F), coords (B, N, C), mask (B, N) with real points scattered over the slots, the rest noise."""
    rng = np.random.default_rng(seed)
    size = (len(multiplicities), points)
    features = rng.normal(0.0, 1.0, (*size, num_features))
    for column, (entries, _) in enumerate(config.embeddings, num_features - len(config.embeddings)):
        features[..., column] = rng.integers(0, entries, size)
    coords = rng.normal(0.0, 0.6, (*size, config.coords))
    mask = np.array([rng.permutation([1.0] * count + [0.0] * (points - count)) for count in multiplicities])
    return features, coords, mask
