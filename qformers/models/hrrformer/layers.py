"""Keras layers of Hrrformer in float: binding by the fast Fourier transform, tokens and pairs of sequences.

Symbols in shapes: B batch, N tokens, h heads, n head width, D model width.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
from keras import ops

from qformers.nn.layers import Shape, Tensor, serialisable


@serialisable
class Unbinding(keras.layers.Layer):  # type: ignore[misc]
    """What each query finds in the sum of all bindings: [q, k, v (B, N, h, n)] -> (B, N, h, n).

    beta = sum_t k_t (*) v_t is a sum of circular convolutions over all positions, and what is found is its circular
    correlation with the query (arXiv:2305.19534, equations 1 to 3): products of Fourier transforms.

    Args:
        inverse: approximate: by the conjugate of the query's transform; exact: by one over it.
    """

    def __init__(self, inverse: Literal["approximate", "exact"] = "approximate", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inverse = inverse

    def call(self, inputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        (qr, qi), (kr, ki), (vr, vi) = (ops.rfft(x) for x in inputs)
        width = inputs[0].shape[-1]
        br = ops.sum(kr * vr - ki * vi, axis=1, keepdims=True)  # (B, 1, h, n / 2 + 1)
        bi = ops.sum(kr * vi + ki * vr, axis=1, keepdims=True)
        found = qr * br + qi * bi, qr * bi - qi * br
        if self.inverse == "exact":
            size = qr * qr + qi * qi
            found = found[0] / size, found[1] / size
        return ops.irfft(found, fft_length=width)

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        """Shape of the output, batch first."""
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "inverse": self.inverse}


@serialisable
class TokenInFront(keras.layers.Layer):  # type: ignore[misc]
    """Puts a learned token in front: (B, N, D) -> (B, 1 + N, D)."""

    def build(self, input_shape: Shape) -> None:
        """Create the weights."""
        width = input_shape[-1] or 1
        drawn = keras.initializers.RandomNormal(0.0, 1.0 / math.sqrt(width))  # zeros would have no cosine with anything
        self.token = self.add_weight(name="token", shape=(1, 1, width), initializer=drawn)

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        first = ops.broadcast_to(self.token, (ops.shape(inputs)[0], 1, inputs.shape[-1]))
        return ops.concatenate([first, inputs], axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        return (input_shape[0], (input_shape[1] or 0) + 1, input_shape[2])


@serialisable
class ClassMask(keras.layers.Layer):  # type: ignore[misc]
    """Puts a 1 in front: (B, N) -> (B, 1 + N)."""

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return ops.concatenate([ops.ones_like(inputs[:, :1]), inputs], axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        return (input_shape[0], (input_shape[1] or 0) + 1)


@serialisable
class FirstToken(keras.layers.Layer):  # type: ignore[misc]
    """The first token: (B, N, D) -> (B, D)."""

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return inputs[:, 0]


@serialisable
class Halves(keras.layers.Layer):  # type: ignore[misc]
    """Two sequences, one behind the other, as two events: (B, 2 N, ...) -> (2 B, N, ...)."""

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return ops.reshape(inputs, (-1, inputs.shape[1] // 2, *inputs.shape[2:]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        return (None, (input_shape[1] or 0) // 2, *input_shape[2:])


@serialisable
class Compared(keras.layers.Layer):  # type: ignore[misc]
    """Two events as one, x and y as [x, y, x y, x - y]: (2 B, D) -> (B, 4 D)."""

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        pairs = ops.reshape(inputs, (-1, 2, inputs.shape[-1]))
        x, y = pairs[:, 0], pairs[:, 1]
        return ops.concatenate([x, y, x * y, x - y], axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        return (None, 4 * (input_shape[-1] or 0))
