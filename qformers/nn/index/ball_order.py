"""The orders of points that the host computes for Erwin: the ball tree, and one rotated tree per level (2502.17019).

Symbols in shapes: n events, N points in slots of their event, d coordinates, S slots of the tree, R rotated orders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.errors import ConfigError, DataError
from qformers.nn.index.ball_tree import Index, Pads, partition, rotated, slots_of, tree


@dataclass(frozen=True)
class BallOrder:
    """What decides the orders; kept with the model.

    Attributes:
        balls: slots per ball, of each level from the finest to the bottleneck.
        strides: slots of one level that are one slot of the next; one fewer than levels.
        degrees: angle of the rotated trees.
        turned: levels that have one, ascending.
        pads: how slots without a point are filled (`qformers.nn.index.ball_tree`).
        scales: what the coordinates of events are multiplied by, powers of two; 0 leaves one out. () = as they are.
    """

    balls: tuple[int, ...]
    strides: tuple[int, ...]
    degrees: float
    turned: tuple[int, ...]
    pads: Pads
    scales: tuple[float, ...] = ()

    def seen(self, coords: NDArray[Any]) -> NDArray[Any]:
        """Coordinates (n, N, C) of events as the tree and the model take them, (n, N, d).

        Raises:
            ConfigError: there are not as many as scales.
        """
        if not self.scales:
            return coords
        if coords.shape[-1] != len(self.scales):
            raise ConfigError(
                f"model.coord_scales has one number for each coordinate of a point, and points of these events have "
                f"{coords.shape[-1]}. Received: coord_scales={list(self.scales)}"
            )
        scales = np.asarray(self.scales, coords.dtype)
        return np.asarray(coords[..., scales != 0] * scales[scales != 0])  # powers of two: nothing is rounded

    def merged(self, level: int) -> int:
        """Slots of the tree that are one slot of a level."""
        return math.prod(self.strides[:level])

    @property
    def fewest(self) -> int:
        """Slots that a tree needs, so that every level has a whole ball."""
        return max(ball * self.merged(level) for level, ball in enumerate(self.balls))

    def __call__(self, coords: NDArray[Any], mask: NDArray[Any]) -> NDArray[np.int32]:
        """Orders for coords (n, N, d), of `seen`, and mask (n, N; 1 = real).

        Returns:
            (n, 1 + R, S). Row 0: the point in each slot of the tree. With ``duplicates`` a point may stand twice in a
            leaf, and slots behind the tree of an event of few points hold its first masked point; with ``masked`` each
            point stands once, masked ones last, and points from N on are pads without a place in the event. Row 1 + r:
            for each slot of the rotated order of level ``turned[r]``, the slot of that level; behind them, as far as
            the row goes, every slot stays where it is.

        Raises:
            DataError: a coordinate of a real point is not finite, an event has too few points for a ball, or trees
                cannot be rotated in d dimensions.
        """
        real = np.asarray(mask) > 0
        coords = np.where(real[..., None], coords, np.asarray(0, np.asarray(coords).dtype))
        if not np.isfinite(coords).all():
            event, point = np.argwhere(~np.isfinite(coords).all(axis=-1))[0]
            raise DataError(
                f"coordinates of real points must be finite. Received: {coords[event, point]} in event {event}, "
                f"point {point}"
            )
        slots = slots_of(real.shape[1])
        orders = np.empty((len(real), 1 + len(self.turned), slots), np.int32)
        orders[:] = np.arange(slots)
        if self.pads == "masked":
            self._with_pads(orders, coords, real)
        else:
            self._with_duplicates(orders, coords, real)
        return orders

    def _with_pads(self, orders: NDArray[np.int32], coords: NDArray[Any], real: NDArray[np.bool_]) -> None:
        behind = orders.shape[-1] - real.shape[1]
        real = np.pad(real, [(0, 0), (0, behind)])
        coords = np.pad(coords, [(0, 0), (0, behind), (0, 0)])
        orders[:, 0] = order = partition(coords, 2, real)
        self._turn(orders, _picked(coords, order), np.take_along_axis(real, order, axis=1))

    def _with_duplicates(self, orders: NDArray[np.int32], coords: NDArray[Any], real: NDArray[np.bool_]) -> None:
        counts = real.sum(axis=1)
        by_mask = np.argsort(~real, axis=1, kind="stable")  # real points in front, each part by index
        for count in np.unique(counts).tolist():
            chosen = np.flatnonzero(counts == count)
            slots = slots_of(count)
            self.refuse_few(count, slots, f"event {chosen[0]}")
            points = by_mask[chosen, :count]
            order, _ = tree(_picked(coords[chosen], points))
            order = np.take_along_axis(points, order, axis=1)
            behind = by_mask[chosen, count, None] if slots < orders.shape[-1] else order[:, :0]
            orders[chosen, 0, :slots] = order
            orders[chosen, 0, slots:] = behind
            some = orders[chosen]
            self._turn(some, _picked(coords[chosen], order), None)
            orders[chosen] = some

    def refuse_few(self, points: int, slots: int, where: str) -> None:
        """Raise where a level has fewer slots than a ball: with balls of one event only, there is none.

        Raises:
            DataError: naming the level.
        """
        for level, ball in enumerate(self.balls):
            left = slots // self.merged(level)
            if left < ball:
                raise DataError(
                    f"{where}: {points} points have {slots} slots, of which level {level} has {left}, and a ball of "
                    f"{ball} would span events; set model.pads: masked, smaller model.balls, or leave out events of "
                    f"fewer than {self.fewest // 2 + 1} points"
                )

    def _turn(self, orders: NDArray[np.int32], leaves: NDArray[Any], real: NDArray[np.bool_] | None) -> None:
        """Write the rotated orders of events whose slots have these coordinates (n, s, d)."""
        if not self.turned:
            return
        places = rotated(leaves, self.degrees)
        for level in range(max(self.turned) + 1):
            if level:
                places, real = _merged(places, real, self.strides[level - 1])
            if level in self.turned:
                row = 1 + self.turned.index(level)
                orders[:, row, : places.shape[1]] = partition(places, self.balls[level], real)


def _picked(values: NDArray[Any], order: Index) -> NDArray[Any]:
    """values (n, N, d) in an order (n, s)."""
    return np.take_along_axis(values, order[..., None], axis=1)


def _merged(
    places: NDArray[Any], real: NDArray[np.bool_] | None, stride: int
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Means of `stride` slots, of the real ones alone where there are pads, added up one after the other."""
    clouds, slots, d = places.shape
    groups = places.reshape(clouds, slots // stride, stride, d)
    if real is None:
        return _added(groups) / places.dtype.type(stride), None
    there = real.reshape(clouds, slots // stride, stride)
    total = _added(np.where(there[..., None], groups, places.dtype.type(0)))
    count = np.maximum(there.sum(axis=-1), 1).astype(places.dtype)
    return total / count[..., None], np.asarray(there.any(axis=-1))


def _added(groups: NDArray[Any]) -> NDArray[Any]:
    total = groups[:, :, 0]
    for place in range(1, groups.shape[2]):
        total = total + groups[:, :, place]
    return total
