"""The order of a ball tree as a chip computes it (``order: onchip``): levels of sorting networks, without the host.

What `qformers.nn.index.ball_tree.partition` does, on values that are on a grid in fixed point, so that every machine
agrees. A tree of the plane that is turned by 45 degrees cuts along x + y and y - x, which needs no product: it is
larger by sqrt(2), and its balls are the same.

Symbols in shapes: B batch, S slots, d coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from qformers.nn.index.ball_order import BallOrder
from qformers.nn.index.lsh import lexsort, pick
from qformers.nn.layers import Shape, Tensor, serialisable


@serialisable
class SortedTree(keras.layers.Layer):  # type: ignore[misc]
    """Slots in the order of the balls of a tree: [coords (B, S, d), real (B, S)] -> (B, 1, 1, 1, S), int32.

    Every node is sorted along its widest coordinate, the first of those that are as wide, and cut in the middle, down
    to `leaf` slots; ties keep the order of the slots. Slots that are not real (above 0) are left out of the widths and
    go last, in their order.

    Args:
        leaf: slots of the smallest nodes, a power of two.
        diagonal: along x + y and y - x of two coordinates instead of the coordinates.
        scales: what the host multiplies coordinates by, of `BallOrder`.
    """

    def __init__(self, leaf: int, diagonal: bool = False, scales: Sequence[float] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.leaf, self.diagonal = leaf, diagonal
        self.host = BallOrder((leaf,), (), 0.0, (), "masked", tuple(scales))

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        coords, real = inputs
        slots, axes = coords.shape[1:]
        columns = [coords[..., axis] for axis in range(axes)]  # (B, S) each
        if self.diagonal:
            columns = [columns[0] + columns[1], columns[1] - columns[0]]
        columns = [ops.where(column == 0, ops.zeros_like(column), column) for column in columns]  # -0 is 0
        shown = real > 0
        order = ops.broadcast_to(ops.arange(slots, dtype="int32"), ops.shape(real))
        size = slots
        while size > self.leaf:
            rows = (-1, slots // size, size)
            there = ops.reshape(pick(shown, order), rows)
            values = [ops.reshape(pick(column, order), rows) for column in columns]
            key, widest = values[0], _width(values[0], there)
            for value in values[1:]:
                width = _width(value, there)
                key = ops.where(width > widest, value, key)
                widest = ops.maximum(widest, width)
            key = ops.where(there, key, np.inf)
            order = ops.reshape(order, rows)
            order = ops.reshape(pick(order, lexsort(key, order)), (-1, slots))
            size //= 2
        return order[:, None, None, None, :]

    def compute_output_spec(self, inputs: tuple[Tensor, Tensor]) -> Any:
        """Shape and type of the output."""
        return keras.KerasTensor((inputs[1].shape[0], 1, 1, 1, inputs[1].shape[1]), "int32")

    def compute_output_shape(self, input_shape: tuple[Shape, Shape]) -> Shape:
        """Shape of the output, batch first."""
        return (input_shape[1][0], 1, 1, 1, input_shape[1][1])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        decided = {"leaf": self.leaf, "diagonal": self.diagonal, "scales": list(self.host.scales)}
        return {**super().get_config(), **decided}


def _width(values: Tensor, there: Tensor) -> Tensor:
    """Largest less smallest real one of each node, (B, nodes, 1); below 0 where a node has none."""
    high = ops.max(ops.where(there, values, -np.inf), axis=-1, keepdims=True)
    low = ops.min(ops.where(there, values, np.inf), axis=-1, keepdims=True)
    return high - low
