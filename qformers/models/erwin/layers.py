"""Keras layers of the float Erwin: what follows from positions alone, and the messages between neighbours.

No gradient flows through positions. None of these has weights.

Symbols in shapes: B batch, N points, K neighbours, S slots of a level, M balls of b slots, d coordinates, C channels.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from qformers.nn.layers import Shape, Tensor, serialisable


@serialisable
class FromMean(keras.layers.Layer):  # type: ignore[misc]
    """Positions relative to the mean of their ball: (B, S, d) -> (B, S, d).

    With a second input, real (B, S; 1 or 0), the mean is that of real slots, and others are 0.

    Args:
        ball: slots of a ball.
    """

    def __init__(self, ball: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ball = ball

    def call(self, inputs: Any) -> Tensor:
        """Apply it; shapes as in the class."""
        balls, real = _balls(inputs, self.ball)
        relative = balls - _mean(balls, real)
        if real is not None:
            relative = relative * real
        return ops.reshape(relative, ops.shape(_positions(inputs)))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Shape of the output, batch first."""
        return _shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "ball": self.ball}


@serialisable
class BallMeans(keras.layers.Layer):  # type: ignore[misc]
    """The mean of each ball: (B, S, d) -> (B, S / b, d); of real slots, where a second input says which are.

    Args:
        ball: slots of a ball.
    """

    def __init__(self, ball: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ball = ball

    def call(self, inputs: Any) -> Tensor:
        """Apply it; shapes as in the class."""
        return ops.squeeze(_mean(*_balls(inputs, self.ball)), axis=2)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Shape of the output, batch first."""
        batch, slots, d = _shape(input_shape)
        return (batch, None if slots is None else slots // self.ball, d)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "ball": self.ball}


@serialisable
class BallDistances(keras.layers.Layer):  # type: ignore[misc]
    """Distances of the slots of a ball: (B, S, d) -> (B, M, b, b).

    Args:
        ball: b.
        squared: whether it is their squares.
    """

    def __init__(self, ball: int, squared: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ball, self.squared = ball, squared

    def call(self, positions: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        balls, _ = _balls(positions, self.ball)
        total = 0.0
        for axis in range(positions.shape[-1]):  # one after the other: no (b, b, d) differences in memory
            difference = balls[:, :, :, None, axis] - balls[:, :, None, :, axis]
            total = total + difference * difference
        return ops.stop_gradient(total if self.squared else ops.sqrt(total))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        batch, slots, _ = input_shape
        return (batch, None if slots is None else slots // self.ball, self.ball, self.ball)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "ball": self.ball, "squared": self.squared}


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


def _positions(inputs: Any) -> Tensor:
    return inputs[0] if isinstance(inputs, list | tuple) else inputs


def _shape(input_shape: Any) -> Shape:
    """Of the positions."""
    first: Any = input_shape[0]
    return tuple(first) if isinstance(first, list | tuple) else tuple(input_shape)


def _balls(inputs: Any, ball: int) -> tuple[Tensor, Tensor | None]:
    """Positions (B, M, b, d), without a gradient, and which are real (B, M, b, 1), or None where all are."""
    positions = ops.stop_gradient(_positions(inputs))
    _, slots, d = positions.shape
    balls = ops.reshape(positions, (-1, slots // ball, ball, d))
    if not isinstance(inputs, list | tuple):
        return balls, None
    return balls, ops.reshape(inputs[1], (-1, slots // ball, ball, 1))


def _mean(balls: Tensor, real: Tensor | None) -> Tensor:
    """(B, M, 1, d)."""
    if real is None:
        return ops.mean(balls, axis=2, keepdims=True)
    return ops.sum(balls * real, axis=2, keepdims=True) / ops.maximum(ops.sum(real, axis=2, keepdims=True), 1.0)
