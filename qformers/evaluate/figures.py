"""The numbers of a model on some events that are set against those of another one, task by task.

`Scored.report` is what a training reports of a split. `Scored.at` gives its main numbers for some of the events, each
as often as asked, from which errors follow where the report has none, and errors of differences, which are smaller than
the errors of either model, since both saw the same events (bootstrap: the spread of a number over events that are drawn
anew).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.clouds import PointEvents
from qformers.data.events import Events
from qformers.tasks import JetTagging, PileupRemoval, Regression, Task, Tracking
from qformers.tasks.metrics import binary, jets, regression, shares, tracks
from qformers.tasks.metrics.jets import LIMIT, Measured
from qformers.tasks.metrics.points import PT_THRESHOLDS_GEV, tracking_report
from qformers.tasks.metrics.tracks import Matched
from qformers.tasks.points import probability

DRAWS = 100  # of the bootstrap: an error is known to 7 % then
MOST_LACKING = 0.1  # share of the draws that may have no value
RECALLS = ("0.95", "0.99")  # at which precision is shown
FEWEST_HITS = tracks.FEWEST_POINTS  # of a cluster
Numbers = Mapping[str, float | None]  # None where there are too few events


@dataclass(frozen=True)
class Scored:
    """A model on some events.

    Attributes:
        outputs: (n, ...).
        report: what a training reports of a split, as JSON; of tracking also its clusters.
        at: numbers of events, of which one may come several times (m,) -> the main numbers of these.
        clusters: tracking: of each event the number of each point's cluster (points,); else empty.
    """

    outputs: NDArray[Any]
    report: dict[str, Any]
    at: Callable[[NDArray[np.int64]], Numbers]
    clusters: tuple[NDArray[np.int64], ...] = ()

    def numbers(self) -> dict[str, Measured]:
        """The main numbers of all events, each with the error that the report gives it, or else the bootstrap's."""
        whole, found = self.at(np.arange(len(self.outputs))), {}
        drawn: list[Numbers] | None = None
        for name, value in whole.items():
            said = _entry(self.report, name)
            if isinstance(said, Mapping) and "value" in said:
                reason = LIMIT if said.get("limit") else said.get("reason", "")
                found[name] = Measured(said["value"], said.get("error"), reason)
            elif value is None:
                found[name] = Measured(None, None, "too few events of a kind")
            else:
                if drawn is None:
                    drawn = [self.at(rows) for rows in _draws(len(self.outputs))]
                error, reason = _spread([part[name] for part in drawn], len(self.outputs))
                if error is not None:  # these numbers lie in [0, 1], and no draw leaves an end
                    error = shares.of_mean(value, error, len(self.outputs))
                found[name] = Measured(value, error, reason)
        return found


def _entry(report: Mapping[str, Any], name: str) -> Any:
    """What a report says of a number, e.g. of "clusters efficiency"."""
    found: Any = report
    for key in name.split(" "):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def differences(first: Scored, second: Scored) -> dict[str, Measured]:
    """Second minus first, on the same events, with paired errors."""
    events = len(first.outputs)
    whole = _minus(first.at(np.arange(events)), second.at(np.arange(events)))
    drawn = [_minus(first.at(rows), second.at(rows)) for rows in _draws(events)]
    found = {}
    for name, value in whole.items():
        if value is None:
            found[name] = Measured(None, None, _no_difference(first.report, second.report, name))
        else:
            found[name] = Measured(value, *_spread([part[name] for part in drawn], events))
    return found


def _no_difference(first: Mapping[str, Any], second: Mapping[str, Any], name: str) -> str:
    """Why a number has no difference: a limit is no value to subtract, or a model has none at all."""
    said = [_entry(report, name) for report in (first, second)]
    limits = sum(isinstance(one, Mapping) and bool(one.get("limit")) for one in said)
    if limits == len(said):
        return f"both models have only {LIMIT}"
    return f"one of the models has only {LIMIT}" if limits else "one of the models has no value"


def _minus(first: Numbers, second: Numbers) -> dict[str, float | None]:
    pairs = {name: (value, second.get(name)) for name, value in first.items()}
    return {name: None if a is None or b is None else b - a for name, (a, b) in pairs.items()}


def _draws(events: int) -> list[NDArray[np.int64]]:
    """Events drawn anew, as many as there are; none of a single one. Two models are given the same draws."""
    random = np.random.default_rng(0)
    return [random.integers(0, events, events) for _ in range(DRAWS)] if events > 1 else []


def _spread(drawn: list[float | None], events: int) -> tuple[float | None, str]:
    """Standard error from the draws of the bootstrap, or why there is none."""
    known = [value for value in drawn if value is not None]
    if len(known) < 2 or len(known) < (1 - MOST_LACKING) * len(drawn):
        return None, "an error needs more events"
    return float(np.std(known, ddof=1) * np.sqrt(events / (events - 1))), ""


def scored(task: Task, outputs: NDArray[Any], events: Events | PointEvents, distance: float | None) -> Scored:
    """The numbers of a task.

    Args:
        task: of `qformers.tasks`.
        outputs: (n, ...), of the model on `events`.
        events: n of them.
        distance: tracking: see `clusters_of`.

    Raises:
        TrainingError: outputs that no metric takes.
    """
    if isinstance(task, JetTagging):
        return _of_jets(task, outputs, np.asarray(events.labels))
    if isinstance(task, Regression):
        return _of_regression(task, outputs, np.asarray(events.labels))
    if isinstance(task, PileupRemoval) and isinstance(events, PointEvents):
        return _of_pileup(task, outputs, events)
    if isinstance(task, Tracking) and isinstance(events, PointEvents):
        return _of_tracking(task, outputs, events, distance)
    raise TypeError(f"no figures are known of task {type(task).__name__}")


def _of_jets(task: JetTagging, outputs: NDArray[Any], labels: NDArray[Any]) -> Scored:
    report = task.report(outputs, labels)

    def at(rows: NDArray[np.int64]) -> Numbers:
        part, truth = outputs[rows], labels[rows]
        lacking = jets.too_few(truth, task.class_names)
        rejected = {"rejection": jets.rejections(part, truth, task.class_names)}
        if jets.TWO_CLASS_KEY in report:
            at = jets.TWO_CLASS_EFFICIENCY
            rejected[jets.TWO_CLASS_KEY] = jets.rejections(part, truth, task.class_names, at)
        return {
            "accuracy": jets.accuracy(part, truth).value,
            "auc": None if lacking else jets.macro_auc(part, truth).value,
            **{
                f"{key} {name}": None if one.limit else one.value
                for key, found in rejected.items()
                for name, one in found.items()
            },
        }

    return Scored(outputs, report, at)


def _of_regression(task: Regression, outputs: NDArray[Any], labels: NDArray[Any]) -> Scored:
    predicted, truth = task.predicted(outputs), task.truth(labels)
    measures = {"r2": regression.r2, "rmse": regression.rmse, "mae": regression.mae}

    def at(rows: NDArray[np.int64]) -> Numbers:
        return {name: measure(predicted[rows], truth[rows]).value for name, measure in measures.items()}

    return Scored(outputs, task.report(outputs, labels), at)


def _of_pileup(task: PileupRemoval, outputs: NDArray[Any], events: PointEvents) -> Scored:
    report = task.report(outputs, events)

    def at(rows: NDArray[np.int64]) -> Numbers:
        names = ("auprc", "roc_auc", *(f"precision_at_recall {recall}" for recall in RECALLS))
        if task.too_few(outputs[rows], events[rows]):
            return dict.fromkeys(names)
        ranking, truth = task.ranked(outputs[rows], events[rows])
        made = binary.report(probability(ranking), truth, ranking=ranking)
        return {name: _entry(made, name) for name in names}

    return Scored(outputs, report, at)


def clusters_of(embedding: NDArray[Any], distance: float | None) -> NDArray[np.int64]:
    """Clusters of the points of one event, (n,), -1 = of none.

    Args:
        embedding: (n, D).
        distance: points nearer than this are neighbours (DBSCAN); None = each cluster has a density of its own
            (HDBSCAN), so that nothing has to be chosen.
    """
    if distance is None:
        return tracks.cluster(embedding, "hdbscan", 0.0, FEWEST_HITS)
    return tracks.cluster(embedding, "dbscan", distance, FEWEST_HITS)


def _of_tracking(task: Tracking, outputs: NDArray[Any], events: PointEvents, distance: float | None) -> Scored:
    report = task.report(outputs, events)
    found, matched, precision = [], [], []
    for row in range(len(events)):
        cloud, embedding = events.cloud(row), outputs[row][events.mask[row] > 0]
        found.append(clusters_of(embedding, distance))
        matched.append(tracks.match(found[-1], cloud.particle_ids, cloud.pt, cloud.eta, cloud.reconstructable))
        alone = tracking_report([embedding], [cloud.particle_ids], [cloud.pt], [cloud.reconstructable])
        precision.append({name: entry["value"] for name, entry in alone["ap"].items()})
    how = "HDBSCAN" if distance is None else f"DBSCAN, distance {distance:g}"
    report["clusters"] = {"method": how, "fewest_points": FEWEST_HITS, **tracks.cluster_report(matched)}

    def at(rows: NDArray[np.int64]) -> Numbers:
        numbers: dict[str, float | None] = {}
        for threshold in PT_THRESHOLDS_GEV:
            values = [v for row in rows if (v := precision[row][f"{threshold:g}"]) is not None]
            numbers[f"ap_{threshold:g}"] = float(np.mean(values)) if values else None
        some: list[Matched] = [matched[row] for row in rows]
        together = tracks.cluster_report(some)
        for name in ("efficiency", "fake_rate"):
            numbers[f"clusters {name}"] = together[name]["value"]
        numbers["clusters purity"] = together["purity"]
        return numbers

    return Scored(outputs, report, at, tuple(found))
