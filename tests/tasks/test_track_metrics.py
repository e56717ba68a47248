"""AP@k, precision and recall, clusters and tracks, beside plain loops and worked examples."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from qformers.tasks.metrics import binary as metrics_binary
from qformers.tasks.metrics import points as metrics_points
from qformers.tasks.metrics import tracks as metrics_tracks
from qformers.tasks.metrics.points import neighbours, tracking_report


def loop_ap(x, ids, chosen):
    """AP@k by its definition, one point after the other; distances must differ."""
    scores = []
    for i in chosen:
        k = int((ids == ids[i]).sum()) - 1
        if k == 0:
            continue
        order = sorted((j for j in range(len(x)) if j != i), key=lambda j: float(((x[i] - x[j]) ** 2).sum()))
        scores.append(sum(ids[j] == ids[i] for j in order[:k]) / k)
    return float(np.mean(scores))


def event(rng, points=60, particles=9):
    ids = rng.integers(-1, particles, points)
    centres = rng.normal(size=(particles + 1, 4))
    x = centres[ids] + 0.6 * rng.normal(size=(points, 4))
    pt = np.where(ids < 0, 0, 0.3 + 0.25 * ids).astype(np.float32)
    good = (ids >= 0) & (ids != 5)
    return x.astype(np.float32), ids, pt, good


def test_ap_equals_its_definition_for_every_threshold():
    rng = np.random.default_rng(1)
    events = [event(rng) for _ in range(3)]
    found = tracking_report(*zip(*events, strict=True))
    for threshold in (0.0, 0.5, 0.9):
        expected = [loop_ap(x, ids, np.flatnonzero(good & (pt > threshold))) for x, ids, pt, good in events]
        entry = found["ap"][f"{threshold:g}"]
        assert entry["value"] == pytest.approx(np.mean(expected), abs=1e-12)
        assert entry["error"] == pytest.approx(np.std(expected, ddof=1) / np.sqrt(3))
        assert 0.2 < entry["value"] < 1.0  # neither trivial nor perfect: the comparison means something


def test_precision_and_recall_at_19():
    rng = np.random.default_rng(2)
    x, ids, pt, good = event(rng)
    found = tracking_report([x], [ids], [pt], [good])
    precision, recall = [], []
    for i in np.flatnonzero(good & (pt > 0.9)):
        k = (ids == ids[i]).sum() - 1
        if k:
            order = np.argsort(((x - x[i]) ** 2).sum(1))[1:20]
            precision.append((ids[order] == ids[i]).sum() / 19)
            recall.append((ids[order] == ids[i]).sum() / k)
    assert found["precision_at_19"]["0.9"]["value"] == pytest.approx(np.mean(precision))
    assert found["recall_at_19"]["0.9"]["value"] == pytest.approx(np.mean(recall))


def test_a_particle_of_one_point_and_noise_do_not_count():
    x = np.arange(5.0)[:, None]
    ids = np.array([7, 7, 3, -1, -1])
    found = neighbours(x, ids, np.array([0, 1]))
    assert found.k.tolist() == [1, 1]
    good, pt = np.ones(5, bool), np.ones(5)
    assert tracking_report([x], [ids], [pt], [good])["ap"]["0"]["points"] == 2


@pytest.mark.parametrize("points", [12, 400])
def test_ties_count_by_their_share_whatever_the_order(points):
    # a collapsed embedding: all points equal, so that a random neighbour has the particle of the query by chance
    ids = np.arange(points) // 4
    x = np.zeros((points, 3), np.float32)
    found = neighbours(x, ids, np.arange(points))
    assert found.within_k == pytest.approx(np.full(points, 3 * 3 / (points - 1)))
    order = np.random.default_rng(0).permutation(points)
    again = neighbours(x, ids[order], np.arange(points))
    assert again.within_k == pytest.approx(found.within_k)


def test_noise_among_the_neighbours_is_counted():
    x = np.array([[0.0], [0.1], [1.0], [1.05]])
    ids = np.array([1, -1, 1, 2])
    found = neighbours(x, ids, np.array([0]))
    assert (found.within_k[0], found.noise_within_k[0]) == (0.0, 1.0)


def test_wrong_arrays_are_refused_by_event():
    x, ids, pt, good = event(np.random.default_rng(0))
    broken = x.copy()
    broken[3] = np.nan
    with pytest.raises(ValueError, match=r"event 1: embedding must be finite. Received: NaN or infinity in 1 points"):
        tracking_report([x, broken], [ids] * 2, [pt] * 2, [good] * 2)
    with pytest.raises(ValueError, match=r"event 0: embedding must be \(points, D\).*Received: shapes \(59, 4\)"):
        tracking_report([x[1:]], [ids], [pt], [good])
    lacking = tracking_report([x], [ids], [pt], [~good & False])["ap"]["0"]
    assert (lacking["value"], lacking["error"], lacking["points"]) == (None, None, 0)
    assert lacking["reason"].endswith("pT > 0 GeV: give more events. Received: none in 1 events")


SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.55, 0.4, 0.3, 0.2])
LABELS = np.array([1, 1, 0, 1, 0, 1, 0, 0])


def test_binary_numbers_of_a_worked_example():
    found = metrics_binary.report(SCORES, LABELS, recalls=(0.75, 1.0))
    assert found["auprc"] == pytest.approx(average_precision_score(LABELS, SCORES))
    assert found["auprc"] == pytest.approx(0.25 * (1 + 1 + 3 / 4 + 4 / 6))  # sum of (R_n - R_n-1) P_n
    precision, recall = 3 / 5, 3 / 4
    assert found["f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert found["f3"] == pytest.approx(10 * precision * recall / (9 * precision + recall))
    assert found["precision_at_recall"] == {"0.75": pytest.approx(3 / 4), "1": pytest.approx(4 / 6)}
    assert found["recall_at_precision"]["0.95"] == pytest.approx(0.5)
    rows = found["thresholds"]
    assert (rows[0]["threshold"], rows[0]["recall"], rows[0]["kept"]) == (0.6, 0.75, 0.5)
    assert (rows[1]["threshold"], rows[1]["recall"], rows[1]["precision"]) == (0.4, 1.0, pytest.approx(4 / 6))


def test_a_threshold_keeps_the_recall_it_promises_also_with_ties():
    rng = np.random.default_rng(0)
    labels = rng.random(3000) < 0.2
    scores = np.round(np.clip(rng.normal(0.3 + 0.4 * labels, 0.2), 0, 1), 2)
    for row in metrics_binary.threshold_table(scores, labels):
        kept = scores >= row.threshold
        assert (kept & labels).sum() / labels.sum() == pytest.approx(row.recall)
        assert row.recall >= row.target
        above = scores > row.threshold  # the next higher threshold would lose too much
        assert (above & labels).sum() / labels.sum() < row.target


def test_metrics_by_event_leave_out_events_of_one_label():
    found = metrics_binary.report_by_event([SCORES, SCORES[:2]], [LABELS, LABELS[:2]])
    assert found["events"] == 1
    assert found["auprc"] == pytest.approx(average_precision_score(LABELS, SCORES))


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (SCORES * 2, LABELS, r"must be probabilities in \[0, 1\]. Received: 0.4 to 1.8"),
        (SCORES, LABELS * 0, r"both 0 and 1, and nothing else. Received: \[0\]"),
        (SCORES, LABELS * 2, r"Received: \[0, 2\]"),
        (SCORES[1:], LABELS, r"must be \(points,\). Received: \(7,\) and \(8,\)"),
        (SCORES * np.nan, LABELS, "NaN or infinity in 8 points"),
    ],
)
def test_wrong_scores_are_refused(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        metrics_binary.report(scores, labels)
    with pytest.raises(ValueError, match=r"recalls must lie in \(0, 1\]. Received: 0"):
        metrics_binary.threshold_table(SCORES, LABELS, [0])


IDS = np.array([1, 1, 1, 1, 2, 2, 2, 3, 3, 3, -1, -1])
PT = np.where(IDS == 1, 5.0, np.where(IDS == 2, 1.5, np.where(IDS == 3, 1.0, 0.0)))
#                    1 whole and a noise point | 2 split     | 3 unclustered, 3 with noise
CLUSTERS = np.array([0, 0, 0, 0, 1, 2, 2, 3, -1, -1, 0, 3])


def matched(criterion, clusters=CLUSTERS, pt_min=0.9):
    eta = np.zeros(len(IDS))
    return metrics_tracks.match(clusters, IDS, PT, eta, IDS > 0, criterion, pt_min)


def test_clusters_are_matched_by_each_criterion():
    double, lhc, perfect = (matched(name) for name in ("double_majority", "lhc", "perfect"))
    assert double.particle.tolist() == [1, 2, 3]
    assert double.length.tolist() == [4, 3, 3]
    assert double.found.tolist() == [True, False, False]  # cluster 2 has two points only: too short for a track
    assert lhc.found.tolist() == [True, False, False]  # 4 of 5 points
    assert perfect.found.tolist() == [False, False, False]
    assert double.cluster_size.tolist() == [5]
    assert double.cluster_purity.tolist() == [0.8]
    whole = np.where(IDS == -1, -1, IDS)
    assert matched("perfect", whole).found.tolist() == [True, True, True]
    assert matched("perfect", whole, pt_min=1.2).counts.tolist() == [True, True, False]


def test_cluster_report_adds_up_events():
    whole = np.where(IDS == -1, 9, IDS)  # a cluster of two noise points is no track
    found = metrics_tracks.cluster_report([matched("double_majority"), matched("double_majority", whole)])
    assert (found["efficiency"]["value"], found["efficiency"]["of"]) == (pytest.approx(4 / 6), 6)
    assert found["efficiency"]["error"] == pytest.approx((2 / 9 / 6 + 1 / 4 / 36) ** 0.5 / (1 + 1 / 6))  # of Wilson
    assert found["fake_rate"]["value"] == 0.0
    assert found["purity"] == pytest.approx((4 + 4 + 3 + 3) / (5 + 4 + 3 + 3))
    by_pt = {row["low"]: row for row in found["efficiency_by"]["pt_gev"]}
    assert (by_pt[1.0]["value"], by_pt[1.0]["of"]) == (0.5, 4)
    assert (by_pt[5.0]["value"], by_pt[10.0]["value"]) == (1.0, None)
    assert sum(row["of"] for row in found["efficiency_by"]["length"]) == 6
    with pytest.raises(ValueError, match="at least one event"):
        metrics_tracks.cluster_report([])


def test_a_cluster_of_mixed_points_is_a_fake():
    mixed = np.array([0, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1])  # no particle has more than half of either
    found = metrics_tracks.cluster_report([matched("double_majority", mixed)])
    assert found["efficiency"]["value"] == 0.0
    assert found["fake_rate"]["value"] == 1.0


@pytest.mark.parametrize("method", ["dbscan", "hdbscan"])
def test_well_separated_tracks_are_found_by_both_methods(method):
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(20), 6)
    x = rng.normal(size=(20, 8))[ids] * 3 + 0.01 * rng.normal(size=(120, 8))
    labels = metrics_tracks.cluster(x, method, distance=0.2, min_points=3)
    found = metrics_tracks.match(labels, ids, np.ones(120), np.zeros(120), np.ones(120, bool), "perfect")
    assert found.found.all()
    assert metrics_tracks.cluster(x[:1], method, min_points=3).tolist() == [-1]


def test_wrong_words_are_refused():
    with pytest.raises(ValueError, match=r"must be dbscan or hdbscan. Received: method=kmeans"):
        metrics_tracks.cluster(np.zeros((3, 2)), "kmeans")
    with pytest.raises(ValueError, match=r"one of double_majority, lhc, perfect. Received: criterion=half"):
        matched("half")


def test_neighbour_tracks_of_a_worked_example():
    x = np.array([0.0, 0.1, 0.25, 10.0, 10.1, 10.25, 10.31, 30.0])[:, None]
    ids = np.array([4, 4, 4, 8, 8, -1, -1, 5])
    pt = np.where(ids == 4, 2.0, 0.5)
    rows = metrics_tracks.neighbour_tracks(x, ids, pt)
    assert rows["particle_id"].tolist() == [4, 8]
    assert rows["length"].tolist() == [3, 2]
    assert rows["precision"].tolist() == [1.0, 1.0]
    moved = x.copy()
    moved[4] = 10.27  # now nearer to noise than to its own
    rows = metrics_tracks.neighbour_tracks(moved, ids, pt)
    assert rows["precision"].tolist() == [1.0, 0.0]
    assert rows["noise"].tolist() == [0.0, 1.0]
    assert rows["purity"].tolist() == [1.0, 0.0]
    assert rows["problem"].tolist() == [False, True]
    summary = metrics_tracks.neighbour_report(rows)
    assert summary["precision"] == pytest.approx(3 / 5)
    assert summary["efficiency"]["all"]["perfect"]["value"] == 0.5
    one = {"value": 1.0, "error": 0.25, "interval": [0.5, 1.0], "of": 1}  # of Wilson
    assert summary["efficiency"]["pt_0.9_3"]["majority"] == one
    none = metrics_tracks.neighbour_report(metrics_tracks.neighbour_tracks(x[:0], ids[:0], pt[:0]))
    assert none["reason"] == "a track of at least two points is needed. Received: none"
    assert (none["tracks"], none["precision"], none["efficiency"]["all"]["perfect"]["value"]) == (0, None, None)


def test_report_constants_are_the_published_ones():
    assert metrics_points.PT_THRESHOLDS_GEV == (0.0, 0.5, 0.9)
    assert metrics_binary.BETA == 3.0
