"""The order of points that the host computes for ``order: host``: regions, then a hash of the coordinates, in NumPy.

The same rule as `qformers.nn.index.lsh` with ``hash: coords``, in float64 and with region sizes in whole numbers, so
that the order is the same on every machine. Sums of products are rounded one after the other: a matrix product's
rounding depends on the library and the processor, and near ties the order would with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class RegionChoice(Protocol):
    """How many regions and orders there are; the configuration of an architecture says it."""

    @property
    def hashes(self) -> int:
        """O, orders."""

    @property
    def region_axes(self) -> int:
        """A, coordinates that are cut."""

    @property
    def regions(self) -> float:
        """Cells, about."""


def region_counts(uniform: Array, regions: float) -> Array:
    """Regions u (O, A, H) per axis from numbers (O, A, H) in [0, 1): product about `regions`, multiples of 1/3."""
    axes = uniform.shape[1]
    top = 2.0 * regions ** (1.0 / axes) - 2.0
    drawn = 2.0 + (top - 2.0) * uniform
    scaled = drawn * (regions / np.prod(drawn, axis=1, keepdims=True)) ** (1.0 / axes)
    return np.asarray(np.round(scaled * 3.0) / 3.0)


@dataclass(frozen=True)
class HostOrder:
    """What decides the order: drawn once, kept with the model.

    Attributes:
        regions: u (O, A), multiples of 1/3; the runs that each of the first A coordinates is cut into.
        alpha: (A, O), the direction on which points are projected inside a region.
    """

    regions: Array
    alpha: Array

    @classmethod
    def drawn(cls, cfg: RegionChoice, seed: int) -> HostOrder:
        """As the model draws its own; the same numbers for the same seed."""
        random = np.random.default_rng(seed)
        uniform = random.uniform(size=(cfg.hashes, cfg.region_axes, 1))
        return cls(region_counts(uniform, cfg.regions)[:, :, 0], random.normal(size=(cfg.region_axes, cfg.hashes)))

    def __call__(self, coords: NDArray[Any], mask: NDArray[Any]) -> NDArray[np.int32]:
        """Slots (n, O, N) in the order of their blocks, masked ones last, for coords (n, N, C) and mask (n, N)."""
        hashes, axes = self.regions.shape
        orders = np.empty((len(coords), hashes, coords.shape[1]), np.int32)
        for event, real in enumerate(np.asarray(mask) > 0):
            values = np.where(real[:, None], np.asarray(coords[event, :, :axes], np.float64), np.inf)  # (N, A)
            rank = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0, kind="stable")
            projected = self._projected(np.where(real[:, None], values, 0.0))  # (N, O), 0 in masked points
            for number in range(hashes):
                thirds = np.maximum(np.rint(3.0 * self.regions[number]).astype(np.int64), 1)
                size = np.maximum(-(-3 * int(real.sum()) // thirds), 1)  # (A,), ceil(n / u)
                codes = (rank // size).T  # (A, N)
                orders[event, number] = np.lexsort((projected[:, number], *codes, ~real))
        return orders

    def _projected(self, values: Array) -> Array:
        """(N, A) -> (N, O)."""
        total = np.zeros((len(values), self.alpha.shape[1]))
        for coordinate, direction in zip(values.T, self.alpha, strict=True):
            total += coordinate[:, None] * direction
        return total
