"""Layers that move points into the slots of a ball tree and back, by the orders that the host gives; none rounds.

What stands in an order is moved by `qformers.nn.index.lsh.ToBlocks` and `FromBlocks`, as HEPT's blocks are.

Symbols in shapes: B batch, N points, S slots, R rotated orders, E channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from qformers.nn.index.ball_order import BallOrder
from qformers.nn.index.ball_tree import Pads
from qformers.nn.layers import Shape, Tensor, serialisable

ONE_ORDER = "set model.rotate: 0, model.order: onchip, or backend: alkaid"  # where a backend cannot pick one of several


@serialisable
class TreeOrder(keras.layers.Layer):  # type: ignore[misc]
    """One of the orders that the host computed, as the other layers take it; keeps what decides them.

    order (B, 1 + R, S) -> (B, 1, 1, 1, slots), int32.

    Args:
        row: of the order; 0 is the tree.
        slots: of the level that it is an order of.
        balls, strides, degrees, turned, pads, scales: of `BallOrder`.
    """

    def __init__(
        self,
        row: int,
        slots: int,
        balls: Sequence[int],
        strides: Sequence[int],
        degrees: float,
        turned: Sequence[int],
        pads: Pads,
        scales: Sequence[float] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.row, self.slots = row, slots
        self.host = BallOrder(tuple(balls), tuple(strides), degrees, tuple(turned), pads, tuple(scales))

    def call(self, order: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return ops.cast(order[:, self.row, : self.slots], "int32")[:, None, None, None, :]

    def compute_output_spec(self, order: Tensor) -> Any:
        """Shape and type of the output."""
        return keras.KerasTensor((order.shape[0], 1, 1, 1, self.slots), "int32")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        host = self.host
        decided = {"balls": list(host.balls), "strides": list(host.strides), "degrees": host.degrees}
        decided |= {"turned": list(host.turned), "pads": host.pads, "scales": list(host.scales)}
        return {**super().get_config(), "row": self.row, "slots": self.slots, **decided}


@serialisable
class FirstSlots(keras.layers.Layer):  # type: ignore[misc]
    """Every point from the first slot that holds it: [x (B, S, E), order (B, 1, 1, 1, S), mask (B, N)] -> (B, N, E).

    Rows of points that stand in no slot mean nothing.
    """

    keeps_rows = True  # so that a norm of the last axis may as well come behind it

    def call(self, inputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        x, order, mask = inputs
        batch, slots, channels = ops.shape(x)
        points = mask.shape[1]
        event = ops.arange(batch, dtype="int32")[:, None]
        holders = ops.reshape(order[:, 0, 0, 0] + points * event, (-1,))
        last_first = ops.broadcast_to(-ops.arange(slots, dtype="int32"), (batch, slots))
        first = -ops.segment_max(ops.reshape(last_first, (-1,)), holders, num_segments=batch * points)
        first = ops.clip(ops.reshape(first, (batch, points)), 0, slots - 1)  # of no slot: the least number there is
        rows = ops.take(ops.reshape(x, (-1, channels)), ops.reshape(first + slots * event, (-1,)), axis=0)
        return ops.reshape(rows, (-1, points, channels))

    def compute_output_shape(self, input_shape: tuple[Shape, Shape, Shape]) -> Shape:
        """Shape of the output, batch first."""
        return (*input_shape[2], input_shape[0][-1])
