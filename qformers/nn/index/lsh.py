"""Locality-sensitive hashing of points into blocks, as HEPT does it (arXiv:2402.12535): regions, hashes, sort, gather.

Everything here is index work: values are moved, never rounded, so float and fixed point share these layers. Frozen
random numbers (regions, alphas) are weights that are not trained, so that they are saved with the model.

Symbols in shapes: B batch, N points, P = N padded to a multiple of the block, S points per block, M = P / S blocks,
C coordinates, A coordinates that make regions, O hashes (the OR of the table look-ups), H heads (1 where all heads
share an order), E channels, T = 2 sides (queries, keys), or 1 where both have one order.

Ties: points of one region and equal hash keep the order of their slots, in every backend.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from qformers.nn.index.host_order import HostOrder, region_counts
from qformers.nn.layers import Shape, Tensor, serialisable

LAST = 2**31 - 1  # region code of masked points: behind every real one


def lexsort(code: Tensor, key: Tensor) -> Tensor:
    """Positions (..., P) that sort by `code`, then by `key`, then by slot; last axis."""
    by_key = ops.argsort(key, axis=-1)  # stable in all backends
    by_code = ops.argsort(pick(code, by_key), axis=-1)
    return pick(by_key, by_code)


def inverse(order: Tensor) -> Tensor:
    """The inverse of permutations (..., P) of the last axis: the rank of each slot."""
    slots = ops.shape(order)[-1]
    flat = ops.reshape(order, (-1, slots))
    rows = ops.shape(flat)[0]
    index = ops.reshape(flat + slots * ops.arange(rows, dtype="int32")[:, None], (-1, 1))
    ranks = ops.reshape(ops.broadcast_to(ops.arange(slots, dtype="int32"), (rows, slots)), (-1,))
    return ops.reshape(ops.scatter_update(ops.zeros_like(ranks), index, ranks), ops.shape(order))


def pick(values: Tensor, index: Tensor) -> Tensor:
    """values[..., index] along the last axis, both (..., P)."""
    slots = ops.shape(index)[-1]
    flat = ops.reshape(index, (-1, slots))
    flat = flat + slots * ops.arange(ops.shape(flat)[0], dtype="int32")[:, None]
    return ops.reshape(ops.take(ops.reshape(values, (-1,)), flat, axis=0), ops.shape(index))


def draw_regions(regions: float) -> Any:
    """Initialiser of region counts u (O, A, H): product about `regions`, each a multiple of 1/3 (upstream's draw)."""

    def initialise(shape: tuple[int, int, int], dtype: str | None = None) -> Tensor:
        uniform = np.asarray(ops.convert_to_numpy(keras.random.uniform(shape)), np.float64)
        return ops.convert_to_tensor(region_counts(uniform, regions).astype(np.float32), dtype)

    return initialise


def _constant(values: NDArray[np.float64]) -> Any:
    """Initialiser of a weight with these numbers, which broadcast to its shape."""
    return lambda shape, dtype=None: ops.convert_to_tensor(np.broadcast_to(values, shape), dtype)


@serialisable
class RegionCodes(keras.layers.Layer):  # type: ignore[misc]
    """Which region each point lies in: [coords (B, P, C), mask (B, P)] -> codes (B, O, H, P), int32.

    Along coordinate a, n real points in ascending order are cut into runs of ceil(n / u); the runs of all axes are
    joined to one number, the last axis on top. u is a frozen weight (O, A, H), the division is in its data type.
    Masked points get the code `LAST`.

    Args:
        hashes, heads, axes: O, H and A.
        regions: how many, about.
        drawn: u (O, A), the same for all heads; None to draw it.
    """

    def __init__(
        self, hashes: int, heads: int, axes: int, regions: float, drawn: list[list[float]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.hashes, self.heads, self.axes, self.target, self.drawn = hashes, heads, axes, regions, drawn

    def build(self, input_shape: tuple[Shape, Shape]) -> None:
        """Create the weights."""
        shape = (self.hashes, self.axes, self.heads)
        initial = draw_regions(self.target) if self.drawn is None else _constant(np.asarray(self.drawn)[:, :, None])
        self.regions = self.add_weight(name="regions", shape=shape, initializer=initial, trainable=False)

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        coords, mask = inputs
        real = mask > 0  # (B, P)
        regions = ops.convert_to_tensor(self.regions)
        count = ops.sum(ops.cast(real, regions.dtype), axis=1)[:, None, None, None]  # (B, 1, 1, 1)
        size = ops.maximum(ops.ceil(count / ops.maximum(regions, 1 / 3)), 1.0)  # (B, O, A, H); below 1 region is 1
        values = ops.transpose(coords[..., : self.axes], (0, 2, 1))  # (B, A, P)
        values = ops.where(real[:, None, :], values, ops.full_like(values, np.inf))
        rank = inverse(ops.argsort(values, axis=-1))[:, None, :, None, :]  # (B, 1, A, 1, P)
        region = rank // ops.cast(size, "int32")[..., None] + 1  # (B, O, A, H, P)
        radix = ops.cast(ops.ceil(ops.max(regions)), "int32") + 2
        code = region[:, :, self.axes - 1]
        for axis in reversed(range(self.axes - 1)):
            code = code * radix + region[:, :, axis]
        return ops.where(real[:, None, None, :], code, LAST)

    def compute_output_spec(self, inputs: tuple[Tensor, Tensor]) -> Any:
        """Shape and type of the output."""
        batch, slots = inputs[1].shape
        return keras.KerasTensor((batch, self.hashes, self.heads, slots), "int32")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        sizes = {"hashes": self.hashes, "heads": self.heads, "axes": self.axes, "regions": self.target}
        return {**super().get_config(), **sizes, "drawn": self.drawn}


@serialisable
class LshOrder(keras.layers.Layer):  # type: ignore[misc]
    """The order in which points stand in their blocks.

    [codes (B, O, H, P), T times vectors (B, P, H, E)] -> (B, T, O, H, P), int32.

    Each of the T vectors is projected on frozen Gaussian numbers alpha (H, E, O); points are sorted by region code,
    then by that hash, then by slot. Nothing flows back through it.

    Args:
        hashes: O.
        drawn: alpha (E, O) of all heads; None to draw it.
    """

    def __init__(self, hashes: int, drawn: list[list[float]] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hashes, self.drawn = hashes, drawn

    def build(self, input_shape: list[Shape]) -> None:
        """Create the weights."""
        shape = (*input_shape[1][2:], self.hashes)
        random = keras.initializers.RandomNormal(0.0, 1.0)
        initial = random if self.drawn is None else _constant(np.asarray(self.drawn)[None])
        self.alpha = self.add_weight(name="alpha", shape=shape, initializer=initial, trainable=False)

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        codes, *vectors = inputs
        alpha = ops.convert_to_tensor(self.alpha)
        hashes = [ops.einsum("bphe,heo->bohp", ops.stop_gradient(x), alpha) for x in vectors]
        return ops.stack([lexsort(codes, values) for values in hashes], axis=1)

    def compute_output_spec(self, inputs: list[Tensor]) -> Any:
        """Shape and type of the output."""
        batch, *rest = inputs[0].shape
        return keras.KerasTensor((batch, len(inputs) - 1, *rest), "int32")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "hashes": self.hashes, "drawn": self.drawn}


@serialisable
class GivenOrder(keras.layers.Layer):  # type: ignore[misc]
    """An order that the host computed, as the other layers take it; keeps what decides that order.

    [order (B, O, N), mask with padding (B, P)] -> (B, 1, O, 1, P), int32; padding stays where it is.

    Args:
        regions: (O, A), see `HostOrder`. In the configuration of the layer and no weights, since the host computes in
            float64, whatever the model does.
        alpha: (A, O), likewise.
    """

    def __init__(self, regions: list[list[float]], alpha: list[list[float]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.host = HostOrder(np.asarray(regions, np.float64), np.asarray(alpha, np.float64))

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        order = ops.cast(inputs[0], "int32")
        batch, hashes, points = ops.shape(order)
        slots = ops.shape(inputs[1])[1]
        behind = ops.broadcast_to(ops.arange(points, slots, dtype="int32"), (batch, hashes, slots - points))
        return ops.concatenate([order, behind], axis=-1)[:, None, :, None, :]

    def compute_output_spec(self, inputs: tuple[Tensor, Tensor]) -> Any:
        """Shape and type of the output."""
        return keras.KerasTensor((inputs[0].shape[0], 1, inputs[0].shape[1], 1, inputs[1].shape[1]), "int32")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        drawn = {"regions": self.host.regions.tolist(), "alpha": self.host.alpha.tolist()}
        return {**super().get_config(), **drawn}


@serialisable
class ToBlocks(keras.layers.Layer):  # type: ignore[misc]
    """Points in the order of one side, cut into blocks.

    [x (B, P, H or 1, E), order (B, T, O, H or 1, P)] -> (B, O, H, M, S, E); H is 1 where both have 1.
    """

    keeps_rows = True  # so that a norm of the last axis may as well come behind it

    def __init__(self, block: int, side: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block, self.side = block, side

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        x, order = inputs
        order = order[:, min(self.side, order.shape[1] - 1)]  # (B, O, H or 1, P)
        batch, slots, heads, channels = ops.shape(x)
        hashes, orders = order.shape[1:3]
        event = slots * ops.arange(batch, dtype="int32")[:, None, None, None]
        if orders == 1:  # all heads of a point stand together
            rows = ops.take(ops.reshape(x, (-1, heads * channels)), event + order, axis=0)
            moved = ops.reshape(rows, (-1, hashes, slots, heads, channels))
            moved = ops.transpose(moved, (0, 1, 3, 2, 4))  # (B, O, H, P, E)
        else:
            head = ops.arange(orders, dtype="int32")[:, None] if heads > 1 else 0
            rows = (event + order) * heads + head
            moved = ops.take(ops.reshape(x, (-1, channels)), rows, axis=0)
        return ops.reshape(moved, (-1, hashes, max(heads, orders), slots // self.block, self.block, channels))

    def compute_output_shape(self, input_shape: tuple[Shape, Shape]) -> Shape:
        """Shape of the output, batch first."""
        (batch, slots, heads, channels), (_, _, hashes, orders, _) = input_shape
        blocks = None if slots is None else slots // self.block
        return (batch, hashes, max(heads or 1, orders or 1), blocks, self.block, channels)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**super().get_config(), "block": self.block, "side": self.side}


@serialisable
class FromBlocks(keras.layers.Layer):  # type: ignore[misc]
    """Back to the slots of the points, by the order of the queries: the inverse of `ToBlocks` with side 0.

    [blocks (B, O, H, M, S, E), order (B, T, O, H or 1, P)] -> (B, O, H, P, E).
    """

    keeps_rows = True  # so that a norm of the last axis may as well come behind it

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it; shapes as in the class."""
        blocks, order = inputs
        _, hashes, heads, _, _, channels = blocks.shape
        slots = ops.shape(order)[-1]
        rank = inverse(order[:, 0])  # (B, O, H or 1, P)
        rank = ops.broadcast_to(rank, (ops.shape(rank)[0], hashes, heads, slots))
        rows = ops.reshape(rank, (-1, slots))
        rows = rows + slots * ops.arange(ops.shape(rows)[0], dtype="int32")[:, None]
        moved = ops.take(ops.reshape(blocks, (-1, channels)), rows, axis=0)
        return ops.reshape(moved, (-1, hashes, heads, slots, channels))

    def compute_output_shape(self, input_shape: tuple[Shape, Shape]) -> Shape:
        """Shape of the output, batch first."""
        batch, hashes, heads, _, _, channels = input_shape[0]
        return (batch, hashes, heads, input_shape[1][-1], channels)
