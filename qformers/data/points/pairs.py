"""Pairs of points for contrastive training: same-particle pairs, and each particle's points beside their surroundings.

HEPT looks in (eta, phi) within 1.0, at most 256 neighbours; HEPT-CMS in three LDA coordinates within 0.2, at most
0.2 sqrt(points of a particle). Where more than the allowed neighbours lie within the radius, the nearest are taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qformers.data.clouds import NO_PARTICLE, PointCloud
from qformers.errors import DataError

Ints = NDArray[np.int64]

HEPT_RADIUS, HEPT_NEIGHBOURS, HEPT_PT_GEV = 1.0, 256, 0.9
CMS_RADIUS, CMS_NEIGHBOUR_SHARE = 0.2, 0.2
RANDOM_SHARE = 0.2  # random pairs that HEPT adds in training


@dataclass(frozen=True)
class PointPairs:
    """Pairs of a batch, padded to one number P; what `qformers.tasks.losses.points` takes."""

    pairs: NDArray[np.int32]  # (n, P, 2), both directions of every pair
    positive: NDArray[np.float32]  # (n, P)
    valid: NDArray[np.float32]  # (n, P), 0 = padding
    particle: NDArray[np.int32]  # (n, P), first point in the event of the particle of the pair's first point
    weight: NDArray[np.float32]  # (n, P), points of the particle of the first point over those of the longest track


def neighbours_within(points: NDArray[np.floating], radius: float, most: int) -> Ints:
    """Pairs (E, 2) of points nearer than `radius`, at most the `most` nearest of each; both directions, sorted, unique.

    Args:
        points: (n, d).
        radius: in their units.
        most: neighbours per point.
    """
    from scipy.spatial import cKDTree

    size = len(points)
    if size < 2 or most < 1:
        return np.zeros((0, 2), np.int64)
    wide = np.asarray(points, np.float64)
    distance, index = cKDTree(wide).query(wide, k=min(most + 1, size), distance_upper_bound=radius)
    source = np.repeat(np.arange(size), index.shape[1])
    near = np.isfinite(distance).ravel() & (index.ravel() != source)
    return undirected(np.stack([source[near], index.ravel()[near]], axis=1), size)


def undirected(pairs: Ints, size: int) -> Ints:
    """Both directions of every pair (E, 2), without pairs of a point with itself; sorted and unique."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    codes = np.unique(both[both[:, 0] != both[:, 1]] @ np.array([size, 1]))
    return np.stack([codes // max(size, 1), codes % max(size, 1)], axis=1)


def candidate_pairs(particle_ids: Ints, nearby: Ints) -> Ints:
    """All same-particle pairs, and each particle's points x all points near any of them; both directions.

    Args:
        particle_ids: (n,); particles of one point and points of no particle make no pairs of their own.
        nearby: (E, 2) from `neighbours_within`.

    Returns:
        (P, 2), sorted and unique.
    """
    size = len(particle_ids)
    ids, inverse, counts = np.unique(particle_ids, return_inverse=True, return_counts=True)
    used = (counts > 1) & (ids != NO_PARTICLE)
    members = np.argsort(inverse, kind="stable")  # points, particle by particle
    start = np.cumsum(counts) - counts
    near = nearby[used[inverse[nearby[:, 0]]]]
    codes = np.unique(inverse[near[:, 0]] * size + near[:, 1])  # (particle, point near it)
    own = np.flatnonzero(used[inverse])
    codes = np.union1d(codes, inverse[own] * size + own)
    owner, point = codes // max(size, 1), codes % max(size, 1)
    repeats = counts[owner]
    place = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    first = members[np.repeat(start[owner], repeats) + place]
    return undirected(np.stack([first, np.repeat(point, repeats)], axis=1), size)


def hept_pairs(
    cloud: PointCloud, rng: np.random.Generator | None = None, radius: float = HEPT_RADIUS, most: int = HEPT_NEIGHBOURS
) -> tuple[Ints, NDArray[np.bool_]]:
    """Pairs of HEPT and which are positive: one particle, reconstructable, pT > 0.9 GeV.

    Args:
        cloud: coords hold ``eta`` and ``phi``.
        rng: for training, adds 20 % random pairs; None = none.
        radius: in (eta, phi); phi is not periodic, as in HEPT.
        most: neighbours per point; memory grows with it: lower it for events of more than some thousand points.

    Raises:
        DataError: no such coordinates.
    """
    names = cloud.layout.coords
    if "eta" not in names or "phi" not in names:
        raise DataError(f"pairs of HEPT need the coordinates eta and phi. Received: {', '.join(names)}")
    where = cloud.coords[:, [names.index("eta"), names.index("phi")]]
    pairs = candidate_pairs(cloud.particle_ids, neighbours_within(where, radius, most))
    if rng is not None and len(cloud) > 1:
        extra = rng.integers(0, len(cloud), (round(RANDOM_SHARE * len(pairs)), 2))
        pairs = undirected(np.concatenate([pairs, extra]), len(cloud))
    good = cloud.reconstructable & (cloud.pt > HEPT_PT_GEV)
    return pairs, _same_particle(cloud, pairs) & good[pairs].all(axis=1)


def cms_pairs(cloud: PointCloud, radius: float = CMS_RADIUS, most: int | None = None) -> tuple[Ints, NDArray[np.bool_]]:
    """Pairs of HEPT-CMS in the first three coordinates (LDA), and which are positive: one particle.

    Args:
        cloud: line segments.
        radius: in standardised LDA coordinates.
        most: neighbours per point; None = round(0.2 sqrt(points of a particle)).
    """
    if most is None:
        most = round(CMS_NEIGHBOUR_SHARE * math.sqrt(np.count_nonzero(cloud.particle_ids != NO_PARTICLE)))
    pairs = candidate_pairs(cloud.particle_ids, neighbours_within(cloud.coords[:, :3], radius, most))
    return pairs, _same_particle(cloud, pairs)


def _same_particle(cloud: PointCloud, pairs: Ints) -> NDArray[np.bool_]:
    first, second = cloud.particle_ids[pairs].T
    return np.asarray((first == second) & (first != NO_PARTICLE))


def thinned(
    pairs: Ints, positive: NDArray[np.bool_], most: int, rng: np.random.Generator
) -> tuple[Ints, NDArray[np.bool_]]:
    """At most `most` pairs: all positive ones and random others; random positive ones where they alone are too many.

    Bounds the memory of a training step: an event of 60,000 points has tens of millions of pairs.
    """
    if len(pairs) <= most:
        return pairs, positive
    order = np.concatenate([rng.permutation(np.flatnonzero(positive)), rng.permutation(np.flatnonzero(~positive))])
    keep = np.sort(order[:most])
    return pairs[keep], positive[keep]


def track_lengths(particle_ids: Ints) -> NDArray[np.float32]:
    """(n,), points of the particle of each point; 0 for points of no particle."""
    _, inverse, counts = np.unique(particle_ids, return_inverse=True, return_counts=True)
    return np.where(particle_ids == NO_PARTICLE, 0, counts[inverse]).astype(np.float32)


def pack(
    clouds: Sequence[PointCloud], made: Sequence[tuple[Ints, NDArray[np.bool_]]], num_points: int, num_pairs: int
) -> PointPairs:
    """Pad the pairs of a batch to one number.

    Args:
        clouds: n events.
        made: per event, of `hept_pairs`, `cms_pairs` or `thinned`.
        num_points: N of the batch.
        num_pairs: P.

    Raises:
        DataError: an event has more points or pairs than fit.
    """
    packed = PointPairs(
        np.zeros((len(clouds), num_pairs, 2), np.int32),
        np.zeros((len(clouds), num_pairs), np.float32),
        np.zeros((len(clouds), num_pairs), np.float32),
        np.zeros((len(clouds), num_pairs), np.int32),
        np.zeros((len(clouds), num_pairs), np.float32),
    )
    for row, (cloud, (pairs, positive)) in enumerate(zip(clouds, made, strict=True)):
        if len(pairs) > num_pairs or len(cloud) > num_points:
            raise DataError(
                f"event {cloud.event}: raise num_points or num_pairs, or thin its pairs. Received: {len(cloud)} points "
                f"and {len(pairs)} pairs for num_points={num_points}, num_pairs={num_pairs}"
            )
        filled = slice(len(pairs))
        _, first, inverse = np.unique(cloud.particle_ids, return_index=True, return_inverse=True)
        packed.pairs[row, filled] = pairs
        packed.positive[row, filled] = positive
        packed.valid[row, filled] = 1
        packed.particle[row, filled] = first[inverse][pairs[:, 0]]
        length = track_lengths(cloud.particle_ids)
        packed.weight[row, filled] = (length / max(length.max(initial=0.0), 1.0))[pairs[:, 0]]
    return packed
