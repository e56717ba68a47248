"""What a per-point evaluation leaves: plots, the table of tracks."""

import csv

import numpy as np
import pytest

from qformers.data.points.line_segments import FAKE, Segments
from qformers.tasks.metrics import tracks as metrics_tracks
from qformers.tasks.plots import points as plots_points


def scored(event, seed):
    rng = np.random.default_rng(seed)
    ids = np.where(rng.random(200) < 0.3, rng.integers(0, 9, 200), FAKE)
    scores = np.clip(rng.normal(np.where(ids == FAKE, 0.3, 0.7), 0.15), 0, 1)
    return Segments(rng.random((200, 23)).astype(np.float32), ids, event), scores


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
