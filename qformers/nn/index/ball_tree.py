"""Ball trees of point clouds by sorting (Erwin, arXiv:2502.17019): whole batches at a time, in NumPy on the host.

A node of m points is cut along its widest coordinate (largest max - min, the lowest coordinate where two are as wide):
the floor(m / 2) points that come first by (value, index) go left, all in float64. The balls of size 2^k are then runs
of 2^k slots. Two points of one leaf stand in the order of the last sort.

Comparisons of numbers of points are comparisons of ranks: each coordinate of a cloud is sorted once, by (value, index),
and all that follows sorts whole numbers without ties.

A tree needs S slots, a power of two. Where a cloud has fewer points, there are two ways to fill them:

- ``duplicates``, as published: a leaf of one point has it twice. n points have the next power of two of n slots.
- ``masked``: pads, slots without a point. They are left out of max - min and sorted last, so that real points fill the
  balls from the first one on.

Symbols in shapes: B clouds, N points in slots of their event, n real ones, d coordinates, S slots, R rotated orders.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qformers.errors import DataError

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Whole = NDArray[np.int32]
Pads = Literal["duplicates", "masked"]

TOGETHER = 32_768  # points whose trees are made at a time: what the caches of a core hold
NARROW = 128  # points of nodes that stand in columns: NumPy reduces short rows slowly
NETWORK = 8  # points of nodes that are sorted by comparisons of whole rows
WIDE = 512  # points of nodes that are faster to cut in the middle than to sort
DIAGONAL = 45.0  # degrees at which a rotation in the plane needs no multiplier


def slots_of(points: int) -> int:
    """S, slots of a tree of so many points: the next power of two, at least 2."""
    return 1 << max(points - 1, 1).bit_length()


def partition(coords: NDArray[Any], leaf: int, real: NDArray[Any] | None = None, jobs: int = 1) -> Index:
    """Cut clouds of a power of two of slots into balls of `leaf` slots.

    Args:
        coords: (B, S, d), finite where real.
        leaf: slots per ball, a power of two.
        real: (B, S), above 0 for points; others are pads and go last. None = all.
        jobs: threads.

    Returns:
        (B, S), the points in the order of their balls.
    """
    return _in_parts(coords, leaf, real, jobs)


def tree(coords: NDArray[Any], jobs: int = 1) -> tuple[Index, NDArray[np.bool_]]:
    """The published tree of clouds of n >= 2 points, for which n need be no power of two.

    Args:
        coords: (B, n, d), finite.
        jobs: threads.

    Returns:
        the points (B, S) in the order of the leaves, and (B, S), False where a slot repeats the point in front of it.

    Raises:
        DataError: fewer than two points.
    """
    if coords.shape[1] < 2:
        raise DataError(f"a ball tree needs two points or more. Received: {coords.shape[1]}")
    order = _in_parts(coords, 2, None, jobs)
    first = order >= 0
    if not first.all():
        np.copyto(order[:, 1::2], order[:, ::2], where=~first[:, 1::2])
    return order, first


def rotated(coords: NDArray[Any], degrees: float) -> NDArray[Any]:
    """Row vectors (..., d) times the rotation by an angle: R(a) in the plane, Rz(a) Ry(a) Rx(a) in space.

    In the plane 45 degrees is (x + y, y - x), which is larger by sqrt(2), has no product and cuts into the same balls.
    Products are rounded and added one after the other in the type of the coordinates: a matrix product would depend on
    the library and the processor, and near ties the tree would with it.

    Raises:
        DataError: there are neither two nor three coordinates.
    """
    d = coords.shape[-1]
    if d not in (2, 3):
        raise DataError(f"trees are rotated in 2 or 3 dimensions; set model.rotate: 0. Received: {d} coordinates")
    if d == 2 and degrees == DIAGONAL:
        x, y = coords[..., 0], coords[..., 1]
        return np.stack([x + y, y - x], axis=-1)
    turn = rotation(d, degrees).astype(coords.dtype)
    columns = []
    for column in turn.T:
        total = coords[..., 0] * column[0]
        for axis in range(1, d):
            total = total + coords[..., axis] * column[axis]
        columns.append(total)
    return np.stack(columns, axis=-1)


def rotation(d: int, degrees: float) -> Array:
    """The matrix (d, d) of `rotated`."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    if d == 2:
        return np.array([[c, -s], [s, c]])
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def _in_parts(coords: NDArray[Any], leaf: int, real: NDArray[Any] | None, jobs: int) -> Index:
    """`_sorted`, a few clouds at a time."""
    if not len(coords):
        return np.empty((0, slots_of(coords.shape[1])), np.int64)
    step = max(TOGETHER // coords.shape[1], 1)
    starts = range(0, len(coords), step)

    def part(start: int) -> Whole:
        some = None if real is None else np.asarray(real[start : start + step]) > 0
        return _sorted(coords[start : start + step], leaf, some)

    if jobs > 1 and len(starts) > 1:
        with ThreadPoolExecutor(jobs) as pool:
            orders = list(pool.map(part, starts))
    else:
        orders = [part(start) for start in starts]
    return np.concatenate(orders).astype(np.int64)


def _sorted(coords: NDArray[Any], leaf: int, real: NDArray[np.bool_] | None) -> Whole:
    """The points (B, S) in the order of their balls; -1 in the second slot of a leaf of one point.

    Points are numbered through all clouds, and each cloud has an end that is no point, with the highest rank: it fills
    nodes of one point less than others of their level.
    """
    clouds, points, d = coords.shape
    ranks, by_rank, values = _ranks(coords, real)
    start = np.arange(clouds, dtype=np.int32)[:, None] * (points + 1)
    limit = None
    if real is not None and not real.all():
        limit = np.arange(d)[:, None] * (clouds * (points + 1)) + start[:, 0] + real.sum(axis=1)
    level = _Level(start + _first_order(points, real), start[:, 0] + points, None, limit)
    while level.points > leaf:
        if level.points <= NARROW and not level.turned:
            level = level.turn()
        axis = level.axis
        widest = level.widest([np.take(row, level.nodes) for row in ranks], values)
        widest = widest * np.int32(ranks.shape[1])
        chosen = np.take(ranks.reshape(-1), level.nodes + np.expand_dims(widest, axis))
        whole = level.points <= 2 * leaf or level.short is not None
        level = level.halved(np.take(by_rank, _in_order(chosen, axis, whole)))
    if level.turned:
        level = level.turn()
    order = level.nodes.reshape(clouds, -1) - start
    return order if level.short is None else np.where(order == points, -1, order)


def _first_order(points: int, real: NDArray[np.bool_] | None) -> Whole:
    """Points by index, pads last: (B or 1, n)."""
    if real is None:
        return np.arange(points, dtype=np.int32)[None]
    return np.argsort(~real, axis=1, kind="stable").astype(np.int32)


def _ranks(coords: NDArray[Any], real: NDArray[np.bool_] | None) -> tuple[Whole, Whole, Array]:
    """Ranks by (value, index), pads last, numbered through all coordinates and clouds.

    Returns:
        (d, B (n + 1)), rank of each point in each coordinate; (d B (n + 1)), point of each rank; likewise its value.
    """
    clouds, points, d = coords.shape
    kind = np.float32 if coords.dtype == np.float32 else np.float64
    by_axis = np.ascontiguousarray(np.moveaxis(coords, 2, 0), dtype=kind)  # (d, B, n)
    if real is not None:
        by_axis = np.where(real, by_axis, kind(np.inf))
    order, ascending = _argsort(by_axis)
    row = points + 1
    values = np.full((d, clouds, row), np.inf, kind)
    values[..., :-1] = ascending
    if real is not None:
        values[np.isinf(values)] = 0.0  # of pads, which count in no width
    by_rank = np.empty((d, clouds, row), np.int32)
    by_rank[..., :-1] = order
    by_rank[..., -1] = points
    by_rank += np.arange(clouds, dtype=np.int32)[:, None] * np.int32(row)
    numbers = np.arange(d * clouds * row, dtype=np.int32).reshape(d, -1)
    ranks = np.empty_like(numbers)
    for axis in range(d):
        ranks[axis, by_rank[axis].ravel()] = numbers[axis]
    return ranks, by_rank.ravel(), values.ravel()


def _argsort(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Places by (value, index) along the last axis, and the values in this order."""
    if values.dtype == np.float32:  # value and index are one whole number, which sorts several times faster
        bits = (values + np.float32(0)).view(np.int32)  # -0 is 0
        keys = _turned_if_negative(bits).astype(np.int64) << 32
        keys |= np.arange(values.shape[-1])
        keys.sort(axis=-1)
        ascending = _turned_if_negative((keys >> 32).astype(np.int32))
        return keys.astype(np.int32), ascending.view(np.float32)  # the index is the lower half
    order = np.argsort(values, axis=-1)
    ascending = np.take_along_axis(values, order, axis=-1)
    tied = (ascending[..., 1:] == ascending[..., :-1]).any(axis=-1)  # NumPy's fast sort leaves those in any order
    if tied.any():
        order[tied] = np.argsort(values[tied], axis=-1, kind="stable")
    return order, ascending


def _turned_if_negative(bits: Whole) -> Whole:
    """From the bits of floats to whole numbers in the same order, and back."""
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))


@dataclass(frozen=True)
class _Level:
    """The nodes of one level of all clouds: M nodes of w points.

    Attributes:
        nodes: (M, w), points; or (w, M) if turned, which is faster where w is small.
        ends: (M,), what stands where there is no point.
        short: (M,), whether a node has w - 1 points, and its end in the last place; None = none has.
        limit: (d, M), ranks from here on are pads; None = there are none.
        turned: see nodes.
    """

    nodes: Whole
    ends: Whole
    short: NDArray[np.bool_] | None
    limit: NDArray[Any] | None
    turned: bool = False

    @property
    def axis(self) -> int:
        """Of the points of a node."""
        return 0 if self.turned else 1

    @property
    def points(self) -> int:
        """w."""
        return int(self.nodes.shape[self.axis])

    def turn(self) -> _Level:
        """The same the other way round."""
        return replace(self, nodes=np.ascontiguousarray(self.nodes.T), turned=not self.turned)

    def widest(self, seen: Sequence[Whole], values: Array) -> Whole:
        """The widest coordinate (M,) of each node, from the ranks in each coordinate and the values of ranks."""
        widest, best = np.zeros(len(self.ends), np.int32), np.full(len(self.ends), -np.inf)
        for number, ranks in enumerate(seen):
            low = ranks.min(axis=self.axis)
            if self.limit is not None:
                shown = np.where(ranks < np.expand_dims(self.limit[number], self.axis), ranks, np.int32(-1))
                high = shown.max(axis=self.axis)
                low = np.where(high < 0, 0, low)  # a node of pads alone has no width
                high = np.maximum(high, low)
            elif self.short is not None:
                last = np.where(self.short, np.int32(-1), self.part(ranks, -1, None).ravel())
                high = np.maximum(self.part(ranks, None, -1).max(axis=self.axis), last)
            else:
                high = ranks.max(axis=self.axis)
            width = np.take(values, high).astype(np.float64) - np.take(values, low)
            wider = width > best  # the first of those that are as wide stays
            np.maximum(widest, wider * np.int32(number), out=widest)
            np.maximum(best, width, out=best)
        return widest

    def part(self, x: Whole, start: int | None, stop: int | None) -> Whole:
        """Some points of each node."""
        return x[start:stop] if self.turned else x[:, start:stop]

    def halved(self, nodes: Whole) -> _Level:
        """The floor(m / 2) first of the m points of each node and the others, from the nodes in order."""
        half, odd, short = self.points // 2, self.points % 2, self.short
        ends = np.expand_dims(self.ends, self.axis)
        left, right = self.part(nodes, None, half), self.part(nodes, half, None)
        shorter = None
        if odd:  # half and half + 1 points, or half twice
            left = np.concatenate([left, ends], axis=self.axis)
            shorter = [
                np.ones(len(self.ends), np.bool_),
                np.zeros(len(self.ends), np.bool_) if short is None else short,
            ]
        elif short is not None:  # half twice, or half - 1 and half points
            fewer = np.concatenate([self.part(nodes, None, half - 1), ends], axis=self.axis)
            left = np.where(np.expand_dims(short, self.axis), fewer, left)
            right = np.where(np.expand_dims(short, self.axis), self.part(nodes, half - 1, -1), right)
            shorter = [short, np.zeros_like(short)]
        shape = (left.shape[0], -1) if self.turned else (-1, left.shape[1])
        return _Level(
            np.stack([left, right], axis=2 if self.turned else 1).reshape(shape),
            np.repeat(self.ends, 2),
            None if shorter is None else np.stack(shorter, axis=1).ravel(),
            None if self.limit is None else np.repeat(self.limit, 2, axis=1),
            self.turned,
        )


def _in_order(ranks: Whole, axis: int, whole: bool) -> Whole:
    """Ranks along an axis in ascending order; if not `whole`, only the smaller half in front of the others."""
    points = ranks.shape[axis]
    if axis == 1:
        if whole or points < WIDE:
            ranks.sort(axis=1)
        else:
            ranks.partition(points // 2, axis=1)
        return ranks
    if points > NETWORK:
        turned = np.ascontiguousarray(ranks.T)
        turned.sort(axis=1)
        return np.ascontiguousarray(turned.T)
    rows, spare = list(ranks), np.empty_like(ranks[0])
    for low, high in _comparators(points):
        a, b = rows[low], rows[high]
        np.minimum(a, b, out=spare)
        np.maximum(a, b, out=b)
        rows[low], spare = spare, a
    return np.stack(rows)


@functools.cache
def _comparators(points: int) -> list[tuple[int, int]]:
    """Batcher's odd-even merge sort of so many numbers: pairs of places that are compared, one after the other."""
    pairs = []
    size = 1
    while size < points:
        step = size
        while step >= 1:
            for start in range(step % size, points - step, 2 * step):
                for place in range(start, min(start + step, points - step)):
                    if place // (2 * size) == (place + step) // (2 * size):
                        pairs.append((place, place + step))
            step //= 2
        size *= 2
    return pairs
