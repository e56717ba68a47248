"""Keras layers of the float Erwin: places, and messages between neighbours.

None of these has weights.

Symbols in shapes: B batch, N points, K neighbours, d coordinates, C channels.
"""

from __future__ import annotations

import keras
from keras import ops

from qformers.nn.index import padding
from qformers.nn.layers import Shape, Tensor, serialisable


@serialisable
class Places(padding.Hide):
    """Positions, 0 in masked points; no gradient flows through them."""

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        return ops.stop_gradient(super().call(inputs))


@serialisable
class Messages(keras.layers.Layer):  # type: ignore[misc]
    """What a message is made of: [x (B, N, C), positions (B, N, d), neighbours (B, N, K)] -> (B, N, K, 2 C + d).

    Channels of the sender and of the receiver, and position of the sender less that of the receiver. A negative number
    is no neighbour; its row means nothing.
    """

    def call(self, inputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        x, positions, neighbours = inputs
        batch, points, channels = ops.shape(x)
        count, d = neighbours.shape[-1], positions.shape[-1]
        rows = ops.maximum(ops.cast(neighbours, "int32"), 0)
        rows = ops.reshape(rows + points * ops.arange(batch, dtype="int32")[:, None, None], (-1,))
        shape = (-1, points, count)
        senders = ops.reshape(ops.take(ops.reshape(x, (-1, channels)), rows, axis=0), (*shape, channels))
        places = ops.reshape(ops.take(ops.reshape(positions, (-1, d)), rows, axis=0), (*shape, d))
        receivers = ops.broadcast_to(x[:, :, None, :], ops.shape(senders))
        return ops.concatenate([senders, receivers, ops.stop_gradient(places - positions[:, :, None, :])], axis=-1)

    def compute_output_shape(self, input_shape: tuple[Shape, Shape, Shape]) -> Shape:
        """Shape of the output, batch first."""
        return (*input_shape[2], 2 * (input_shape[0][-1] or 0) + (input_shape[1][-1] or 0))


@serialisable
class MeanMessage(keras.layers.Layer):  # type: ignore[misc]
    """Mean of the messages to a point, 0 without any: [(B, N, K, C), neighbours (B, N, K)] -> (B, N, C)."""

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        messages, neighbours = inputs
        there = ops.cast(neighbours >= 0, messages.dtype)  # (B, N, K)
        total = ops.einsum("bnkc,bnk->bnc", messages, there)
        return total / ops.maximum(ops.sum(there, axis=-1, keepdims=True), 1.0)

    def compute_output_shape(self, input_shape: tuple[Shape, Shape]) -> Shape:
        """Shape of the output, batch first."""
        return (*input_shape[0][:2], input_shape[0][-1])
