"""The nearest points of each point, which the host computes for Erwin's message passing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 2_000_000  # distances that stand in memory at a time


def nearest(coords: NDArray[Any], mask: NDArray[Any], count: int) -> NDArray[np.int32]:
    """The nearest real points of each real point, itself included, by (squared distance in float64, index).

    Args:
        coords: (n, N, d).
        mask: (n, N), 1 = real.
        count: K.

    Returns:
        (n, N, K); -1 behind the real points where there are fewer, and in rows of masked points.
    """
    real = np.asarray(mask) > 0
    events, points = real.shape
    found = np.full((events, points, count), -1, np.int32)
    step = max(ROWS // points, 1)
    for event in range(events):
        index = np.flatnonzero(real[event])
        places = np.asarray(coords[event][index], np.float64)
        kept = min(count, len(index))
        for start in range(0, len(index), step):
            some = places[start : start + step]
            apart = np.zeros((len(some), len(index)))
            for axis in range(places.shape[1]):  # added up one after the other, so that every machine rounds alike
                apart += (some[:, None, axis] - places[None, :, axis]) ** 2
            by_distance = np.argsort(apart, axis=1, kind="stable")[:, :kept]
            found[event, index[start : start + step], :kept] = index[by_distance]
    return found
