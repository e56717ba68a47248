"""What a per-point evaluation leaves: filtered events, plots, the table of tracks."""

import csv
import json

import numpy as np
import pytest

from qformers import metrics_binary, metrics_tracks, plots_points
from qformers.data.errors import DataError
from qformers.data.tracks.filtering import filter_segments, keep, write_filtered
from qformers.data.tracks.line_segments import FAKE, Segments, read_segments


def scored(event, seed):
    rng = np.random.default_rng(seed)
    ids = np.where(rng.random(200) < 0.3, rng.integers(0, 9, 200), FAKE)
    scores = np.clip(rng.normal(np.where(ids == FAKE, 0.3, 0.7), 0.15), 0, 1)
    return Segments(rng.random((200, 23)).astype(np.float32), ids, event), scores


def test_filtered_events_hold_the_points_above_the_threshold(tmp_path):
    events = [scored(3, 0), scored(4, 1)]
    scores = np.concatenate([s for _, s in events])
    labels = np.concatenate([e.particle_id != FAKE for e, _ in events])
    table = metrics_binary.threshold_table(scores, labels, [0.9, 0.99])
    counts = write_filtered(tmp_path, events, table, {"model": "m"})
    for row in table:
        found = [read_segments(tmp_path / f"recall_{row.target:g}" / f"graph_{e}.npz") for e in (3, 4)]
        assert sum(map(len, found)) == counts[row.target][0] == (scores >= row.threshold).sum()
        true = sum(int((e.particle_id != FAKE).sum()) for e in found)
        assert true / labels.sum() == pytest.approx(row.recall)
        assert (found[0].x == events[0][0].x[events[0][1] >= row.threshold]).all()
    stored = json.loads((tmp_path / "thresholds.json").read_text())
    assert stored["model"] == "m"
    assert [row["target"] for row in stored["thresholds"]] == [0.9, 0.99]


def test_at_least_one_point_stays_and_wrong_scores_are_refused():
    assert keep(np.array([0.1, 0.3, 0.2]), 0.9).tolist() == [False, True, False]
    assert keep(np.zeros(0), 0.9).tolist() == []
    event, scores = scored(3, 0)
    for wrong in (scores[1:], np.where(scores > 0.5, np.nan, scores)):
        with pytest.raises(DataError, match=r"event 3: needs one finite score per segment. Received: scores of shape"):
            filter_segments(event, wrong, 0.5)


def test_plots_and_the_table_of_tracks_are_written(tmp_path):
    rng = np.random.default_rng(0)
    ids = np.concatenate([np.repeat(np.arange(30), 6), np.full(40, -1)])
    centres = rng.normal(size=(31, 4)) * 2
    x = centres[ids] + 0.15 * rng.normal(size=(220, 4))
    pt, eta = (np.concatenate([np.repeat(v, 6), np.zeros(40)]) for v in (rng.uniform(0.5, 9, 30), rng.normal(size=30)))
    clusters = metrics_tracks.cluster(x, distance=0.4, min_points=3)
    matched = [
        metrics_tracks.match(clusters, ids, pt, eta, ids >= 0, criterion)
        for criterion in ("double_majority", "perfect")
    ]
    reports = {"double majority": metrics_tracks.cluster_report(matched[:1])}
    reports["perfect"] = metrics_tracks.cluster_report(matched[1:])
    for key in plots_points.LABELS:
        series = {name: report["efficiency_by"][key] for name, report in reports.items()}
        plots_points.in_bins(series, key, tmp_path / f"{key}.png", "efficiency")
    scored_events = [scored(i, i) for i in range(3)]
    scores = np.concatenate([s for _, s in scored_events])
    labels = np.concatenate([e.particle_id != FAKE for e, _ in scored_events])
    plots_points.precision_recall({"model": (scores, labels)}, tmp_path / "pr.png")
    for name in ("length", "pt_gev", "eta", "pr"):
        assert (tmp_path / f"{name}.png").read_bytes()[1:4] == b"PNG"
    tracks = metrics_tracks.neighbour_tracks(x, ids, pt)
    plots_points.write_tracks(tmp_path / "tracks.csv", tracks)
    with (tmp_path / "tracks.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 30
    assert [float(line["precision"]) for line in lines] == pytest.approx(tracks["precision"].tolist())
