"""Padding of points to whole blocks, and masks: values are moved or hidden, never rounded.

Symbols in shapes: B batch, N points, P = N padded to a multiple of the block, C coordinates, E channels.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from qformers.nn.layers import Shape, Tensor, serialisable


def block_of(points: int | None, block: int) -> int:
    """S, points per block: all points where there are fewer than `block`. `points` is None where events differ."""
    return block if points is None else min(points, block)


@serialisable
class Hide(keras.layers.Layer):  # type: ignore[misc]
    """Zeros in masked points, whatever stood there (also NaN): [(B, N, E), mask (B, N)] -> (B, N, E)."""

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        x, mask = inputs
        return ops.where(ops.expand_dims(mask, -1) > 0, x, ops.zeros_like(x))

    def compute_output_shape(self, input_shape: tuple[Shape, Shape]) -> Shape:
        """Shape of the output, batch first."""
        return input_shape[0]


@serialisable
class Columns(keras.layers.Layer):  # type: ignore[misc]
    """The first `columns` coordinates, as vectors of one head: (B, N, C) -> (B, N, 1, columns)."""

    def __init__(self, columns: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.columns = columns

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return inputs[:, :, None, : self.columns]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "columns": self.columns}


@serialisable
class PadPoints(keras.layers.Layer):  # type: ignore[misc]
    """Zeros behind the points up to a multiple of the block: (B, N, ...) -> (B, P, ...)."""

    def __init__(self, block: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block = block

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        batch, points, *rest = ops.shape(inputs)
        behind = ops.zeros((batch, -points % self.block, *rest), dtype=inputs.dtype)
        return ops.concatenate([inputs, behind], axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        points = input_shape[1]
        return (input_shape[0], None if points is None else points + -points % self.block, *input_shape[2:])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "block": self.block}


@serialisable
class CutPoints(keras.layers.Layer):  # type: ignore[misc]
    """Takes the padding away again: [(B, P, ...), mask without padding (B, N)] -> (B, N, ...)."""

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        x, mask = inputs
        return x[:, : ops.shape(mask)[1]]

    def compute_output_shape(self, input_shape: tuple[Shape, Shape]) -> Shape:
        """Shape of the output, batch first."""
        return (*input_shape[1], *input_shape[0][2:])
