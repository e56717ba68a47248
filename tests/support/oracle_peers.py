"""The peers of ParT as plain loops over the particles of one jet, in NumPy and float64, from the weights of a model.

Real particles only are looped over wherever the mask counts; the interaction network loops over all ordered pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.models.deepsets import DeepSetsConfig
from qformers.models.jedi_linear import JediLinearConfig
from qformers.models.mixer import MixerConfig
from qformers.models.transformer import TransformerConfig

Array = NDArray[np.float64]


class Weights:
    """Weights of a float model by layer name.

    Args:
        model: vocabulary float32.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model

    def kernel(self, name: str) -> Array:
        """Kernel of a dense layer."""
        return np.asarray(self.model.get_layer(name)._kernel, np.float64)

    def bias(self, name: str) -> Array:
        """Bias of a dense layer."""
        return np.asarray(self.model.get_layer(name).bias, np.float64)

    def norm(self, name: str, x: Array) -> Array:
        """Batch norm of the last axis in inference; `x` itself where the model has none of this name."""
        if name not in {layer.name for layer in self.model.layers}:
            return x
        layer = self.model.get_layer(name)
        gamma, beta, mean, variance = (
            np.asarray(v, np.float64) for v in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
        )
        return np.asarray((x - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta)

    def step(self, name: str, x: Array, relu: bool = True) -> Array:
        """Dense, norm, ReLU on one vector (D,)."""
        y = self.norm(f"{name}_norm", x @ self.kernel(name) + self.bias(name))
        return np.maximum(y, 0.0) if relu else y

    def chain(self, name: str, count: int, x: Array) -> Array:
        """`count` steps ``name0``, ``name1``, ... on one vector."""
        for index in range(count):
            x = self.step(f"{name}{index}", x)
        return x

    def head(self, count: int, x: Array) -> Array:
        """The hidden layers and the logits."""
        x = self.chain("fc", count, x)
        return x @ self.kernel("logits") + self.bias("logits")


def pooled(rows: list[Array], width: int, slots: int, how: str) -> Array:
    """Mean of the real particles, or their sum over the power of two next to the number of slots."""
    total = np.sum(rows, axis=0) if rows else np.zeros(width)
    return total / max(len(rows), 1) if how == "mean" else total / 2 ** round(math.log2(slots))


def deepsets(w: Weights, cfg: DeepSetsConfig, x: Array, mask: Array) -> Array:
    """Logits of one jet (N, F)."""
    rows = [w.chain("phi", len(cfg.phi_widths), w.norm("input_norm", p)) for p in x[mask > 0]]
    jet = pooled(rows, cfg.phi_widths[-1], len(x), cfg.pool)
    return w.head(0, w.chain("rho", len(cfg.rho_widths), jet))


def jedi_linear(w: Weights, cfg: JediLinearConfig, x: Array, mask: Array) -> Array:
    """As an interaction network: with ``edge_activation: linear`` f_R acts on each ordered pair, then comes the sum."""
    rows = [w.chain("embed", len(cfg.embed_widths), w.norm("input_norm", p)) for p in x[mask > 0]]
    relu = cfg.edge_activation == "relu"
    edges = []
    for own in rows:
        first = w.step("edge_own", own, relu)
        if relu:
            edges.append(first + w.step("edge_shared", pooled(rows, own.size, len(x), cfg.pool), relu))
            continue
        constant = w.step("edge_shared", np.zeros(own.size), relu=False)
        scale = len(rows) if cfg.pool == "mean" else 2 ** round(math.log2(len(x)))
        pairs = [w.step("edge_shared", partner, relu=False) - constant for partner in rows]  # W2 x_j of f_R(x_i, x_j)
        edges.append(first + constant + np.sum(pairs, axis=0) / scale)
    objects = [w.chain("object", len(cfg.object_widths), edge) for edge in edges]
    return w.head(len(cfg.fc_widths), pooled(objects, cfg.object_widths[-1], len(x), cfg.pool))


def mixer(w: Weights, cfg: MixerConfig, x: Array, mask: Array) -> Array:
    """Logits of one jet; the mask is not read."""
    x = w.norm("input_norm", x * w.kernel("scaled") + w.bias("scaled"))
    for block in range(cfg.blocks):
        p = f"m{block}"
        y = np.stack([w.chain(f"{p}_feature", len(cfg.feature_widths) + 1, row) for row in x])
        for index in range(len(cfg.particle_widths) + 1):
            name = f"{p}_slot{index}"
            columns = [w.norm(f"{name}_norm", c @ w.kernel(name) + w.bias(name).ravel()) for c in y.T]  # per feature
            last = index == len(cfg.particle_widths)
            y = np.stack(columns, axis=1) if last else np.maximum(np.stack(columns, axis=1), 0.0)
        x = x + y
    rows = np.stack([w.chain("token", len(cfg.token_widths), row) for row in x])
    if cfg.head == "weighted":
        return w.head(len(cfg.fc_widths), w.kernel("slots") @ rows)
    return flattened(w, rows, len(cfg.fc_widths) - 1)


def flattened(w: Weights, rows: Array, hidden: int) -> Array:
    """All slots side by side, a layer, the head."""
    kernel = w.kernel("flat").reshape(rows.size, -1)
    flat = np.maximum(w.norm("flat_norm", rows.ravel() @ kernel + w.bias("flat")), 0.0)
    return w.head(hidden, flat)


def transformer(w: Weights, cfg: TransformerConfig, x: Array, mask: Array) -> Array:
    """Logits of one jet."""
    rows = [w.chain("embed", len(cfg.embed_widths), w.norm("input_norm", p)) for p in x]
    for block in range(cfg.blocks):
        p = f"b{block}"
        rows = [row + y for row, y in zip(rows, attention(w, cfg, rows, mask, f"{p}_attn"), strict=True)]
        for part in range(cfg.feed_forwards):
            name = f"{p}_ffn{part}"
            rows = [row + w.step(f"{name}_out", w.step(f"{name}_hidden0", row), relu=False) for row in rows]
    if cfg.pool == "flatten":
        return flattened(w, np.stack(rows), len(cfg.fc_widths) - 1)
    real = [row for row, m in zip(rows, mask, strict=True) if m > 0]
    return w.head(len(cfg.fc_widths), pooled(real, cfg.width, len(x), "mean"))


def attention(w: Weights, cfg: TransformerConfig, rows: list[Array], mask: Array, p: str) -> list[Array]:
    """One row (D,) per query."""
    real = [slot for slot, m in enumerate(mask) if m > 0]
    if cfg.attention == "linformer":

        def projected(which: str) -> list[Array]:
            kernel = w.kernel(f"{p}_{which}_projected")  # (N, k)
            return [sum((kernel[s, t] * rows[s] for s in real), np.zeros(cfg.width)) for t in range(cfg.projected)]

        keys, values = projected("k"), projected("v")
    else:
        keys = values = [rows[s] for s in real]
    out = []
    for row in rows:
        y = w.bias(f"{p}_out").copy()
        for head in range(cfg.heads):

            def project(vector: Array, which: str, head: int = head) -> Array:
                return np.asarray(vector @ w.kernel(f"{p}_{which}")[:, head] + w.bias(f"{p}_{which}")[head])

            query = project(row, "q") / math.sqrt(cfg.head_width)
            scores = np.exp([query @ project(key, "k") for key in keys])
            context = sum(s * project(v, "v") for s, v in zip(scores / scores.sum(), values, strict=True))
            y += context @ w.kernel(f"{p}_out")[head]
        out.append(w.norm(f"{p}_post_norm", y))
    return out


ORACLES: dict[str, Callable[[Weights, Any, Array, Array], Array]] = {
    "deepsets": deepsets,
    "jedi_linear": jedi_linear,
    "mixer": mixer,
    "transformer": transformer,
}
