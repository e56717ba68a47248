"""Losses for one answer per point: InfoNCE on pairs and focal loss, each in the form of HEPT and of HEPT-CMS.

HEPT: arXiv:2402.12535 and its published code; HEPT-CMS: its published code. Both train one event at a time; here a
batch is the mean over its events, so that one event gives their number. Pairs come from `qformers.data.points.pairs`.
"""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any

TAU, SIGMA = 0.05, 0.75
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
CMS_MULTIPLIER = 2.0
STATIC_RATIO = 15.0  # m r of HEPT-CMS's static option


def pair_similarity(embedding: Tensor, pairs: Tensor, sigma: float = SIGMA) -> Tensor:
    """exp(-|x_i - x_j| / (2 sigma^2)) of each pair: of the distance, not of its square.

    Args:
        embedding: (n, N, D).
        pairs: (n, P, 2), points of each pair.

    Returns:
        (n, P), in (0, 1].
    """
    first = ops.take_along_axis(embedding, pairs[:, :, :1], axis=1)  # (n, P, D)
    second = ops.take_along_axis(embedding, pairs[:, :, 1:], axis=1)
    square = ops.sum(ops.square(first - second), axis=-1)
    apart = square > 0  # the root has no gradient at 0
    distance = ops.where(apart, ops.sqrt(ops.where(apart, square, ops.ones_like(square))), ops.zeros_like(square))
    return ops.exp(-distance / (2 * sigma**2))


def _per_pair(similarity: Tensor, pairs: Tensor, negatives: Tensor, points: int, tau: float) -> Tensor:
    """-ln(e_ij / (e_ij + sum of negatives k of i of w_ik e_ik)) of every pair as if it were positive, (n, P).

    Args:
        similarity: (n, P), in (0, 1].
        pairs: (n, P, 2).
        negatives: (n, P), weight of each pair as a negative of its first point, 0 = not a negative.
        points: N.
        tau: temperature.
    """
    scaled = (similarity - 1.0) / tau  # at most 0; any shift cancels
    mass = _sums(ops.exp(scaled) * negatives, pairs[:, :, 0], points)  # (n, N)
    opposing = ops.take_along_axis(mass, pairs[:, :, 0], axis=1)  # (n, P)
    return ops.log1p(opposing * ops.exp(-scaled))


def _sums(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Sums (n, size) of `values` (n, P) by `index` (n, P) within each event."""
    events = ops.shape(values)[0]
    start = ops.cast(ops.arange(events) * size, index.dtype)[:, None]
    flat = ops.segment_sum(ops.reshape(values, (-1,)), ops.reshape(index + start, (-1,)), num_segments=events * size)
    return ops.reshape(flat, (events, size))


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over the last axis, 0 where all weights are 0."""
    total = ops.sum(weights, axis=-1)
    return ops.sum(values * weights, axis=-1) / ops.where(total > 0, total, ops.ones_like(total))


def _kinds(embedding: Tensor, positive: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Positive pairs (n, P) and negative ones (n, P), 1 or 0 in the type of the embedding; padding is neither."""
    valid = ops.cast(valid, embedding.dtype)
    wanted = ops.cast(positive, embedding.dtype) * valid
    return wanted, valid - wanted


def info_nce_hept(
    embedding: Tensor,
    pairs: Tensor,
    positive: Tensor,
    valid: Tensor,
    particle: Tensor,
    tau: float = TAU,
    sigma: float = SIGMA,
) -> Tensor:
    """InfoNCE of HEPT: the mean over the positive pairs of a particle, then over particles, then over events.

    Args:
        embedding: (n, N, D).
        pairs: (n, P, 2), both directions of every pair.
        positive: (n, P), 1 = of one reconstructable particle above the pT threshold; all others are negatives.
        valid: (n, P), 0 = padding.
        particle: (n, P), number in 0..N-1 of the particle of the pair's first point (e.g. its first point in the
            event); read for positive pairs only.
        tau: temperature.
        sigma: width of the similarity.

    Returns:
        A scalar. An event without a positive pair counts 0.
    """
    points = embedding.shape[1]
    wanted, negatives = _kinds(embedding, positive, valid)
    losses = _per_pair(pair_similarity(embedding, pairs, sigma), pairs, negatives, points, tau)
    summed, counted = _sums(losses * wanted, particle, points), _sums(wanted, particle, points)  # (n, N)
    present = ops.cast(counted > 0, embedding.dtype)
    per_particle = summed / ops.where(counted > 0, counted, ops.ones_like(counted))
    return ops.mean(_mean(per_particle, present))


def info_nce_cms(
    embedding: Tensor,
    pairs: Tensor,
    positive: Tensor,
    valid: Tensor,
    weight: Tensor,
    tau: float = TAU,
    sigma: float = SIGMA,
) -> Tensor:
    """InfoNCE of HEPT-CMS: negatives weighted by the anchor's track length, plain mean over positive pairs.

    Args:
        embedding: (n, N, D).
        pairs: (n, P, 2), both directions of every pair.
        positive: (n, P), 1 = of one particle; all others are negatives.
        valid: (n, P), 0 = padding.
        weight: (n, P), points of the first point's particle over those of the longest track of the event (0 for points
            of no particle, which are never the first point of a positive pair).
        tau: temperature.
        sigma: width of the similarity.

    Returns:
        A scalar, the mean over events. An event without a positive pair counts 0.
    """
    wanted, negatives = _kinds(embedding, positive, valid)
    negatives = negatives * ops.cast(weight, embedding.dtype)
    losses = _per_pair(pair_similarity(embedding, pairs, sigma), pairs, negatives, embedding.shape[1], tau)
    return ops.mean(_mean(losses, wanted))


def focal_hept(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Focal loss of HEPT: mean of 0.25 (1 - p_t)^2 (-ln p_t), the same 0.25 for both classes.

    HEPT itself takes probabilities; from logits it is the same function, without their saturation.

    Args:
        logits: (n, N).
        labels: (n, N), 0 or 1.
        mask: (n, N), 1 = counts.

    Returns:
        A scalar, the mean over events of the mean over their points.
    """
    labels = ops.cast(labels, logits.dtype)
    surprise = ops.softplus((1 - 2 * labels) * logits)  # -ln p_t
    losses = FOCAL_ALPHA * (1 - ops.exp(-surprise)) ** FOCAL_GAMMA * surprise
    return ops.mean(_mean(losses, ops.cast(mask, logits.dtype)))


def focal_cms(
    logits: Tensor,
    labels: Tensor,
    mask: Tensor,
    multiplier: float = CMS_MULTIPLIER,
    static_ratio: float | None = None,
) -> Tensor:
    """Focal loss of HEPT-CMS: classes weighted by the imbalance r = negatives / positives of each event.

    With m the multiplier, negatives weigh 1 / (1 + m r) and positives m r / (1 + m r), times (1 - p_t)^2 (-ln p_t).

    Args:
        logits: (n, N).
        labels: (n, N), 0 or 1.
        mask: (n, N), 1 = counts.
        multiplier: m.
        static_ratio: m r, the same for all events (15 in HEPT-CMS); None = from the event. An event without positives
            is taken to have one.

    Returns:
        A scalar, the mean over events of the mean over their points.
    """
    labels, mask = ops.cast(labels, logits.dtype), ops.cast(mask, logits.dtype)
    if static_ratio is None:
        positives = ops.sum(labels * mask, axis=1, keepdims=True)
        ratio = multiplier * ops.sum((1 - labels) * mask, axis=1, keepdims=True) / ops.maximum(positives, 1.0)
    else:
        ratio = static_ratio * ops.ones_like(logits[:, :1])
    weight = labels * ratio / (1 + ratio) + (1 - labels) / (1 + ratio)
    surprise = ops.softplus((1 - 2 * labels) * logits)  # -ln p_t
    losses = weight * (1 - ops.exp(-surprise)) ** FOCAL_GAMMA * surprise
    return ops.mean(_mean(losses, mask))
