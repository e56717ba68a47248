"""Tasks with one answer per point: an embedding in which tracks lie together, or a score that keeps or drops it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig, PhaseConfig, PointsConfig
from qformers.data.clouds import POINT_FIELDS, PointCloud, PointEvents, joined
from qformers.data.points.targets import PairTargets, point_targets
from qformers.errors import TrainingError
from qformers.tasks.metrics import binary as metrics_binary
from qformers.tasks.metrics import points as metrics_points
from qformers.tasks.metrics import shares
from qformers.tasks.metrics import tracks as metrics_tracks
from qformers.tasks.metrics.jets import Measured
from qformers.tasks.task import Outputs, Report

CHUNK = 32  # windows whose loss is computed at a time
KEPT_BYTES = 1 << 30  # pairs of a validation split up to here are kept from epoch to epoch
FOLDS = 10  # parts of the events, each left out once, from which errors are estimated
SAVED = tuple(name for name in POINT_FIELDS if name not in ("features", "coords"))


class PointTask:
    """What both tasks have in common.

    Args:
        points: section ``data.points``.
    """

    def __init__(self, points: PointsConfig) -> None:
        self.points = points

    @classmethod
    def of(cls, config: DataConfig, class_names: Sequence[str]) -> Self:
        """The task of a data section."""
        return cls(config.points or PointsConfig())

    def monitors(self) -> list[Any]:
        """None: neighbours and rankings are those of whole events."""
        return []

    def joined(self, parts: Sequence[PointEvents]) -> PointEvents:
        """One batch of all."""
        return joined(parts)

    def arrays(self, labels: PointEvents) -> dict[str, NDArray[Any]]:
        """What is known of each point, (n, N)."""
        return {name: getattr(labels, name) for name in (*SAVED, "mask", "events")}


def _clouds(outputs: Outputs, events: PointEvents) -> Iterator[tuple[Outputs, PointCloud]]:
    """Outputs and truth of each event without its padding."""
    for row in range(len(events)):
        yield outputs[row][events.mask[row] > 0], events.cloud(row)


class _Pairs(NamedTuple):
    """Pairs of a split, and what they were made of."""

    labels: PointEvents
    chunks: list[NDArray[Any]]


class Tracking(PointTask):
    """Points of a particle are to be near each other: InfoNCE on pairs, AP@k for pT > 0.9 GeV as the score."""

    score, unit = "ap_0.9", "windows"
    headline = ("windows", "ap_0.9")

    def __init__(self, points: PointsConfig) -> None:
        super().__init__(points)
        self._pairs: _Pairs | None = None  # of the last split validated

    def loss(self, config: PhaseConfig) -> Any:
        """InfoNCE."""
        from qformers.tasks.losses.packed import PairInfoNce

        return PairInfoNce(self.points.loss)

    def targets(self, labels: PointEvents, seed: int, epoch: int) -> NDArray[Any]:
        """Pairs (n, P, 6)."""
        return PairTargets(self.points.loss, self.points.num_pairs)(labels, seed, epoch)

    def validate(self, outputs: Outputs, labels: PointEvents) -> tuple[float, float]:
        """InfoNCE without random pairs, and AP@k."""
        from keras import ops

        from qformers.tasks.losses.packed import PairInfoNce

        loss = PairInfoNce(self.points.loss)
        total = 0.0
        for at, pairs in zip(range(0, len(outputs), CHUNK), self._validation_pairs(labels), strict=True):
            part = ops.convert_to_tensor(outputs[at : at + CHUNK])
            total += float(loss(pairs, part)) * len(pairs)
        return total / len(outputs), _score(self.measured(outputs, labels))

    def _validation_pairs(self, labels: PointEvents) -> Iterable[NDArray[Any]]:
        """Pairs of each chunk of windows; a split that comes again, epoch after epoch, has them made once."""
        if self._pairs is None or not self._pairs.labels.same_as(labels):
            pairs = PairTargets(self.points.loss, self.points.num_pairs, random_pairs=False)
            chunks = (pairs(labels[at : at + CHUNK]) for at in range(0, len(labels), CHUNK))
            if len(labels) * pairs.bytes_per_event > KEPT_BYTES:
                return chunks
            self._pairs = _Pairs(labels, list(chunks))
        return self._pairs.chunks

    def measured(self, outputs: Outputs, labels: PointEvents) -> Measured:
        """AP@k for pT > 0.9 GeV."""
        precision = _neighbours(outputs, labels, (0.9,))["ap"]["0.9"]
        return Measured(precision["value"], precision["error"], precision.get("reason", ""))

    def report(self, outputs: Outputs, labels: PointEvents) -> Report:
        """AP@k at all thresholds, and tracks judged by the neighbours of their points."""
        near = _neighbours(outputs, labels, metrics_points.PT_THRESHOLDS_GEV)
        rows = [
            metrics_tracks.neighbour_tracks(x, cloud.particle_ids, cloud.pt) for x, cloud in _clouds(outputs, labels)
        ]
        tracks = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        ap = {f"ap_{name}": value for name, value in near["ap"].items()}
        return {"windows": len(outputs), **ap, **near, "tracks": metrics_tracks.neighbour_report(tracks)}

    def pictures(self, outputs: Outputs, labels: PointEvents, report: Report, folder: Path) -> None:
        """Efficiency over pT and over the length of tracks."""
        from qformers.tasks.plots import points as plots_points

        for key, by in (("pt_gev", "by_pt_gev"), ("length", "by_length")):
            path, quantity = folder / f"tracks_{key}.png", "share of tracks, by nearest neighbours"
            plots_points.in_bins(report["tracks"][by], key, path, quantity)


def _neighbours(outputs: Outputs, events: PointEvents, thresholds: Sequence[float]) -> dict[str, Any]:
    rows = list(_clouds(outputs, events))
    clouds = [cloud for _, cloud in rows]
    try:
        report = metrics_points.tracking_report(
            [x for x, _ in rows],
            [cloud.particle_ids for cloud in clouds],
            [cloud.pt for cloud in clouds],
            [cloud.reconstructable for cloud in clouds],
            thresholds,
        )
    except ValueError as error:
        raise TrainingError(f"{error}") from error
    return report


def _score(measured: Measured) -> float:
    """The number by which an epoch is chosen.

    Raises:
        TrainingError: it cannot be computed, and no epoch can be chosen without it.
    """
    if measured.value is None:
        raise TrainingError(f"the validation split has no score, by which the best epoch is chosen: {measured.reason}")
    return measured.value


class PileupRemoval(PointTask):
    """Points to keep: focal loss, AUPRC as the score. The layout of the events says which points count."""

    score, unit = "auprc", "windows"
    headline = ("points", "auprc", "precision_at_recall")

    def loss(self, config: PhaseConfig) -> Any:
        """Focal loss."""
        from qformers.tasks.losses.packed import PointFocal

        return PointFocal(self.points.loss)

    def targets(self, labels: PointEvents, seed: int = 0, epoch: int = 0) -> NDArray[Any]:
        """Label and weight of each point, (n, N, 2)."""
        return point_targets(labels)

    def validate(self, outputs: Outputs, labels: PointEvents) -> tuple[float, float]:
        """Focal loss, and AUPRC."""
        from keras import ops

        from qformers.tasks.losses.packed import PointFocal

        loss = PointFocal(self.points.loss)(self.targets(labels), ops.convert_to_tensor(outputs))
        if reason := self.too_few(outputs, labels):
            return float(loss), _score(Measured(None, None, reason))
        return float(loss), self._auprc(outputs, labels)

    def measured(self, outputs: Outputs, labels: PointEvents) -> Measured:
        """AUPRC; its error by leaving out a tenth of the events at a time (jackknife; `shares.of_mean`)."""
        if reason := self.too_few(outputs, labels):
            return Measured(None, None, reason)
        if len(outputs) < 2:
            reason = f"an error of the AUPRC needs two events: give more. Received: {len(outputs)}"
            return Measured(self._auprc(outputs, labels), None, reason)
        folds = np.arange(len(outputs)) % min(FOLDS, len(outputs))
        parts = [(outputs[folds != fold], labels[folds != fold]) for fold in np.unique(folds)]
        if any(self.too_few(*part) for part in parts):
            reason = "an error of the AUPRC needs points of both labels in more than one event: give more"
            return Measured(self._auprc(outputs, labels), None, reason)
        left = np.array([self._auprc(*part) for part in parts])
        error = np.sqrt((len(left) - 1) / len(left) * np.sum((left - left.mean()) ** 2))
        auprc, positives = self._auprc(outputs, labels), int(self.ranked(outputs, labels)[1].sum())
        return Measured(auprc, shares.of_mean(auprc, float(error), positives))

    def _auprc(self, outputs: Outputs, labels: PointEvents) -> float:
        from sklearn.metrics import average_precision_score

        ranking, truth = self.ranked(outputs, labels)
        return float(average_precision_score(truth, ranking))

    def report(self, outputs: Outputs, labels: PointEvents) -> Report:
        """See `qformers.tasks.metrics.binary.report`; None, and a reason, where the points are of one label only."""
        ranking, truth = self.ranked(outputs, labels)
        if reason := self.too_few(outputs, labels):
            return {**metrics_binary.not_available(truth, reason), "auprc": Measured(None, None, reason).as_json()}
        try:
            numbers = metrics_binary.report(probability(ranking), truth, ranking=ranking)
        except ValueError as error:
            raise TrainingError(f"{error}") from error
        return {**numbers, "auprc": self.measured(outputs, labels).as_json()}

    def pictures(self, outputs: Outputs, labels: PointEvents, report: Report, folder: Path) -> None:
        """Precision over recall, and the ROC."""
        from qformers.tasks.plots import points as plots_points

        if not self.too_few(outputs, labels):
            curves = {"model": self.ranked(outputs, labels)}
            plots_points.precision_recall(curves, folder / "precision_recall.png")
            plots_points.roc(curves, folder / "roc.png")

    def too_few(self, outputs: Outputs, labels: PointEvents) -> str:
        """Why no score can be computed; empty where it can."""
        found = np.unique(self.ranked(outputs, labels)[1]).tolist()
        return "" if found == [0, 1] else f"points to keep and points to drop are needed. Received: labels {found} only"

    def ranked(self, outputs: Outputs, labels: PointEvents) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Logit and label of the points that count; of large logits the probabilities are equal, 0 or 1."""
        targets = self.targets(labels)
        counts = targets[..., 1] > 0
        return outputs[..., 0][counts].astype(np.float64), targets[..., 0][counts].astype(np.int64)


def probability(logits: NDArray[Any]) -> NDArray[np.float64]:
    """1 / (1 + exp(-logits)), without overflow."""
    from scipy.special import expit

    return np.asarray(expit(logits), np.float64)
