"""Numbers for a per-point yes-or-no task such as pile-up: AUPRC, precision at a recall, F scores, threshold tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.tasks.metrics.points import RECALLS

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]] | NDArray[np.bool_]

PRECISIONS = (0.9, 0.95)  # recall is given at these
CUT = 0.5  # score at which F1 and F_beta are taken
BETA = 3.0  # of the main metric of HEPT-CMS


@dataclass(frozen=True)
class Threshold:
    """What a cut on the score keeps.

    Attributes:
        target: recall asked for.
        threshold: points with at least this score are kept.
        recall, precision: reached.
        kept: share of all points.
    """

    target: float
    threshold: float
    recall: float
    precision: float
    kept: float


def _curve(scores: Floats, labels: Labels) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and threshold, one entry per distinct score, recall rising."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(labels, scores)
    return precision[:-1][::-1], recall[:-1][::-1], thresholds[::-1]


def precision_at_recall(scores: Floats, labels: Labels, recall: float) -> float:
    """Highest precision over all thresholds whose recall is at least `recall`."""
    precisions, reached, _ = _curve(scores, labels)
    return float(precisions[reached >= recall - 1e-12].max())


def recall_at_precision(scores: Floats, labels: Labels, precision: float) -> float:
    """Highest recall over all thresholds whose precision is at least `precision`; 0 where none has."""
    precisions, reached, _ = _curve(scores, labels)
    return float(reached[precisions >= precision - 1e-12].max(initial=0.0))


def threshold_table(scores: Floats, labels: Labels, recalls: Sequence[float] = RECALLS) -> list[Threshold]:
    """For each recall the highest threshold that reaches it: what `filter_events` cuts on.

    Set it on validation data and apply it to the others.

    Args:
        scores: (points,), larger for label 1.
        labels: (points,), 0 or 1.
        recalls: in (0, 1].

    Raises:
        ValueError: as `report`; a recall outside (0, 1].
    """
    _checked(scores, labels)
    precision, reached, thresholds = _curve(scores, labels)
    rows = []
    for target in recalls:
        if not 0 < target <= 1:
            raise ValueError(f"recalls must lie in (0, 1]. Received: {target}")
        first = int(np.argmax(reached >= target - 1e-12))
        cut = float(thresholds[first])
        kept = float((scores >= thresholds[first]).mean())
        rows.append(Threshold(target, cut, float(reached[first]), float(precision[first]), kept))
    return rows


def report(
    scores: Floats, labels: Labels, recalls: Sequence[float] = RECALLS, ranking: Floats | None = None
) -> dict[str, Any]:
    """All numbers of one score on pooled points, as JSON.

    Args:
        scores: (points,), probabilities of label 1.
        labels: (points,), 0 or 1.
        recalls: of the table and of precision at recall.
        ranking: (points,), what orders them, e.g. logits, where probabilities may be equal; None = the scores.

    Returns:
        auprc (sum of (R_n - R_(n-1)) P_n), roc_auc, f1 and f3 at 0.5, precision_at_recall, recall_at_precision,
        thresholds, points, positive (share).

    Raises:
        ValueError: scores that are no probabilities, wrong shapes or labels, a label that does not occur.
    """
    from sklearn.metrics import average_precision_score, fbeta_score, roc_auc_score

    _checked(scores, labels)
    if scores.min() < 0 or scores.max() > 1:
        raise ValueError(f"scores must be probabilities in [0, 1]. Received: {scores.min()} to {scores.max()}")
    truth, kept = np.asarray(labels).astype(np.int64), scores >= CUT
    ranking = scores if ranking is None else ranking
    return {
        "points": len(truth),
        "positive": float(truth.mean()),
        "auprc": float(average_precision_score(truth, ranking)),
        "roc_auc": float(roc_auc_score(truth, ranking)),
        "f1": float(fbeta_score(truth, kept, beta=1.0, zero_division=0.0)),
        "f3": float(fbeta_score(truth, kept, beta=BETA, zero_division=0.0)),
        "precision_at_recall": {f"{r:g}": precision_at_recall(ranking, labels, r) for r in recalls},
        "recall_at_precision": {f"{p:g}": recall_at_precision(ranking, labels, p) for p in PRECISIONS},
        "thresholds": [asdict(row) for row in threshold_table(scores, labels, recalls)],
    }


def not_available(labels: Labels, reason: str, recalls: Sequence[float] = RECALLS) -> dict[str, Any]:
    """What `report` gives of points of one label, or of none: no number but their count, and the reason."""
    truth = np.asarray(labels)
    return {
        "points": len(truth),
        "positive": float(truth.mean()) if len(truth) else None,
        **dict.fromkeys(("auprc", "roc_auc", "f1", "f3")),
        "precision_at_recall": {f"{recall:g}": None for recall in recalls},
        "recall_at_precision": {f"{precision:g}": None for precision in PRECISIONS},
        "thresholds": [],
        "reason": reason,
    }


def report_by_event(scores: Sequence[Floats], labels: Sequence[Labels]) -> dict[str, Any]:
    """HEPT's way: AUPRC, ROC AUC and F1 of each event, then the mean; events of one label only are left out.

    Raises:
        ValueError: as `report`; no event has both labels.
    """
    both = [i for i, truth in enumerate(labels) if 0 < np.count_nonzero(truth) < len(truth)]
    if not both:
        raise ValueError(f"an event with points of both labels is needed. Received: none in {len(labels)} events")
    reports = [report(scores[i], labels[i]) for i in both]
    means = {name: float(np.mean([one[name] for one in reports])) for name in ("auprc", "roc_auc", "f1")}
    return {**means, "events": len(both)}


def _checked(scores: Floats, labels: Labels) -> None:
    truth = np.asarray(labels)
    if scores.ndim != 1 or scores.shape != truth.shape:
        raise ValueError(f"scores and labels must be (points,). Received: {scores.shape} and {truth.shape}")
    if not np.isfinite(scores).all():
        raise ValueError(f"scores must be finite. Received: NaN or infinity in {(~np.isfinite(scores)).sum()} points")
    values = set(np.unique(truth).tolist())
    if values != {0, 1}:
        raise ValueError(f"labels must hold both 0 and 1, and nothing else. Received: {sorted(values)}")
