"""Hrrformer as plain loops: what `qformers.models.hrrformer` must compute, in NumPy and float64.

One event, one token, one head at a time; circular convolutions are sums of products, and no Fourier transform is taken
(arXiv:2305.19534, equations 1 to 5). Weights are those of the float Keras model, by layer.

Letters: T tokens, H width, h heads, n = H / h.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.models.hrrformer.config import HrrformerConfig

Array = NDArray[np.float64]
NORM_EPSILON = 1e-6
ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
    "relu": lambda x: max(x, 0.0),
    "silu": lambda x: x / (1 + math.exp(-x)),
}


class Hrrformer:
    """The function of a float model.

    Args:
        model: vocabulary float32, form fft.
        cfg: its configuration.
    """

    def __init__(self, model: keras.Model, cfg: HrrformerConfig) -> None:
        self.cfg = cfg
        self._weights = {
            layer.name: [np.asarray(keras.ops.convert_to_numpy(weight), np.float64) for weight in layer.get_weights()]
            for layer in model.layers
        }

    def __call__(self, given: Array, mask: Array) -> Array:
        """Logits of one event: tokens (T,) or features (T, F), and mask (T,)."""
        cfg, act = self.cfg, ACTIVATIONS[self.cfg.activation]
        if cfg.pair:
            half = len(mask) // 2
            x, y = (self.encoded(given[part], mask[part]) for part in (slice(0, half), slice(half, None)))
            pooled = np.concatenate([x, y, x * y, x - y])
        else:
            pooled = self.encoded(given, mask)
        for index in range(len(cfg.fc_widths)):
            pooled = np.array([act(value) for value in self.dense(f"fc{index}", pooled)])
        return self.dense("logits", pooled)

    def encoded(self, given: Array, mask: Array) -> Array:
        """One sequence as a vector (H,)."""
        cfg, act = self.cfg, ACTIVATIONS[self.cfg.activation]
        tokens = [self.embed(place, value) for place, value in enumerate(given)]
        real = [bool(value) for value in mask]
        if cfg.head == "class_token":
            (token,) = self._weights["class_token"]
            tokens, real = [token[0, 0], *tokens], [True, *real]
        for index in range(cfg.blocks):
            p = f"b{index}"
            if cfg.attention != "none":
                attend = self.holographic if cfg.attention == "hrr" else self.dot
                given_to = [self.norm(f"{p}_attn_norm", x) for x in tokens] if cfg.residuals == "pre" else tokens
                made = attend(given_to, real, f"{p}_attn")
                tokens = [x + y for x, y in zip(tokens, made, strict=True)]
                if cfg.residuals == "post":
                    tokens = [self.norm(f"{p}_attn_norm", x) for x in tokens]
            behind = []
            for x in tokens:
                inner = x if cfg.residuals == "post" else self.norm(f"{p}_ffn_norm", x)
                hidden = np.array([act(value) for value in self.dense(f"{p}_ffn_hidden", inner)])
                y = x + self.dense(f"{p}_ffn_out", hidden)
                behind.append(self.norm(f"{p}_ffn_norm", y) if cfg.residuals == "post" else y)
            tokens = behind
        if cfg.head == "class_token":
            return tokens[0]
        counted = [x for x, there in zip(tokens, real, strict=True) if there or not cfg.mask_pool]
        total = np.zeros(cfg.width)
        for x in counted:
            total = total + x / len(counted)
        return total

    def embed(self, place: int, value: Any) -> Array:
        """Of a token, or of features (F,)."""
        cfg, act = self.cfg, ACTIVATIONS[self.cfg.activation]
        if cfg.vocabulary:
            table, *places = self._weights["embed"]
            x = table[int(value)] + (places[0][place] if places else 0.0)
            if cfg.positions == "fixed":
                angles = [place * 10000 ** (-(d - d % 2) / cfg.width) for d in range(cfg.width)]
                x = x + np.array([math.cos(a) if d % 2 else math.sin(a) for d, a in enumerate(angles)])
        else:
            x = self.batch_norm("input_norm", value) if cfg.input_norm == "batch" else value
            for index in range(len(cfg.embed_widths) - 1):
                x = np.array([act(number) for number in self.dense(f"embed{index}", x)])
            kernel, bias = self._weights["embed"]
            x = x @ kernel + (bias[place] if bias.ndim == 2 else bias)
        return self.norm("embed_norm", x) if cfg.embed_norm else x

    def holographic(self, tokens: Sequence[Array], real: Sequence[bool], p: str) -> list[Array]:
        """Attention of all heads, one after the other."""
        cfg, n, out = self.cfg, self.cfg.head_width, []
        heads = []
        for head in range(cfg.heads):
            q, k, v = ([self.project(f"{p}_{which}", head, x) for x in tokens] for which in "qkv")
            beta = np.zeros(n)
            for t in range(len(tokens)):
                if real[t] or not cfg.mask_beta:
                    beta = beta + convolved(k[t], v[t])
            cosines = []
            for t in range(len(tokens)):
                found = convolved(inverse_of(q[t], cfg.inverse == "exact"), beta)
                lengths = math.sqrt(float(v[t] @ v[t]) * float(found @ found))
                cosines.append(float(v[t] @ found) / lengths if lengths else 0.0)
            counted = [there or not cfg.masked for there in real]
            total = sum(math.exp(a) for a, there in zip(cosines, counted, strict=True) if there)
            scale = sum(counted) if cfg.scale_by_T else 1
            heads.append(
                [
                    scale * math.exp(a) / total * value if there else 0.0 * value
                    for a, value, there in zip(cosines, v, counted, strict=True)
                ]
            )
        for t in range(len(tokens)):
            kernel, *bias = self._weights[f"{p}_out"]
            y = np.zeros(cfg.width) + sum(bias)
            for head in range(cfg.heads):
                y = y + heads[head][t] @ kernel[head]
            out.append(y)
        return out

    def dot(self, tokens: Sequence[Array], real: Sequence[bool], p: str) -> list[Array]:
        """Dot-product attention."""
        cfg, out = self.cfg, []
        keys = [t for t, there in enumerate(real) if there or not cfg.masked]
        for t in range(len(tokens)):
            kernel, *bias = self._weights[f"{p}_out"]
            y = np.zeros(cfg.width) + sum(bias)
            for head in range(cfg.heads):
                query = self.project(f"{p}_q", head, tokens[t]) / math.sqrt(cfg.head_width)
                scores = [math.exp(float(query @ self.project(f"{p}_k", head, tokens[s]))) for s in keys]
                context = np.zeros(cfg.head_width)
                for s, score in zip(keys, scores, strict=True):
                    context = context + score / sum(scores) * self.project(f"{p}_v", head, tokens[s])
                y = y + context @ kernel[head]
            out.append(y)
        return out

    def project(self, name: str, head: int, x: Array) -> Array:
        """(H,) -> (n,)."""
        kernel, *bias = self._weights[name]
        y = x @ kernel[:, head]
        return y + bias[0][head] if bias else y

    def dense(self, name: str, x: Array) -> Array:
        """(D,) -> (E,)."""
        kernel, *bias = self._weights[name]
        return x @ kernel + sum(bias)

    def norm(self, name: str, x: Array) -> Array:
        """Whatever the configuration says."""
        if self.cfg.norm == "none":
            return x
        if self.cfg.norm == "batch":
            return self.batch_norm(name, x, NORM_EPSILON)
        factor, *shift = self._weights[name]
        centred = x - x.mean() if self.cfg.norm == "layer" else x
        return centred / math.sqrt(float(np.mean(centred**2)) + NORM_EPSILON) * factor + sum(shift)

    def batch_norm(self, name: str, x: Array, epsilon: float = 1e-5) -> Array:
        """In inference."""
        gamma, beta, mean, variance = self._weights[name]
        return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def convolved(a: Array, b: Array) -> Array:
    """Circular convolution of two vectors (n,)."""
    n = len(a)
    return np.array([sum(a[j] * b[(i - j) % n] for j in range(n)) for i in range(n)])


def inverse_of(q: Array, exact: bool) -> Array:
    """What a vector (n,) is unbound by: itself read backwards, or what convolved with it gives (1, 0, ..., 0)."""
    n = len(q)
    if not exact:
        return np.array([q[-j % n] for j in range(n)])
    matrix = np.array([[q[(i - j) % n] for j in range(n)] for i in range(n)])
    return np.linalg.solve(matrix, np.eye(n)[0])
