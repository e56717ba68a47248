"""The float vocabulary: plain Keras layers, in float32 or float64."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from qformers.nn import layers
from qformers.nn.index import lsh, padding
from qformers.nn.index.host_order import HostOrder
from qformers.nn.index.pairs import SymmetricFill
from qformers.nn.memory import Role, layer_of
from qformers.nn.positions import Positions
from qformers.nn.roles import Roles
from qformers.nn.vocabulary import (
    Form,
    Linear,
    Model,
    Norm,
    Table,
    Tensor,
    gating,
    refuse_gated,
    total_scale,
)

NORMAL_VARIANCE = {"silu": 2.952, "kaiming": 2.0}  # times inputs: layers around SiLU (arXiv:1805.08266) and ReLU
CUT = 0.87962566103423978  # standard deviation of a normal distribution of width 1 that is cut at 2
NORMAL = {"small": (0.0, 0.02), "minus_one": (-1.0, 0.01)}  # mean and width, whatever the inputs
MOMENTUM = 0.9  # of the running statistics, PyTorch's 0.1 seen from the other side


class Float32:
    """Reference arithmetic.

    Args:
        dtype: "float32" or "float64" (parity tests).
    """

    name = "float32"
    key_bias_axes: str | None = "he"
    zero_logit = 0.0

    def __init__(self, dtype: str = "float32") -> None:
        self.dtype = dtype
        self.roles = Roles()
        self._derived: dict[str, tuple[str, str]] = {}
        self._ends: dict[str, str] = {}
        self._inputs: dict[str, tuple[Role, ...]] = {}

    def declare(self, **roles: str) -> None:
        """Kept in the model's memory."""
        self.roles.declare(**roles)

    def input(self, name: str, shape: tuple[int | None, ...], axes: str) -> Tensor:
        """A Keras input."""
        self._inputs[name] = self.roles.of(axes, f"input '{name}'")
        return keras.Input(shape, name=name, dtype=self.dtype)

    def dense(self, x: Tensor, name: str, linear: Linear) -> Tensor:
        """EinsumDense, then the factors, norm and activation as layers of their own."""
        shape, axes = linear.output_shape(x.shape), linear.equation.split("->")[1][1:]
        misplaced = layers.keras_misplaces_bias(axes, shape, linear.bias_axes)
        y = (layers.SteadyBias if misplaced else keras.layers.EinsumDense)(
            linear.equation,
            shape,
            bias_axes=linear.bias_axes,
            kernel_initializer=_kernel_initialiser(linear, x.shape),
            bias_initializer=_bias_initialiser(linear, x.shape),
            dtype=self.dtype,
            name=name,
        )(x)
        return self._finished(y, name, linear)

    def _finished(self, y: Tensor, name: str, linear: Linear) -> Tensor:
        """What comes behind the kernel and the bias of a dense step."""
        if linear.factor != 1.0:
            y = layers.Factor(linear.factor, dtype=self.dtype, name=f"{name}_scaled")(y)
        if linear.head_factors is not None:
            y = layers.Scale(y.shape[-1] // linear.heads, dtype=self.dtype, name=linear.head_factors)(y)
        if linear.norm is not None:
            y = self.norm(y, linear.norm)
        if linear.activation == "gelu":  # exact, by the error function
            y = layers.Gelu(dtype=self.dtype, name=f"{name}_gelu")(y)
        elif linear.activation == "gelu_tanh":
            y = layers.GeluTanh(dtype=self.dtype, name=f"{name}_gelu_tanh")(y)
        elif linear.activation != "linear":
            y = keras.layers.Activation(linear.activation, dtype=self.dtype, name=f"{name}_{linear.activation}")(y)
        if layer_of(y) != name:
            self._ends[name] = layer_of(y)
        return y

    def tokens(self, name: str, length: int, entries: int) -> Tensor:
        """Whole numbers."""
        self._inputs[name] = self.roles.of("bn", f"input '{name}'")
        return keras.Input((length,), name=name, dtype="int32")

    def embedding(self, tokens: Tensor, name: str, entries: int, linear: Linear, positions: Positions) -> Tensor:
        """A table that whole numbers are looked up in."""
        table = layers.TokenTable(entries, linear.sizes["d"], positions, dtype=self.dtype, name=name)
        return self._finished(table(tokens), name, linear)

    def derived_dense(self, x: Tensor, name: str, linear: Linear, rule: str, of: str = "") -> Tensor:
        """A dense step like any other; its rule is kept for filling it from a model of another form."""
        self._derived[name] = (rule, of)
        return self.dense(x, name, linear)

    def einsum(self, equation: str, a: Tensor, b: Tensor, name: str) -> Tensor:
        """Product of two data tensors."""
        return layers.Einsum(equation, dtype=self.dtype, name=name)([a, b])

    def wires(self, x: Tensor, kernel: Any, equation: str, name: str, form: Form, bias: Any = None) -> Tensor:
        """Einsum with a constant kernel."""
        return layers.Wires(equation, kernel, bias, dtype=self.dtype, name=name)(x)

    def stack(self, columns: Sequence[Tensor], form: Form, name: str) -> Tensor:
        """Columns side by side."""
        return layers.Stack(dtype=self.dtype, name=name)(list(columns))

    def concatenate(self, parts: Sequence[Tensor], name: str) -> Tensor:
        """Concatenate."""
        return keras.layers.Concatenate(dtype=self.dtype, name=name)(list(parts))

    def sum(self, a: Tensor, b: Tensor, form: Form, name: str) -> Tensor:
        """Sum of two tensors."""
        return keras.layers.Add(dtype=self.dtype, name=name)([a, b])

    def add(self, a: Tensor, b: Tensor, axes: str, name: str) -> Tensor:
        """Sum of two tensors."""
        return keras.layers.Add(dtype=self.dtype, name=name)([a, b])

    def minus(self, a: Tensor, b: Tensor, name: str, form: Form | None = None, axes: str = "") -> Tensor:
        """Difference of two tensors."""
        return keras.layers.Subtract(dtype=self.dtype, name=name)([a, b])

    def round(self, x: Tensor, form: Form, name: str, told: bool = False) -> Tensor:
        """The value as it is."""
        return x

    def norm(self, x: Tensor, norm: Norm) -> Tensor:
        """Layer norm, RMS norm, batch norm or nothing."""
        if norm.kind == "rms":
            return keras.layers.RMSNormalization(epsilon=norm.epsilon, dtype=self.dtype, name=norm.name)(x)
        if norm.kind == "layer":
            return keras.layers.LayerNormalization(epsilon=norm.epsilon, dtype=self.dtype, name=norm.name)(x)
        if norm.kind == "batch":
            layer = layers.BatchNorm(norm.axis, MOMENTUM, norm.epsilon, dtype=self.dtype, name=norm.name)
            return layer(x) if norm.mask is None else layer(x, norm.mask)
        return x

    def table(self, x: Tensor, table: Table, name: str) -> Tensor:
        """The function itself."""
        return keras.layers.Activation(table.function, dtype=self.dtype, name=name)(x)

    def logits(self, scores: Tensor, bias: Tensor | None, mask: Tensor | None, name: str) -> Tensor:
        """Scores plus pair bias, minus a large number on padded keys."""
        biased = scores if bias is None else self.add(scores, bias, "bhqk", f"{name}_bias")
        if mask is None:
            return biased
        hidden = layers.MaskBias(dtype=self.dtype, name=f"{name}_mask")(mask)
        return self.add(biased, hidden, "bhqk", name)

    def class_logits(self, scores: Tensor, mask: Tensor, name: str) -> Tensor:
        """Scores minus a large number on padded particles."""
        hidden = layers.ClassMaskBias(dtype=self.dtype, name=f"{name}_mask")(mask)
        return self.add(scores, hidden, "bhm", name)

    def hidden_keys(self, real: Tensor, shape: tuple[int, ...], equation: str, name: str) -> Tensor:
        """0 for real keys and a large negative number for padded ones."""
        return layers.HiddenKeys(equation, list(shape), dtype=self.dtype, name=name)(real)

    def key_logits(self, scores: Tensor, hidden: Tensor, name: str) -> Tensor:
        """Sum of both."""
        return self.add(scores, hidden, "", name)

    def on_logit_grid(self, value: float) -> float:
        """The value as it is."""
        return value

    def softmax(self, x: Tensor, name: str) -> Tensor:
        """Exact softmax."""
        return keras.layers.Softmax(dtype=self.dtype, name=name)(x)

    def mean(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        """Exact mean over real particles."""
        return layers.MaskedMean(dtype=self.dtype, name=name)([x, mask])

    def total(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        """Sum over real particles, then the factor."""
        total = self.einsum("bn,bnd->bd", mask, x, f"{name}_sum")
        return layers.Factor(total_scale(x.shape[1]), dtype=self.dtype, name=name)(total)

    def gate(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        """Product with the mask."""
        return self.einsum(gating(len(x.shape)), mask, x, name)

    def spread(self, x: Tensor, particles: int, name: str) -> Tensor:
        """Product with ones."""
        return self.wires(x, np.ones(particles), "bd,n->bnd", name, "")

    def dropout(self, x: Tensor, rate: float, name: str) -> Tensor:
        """Dropout in training."""
        return keras.layers.Dropout(rate, dtype=self.dtype, name=name)(x) if rate > 0 else x

    def residual_factors(self, x: Tensor, name: str) -> Tensor:
        """Learned factors, one per channel."""
        return layers.Scale(dtype=self.dtype, name=name)(x)

    def unit(self, x: Tensor, name: str, epsilon: float = 0.0) -> Tensor:
        """RMS norm that learns nothing."""
        return layers.Unit(epsilon, dtype=self.dtype, name=name)(x)

    def cosine(self, a: Tensor, b: Tensor, axes: str, name: str, epsilon: float = 0.0) -> Tensor:
        """Scalar product over both lengths."""
        return layers.Cosine(epsilon, dtype=self.dtype, name=name)([a, b])

    def swiglu(self, x: Tensor, name: str, linear: Linear) -> Tensor:
        """Two dense steps, SiLU and a product."""
        refuse_gated(name, linear)
        value, gate = self.dense(x, name, linear), self.dense(x, f"{name}_gate", replace(linear, activation="silu"))
        return keras.layers.Multiply(dtype=self.dtype, name=f"{name}_gated")([value, gate])

    def move(self, layer: type, x: Tensor, name: str, *more: Tensor, **settings: Any) -> Tensor:
        """The layer."""
        return layer(dtype=self.dtype, name=name, **settings)([x, *more] if more else x)

    def symmetric(self, x: Tensor, points: int, form: Form, name: str, self_pairs: bool = False) -> Tensor:
        """`SymmetricFill`."""
        return SymmetricFill(points, self_pairs, dtype=self.dtype, name=name)(x)

    def sorted_order(self, coords: Tensor, mask: Tensor, drawn: HostOrder, rounded_by: str, name: str) -> Tensor:
        """By the coordinates as they are."""
        counts, alpha = drawn.regions.tolist(), drawn.alpha.tolist()
        hashes, axes = drawn.regions.shape
        flat = keras.layers.Reshape((mask.shape[1],), dtype=self.dtype, name=f"{name}_mask")(mask)
        regions = lsh.RegionCodes(hashes, 1, axes, 1.0, counts, dtype=self.dtype, name=f"{name}_regions")
        cut = padding.Columns(axes, dtype=self.dtype, name=f"{name}_coords")(coords)
        return lsh.LshOrder(hashes, alpha, dtype=self.dtype, name=name)([regions([coords, flat]), cut])

    def real(self, layer: type, inputs: Any, name: str, refusal: str, **settings: Any) -> Tensor:
        """The layer."""
        return layer(dtype=self.dtype, name=name, **settings)(inputs)

    def unread(self, layer: type, inputs: Any, name: str, **settings: Any) -> Tensor:
        """The layer."""
        return layer(dtype=self.dtype, name=name, **settings)(inputs)

    def counted(self, layer: type, inputs: Tensor | None, name: str, **settings: Any) -> Tensor | None:
        """What the layer makes of `inputs`."""
        return layer(dtype=self.dtype, name=name, **settings)(inputs)

    def model(self, inputs: Mapping[str, Tensor], output: Tensor, cfg: Any) -> Model:
        """A functional model."""
        return layers.remembering(
            inputs,
            output,
            cfg,
            vocabulary=self.name,
            derived=self._derived,
            ends=self._ends,
            inputs=self._inputs,
            roles=self.roles.letters,
        )


def _kernel_initialiser(linear: Linear, input_shape: tuple[int | None, ...]) -> keras.initializers.Initializer:
    """The limits of PyTorch; Keras would misread the fans of a kernel with three axes."""
    inputs, outputs = linear.fans(input_shape)
    if linear.initial == "lecun":
        return keras.initializers.TruncatedNormal(0.0, linear.gain / (CUT * math.sqrt(inputs)))
    if linear.initial in NORMAL:
        return keras.initializers.RandomNormal(*NORMAL[linear.initial])
    if linear.initial in NORMAL_VARIANCE:
        return keras.initializers.RandomNormal(0.0, linear.gain * math.sqrt(NORMAL_VARIANCE[linear.initial] / inputs))
    limit = 1 / math.sqrt(inputs) if linear.initial == "torch_conv" else math.sqrt(6 / (inputs + outputs))
    return keras.initializers.RandomUniform(-limit * linear.gain, limit * linear.gain)


def _bias_initialiser(linear: Linear, input_shape: tuple[int | None, ...]) -> keras.initializers.Initializer:
    if linear.initial == "silu":
        return keras.initializers.RandomNormal(0.0, 0.2)
    if linear.initial != "torch_conv":
        return keras.initializers.Zeros()
    limit = 1 / math.sqrt(linear.fans(input_shape)[0])
    return keras.initializers.RandomUniform(-limit, limit)
