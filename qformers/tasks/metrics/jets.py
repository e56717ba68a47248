"""Numbers for a classifier, each with its statistical error; from logits, so that no score saturates at 1.

Rejection 1/eps_B at fixed signal efficiency is what tagging is about; the accuracy and even the AUC hide changes of
tens of per cent in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from qformers.tasks.metrics import shares

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

JETCLASS = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
BACKGROUND = "QCD"
EFFICIENCY = 0.5
TWO_CLASS_EFFICIENCY = 0.3  # besides, for sets of two classes, as in arXiv:1902.09914
TWO_CLASS_KEY = "rejection_30"  # of reports
JETCLASS_EFFICIENCIES = {"Hqql": 0.99, "Tbl": 0.995}  # as in arXiv:2202.03772
ROUNDED = 1e-12  # means of shares that are as near to each other are equal
TIE_DECIMALS = 12  # scores of a quantised model are often equal; rounding errors must not order them
CONFIDENCE = 0.95  # of the limit that stands where no background jet passes
LIMIT = f"a lower limit at {100 * CONFIDENCE:g} % confidence, since no background jet passes"


@dataclass(frozen=True)
class Measured:
    """A value and its statistical error (one standard deviation); None is n/a, and `reason` says why."""

    value: float | None
    error: float | None
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """``{"value": ..., "error": ...}``, and the reason where there is one."""
        reason = {"reason": self.reason} if self.reason else {}
        return {"value": self.value, "error": self.error, **reason}


@dataclass(frozen=True)
class Rejection:
    """Background rejection 1/eps_B at a signal efficiency.

    Attributes:
        efficiency: signal efficiency it is given at.
        value: 1/eps_B; a lower limit where `limit` is true; None is n/a, and `reason` says why.
        error: its statistical error from both samples; None for a limit.
        limit: no background jet passed, so that `value` is the lower limit at 95 % confidence.
        signal, background: jets of each.
        passing: background jets that pass (a share of those tied with the threshold counts).
    """

    efficiency: float
    value: float | None
    error: float | None
    limit: bool
    signal: int
    background: int
    passing: float | None
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """All fields, the confidence of a limit, and the reason where there is one."""
        fields = {key: value for key, value in self.__dict__.items() if key != "reason" or value}
        return {**fields, **({"confidence": CONFIDENCE} if self.limit else {})}


def _checked(logits: Floats, labels: Labels, class_names: Sequence[str]) -> None:
    if logits.ndim != 2 or logits.shape != (len(labels), len(class_names)):
        raise ValueError(
            f"logits must be (jets, classes) = ({len(labels)}, {len(class_names)}). Received: shape {logits.shape}"
        )
    if not np.isfinite(logits).all():
        raise ValueError(
            f"logits must be finite. Received: NaN or infinity in {(~np.isfinite(logits)).any(1).sum()} jets"
        )
    if not len(labels):
        raise ValueError("at least one jet is needed. Received: none")


def too_few(labels: Labels, class_names: Sequence[str]) -> str:
    """Why the AUC of all pairs of classes cannot be computed; empty where it can."""
    if len(class_names) < 2:
        return f"at least two classes are needed. Received: {', '.join(class_names)}"
    counts = np.bincount(labels, minlength=len(class_names))
    scarce = ", ".join(f"{name} ({n})" for name, n in zip(class_names, counts, strict=True) if n < 2)
    return f"every class needs at least 2 jets: give more jets of it. Received: {scarce}" if scarce else ""


def accuracy(logits: Floats, labels: Labels) -> Measured:
    """Share of jets whose largest logit is the true class, with its binomial error.

    Args:
        logits: (n, classes).
        labels: (n,).
    """
    share = float((logits.argmax(axis=1) == labels).mean())
    return Measured(share, shares.error(share, len(labels)))


def macro_auc(logits: Floats, labels: Labels) -> Measured:
    """Mean one-vs-one AUC over all ordered pairs of classes, with its DeLong error.

    The value is `sklearn.metrics.roc_auc_score(labels, softmax(logits), multi_class="ovo")`. Each pair (i, j)
    compares the probability of class i between jets of i and of j; its AUC is a mean over the jets of either class of
    how many of the other they beat (their placement). The mean over all pairs is then a mean of one number per jet,
    and the error follows from the spread of that number within each class (DeLong et al. 1988), with all correlations
    between pairs in it. Where every pair of jets is in the right order, or every one in the wrong order, nothing
    spreads, and each class has the error of a share of its jets (`shares.of_mean`).

    Args:
        logits: (n, classes).
        labels: (n,), every class at least twice.
    """
    scores = log_softmax(logits)
    classes = logits.shape[1]
    members = [np.flatnonzero(labels == c) for c in range(classes)]
    placement = np.zeros(len(labels))  # (n,), each jet's contribution, summed over its pairs
    total = 0.0
    for i in range(classes):
        for j in range(classes):
            if i == j:
                continue
            mine, other = scores[members[i], i], scores[members[j], i]
            ranks = rankdata(np.concatenate([mine, other]))  # ties get their mean rank, and so half a win
            mine_wins = (ranks[: len(mine)] - rankdata(mine)) / len(other)
            other_loses = 1.0 - (ranks[len(mine) :] - rankdata(other)) / len(mine)
            placement[members[i]] += mine_wins
            placement[members[j]] += other_loses
            total += float(mine_wins.mean())
    pairs, both = classes * (classes - 1), 2 * (classes - 1)  # a jet stands on either side of a pair
    auc = total / pairs
    if abs(auc - round(auc)) < ROUNDED:  # all of them won or lost, but for the rounding of the sum
        auc = float(round(auc))
    spreads = (float(np.std(placement[rows] / both, ddof=1)) / math.sqrt(len(rows)) for rows in members)
    errors = [shares.of_mean(auc, spread, len(rows)) for spread, rows in zip(spreads, members, strict=True)]
    return Measured(auc, math.hypot(*errors) * both / pairs)


def log_probabilities(logits: Floats) -> NDArray[np.float64]:
    """Log of the class probabilities, (n, classes), in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    """Log-probabilities (n, classes) in double precision, equal where they are equal but for the order of a sum."""
    return np.asarray(np.round(log_probabilities(logits), TIE_DECIMALS))


def is_jetclass(class_names: Sequence[str]) -> bool:
    """Whether these are JetClass's classes, some or all, with the QCD background among them."""
    return BACKGROUND in class_names and set(class_names) <= set(JETCLASS)


def discriminant(logits: Floats, signal: int, background: int | None) -> NDArray[np.float64]:
    """ln(s / b), which orders jets as s / (s + b) does, for the probabilities s of `signal` and b of `background`.

    Args:
        logits: (n, classes).
        signal: index of the signal class.
        background: index of the background class; None = all others together, b = 1 - s.
    """
    wide = logits.astype(np.float64)
    if background is not None:
        return np.asarray(wide[:, signal] - wide[:, background])
    others = np.delete(wide, signal, axis=1)
    highest = others.max(axis=1)
    ratio = wide[:, signal] - highest - np.log(np.exp(others - highest[:, None]).sum(axis=1))
    return np.asarray(np.round(ratio, TIE_DECIMALS))


def passing_background(signal: Floats, background: Floats, efficiency: float) -> float:
    """Background jets above the score that lets `efficiency` of the signal pass.

    Jets tied with that score pass with the share that makes the signal efficiency exact: a quantised model has many
    ties.
    """
    wanted = efficiency * len(signal)
    ordered = np.sort(signal)[::-1]
    threshold = ordered[min(len(signal), max(1, math.ceil(wanted - 1e-9))) - 1]
    above, tied = int((signal > threshold).sum()), int((signal == threshold).sum())
    if tied == 1:  # no ties: the jet at the threshold passes
        return float((background >= threshold).sum())
    share = min(1.0, max(0.0, (wanted - above) / tied))
    return float((background > threshold).sum() + share * (background == threshold).sum())


def rejection(signal: Floats, background: Floats, efficiency: float) -> Rejection:
    """Background rejection at a signal efficiency, with the errors of both samples.

    The background counts binomially; the signal moves the threshold, so that its binomial error is carried over along
    the ROC curve. Where no background jet passes, the lower limit at 95 % confidence is given: n / -ln(0.05) for
    large n.

    Args:
        signal, background: scores (n,) of either sample, larger for signal.
        efficiency: in (0, 1).

    Raises:
        ValueError: an empty sample or an efficiency outside (0, 1).
    """
    if not 0.0 < efficiency < 1.0:
        raise ValueError(f"efficiency must be in (0, 1). Received: efficiency={efficiency}")
    if not len(signal) or not len(background):
        raise ValueError(f"both samples need jets. Received: {len(signal)} signal, {len(background)} background")
    jets, sizes = len(background), (len(signal), len(background))
    passing = passing_background(signal, background, efficiency)
    if passing == 0.0:
        limit = 1.0 / (1.0 - (1.0 - CONFIDENCE) ** (1.0 / jets))
        return Rejection(efficiency, limit, None, True, *sizes, passing)
    share = passing / jets
    spread = math.sqrt(efficiency * (1.0 - efficiency) / len(signal))
    low, high = max(0.5 / len(signal), efficiency - spread), min(1.0, efficiency + spread)
    slope = (passing_background(signal, background, high) - passing_background(signal, background, low)) / jets
    moved = slope * spread / (high - low)  # change of eps_B by one error of the signal efficiency
    error = math.hypot(math.sqrt(share * (1.0 - share) / jets), moved)
    return Rejection(efficiency, 1.0 / share, error / share**2, False, *sizes, passing)


def rejections(
    logits: Floats, labels: Labels, class_names: Sequence[str], efficiency: float | None = None
) -> dict[str, Rejection]:
    """Background rejection per signal class.

    For JetClass: each signal against QCD by s / (s + QCD), at 50 % signal efficiency (99 % for Hqql, 99.5 % for Tbl).
    For other sets: each class against all others together, at 50 %.

    Args:
        logits: (n, classes).
        labels: (n,).
        class_names: in label order.
        efficiency: of the signal; None = as above.
    """
    if len(class_names) < 2:  # nothing to reject
        return {}
    jetclass = is_jetclass(class_names)
    background = list(class_names).index(BACKGROUND) if jetclass else None
    rejected = {}
    for index, name in enumerate(class_names):
        if index == background:
            continue
        scores = discriminant(logits, index, background)
        against = labels == background if jetclass else labels != index
        at = efficiency or (JETCLASS_EFFICIENCIES.get(name, EFFICIENCY) if jetclass else EFFICIENCY)
        signal, others = scores[labels == index], scores[against]
        if not len(signal) or not len(others):
            lacking = f"no jet of {name}" if not len(signal) else f"no jet beside those of {name}"
            reason = f"signal and background need jets: give more. Received: {lacking}"
            rejected[name] = Rejection(at, None, None, False, len(signal), len(others), None, reason)
            continue
        rejected[name] = rejection(signal, others, at)
    return rejected


def two_class_rejection(logits: Floats, labels: Labels, class_names: Sequence[str]) -> dict[str, Any]:
    """``rejection_30``: of sets of two classes also the rejections at 30 % signal efficiency, as JSON; else nothing."""
    if len(class_names) != 2:
        return {}
    found = rejections(logits, labels, class_names, TWO_CLASS_EFFICIENCY)
    return {TWO_CLASS_KEY: {name: value.as_json() for name, value in found.items()}}


def confusion_counts(logits: Floats, labels: Labels) -> NDArray[np.int64]:
    """Jets (classes, classes) by true class (rows) and predicted class (columns)."""
    classes = logits.shape[1]
    cells = labels * classes + logits.argmax(axis=1)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def report(logits: Floats, labels: Labels, class_names: Sequence[str]) -> dict[str, Any]:
    """All metrics of one model on one split, as JSON (``metrics.json``).

    What needs more jets of a class than there are has None as its value, and the reason; all else is there.

    Args:
        logits: (n, classes), finite.
        labels: (n,), at least one.
        class_names: in label order.

    Raises:
        ValueError: wrong shape, no jet, a value that is not finite.
    """
    _checked(logits, labels, class_names)
    reason = too_few(labels, class_names)
    auc = Measured(None, None, reason) if reason else macro_auc(logits, labels)
    return {
        "jets": len(labels),
        "classes": list(class_names),
        "accuracy": accuracy(logits, labels).as_json(),
        "auc": {**auc.as_json(), "kind": "macro one-vs-one"},
        "rejection": {name: value.as_json() for name, value in rejections(logits, labels, class_names).items()},
        **two_class_rejection(logits, labels, class_names),
        "rejection_against": BACKGROUND if is_jetclass(class_names) else "all other classes",
        "confusion": confusion_counts(logits, labels).tolist(),
    }
