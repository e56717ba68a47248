"""Numbers for models with one answer per point: AP@k of an embedding, and precision and recall of a per-point score.

AP@k is what the tracking benchmark of arXiv:2402.12535 calls accuracy: for a hit of a particle with k other hits, the
share of its k nearest neighbours in the embedding that belong to the same particle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.clouds import NO_PARTICLE
from qformers.tasks.metrics import shares

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

PT_THRESHOLDS_GEV = (0.0, 0.5, 0.9)  # the last one is the main metric
FIXED_NEIGHBOURS = 19  # of precision@19 and recall@19
RECALLS = (0.95, 0.98, 0.985, 0.99, 0.995, 0.999)
_SPARE = 16  # neighbours asked for beyond those needed, so that ties at the edge are seen
_BLOCK = 1 << 24  # distances in memory at a time, where ties force the comparison with all points


@dataclass(frozen=True)
class Neighbours:
    """Of each query point: how many of its nearest neighbours share its particle (ties count by their share)."""

    k: Ints  # (q,), other points of its particle
    within_k: NDArray[np.float64]  # (q,), of the nearest k
    within_fixed: NDArray[np.float64]  # (q,), of the nearest 19
    noise_within_k: NDArray[np.float64]  # (q,), of the nearest k, how many are of no particle


def same_within(distances: Floats, same: NDArray[np.bool_], k: Ints) -> NDArray[np.float64]:
    """Expected number of `same` among the nearest k of each row, when ties at the k-th distance are broken at random.

    Args:
        distances: (q, m), to the other points, in any order; infinity = no point.
        same: (q, m).
        k: (q,), at most the number of points in the row.
    """
    edge = np.take_along_axis(np.sort(distances, axis=1), k[:, None] - 1, axis=1)
    nearer, tied = distances < edge, distances == edge
    left = k - nearer.sum(axis=1)
    return np.asarray((nearer & same).sum(axis=1) + left * (tied & same).sum(axis=1) / tied.sum(axis=1))


def neighbours(embedding: Floats, particle_ids: Ints, queries: Ints) -> Neighbours:
    """Neighbours of some points among all points of an event, by L2 distance, the point itself left out.

    Args:
        embedding: (n, D), all points of one event, no padding.
        particle_ids: (n,), -1 = of no particle.
        queries: (q,), points of a particle with at least two points.
    """
    from scipy.spatial import cKDTree

    points = np.asarray(embedding, np.float64)
    size = len(points)
    _, inverse, counts = np.unique(particle_ids, return_inverse=True, return_counts=True)
    k = (counts[inverse] - 1)[queries]
    if not len(queries):
        return Neighbours(k, np.zeros(0), np.zeros(0), np.zeros(0))
    fixed = np.full(len(queries), min(FIXED_NEIGHBOURS, size - 1))
    wanted = min(size, int(max(k.max(), fixed[0])) + 1 + _SPARE)
    distance, index = cKDTree(points).query(points[queries], k=wanted)
    itself = index == queries[:, None]
    distance = np.where(itself, np.inf, distance)
    same = (particle_ids[index] == particle_ids[queries][:, None]) & ~itself
    within_k, within_fixed = same_within(distance, same, k), same_within(distance, same, fixed)
    noise = same_within(distance, particle_ids[index] == NO_PARTICLE, k)
    # ties may go on beyond the list, and among many equal points the query itself may be missing from it
    listed = np.where(itself, -np.inf, distance).max(axis=1)
    edge = np.take_along_axis(np.sort(distance, axis=1), np.maximum(k, fixed)[:, None] - 1, axis=1)[:, 0]
    unsure = np.flatnonzero((edge >= listed) | ~itself.any(axis=1)) if wanted < size else np.zeros(0, np.int64)
    step = max(1, _BLOCK // (size * points.shape[1]))
    for at in range(0, len(unsure), step):
        rows = unsure[at : at + step]
        some = queries[rows]
        full = np.sqrt(((points[some][:, None, :] - points[None]) ** 2).sum(axis=-1))  # (rows, n)
        full[np.arange(len(some)), some] = np.inf
        match = particle_ids[None] == particle_ids[some][:, None]
        within_k[rows] = same_within(full, match, k[rows])
        within_fixed[rows] = same_within(full, match, fixed[rows])
        noise[rows] = same_within(full, particle_ids[None] == NO_PARTICLE, k[rows])
    return Neighbours(k, within_k, within_fixed, noise)


def tracking_report(
    embeddings: Sequence[Floats],
    particle_ids: Sequence[Ints],
    pt: Sequence[Floats],
    reconstructable: Sequence[NDArray[np.bool_]],
    thresholds_gev: Sequence[float] = PT_THRESHOLDS_GEV,
) -> dict[str, Any]:
    """AP@k, precision@19 and recall@19 over events: the mean over the points of an event, then over events.

    Points count that belong to a reconstructable particle of pT above the threshold with at least one other point in
    the event; all points of the event are candidates. Events without such a point are left out.

    Args:
        embeddings: per event (n, D), finite, no padding.
        particle_ids: per event (n,), -1 = of no particle.
        pt: per event (n,), of the particle, GeV.
        reconstructable: per event (n,).
        thresholds_gev: pT thresholds.

    Returns:
        ``{"ap": {"0.9": {"value", "error", "events", "points"}, ...}, "precision_at_19": ..., "recall_at_19": ...}``,
        with the standard error of the mean over events (`shares.of_mean`). What cannot be computed is None, and
        ``reason`` says why: the error for one event, and the value too where no event has a point above the threshold.

    Raises:
        ValueError: lengths that differ, or a NaN.
    """
    per_event: dict[str, dict[str, list[float]]] = {name: {} for name in ("ap", "precision_at_19", "recall_at_19")}
    points = dict.fromkeys(thresholds_gev, 0)
    for number, (x, ids, momentum, good) in enumerate(zip(embeddings, particle_ids, pt, reconstructable, strict=True)):
        _check_points(number, x, ids, momentum, good)
        _, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
        eligible = (ids != NO_PARTICLE) & np.asarray(good, bool) & (counts[inverse] > 1)
        lowest = np.flatnonzero(eligible & (momentum > min(thresholds_gev)))
        near = neighbours(x, ids, lowest)
        for threshold in thresholds_gev:
            rows = momentum[lowest] > threshold
            points[threshold] += int(rows.sum())
            if not rows.any():
                continue
            found = {
                "ap": near.within_k[rows] / near.k[rows],
                "precision_at_19": near.within_fixed[rows] / FIXED_NEIGHBOURS,
                "recall_at_19": near.within_fixed[rows] / near.k[rows],
            }
            for name, values in found.items():
                per_event[name].setdefault(f"{threshold:g}", []).append(float(values.mean()))
    return {
        name: {
            f"{threshold:g}": {
                **_mean(by_threshold.get(f"{threshold:g}", []), threshold, len(embeddings)),
                "points": count,
            }
            for threshold, count in points.items()
        }
        for name, by_threshold in per_event.items()
    }


def _mean(values: list[float], threshold_gev: float, events: int) -> dict[str, Any]:
    if not values:
        reason = (
            f"AP@k needs a point of a reconstructable particle of at least two points with pT > {threshold_gev:g} GeV: "
            f"give more events. Received: none in {events} events"
        )
        return {"value": None, "error": None, "events": 0, "reason": reason}
    if len(values) == 1:
        reason = "an error of AP@k needs two events with tracks: give more. Received: one"
        return {"value": values[0], "error": None, "events": 1, "reason": reason}
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"value": mean, "error": shares.of_mean(mean, spread, len(values)), "events": len(values)}


def _check_points(event: int, embedding: Floats, *per_point: NDArray[Any]) -> None:
    lengths = {len(values) for values in per_point}
    if embedding.ndim != 2 or lengths != {len(embedding)}:
        raise ValueError(
            f"event {event}: embedding must be (points, D) and the other arrays (points,). Received: shapes "
            f"{embedding.shape}, {', '.join(str(values.shape) for values in per_point)}"
        )
    bad = ~np.isfinite(embedding).all(axis=1)
    if bad.any():
        raise ValueError(f"event {event}: embedding must be finite. Received: NaN or infinity in {bad.sum()} points")
