"""The verbs in which every architecture is written once; float and fixed point are two ways to say them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Tensor = Any  # a symbolic Keras tensor
Model = Any  # a Keras model

NormKind = Literal["layer", "batch", "none"]
Activation = Literal["gelu", "relu", "silu", "tanh", "linear"]


@dataclass(frozen=True)
class Norm:
    """A normalisation of one axis; `mask` says which positions count in the statistics of a batch norm."""

    name: str
    kind: NormKind
    mask: Tensor = None
    axis: int = -1  # from the end; another one than the last for batch norms behind a dense step only


@dataclass(frozen=True)
class Linear:
    """One dense step: einsum with a kernel, bias, fixed factor, factors per head, norm, activation, in this order."""

    equation: str  # batch first, e.g. "bnd,dhe->bnhe"
    sizes: Mapping[str, int]  # of the letters that the kernel adds, e.g. {"h": 4, "e": 8}
    bias_axes: str | None  # letters of the output that carry a bias
    activation: Activation = "linear"
    factor: float = 1.0  # e.g. 1/sqrt(d) on the query
    head_factors: str | None = None  # name of a layer of learned factors per head (weaver's c_attn)
    heads: int = 1
    norm: Norm | None = None
    initial: Literal["glorot", "torch_conv", "silu", "kaiming"] = "glorot"  # torch_conv: PyTorch's of Linear too
    gain: float = 1.0  # on the initial kernel

    def output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the output without the batch axis."""
        left, output = self.equation.split("->")
        known = {**dict(zip(left.split(",")[0], input_shape, strict=True)), **self.sizes}
        return tuple(known[letter] for letter in output[1:])

    def fans(self, input_shape: tuple[int | None, ...]) -> tuple[int, int]:
        """(inputs that one output sums, outputs that one input feeds), for the initial weights."""
        left, output = self.equation.split("->")
        inputs, kernel = left.split(",")
        summed = [size or 1 for letter, size in zip(inputs, input_shape, strict=True) if letter not in output]
        return math.prod(summed), math.prod(size for letter, size in self.sizes.items() if letter in kernel)


@dataclass(frozen=True)
class Fold:
    """What has to be multiplied into a dense layer when its neighbours disappear (fixed point has no norms)."""

    before: tuple[str, ...] = ()  # norms of the last input axis, in order of application
    after: tuple[str, ...] = ()  # factors and norms of the output axis `axis`, in order of application
    factor: float = 1.0
    axis: int = -1
    bias: bool = False  # the layer has a bias, even where its float form has none


@dataclass(frozen=True)
class Table:
    """A function of one variable and, for fixed point, the formats of its argument and value."""

    function: Callable[[Tensor], Tensor]  # registered as Keras serialisable
    argument: str  # format, e.g. "ufixed<5,5>"
    value: str


class Vocabulary(Protocol):
    """What a quantiser has to offer (`qformers.nn.float32`, `qformers.nn.hgq`)."""

    name: str
    norms: bool  # whether norms are layers here; without, they are folded and `folds` says where
    logits_format: str  # of attention scores and pair bias
    key_bias_axes: str | None  # the bias of the attention keys drops out of a softmax: fixed point has none
    folds: dict[str, Fold]  # dense layer -> what was folded into it; empty in float

    def input(self, name: str, shape: tuple[int | None, ...]) -> Tensor:
        """A model input, shape without the batch axis."""

    def dense(self, x: Tensor, name: str, linear: Linear) -> Tensor:
        """Learned einsum of `x` with a kernel."""

    def einsum(self, equation: str, a: Tensor, b: Tensor, name: str) -> Tensor:
        """Product of two data tensors."""

    def wires(self, x: Tensor, kernel: Any, equation: str, name: str, form: str) -> Tensor:
        """Einsum with a constant kernel of small integers (gathers, differences, fills) on values of format `form`."""

    def stack(self, columns: Sequence[Tensor], form: str, name: str) -> Tensor:
        """Tensors (B, P) side by side, (B, P, number of columns), in the format `form`."""

    def sum(self, a: Tensor, b: Tensor, form: str, name: str) -> Tensor:
        """Sum of two tensors (B, P) in the fixed format `form`."""

    def add(self, a: Tensor, b: Tensor, axes: str, name: str) -> Tensor:
        """Sum of two data tensors whose axes are spelt `axes`, e.g. "bnd"."""

    def norm(self, x: Tensor, norm: Norm) -> Tensor:
        """Normalisation in front of a dense step."""

    def table(self, x: Tensor, table: Table, name: str) -> Tensor:
        """A function of one variable of a (B, M) tensor."""

    def logits(self, scores: Tensor, bias: Tensor | None, mask: Tensor | None, name: str) -> Tensor:
        """Attention scores (B, H, Q, K) plus pair bias (same shape or None), padded keys (mask (B, K)) pushed away.

        Without a mask every key counts, as the projected ones of a Linformer do.
        """

    def softmax(self, x: Tensor, name: str) -> Tensor:
        """Softmax over the last axis."""

    def mean(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        """Mean of (B, N, D) over real particles."""

    def total(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        """Sum of (B, N, D) over real particles times 2^-round(log2 N), which is a shift."""

    def gate(self, x: Tensor, mask: Tensor, name: str) -> Tensor:
        """(B, N, D) with zeros in padded slots."""

    def spread(self, x: Tensor, particles: int, name: str) -> Tensor:
        """(B, D) repeated for every particle, (B, N, D)."""

    def dropout(self, x: Tensor, rate: float, name: str) -> Tensor:
        """Dropout in training."""

    def residual_factors(self, x: Tensor, name: str) -> Tensor:
        """Learned factors per channel of a residual (weaver's w_resid)."""

    def model(self, inputs: Mapping[str, Tensor], output: Tensor, name: str) -> Model:
        """The finished Keras model of named inputs and one output."""


def total_scale(particles: int) -> float:
    """The power of two next to 1/N: what a sum over N particle slots is scaled by."""
    return float(2.0 ** -round(math.log2(particles)))
