"""Small float models of plain Keras, of every layer that becomes quantised ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers as L
from keras import ops
from numpy.typing import NDArray

Inputs = dict[str, NDArray[np.float32]]


def seq(*layers: Any, shape: tuple[int, ...] = (8, 5)) -> keras.Model:
    """Layers behind each other."""
    return keras.Sequential([keras.Input(shape), *layers])


def two(merge: Callable[[Any, Any], Any], shape: tuple[int, ...] = (6, 4)) -> keras.Model:
    """Two inputs and what merges them."""
    a, b = keras.Input(shape, name="a"), keras.Input(shape, name="b")
    return keras.Model([a, b], merge(a, b))


def attention(self_attention: bool) -> keras.Model:
    """A norm in front of an attention."""
    a, b = keras.Input((6, 4)), keras.Input((5, 4))
    x = L.LayerNormalization()(a)
    return keras.Model([a, b], L.MultiHeadAttention(2, 4)(x, x if self_attention else b))


def operations() -> keras.Model:
    """Operations on tensors, with numbers among them."""
    x = keras.Input((6, 4))
    y = ops.tanh(x * 2.0 + 1.0) - x
    return keras.Model(x, ops.softmax(3.0 - ops.einsum("bnc,bmc->bnm", y, x)))


def transformer() -> keras.Model:
    """One block and a head."""
    x = keras.Input((6, 4))
    t = L.Dense(8)(x)
    a = L.LayerNormalization()(t)
    t = L.Add()([t, L.MultiHeadAttention(2, 4)(a, a)])
    f = L.Dense(8)(L.Dense(12, activation="silu")(L.LayerNormalization()(t)))
    return keras.Model(x, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(L.Dropout(0.1)(t + f))))


def cnn() -> keras.Model:
    """Convolutions, a batch norm and a ReLU that become one layer, pooling."""
    return seq(
        L.Conv2D(4, 3, padding="same"), L.BatchNormalization(), L.Activation("relu"), L.MaxPooling2D(2),
        L.Conv2D(4, 2, activation="relu"), L.GlobalAveragePooling2D(), L.Dense(3), shape=(6, 6, 2),
    )  # fmt: skip


def mlp() -> keras.Model:
    """A classifier with names that C++ cannot have."""
    return seq(
        L.Dense(8, name="_first"), L.BatchNormalization(), L.ReLU(), L.Dense(6, "gelu", name="second"),
        L.Dense(3, activation="softmax", name="output"), shape=(5,),
    )  # fmt: skip


MODELS: dict[str, Callable[[], keras.Model]] = {
    "mlp": mlp,
    "cnn": cnn,
    "transformer": transformer,
    "dense": lambda: seq(L.Dense(4, activation="relu"), L.Dense(3, use_bias=False)),
    "einsum": lambda: seq(L.EinsumDense("abc,cde->aebd", (3, 8, 2), bias_axes="e"), L.Flatten(), L.Dense(2)),
    "summed": lambda: seq(L.BatchNormalization(), L.EinsumDense("abc,cd->ad", (4,), bias_axes="d")),
    "dots": lambda: seq(L.EinsumDense("...x,xy->...y", 4, bias_axes="y", activation="tanh")),
    "conv1d": lambda: seq(L.Conv1D(4, 3, padding="causal", dilation_rate=2), L.Conv1D(3, 2, strides=2, groups=1)),
    "conv_normed": lambda: seq(L.BatchNormalization(), L.Conv1D(4, 3), L.BatchNormalization(), L.ReLU()),
    "conv_padded": lambda: seq(L.BatchNormalization(), L.Conv1D(4, 3, padding="same"), L.BatchNormalization()),
    "depthwise": lambda: seq(L.DepthwiseConv2D(2, depth_multiplier=2), L.ReLU(), shape=(5, 5, 3)),
    "separable": lambda: seq(L.SeparableConv1D(4, 3, activation="relu"), L.Flatten(), L.Dense(2)),
    "norms": lambda: seq(L.Rescaling(0.5, 0.25), L.Dense(6), L.RMSNormalization(), L.Dense(4), L.LayerNormalization()),
    "norm_read_twice": lambda: _norm_read_twice(),
    "relu_alone": lambda: seq(L.LayerNormalization(), L.ReLU(), L.MaxPooling1D(2)),
    "activations": lambda: seq(L.Dense(4, activation="elu"), L.LeakyReLU(0.25), L.ELU(0.5), L.ReLU(2.0), L.Softmax()),
    "sigmoid": lambda: seq(L.Dense(4, "hard_sigmoid"), L.Dense(3, "softplus"), L.Dense(1, "sigmoid")),
    "pooling": lambda: seq(
        L.AveragePooling1D(3, 2, "same"), L.MaxPooling1D(2), L.GlobalAveragePooling1D(keepdims=True)
    ),
    "pooling2d": lambda: seq(L.AveragePooling2D((2, 3)), L.GlobalMaxPooling2D(), shape=(4, 7, 2)),
    "moves": lambda: seq(
        L.Permute((2, 1)), L.Reshape((4, 10)), L.ZeroPadding1D(1), L.Cropping1D((0, 2)), L.UpSampling1D(2), L.Flatten()
    ),
    "merges": lambda: two(lambda a, b: L.Multiply()([L.Subtract()([a, b]), L.Maximum()([a, b]), L.Minimum()([a, b])])),
    "average": lambda: two(lambda a, b: L.Concatenate()([L.Average()([a, b, L.Add()([a, b])]), b])),
    "dot": lambda: two(lambda a, b: L.Dot(axes=2)([a, b])),
    "attention": lambda: attention(self_attention=True),
    "cross": lambda: attention(self_attention=False),
    "operations": operations,
}  # fmt: skip


def _norm_read_twice() -> keras.Model:
    x = keras.Input((6, 4))
    y = L.BatchNormalization()(L.Activation("tanh")(x))
    return keras.Model(x, {"a_side": L.Dense(3)(y), "b_side": L.Add()([y, L.Dense(4)(x)])})


def made(name: str) -> tuple[keras.Model, Inputs]:
    """A model with weights and statistics that are not those of a fresh one, and events for it."""
    keras.utils.set_random_seed(7)
    model, random = MODELS[name](), np.random.default_rng(7)
    for weight in model.weights:
        if "variance" in weight.path or "gamma" in weight.path:
            weight.assign(random.uniform(0.5, 2.0, weight.shape))
        elif any(part in weight.path for part in ("mean", "beta", "bias")):
            weight.assign(random.normal(0.0, 0.3, weight.shape))
    return model, {
        tensor.name: random.normal(0, 1, (200, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs
    }
