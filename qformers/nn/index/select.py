"""Layers that pick values and round nothing, so that float and fixed point share them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from qformers.nn.layers import Shape, Tensor, serialisable


@serialisable
class Largest(keras.layers.Layer):  # type: ignore[misc]
    """The largest value along an axis, which is kept with length 1: (B, ..., n, ...) -> (B, ..., 1, ...).

    Args:
        axis: counted from the batch axis, or from the end.
        floor: the result is at least this; None for no limit. It must be a multiple of the step of the values.
    """

    def __init__(self, axis: int, floor: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis, self.floor = axis, floor

    def call(self, inputs: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        top = ops.max(inputs, axis=self.axis, keepdims=True)
        return top if self.floor is None else ops.maximum(top, self.floor)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        shape = list(input_shape)
        shape[self.axis] = 1
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "axis": self.axis, "floor": self.floor}
