"""Run by test_reference_hrr in a process with flax and hrr: attention, and small networks of every published task.

Written from arXiv:2305.19534 with the modules of the package `hrr` (MIT), in inference. Modules are called as upstream
calls its own, so that flax gives their parameters the names that a user's file has.

Reads attention_*.npz of the folder and writes found_attention_*.npy; writes <task>_<dtype>.npz, the params by the lines
that our refusal of a pickle names, and events_<task>_<dtype>.npz; jax.json has the versions.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from HRR.with_flax import Binding, CosineSimilarity, Unbinding

from qformers.flax_files import EXPORT

TOKENS, ENTRIES, WIDTH, HEADS, BLOCKS, HIDDEN, CLASSES, EVENTS = 12, 9, 16, 2, 2, 20, 3, 16
RESIDUALS = {"text": "pre", "ember": "pre", "image": "post"}  # others: half
LEARNED, NORMED = ("listops", "path", "path_x"), ("listops", "retrieval")
MASKED = ("listops", "text", "retrieval", "ember")
TASKS = ("listops", "text", "retrieval", "image", "path", "path_x", "ember")


class Weighed(nn.Module):
    """Values (B, h, T, n) times their weights; mask (B, T) or None."""

    @nn.compact
    def __call__(self, q: Any, k: Any, v: Any, mask: Any) -> Any:
        beta = jnp.sum(Binding()(k, v, axis=-1), axis=-2, keepdims=True)
        found = Unbinding()(beta, q, axis=-1)
        cosine = CosineSimilarity()(v, found, axis=-1, keepdims=True)  # (B, h, T, 1)
        if mask is not None:
            cosine = cosine + (mask[:, None, :, None] - 1.0) * 1e9
        return jax.nn.softmax(cosine, axis=-2) * v


def split(x: Any, heads: int) -> Any:
    """(B, T, H) -> (B, h, T, n)."""
    return jnp.swapaxes(x.reshape(*x.shape[:2], heads, -1), 1, 2)


def merged(x: Any) -> Any:
    """(B, h, T, n) -> (B, T, H)."""
    x = jnp.swapaxes(x, 1, 2)
    return x.reshape(*x.shape[:2], -1)


class Modules(nn.Module):
    """What all modules here know: the task and the type of numbers."""

    task: str
    kind: Any

    def dense(self, width: int, bias: bool = True, name: str | None = None) -> nn.Dense:
        """A dense layer, with a name of its own or flax's."""
        return nn.Dense(width, use_bias=bias, dtype=self.kind, param_dtype=self.kind, name=name)

    def norm(self) -> nn.LayerNorm:
        """flax's LayerNorm as it is without options."""
        return nn.LayerNorm(dtype=self.kind, param_dtype=self.kind)

    def table(self, entries: int) -> nn.Embed:
        """Vectors of the model width."""
        return nn.Embed(entries, WIDTH, dtype=self.kind, param_dtype=self.kind)

    @property
    def activation(self) -> Any:
        """EMBER's, or that of the others."""
        return jax.nn.relu if self.task == "ember" else partial(jax.nn.gelu, approximate=True)


class SelfAttention(Modules):
    """Without bias."""

    @nn.compact
    def __call__(self, x: Any, mask: Any) -> Any:
        q, k, v = (split(self.dense(WIDTH, False, which)(x), HEADS) for which in ("query", "key", "value"))
        return self.dense(WIDTH, False, "output")(merged(Weighed()(q, k, v, mask)))


class MHAttention(Modules):
    """EMBER's, with bias and without names."""

    @nn.compact
    def __call__(self, x: Any, mask: Any) -> Any:
        q, k, v = (split(self.dense(WIDTH)(x), HEADS) for _ in range(3))
        return self.dense(WIDTH)(merged(Weighed()(q, k, v, mask)))


class MLP(Modules):
    """Its last layer has no bias."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = self.activation(self.dense(HIDDEN)(x))  # flax numbers modules in the order in which they are made
        return self.dense(WIDTH, False)(x)


class FeedForwardLayer(Modules):
    """EMBER's."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = self.activation(self.dense(HIDDEN)(x))
        return self.dense(WIDTH)(x)


class EncoderLayer(Modules):
    """Attention and feed-forward part in one of three forms of residuals."""

    @nn.compact
    def __call__(self, x: Any, mask: Any) -> Any:
        ember = self.task == "ember"
        attend = (MHAttention if ember else SelfAttention)(self.task, self.kind)
        mlp = (FeedForwardLayer if ember else MLP)(self.task, self.kind)
        match RESIDUALS.get(self.task, "half"):
            case "pre":
                x = x + attend(self.norm()(x), mask)
                return x + mlp(self.norm()(x))
            case "post":
                x = self.norm()(x + attend(x, mask))
                return self.norm()(x + mlp(x))
        x = x + attend(x, mask)
        return x + mlp(self.norm()(x))


class EmbeddingLearned(Modules):
    """Tokens and places."""

    @nn.compact
    def __call__(self, ids: Any) -> Any:
        return self.table(ENTRIES)(ids) + self.table(TOKENS)(jnp.arange(TOKENS))


class Embedding(EmbeddingLearned):
    """EMBER's: the same under another name."""


class EmbeddingFixed(Modules):
    """Tokens; of places sines and cosines."""

    @nn.compact
    def __call__(self, ids: Any) -> Any:
        angles = np.arange(TOKENS)[:, None] * 10000.0 ** (-2.0 * (np.arange(WIDTH) // 2) / WIDTH)
        waves = np.where(np.arange(WIDTH) % 2, np.cos(angles), np.sin(angles))
        return self.table(ENTRIES)(ids) + jnp.asarray(waves, self.kind)


class Encoder(Modules):
    """Tokens (B, T) -> (B, T, H)."""

    @nn.compact
    def __call__(self, ids: Any, mask: Any) -> Any:
        x = (EmbeddingLearned if self.task in LEARNED else EmbeddingFixed)(self.task, self.kind)(ids)
        x = self.norm()(x) if self.task in NORMED else x
        for _ in range(BLOCKS):
            x = EncoderLayer(self.task, self.kind)(x, mask)
        return x


class OneSequence(Modules):
    """ListOps, Text, Image, Path, Path-X."""

    @nn.compact
    def __call__(self, ids: Any, mask: Any) -> Any:
        x = jnp.mean(Encoder(self.task, self.kind)(ids, mask), axis=1)
        x = self.activation(self.dense(WIDTH)(x))
        return self.dense(CLASSES)(x)


class Two(Modules):
    """Retrieval: one encoder, whose modules are not in one of their own, for both."""

    @nn.compact
    def __call__(self, ids: Any, mask: Any) -> Any:
        embedding, norm = EmbeddingFixed(self.task, self.kind), self.norm()
        layers = [EncoderLayer(self.task, self.kind) for _ in range(BLOCKS)]

        def encoded(part: slice) -> Any:
            x = norm(embedding(ids[:, part]))
            for layer in layers:
                x = layer(x, mask[:, part])
            return jnp.mean(x, axis=1)

        x, y = encoded(slice(0, TOKENS)), encoded(slice(TOKENS, None))
        x = jnp.concatenate([x, y, x * y, x - y], axis=-1)
        x = self.activation(self.dense(WIDTH)(x))
        return self.dense(CLASSES)(x)


class Ember(Modules):
    """A learned token in front, which is what is read."""

    @nn.compact
    def __call__(self, ids: Any, mask: Any) -> Any:
        x = Embedding(self.task, self.kind)(ids)
        first = self.param("cls_token", nn.initializers.normal(0.5), (1, 1, WIDTH), self.kind)
        x = jnp.concatenate([jnp.broadcast_to(first, (len(ids), 1, WIDTH)), x], axis=1)
        mask = jnp.concatenate([jnp.ones_like(mask[:, :1]), mask], axis=1)
        for index in range(BLOCKS):
            x = EncoderLayer(self.task, self.kind, name=f"Encoder_{index}")(x, mask)
        x = self.activation(self.dense(WIDTH)(x[:, 0]))
        return self.dense(CLASSES)(x)


def ids_of(task: str, random: np.random.Generator) -> Any:
    """Tokens; of masked tasks 0 is a pad, elsewhere a number as others are."""
    sequences = 2 if task == "retrieval" else 1
    if task not in MASKED:
        return random.integers(0, ENTRIES, (EVENTS, TOKENS))
    parts = []
    for _ in range(sequences):
        real = np.arange(TOKENS) < random.integers(1, TOKENS + 1, (EVENTS, 1))
        parts.append(random.integers(1, ENTRIES, (EVENTS, TOKENS)) * real)
    return np.concatenate(parts, axis=1)


def write_network(folder: Path, task: str, kind: str) -> None:
    """Params and events of a small network."""
    network = {"retrieval": Two, "ember": Ember}.get(task, OneSequence)(task, jnp.dtype(kind))
    random = np.random.default_rng(4)
    ids = ids_of(task, random)
    mask = jnp.asarray(ids > 0, kind) if task in MASKED else None
    started = network.init(jax.random.PRNGKey(1), ids, mask)
    # biases of zeros and factors of one would hide where they go
    moved = jax.tree_util.tree_map(lambda x: x + jnp.asarray(random.normal(0, 0.3, x.shape), x.dtype), started)
    logits = network.apply(moved, ids, mask)
    params = moved if task == "listops" else moved["params"]  # both is what users have
    exec(EXPORT, {"params": params})  # noqa: S102 (what users are told to run; writes w.npz)
    Path("w.npz").rename(folder / f"{task}_{kind}.npz")
    np.savez(folder / f"events_{task}_{kind}.npz", tokens=ids, logits=np.asarray(logits))


def attended(arrays: Any) -> Any:
    """The attention of each event."""
    q, k, v = (split(jnp.asarray(arrays["x"]) @ arrays[which], int(arrays["heads"])) for which in "qkv")
    if arrays["mask_beta"]:
        k = k * arrays["mask"][:, None, :, None]
    mask = arrays["mask"] if arrays["masked"] else None
    return merged(Weighed().apply({}, q, k, v, mask)) @ arrays["out"]


def main(folder: Path) -> None:
    """See above."""
    jax.config.update("jax_enable_x64", True)
    os.chdir(folder)
    for path in sorted(folder.glob("attention_*.npz")):
        with np.load(path) as arrays:
            found = np.asarray(attended(arrays))
            assert found.dtype == arrays["x"].dtype
        np.save(folder / f"found_{path.stem}.npy", found)
    for task in TASKS:
        for kind in ("float32", "float64"):
            write_network(folder, task, kind)
    (folder / "jax.json").write_text(json.dumps({name: version(name) for name in ("flax", "hrr", "jax")}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
