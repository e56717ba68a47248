"""Values of pairs of points, kept once each, and their places among rows and columns: moved, never rounded.

Symbols in shapes: B batch, N points, P pairs, H heads.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.nn.layers import Shape, Tensor, serialisable


def triangle_index(particles: int, self_pairs: bool) -> NDArray[np.int64]:
    """(N, N) table of the place of pair (i, j) in the lower triangle; -1 where it is not kept.

    With self pairs the order is that of ``np.tril_indices(N)``, without that of ``np.tril_indices(N, -1)``.
    """
    index = np.full((particles, particles), -1, np.int64)
    rows, columns = np.tril_indices(particles, 0 if self_pairs else -1)
    index[rows, columns] = np.arange(len(rows))
    return np.maximum(index, index.T)


@serialisable
class SymmetricFill(keras.layers.Layer):  # type: ignore[misc]
    """(B, P, H) -> (B, H, N, N), both triangles; `self_pairs` says whether P counts the diagonal (else it is 0)."""

    def __init__(self, particles: int, self_pairs: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.particles = particles
        self.self_pairs = self_pairs

    @property
    def index(self) -> NDArray[np.int64]:
        """(N, N), which pair stands at each place; -1 for 0."""
        return triangle_index(self.particles, self.self_pairs)

    def call(self, values: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        index = self.index
        missing = index < 0
        filled = ops.take(values, np.where(missing, 0, index).ravel(), axis=1)  # (B, N * N, H)
        filled = filled * np.where(missing, 0.0, 1.0).reshape(1, -1, 1).astype(self.compute_dtype)
        square = ops.reshape(filled, (-1, self.particles, self.particles, values.shape[-1]))
        return ops.transpose(square, (0, 3, 1, 2))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        return (input_shape[0], input_shape[-1], self.particles, self.particles)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "particles": self.particles, "self_pairs": self.self_pairs}
