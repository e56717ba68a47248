"""Keras layers of the float ParT: pair features from four-momenta, index work on pairs, class token."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from qformers.nn.layers import Shape, Tensor, serialisable

PAIR_EPSILON = 1e-8  # floor of the logarithms of the pair features (weaver-core)


@serialisable
class PairFeatures(keras.layers.Layer):  # type: ignore[misc]
    """ln kT, ln z, ln dR, ln m^2 of all pairs (arXiv:2202.03772, eqs. 3-6, with rapidity), from four-momenta.

    Input (B, N, 4) as (px, py, pz, E); output (B, N, N, 4).
    """

    def call(self, vectors: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        px, py, pz, energy = (vectors[..., i] for i in range(4))  # each (B, N)
        pt = ops.sqrt(px**2 + py**2)
        rapidity = 0.5 * ops.log(1.0 + 2.0 * pz / ops.maximum(energy - pz, 1e-20))
        phi = ops.arctan2(py, px)

        def pairs(x: Tensor) -> tuple[Tensor, Tensor]:
            return x[:, :, None], x[:, None, :]

        (pt_i, pt_j), (y_i, y_j), (phi_i, phi_j) = pairs(pt), pairs(rapidity), pairs(phi)
        turn = ops.convert_to_tensor(2 * np.pi, self.compute_dtype)  # ops.mod takes a Python number through float32
        dphi = ops.mod(phi_i - phi_j + np.pi, turn) - np.pi
        distance = ops.sqrt((y_i - y_j) ** 2 + dphi**2)  # (B, N, N)
        softer = ops.minimum(pt_i, pt_j)
        total = ops.expand_dims(vectors, 2) + ops.expand_dims(vectors, 1)  # (B, N, N, 4)
        mass2 = total[..., 3] ** 2 - total[..., 0] ** 2 - total[..., 1] ** 2 - total[..., 2] ** 2

        def log(x: Tensor) -> Tensor:
            return ops.log(ops.maximum(x, PAIR_EPSILON))

        fraction = softer / ops.maximum(pt_i + pt_j, PAIR_EPSILON)
        return ops.stack([log(softer * distance), log(fraction), log(distance), log(mass2)], axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        batch, particles, _ = input_shape
        return (batch, particles, particles, 4)


@serialisable
class PairMask(keras.layers.Layer):  # type: ignore[misc]
    """(B, N) -> (B, N, N), 1 where both particles are real; the statistics of the pair norms count only those."""

    def call(self, valid: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return valid[:, :, None] * valid[:, None, :]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        return (input_shape[0], input_shape[1], input_shape[1])


@serialisable
class LowerTriangle(keras.layers.Layer):  # type: ignore[misc]
    """(B, N, N, ...) -> (B, P, ...): the pairs i > j, with `self_pairs` also i = j."""

    def __init__(self, self_pairs: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.self_pairs = self_pairs

    def call(self, square: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        particles = square.shape[1]
        rows, columns = np.tril_indices(particles, 0 if self.self_pairs else -1)
        flat = ops.reshape(square, (-1, particles * particles, *square.shape[3:]))
        return ops.take(flat, rows * particles + columns, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        particles = input_shape[1]
        pairs = None if particles is None else particles * (particles + (1 if self.self_pairs else -1)) // 2
        return (input_shape[0], pairs, *input_shape[3:])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "self_pairs": self.self_pairs}


@serialisable
class ClassToken(keras.layers.Layer):  # type: ignore[misc]
    """The learned class token, once per jet: input (B, N, D), of which only B is used; output (B, 1, D)."""

    def build(self, input_shape: Shape) -> None:
        """Create the weights."""
        initial = keras.initializers.TruncatedNormal(stddev=0.02)
        self.token = self.add_weight(name="token", shape=(1, 1, input_shape[-1]), initializer=initial)

    def call(self, tokens: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return ops.broadcast_to(self.token, (ops.shape(tokens)[0], 1, tokens.shape[-1]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        return (input_shape[0], 1, input_shape[-1])


@serialisable
class PrependValid(keras.layers.Layer):  # type: ignore[misc]
    """(B, N) mask -> (B, 1 + N), the class token in front and always valid."""

    def call(self, valid: Tensor) -> Tensor:
        """Apply it; shapes as in the class."""
        return ops.concatenate([ops.ones_like(valid[:, :1]), valid], axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output, batch first."""
        return (input_shape[0], None if input_shape[1] is None else input_shape[1] + 1)


@serialisable
class ZeroPadded(keras.layers.Layer):  # type: ignore[misc]
    """Sets the tokens of padded slots to zero: [(B, N, D), (B, N)] -> (B, N, D)."""

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        tokens, mask = inputs
        return tokens * mask[:, :, None]

    def compute_output_shape(self, input_shape: tuple[Shape, Shape]) -> Shape:
        """Shape of the output, batch first."""
        return input_shape[0]
