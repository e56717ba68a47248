"""Numbers per track: clusters of an embedding, matched to particles; and the neighbours of each track's points.

Two views. `match` and `cluster_report` judge a clustering: a cluster reconstructs a particle by one of three criteria.
`neighbour_tracks` (HEPT-CMS) needs no clustering: the k = L - 1 nearest neighbours of each of a track's L points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qformers.data.clouds import NO_PARTICLE
from qformers.tasks.metrics import shares
from qformers.tasks.metrics.points import neighbours

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

UNCLUSTERED = -1
FEWEST_POINTS = 3  # of a cluster that counts as a track
LENGTH_EDGES = (2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 25.0, np.inf)
PT_EDGES_GEV = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, np.inf)
ETA_EDGES = (-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0)
CRITERIA = {  # share of the cluster's points, share of the particle's points
    "double_majority": (0.5, 0.5),  # both more than
    "lhc": (0.75, 0.0),  # at least
    "perfect": (1.0, 1.0),
}


@dataclass(frozen=True)
class Matched:
    """Clusters and particles of one event, and which of them belong together.

    Attributes:
        particle: (p,) ids of the particles with points.
        length: (p,) points of each.
        pt, eta: (p,) of each, GeV.
        counts: (p,) whether it counts for the efficiency (reconstructable, above the pT threshold, long enough).
        found: (p,) whether a cluster matches it.
        cluster_size: (c,) points of each cluster of at least three points.
        cluster_purity: (c,) share of its points that belong to its commonest particle.
        cluster_length: (c,) points of that particle; 0 for a cluster of noise alone.
        cluster_pt, cluster_eta: (c,) of that particle.
        fake: (c,) whether it matches no particle.
    """

    particle: Ints
    length: Ints
    pt: Floats
    eta: Floats
    counts: Bools
    found: Bools
    cluster_size: Ints
    cluster_purity: Floats
    cluster_length: Ints
    cluster_pt: Floats
    cluster_eta: Floats
    fake: Bools


def cluster(
    embedding: Floats, method: Literal["dbscan", "hdbscan"] = "dbscan", distance: float = 0.1, min_points: int = 2
) -> Ints:
    """Cluster the points of one event by their embedding with scikit-learn.

    Args:
        embedding: (n, D), no padding.
        method: ``dbscan`` (one density) or ``hdbscan`` (its own density per cluster).
        distance: dbscan: neighbours are nearer than this; hdbscan: clusters nearer than this are not split.
        min_points: smallest cluster; dbscan: also the neighbours (with itself) that make a core point.

    Returns:
        (n,), number of each point's cluster, -1 = of none.
    """
    if method not in ("dbscan", "hdbscan"):
        raise ValueError(f"method must be dbscan or hdbscan. Received: method={method}")
    if len(embedding) < min_points:
        return np.full(len(embedding), UNCLUSTERED)
    from sklearn.cluster import DBSCAN, HDBSCAN

    if method == "dbscan":
        labels = DBSCAN(eps=distance, min_samples=min_points).fit_predict(embedding)
    else:
        model = HDBSCAN(min_cluster_size=max(min_points, 2), cluster_selection_epsilon=distance, copy=True)
        labels = model.fit_predict(embedding)
    return np.asarray(np.maximum(labels, UNCLUSTERED), np.int64)  # hdbscan has more than one kind of "none"


def match(
    clusters: Ints,
    particle_ids: Ints,
    pt: Floats,
    eta: Floats,
    reconstructable: Bools,
    criterion: str = "double_majority",
    pt_min_gev: float = 0.9,
) -> Matched:
    """Match the clusters of one event to its particles; all arrays are (n,), one entry per point.

    double_majority (TrackML): more than half of the cluster's points are the particle's, and more than half of the
    particle's points are in the cluster. lhc: at least 75 % of the cluster's points are the particle's. perfect: the
    cluster holds the particle's points and no other.

    Args:
        clusters: of `cluster`.
        particle_ids: -1 = of no particle.
        pt, eta: of the particle.
        reconstructable: particles that count for the efficiency, with at least `FEWEST_POINTS` points.
        criterion: a key of `CRITERIA`.
        pt_min_gev: lowest pT of particles that count.
    """
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}. Received: criterion={criterion}")
    ids, first, of_point, length = np.unique(particle_ids, return_index=True, return_inverse=True, return_counts=True)
    kept = clusters != UNCLUSTERED
    _, of_kept, sizes = np.unique(clusters[kept], return_inverse=True, return_counts=True)
    pairs, shared = np.unique(of_kept * len(ids) + of_point[kept], return_counts=True)
    in_cluster, of_particle = pairs // max(len(ids), 1), pairs % max(len(ids), 1)
    # the commonest particle of each cluster; at equal numbers the smaller id
    shared = np.where(ids[of_particle] == NO_PARTICLE, 0, shared)  # noise is no particle
    order = np.lexsort((of_particle, -shared, in_cluster))
    best = order[np.unique(in_cluster[order], return_index=True)[1]]
    main, main_shared = of_particle[best], shared[best]
    purity, caught = main_shared / sizes, main_shared / length[main]
    pure, whole = CRITERIA[criterion]
    strict = criterion == "double_majority"
    good = (purity > pure) & (caught > whole) if strict else (purity >= pure) & (caught >= whole)
    long_enough = sizes >= FEWEST_POINTS
    good &= (ids[main] != NO_PARTICLE) & long_enough
    found = np.isin(np.arange(len(ids)), main[good])
    real = ids != NO_PARTICLE
    counts = real & reconstructable[first] & (pt[first] > pt_min_gev) & (length >= FEWEST_POINTS)
    of_real = np.where(real, length, 0)
    rows = np.flatnonzero(long_enough)
    return Matched(
        ids[real], length[real], pt[first][real], eta[first][real], counts[real], found[real],
        sizes[rows], purity[rows], of_real[main][rows], pt[first][main][rows], eta[first][main][rows], ~good[rows],
    )  # fmt: skip


def share(passed: Bools) -> dict[str, Any]:
    """Share of true entries, its binomial error and interval (Wilson), and their number; None where there is none."""
    if not len(passed):
        return {"value": None, "error": None, "of": 0}
    value = float(passed.mean())
    interval = list(shares.interval(value, len(passed)))
    return {"value": value, "error": shares.error(value, len(passed)), "interval": interval, "of": len(passed)}


def binned(passed: Bools, values: Floats, edges: Sequence[float]) -> list[dict[str, Any]]:
    """`share` in bins [low, high) of `values`; the last bin of finite edges holds its upper edge too."""
    rows = []
    for low, high in pairwise(edges):
        inside = (values >= low) & ((values < high) | ((high == edges[-1]) & (values == high)))
        rows.append({"low": float(low), "high": float(high) if np.isfinite(high) else None, **share(passed[inside])})
    return rows


def cluster_report(events: Sequence[Matched]) -> dict[str, Any]:
    """Efficiency, fake rate and purity over events, in all and by track length, pT and eta, as JSON.

    efficiency: particles that count and are found / particles that count. fake_rate: clusters that match no particle /
    clusters. purity: points of a cluster's commonest particle / points, pooled over clusters.

    Raises:
        ValueError: no event.
    """
    if not events:
        raise ValueError("cluster_report needs at least one event. Received: none")

    def pooled(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(event, name) for event in events])

    counts, fake, sizes = pooled("counts"), pooled("fake"), pooled("cluster_size")
    found = pooled("found")[counts]
    bins: Mapping[str, tuple[str, str, Sequence[float]]] = {
        "length": ("length", "cluster_length", LENGTH_EDGES),
        "pt_gev": ("pt", "cluster_pt", PT_EDGES_GEV),
        "eta": ("eta", "cluster_eta", ETA_EDGES),
    }
    of_noise = pooled("cluster_length") == 0  # these have no pT or eta to be binned in
    return {
        "events": len(events),
        "efficiency": share(found),
        "fake_rate": share(fake),
        "purity": float((pooled("cluster_purity") * sizes).sum() / sizes.sum()) if len(sizes) else None,
        "efficiency_by": {k: binned(found, pooled(of)[counts], edges) for k, (of, _, edges) in bins.items()},
        "fake_rate_by": {
            key: binned(fake[~of_noise], pooled(of)[~of_noise], edges) for key, (_, of, edges) in bins.items()
        },
    }


def neighbour_tracks(embedding: Floats, particle_ids: Ints, pt: Floats) -> dict[str, NDArray[Any]]:
    """One row per track of at least two points, judged by the k = L - 1 nearest neighbours of each point (HEPT-CMS).

    Args:
        embedding: (n, D), the evaluated points of one event, no padding.
        particle_ids: (n,), -1 = of no particle.
        pt: (n,), GeV; the mean over a track's points is its pT.

    Returns:
        particle_id, length, pt;
        precision (= recall: correct neighbours / k, mean over points); noise (share of neighbours of no particle);
        purity (correct neighbours / neighbours of any particle, 0 where there is none);
        completeness (share of points with more than half correct);
        majority, lhc and perfect (at least 50 % of the points with at least 50 % correct neighbours, 75 % with 75 %,
        all with all);
        problem (precision or completeness below 0.5).
    """
    ids, inverse, counts = np.unique(particle_ids, return_inverse=True, return_counts=True)
    wanted = (counts > 1) & (ids != NO_PARTICLE)
    queries = np.flatnonzero(wanted[inverse])
    near = neighbours(embedding, particle_ids, queries)
    correct = near.within_k / np.maximum(near.k, 1)
    track = np.cumsum(wanted)[inverse[queries]] - 1  # row of each query
    size = int(wanted.sum())

    def mean(values: NDArray[Any]) -> Floats:
        return np.asarray(np.bincount(track, values, minlength=size) / np.maximum(counts[wanted], 1))

    precision, completeness = mean(correct), mean(correct > 0.5)
    noise = mean(near.noise_within_k / np.maximum(near.k, 1))
    return {
        "particle_id": ids[wanted],
        "length": counts[wanted],
        "pt": mean(pt[queries]),
        "precision": precision,
        "noise": noise,
        "purity": np.divide(precision, 1 - noise, out=np.zeros(size), where=noise < 1),
        "completeness": completeness,
        "majority": mean(correct >= 0.5) >= 0.5,
        "lhc": mean(correct >= 0.75) >= 0.75,
        "perfect": mean(correct >= 1.0) >= 1.0,
        "problem": (precision < 0.5) | (completeness < 0.5),
    }


def _weighted(values: Floats, weights: Floats) -> float | None:
    return float((values * weights).sum() / weights.sum()) if len(values) else None


def neighbour_report(tracks: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Summary of the rows of `neighbour_tracks` (of all events, concatenated), as JSON.

    Classes: all; mean pT above 0.9 GeV; also at least 3, at least 4 points. Bins of length and pT as HEPT-CMS has them.

    Of no track all shares are None, and ``reason`` says so.
    """
    length, pt = tracks["length"], tracks["pt"]
    lacking = {} if len(length) else {"reason": "a track of at least two points is needed. Received: none"}
    hard = pt > 0.9
    classes = {"all": length > 1, "pt_0.9": hard, "pt_0.9_3": hard & (length >= 3), "pt_0.9_4": hard & (length >= 4)}
    names = ("majority", "lhc", "perfect")
    points = length.astype(np.float64)
    return {
        "tracks": len(length),
        **lacking,
        "precision": _weighted(tracks["precision"], points),
        "noise": _weighted(tracks["noise"], points),
        "problem": share(tracks["problem"]),
        "efficiency": {c: {n: share(tracks[n][chosen]) for n in names} for c, chosen in classes.items()},
        "by_length": {name: binned(tracks[name], length, LENGTH_EDGES) for name in names},
        "by_pt_gev": {name: binned(tracks[name], pt, PT_EDGES_GEV) for name in names},
    }
