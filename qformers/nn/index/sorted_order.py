"""The order of points as a chip computes it for ``order: onchip``: in whole numbers, so that every machine agrees."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.nn.index.host_order import HostOrder
from qformers.nn.index.lsh import LAST, inverse, lexsort
from qformers.nn.layers import Shape, Tensor, serialisable

ALPHA_FRACTION_BITS = 4  # of the directions on which points are projected: any direction serves, so a short one does


@serialisable
class SortedOrder(keras.layers.Layer):  # type: ignore[misc]
    """Regions, then a hash, as `HostOrder` has them: [coords (B, N, C), mask (B, N, 1)] -> (B, 1, O, 1, N), int32.

    Coordinates are multiples of 2^-fraction_bits and alpha of 2^-4, so that hashes are whole numbers and points are
    alike exactly where their coordinates are; those keep the order of their slots. A point is real where its mask is
    above 0. Masked points stand last, in the order of their slots.

    Args:
        regions: (O, A), see `HostOrder`.
        alpha: (A, O), likewise; rounded here.
        fraction_bits: of the coordinates.
    """

    def __init__(self, regions: list[list[float]], alpha: list[list[float]], fraction_bits: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        rounded = np.round(np.asarray(alpha, np.float64) * 2**ALPHA_FRACTION_BITS) / 2**ALPHA_FRACTION_BITS
        self.host = HostOrder(np.asarray(regions, np.float64), rounded)
        self.fraction_bits = fraction_bits

    @property
    def directions(self) -> NDArray[np.int64]:
        """Alpha (A, O) in steps of 2^-4."""
        return np.asarray(np.rint(self.host.alpha * 2**ALPHA_FRACTION_BITS), np.int64)

    def run_lengths(self, points: int) -> NDArray[np.int64]:
        """Points in a run (points + 1, O, A) for 0 to `points` real ones: ceil(n / u), at least 1."""
        thirds = np.maximum(np.rint(3.0 * self.host.regions).astype(np.int64), 1)
        real = np.arange(points + 1)[:, None, None]
        return np.maximum(-(-3 * real // thirds), 1)

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        coords, mask = inputs
        axes = self.host.regions.shape[1]
        points = coords.shape[1]
        real = ops.squeeze(mask, -1) > 0  # (B, N)
        whole = ops.cast(ops.round(coords[..., :axes] * 2.0**self.fraction_bits), "int32")
        whole = ops.transpose(whole, (0, 2, 1))  # (B, A, N)
        shown = ops.where(real[:, None, :], whole, LAST)
        rank = inverse(ops.argsort(shown, axis=-1))  # (B, A, N)
        count = ops.sum(ops.cast(real, "int32"), axis=-1)  # (B,)
        length = ops.take(ops.cast(self.run_lengths(points), "int32"), count, axis=0)  # (B, O, A)
        region = rank[:, None] // length[..., None]  # (B, O, A, N)
        code = region[:, :, 0]
        for axis in range(1, axes):
            code = code + region[:, :, axis] * points**axis
        hashed = 0
        for axis in range(axes):
            hashed = hashed + whole[:, None, axis] * ops.cast(self.directions[axis], "int32")[:, None]  # (B, O, N)
        shown = ops.broadcast_to(real[:, None, :], ops.shape(code))
        return lexsort(ops.where(shown, code, LAST), ops.where(shown, hashed, 0))[:, None, :, None, :]

    def compute_output_spec(self, inputs: tuple[Tensor, Tensor]) -> Any:
        """Shape and type of the output."""
        batch, points, _ = inputs[0].shape
        return keras.KerasTensor((batch, 1, self.host.regions.shape[0], 1, points), "int32")

    def compute_output_shape(self, input_shape: tuple[Shape, Shape]) -> Shape:
        """Shape of the output, batch first."""
        return (input_shape[0][0], 1, self.host.regions.shape[0], 1, input_shape[0][1])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        drawn = {"regions": self.host.regions.tolist(), "alpha": self.host.alpha.tolist()}
        return {**super().get_config(), **drawn, "fraction_bits": self.fraction_bits}
