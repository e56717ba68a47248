"""Keras layers of the float HEPT: learned scales of the coordinates, the kernel of a block, the sum over hashes.

Symbols in shapes: B batch, P points with padding, C coordinates, H heads, D width of a head, E = D + C, O hashes,
M blocks of S points, K terms of a scale.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
from keras import ops

from qformers.nn.layers import Shape, Tensor, serialisable

SINK = math.log(1e-20)  # logit of a key of value 0; as published, where it is a number added to each denominator
LARGEST_EXPONENT = 50.0  # of a term of a scale, as published


@serialisable
class Categories(keras.layers.Layer):  # type: ignore[misc]
    """Replaces the last columns, which hold whole numbers, by learned vectors: (B, P, F) -> (B, P, F - n + widths).

    Args:
        tables: (entries, width) of each of the n last columns.
    """

    def __init__(self, tables: list[list[int]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes = [tuple(sizes) for sizes in tables]

    def build(self, input_shape: Shape) -> None:
        """Create the weights."""
        initial = keras.initializers.RandomNormal(0.0, 1.0)
        self.tables = [
            self.add_weight(name=f"table{index}", shape=sizes, initializer=initial)
            for index, sizes in enumerate(self.sizes)
        ]

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        plain = inputs.shape[-1] - len(self.sizes)
        whole = ops.cast(inputs[..., plain:], "int32")
        vectors = [ops.take(table, whole[..., index], axis=0) for index, table in enumerate(self.tables)]
        return ops.concatenate([inputs[..., :plain], *vectors], axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        return (*input_shape[:-1], (input_shape[-1] or 0) + sum(width - 1 for _, width in self.sizes))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "tables": [list(sizes) for sizes in self.sizes]}


@serialisable
class ScaledCoords(keras.layers.Layer):  # type: ignore[misc]
    """sqrt(2 s) * coords with learned scales s (H, C): (B, P, C) -> (B, P, H, C).

    s_hr = sum_K exp(min(sum_D w_hdrk, 50)) > 0 is constant after training. The published layer is a dense one of which
    only the kernel is read; its bias, on which nothing depends, is kept so that counts and checkpoints agree.

    Args:
        heads: H.
        width: D, numbers that are summed in an exponent.
        terms: K.
        shared: the first two coordinates (eta and phi) have one scale.
        normal: initial weights are Gaussian, as HEPT-CMS draws them.
    """

    def __init__(self, heads: int, width: int, terms: int, shared: bool, normal: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.width, self.terms, self.shared, self.normal = heads, width, terms, shared, normal

    def build(self, input_shape: Shape) -> None:
        """Create the weights."""
        scales = (input_shape[-1] or 0) - int(self.shared)
        limit = 1 / math.sqrt(scales * self.terms)
        drawn: Any = keras.initializers.RandomUniform(-limit, limit)
        if self.normal:
            drawn = keras.initializers.RandomNormal(0.0, math.sqrt(2.0) * limit)
        shape = (self.heads, self.width, scales, self.terms)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=drawn)
        self.bias = self.add_weight(
            name="bias", shape=(self.heads * self.width,), initializer="zeros" if self.normal else drawn
        )

    def scales(self) -> Tensor:
        """s (H, C)."""
        exponents = ops.sum(ops.convert_to_tensor(self.kernel), axis=1) + 0.0 * ops.sum(self.bias)  # (H, C or C-1, K)
        scales = ops.sum(ops.exp(ops.minimum(exponents, LARGEST_EXPONENT)), axis=-1)
        return ops.concatenate([scales[:, :1], scales], axis=1) if self.shared else scales

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return ops.sqrt(2.0 * self.scales()) * inputs[:, :, None, :]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        return (*input_shape[:2], self.heads, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        sizes = {"heads": self.heads, "width": self.width, "terms": self.terms}
        return {**super().get_config(), **sizes, "shared": self.shared, "normal": self.normal}


@serialisable
class BlockKernel(keras.layers.Layer):  # type: ignore[misc]
    """Sums over the keys of a block under the kernel exp(-|q - k|^2 / 2).

    [queries (B, O, H, M, S, E), keys (same), values (B, O, H, M, S, D), mask (B, O, H or 1, M, S, 1)]
    -> (B, O, H, M, S, D + 1) for kernel "direct": sum_j A v_j and sum_j A + exp(sink);
    -> (B, O, H, M, S, D + 2) for "sink": both relative to exp(m), then m = max(max_j ln A, sink).

    Squares of large coordinates would cancel in q.k - q^2/2 - k^2/2, so all are taken from the mean of the keys first.
    """

    def __init__(self, kernel: Literal["direct", "sink"], sink: float = SINK, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel, self.sink = kernel, sink

    def call(self, inputs: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        queries, keys, values, mask = inputs
        centre = ops.sum(keys * mask, axis=-2, keepdims=True) / ops.maximum(ops.sum(mask, axis=-2, keepdims=True), 1.0)
        centre = ops.stop_gradient(centre)  # the result does not depend on it
        queries, keys = queries - centre, keys - centre
        half_q = 0.5 * ops.sum(queries * queries, axis=-1, keepdims=True)  # (B, O, H, M, S, 1)
        half_k = ops.swapaxes(0.5 * ops.sum(keys * keys, axis=-1, keepdims=True), -1, -2)  # (B, O, H, M, 1, S)
        logits = ops.matmul(queries, ops.swapaxes(keys, -1, -2)) - half_q - half_k  # (B, O, H, M, S, S)
        logits = ops.minimum(logits, 0.0)
        real = ops.swapaxes(mask, -1, -2)  # (B, O, H or 1, M, 1, S)
        if self.kernel == "direct":
            weights = ops.exp(logits) * real
            total = ops.sum(weights, axis=-1, keepdims=True) + math.exp(self.sink)
            return ops.concatenate([ops.matmul(weights, values), total], axis=-1)
        lowest = ops.where(real > 0, logits, ops.full_like(logits, self.sink))
        top = ops.stop_gradient(ops.maximum(ops.max(lowest, axis=-1, keepdims=True), self.sink))
        weights = ops.exp(logits - top) * real
        total = ops.sum(weights, axis=-1, keepdims=True) + ops.exp(self.sink - top)
        return ops.concatenate([ops.matmul(weights, values), total, top], axis=-1)

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        """Shape of the output, batch first."""
        extra = 1 if self.kernel == "direct" else 2
        return (*input_shape[0][:-1], (input_shape[2][-1] or 0) + extra)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "kernel": self.kernel, "sink": self.sink}


@serialisable
class CombineHashes(keras.layers.Layer):  # type: ignore[misc]
    """Ratio of the sums over all hashes: what `BlockKernel` gives, back in slots (B, O, H, P, ...) -> (B, P, H, D).

    Denominators of kernel "direct" reach 1e-20, and their square, by which compilers divide the gradient, is 0 in
    float32. Both sums are therefore first multiplied by the inverse of the denominator, as a constant; written as an
    exponential, since XLA puts two divisions together into one by the product.
    """

    def __init__(self, kernel: Literal["direct", "sink"], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel = kernel

    def call(self, sums: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        if self.kernel == "sink":
            top = sums[..., -1:]
            sums = sums[..., :-1] * ops.exp(top - ops.max(top, axis=1, keepdims=True))
        total = ops.sum(sums, axis=1)  # (B, H, P, D + 1)
        if self.kernel == "direct":
            total = total * ops.stop_gradient(ops.exp(-ops.log(total[..., -1:])))
        return ops.transpose(total[..., :-1] / total[..., -1:], (0, 2, 1, 3))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        batch, _, heads, slots, channels = input_shape
        return (batch, slots, heads, (channels or 0) - (1 if self.kernel == "direct" else 2))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "kernel": self.kernel}
