"""Metrics against closed forms, against scikit-learn and against toy experiments."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from qformers.files import write_json
from qformers.tasks.metrics import jets as metrics
from qformers.tasks.metrics import shares
from qformers.tasks.plots import jets as plots


def toy_logits(jets: int, names: tuple[str, ...], pull: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian logits, the true class's raised by `pull`."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(names), jets)
    logits = rng.normal(size=(jets, len(names)))
    logits[np.arange(jets), labels] += pull
    return logits, labels


def test_accuracy_and_its_binomial_error():
    logits = np.eye(2)[[0, 0, 0, 1] * 25]
    found = metrics.accuracy(logits, np.zeros(100, int))
    assert found.value == 0.75
    assert found.error == pytest.approx(math.sqrt(0.75 * 0.25 / 100), rel=0.01)
    alike = metrics.accuracy(np.eye(2)[[0] * 100], np.zeros(100, int))  # Wilson's interval of 100 of 100: from 1 / 1.01
    assert (alike.value, alike.error) == (1.0, pytest.approx(0.5 / 101, rel=1e-12))
    assert shares.interval(1.0, 100) == pytest.approx((1 / 1.01, 1.0), rel=1e-12)


def test_auc_is_scikit_learns_one_versus_one_also_with_ties():
    from scipy.special import softmax
    from sklearn.metrics import roc_auc_score

    logits, labels = toy_logits(3000, ("a", "b", "c", "d"), 1.0)
    for values in (logits, np.round(logits)):
        probabilities = np.round(softmax(values, axis=1), 12)  # as equal as they are on paper
        expected = roc_auc_score(labels, probabilities, multi_class="ovo", average="macro")
        assert metrics.macro_auc(values, labels).value == pytest.approx(expected, abs=1e-12)


def test_auc_of_two_classes_and_its_delong_error():
    """AUC of N(0,1) against N(d,1) is Phi(d / sqrt(2)); its variance has the closed form of placements."""
    from scipy.stats import multivariate_normal, norm

    distance, jets = 1.0, 4000
    labels = np.repeat([0, 1], jets)
    score = np.random.default_rng(1).normal(size=2 * jets) + distance * labels
    found = metrics.macro_auc(np.stack([np.zeros(2 * jets), score], axis=1), labels)
    auc = norm.cdf(distance / math.sqrt(2))
    both = multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]]).cdf([distance / math.sqrt(2)] * 2)
    expected_error = math.sqrt(2 * (both - auc**2) / jets)
    assert found.error == pytest.approx(expected_error, rel=0.05)
    assert abs(found.value - auc) < 4 * expected_error


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_auc_of_classes_that_are_apart_has_the_error_of_few_jets(sign):
    labels = np.repeat([0, 1], [20, 80])
    found = metrics.macro_auc(np.stack([np.zeros(100), sign * (labels - 0.5)], axis=1), labels)
    assert (found.value, found.error) == (float(sign > 0), pytest.approx(math.hypot(0.5 / 21, 0.5 / 81), rel=1e-12))
    thrice = np.repeat([0, 1, 2], 20)  # each class has a third of the pairs on either side
    found = metrics.macro_auc(sign * np.eye(3)[thrice], thrice)
    assert (found.value, found.error) == (float(sign > 0), pytest.approx(math.sqrt(3) * (2 / 3) * 0.5 / 21, rel=1e-12))
    found = metrics.macro_auc(np.zeros((60, 3)), thrice)
    assert (found.value, found.error) == (0.5, 0.0), "a constant model is at 1/2 whatever the jets are"


def test_auc_error_covers_the_spread_of_repeated_samples():
    values = [metrics.macro_auc(*toy_logits(600, ("a", "b", "c"), 1.0, seed)) for seed in range(150)]
    spread = np.std([value.value for value in values], ddof=1)
    assert np.mean([value.error for value in values]) == pytest.approx(spread, rel=0.2)  # spread is known to 6 %


def test_rejection_counts_by_hand():
    signal = np.array([1.0, 2.0, 3.0, 4.0])  # half of it passes at 3 and above
    background = np.array([0.0] * 15 + [3.0, 3.5, 3.7, 9.0, 1.0])
    found = metrics.rejection(signal, background, 0.5)
    assert (found.passing, found.value, found.limit) == (4.0, 5.0, False)


def test_rejection_shares_jets_tied_with_the_threshold():
    signal, background = np.zeros(10), np.zeros(1000)  # a score that knows nothing
    assert metrics.rejection(signal, background, 0.5).value == pytest.approx(2.0)
    assert metrics.rejection(signal, background, 0.9).value == pytest.approx(1 / 0.9)


def test_rejection_error_covers_the_spread_of_repeated_samples():
    """At 50 % the threshold is the signal's median: N(2,1) over N(0,1) gives eps_B = Phi(-2)."""
    from scipy.stats import norm

    found = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        found.append(metrics.rejection(rng.normal(2, 1, 400), rng.normal(0, 1, 20000), 0.5))
    values = np.array([one.value for one in found])
    errors = np.array([one.error for one in found])
    assert np.mean(errors) == pytest.approx(values.std(ddof=1), rel=0.15)
    assert abs(values.mean() - 1 / norm.cdf(-2)) < 5 * values.std() / math.sqrt(300) + 0.02 * values.mean()


def test_rejection_without_a_passing_background_jet_is_a_lower_limit():
    found = metrics.rejection(np.ones(10), np.zeros(1000), 0.5)
    assert found.limit
    assert found.error is None
    assert found.value == pytest.approx(1000 / -math.log(0.05), rel=2e-3)
    assert (1 - 1 / found.value) ** 1000 == pytest.approx(0.05)  # no jet of 1000 passes in 5 % of experiments
    assert found.as_json()["confidence"] == 0.95
    assert "confidence" not in metrics.rejection(np.ones(10), np.ones(10), 0.5).as_json()


def test_jetclass_uses_its_efficiencies_and_qcd_alone():
    logits, labels = toy_logits(5000, metrics.JETCLASS, 1.5)
    found = metrics.rejections(logits, labels, metrics.JETCLASS)
    assert "QCD" not in found
    assert {name: one.efficiency for name, one in found.items() if one.efficiency != 0.5} == {
        "Hqql": 0.99,
        "Tbl": 0.995,
    }
    assert all(one.background == (labels == 0).sum() for one in found.values())
    probabilities = np.exp(metrics.log_softmax(logits))
    score = probabilities[:, 1] / (probabilities[:, 1] + probabilities[:, 0])
    expected = metrics.rejection(score[labels == 1], score[labels == 0], 0.5)
    assert found["Hbb"].value == expected.value


def test_other_sets_use_one_class_against_all_others():
    names = ("g", "q", "w", "z", "t")
    logits, labels = toy_logits(5000, names, 1.5)
    found = metrics.rejections(logits, labels, names)
    assert set(found) == set(names)
    score = np.exp(metrics.log_softmax(logits))[:, 2]
    assert found["w"].value == metrics.rejection(score[labels == 2], score[labels != 2], 0.5).value


def test_sets_of_two_classes_have_rejections_at_30_and_50_per_cent_with_errors():
    names = ("top", "qcd")
    logits, labels = toy_logits(4000, names, 1.5)
    report = metrics.report(logits, labels, names)
    score = logits[:, 0] - logits[:, 1]
    for key, efficiency in (("rejection", 0.5), ("rejection_30", 0.3)):
        assert set(report[key]) == set(names)
        expected = metrics.rejection(score[labels == 0], score[labels == 1], efficiency)
        assert report[key]["top"] == expected.as_json()
        assert report[key]["top"]["efficiency"] == efficiency
        # n background jets, a share eps of which passes: the binomial error of 1 / eps is its least
        passing = report[key]["top"]["passing"]
        binomial = math.sqrt((1 - passing / (labels == 1).sum()) / passing) * report[key]["top"]["value"]
        assert binomial < report[key]["top"]["error"] < 3 * binomial
    assert report["rejection_30"]["top"]["value"] > report["rejection"]["top"]["value"]
    assert "rejection_30" not in metrics.report(*toy_logits(900, ("g", "q", "t"), 1.0), ("g", "q", "t"))


def test_two_classes_that_are_told_apart_have_a_limit_and_no_infinity(tmp_path: Path):
    labels = np.repeat([0, 1], 500)
    logits = np.stack([1.0 - labels, 1.0 * labels], axis=1) * 10
    report = metrics.report(logits, labels, ("quark", "gluon"))
    for key in ("rejection", "rejection_30"):
        found = report[key]["quark"]
        assert (found["limit"], found["error"], found["confidence"]) == (True, None, 0.95)
        assert found["value"] == pytest.approx(500 / -math.log(0.05), rel=1e-2)
    write_json(tmp_path / "metrics.json", report)  # which has no infinity


def test_discriminant_does_not_saturate_where_a_softmax_in_single_precision_does():
    logits = np.array([[60.0, 0.0, 0.0], [61.0, 0.0, 0.0]], np.float32)
    against_one, against_all = metrics.discriminant(logits, 0, 1), metrics.discriminant(logits, 0, None)
    assert against_one[1] - against_one[0] == pytest.approx(1.0)
    assert against_all[1] - against_all[0] == pytest.approx(1.0)


def test_report_is_json_and_adds_up(tmp_path: Path):
    names = ("g", "q", "t")
    logits, labels = toy_logits(900, names, 1.0)
    report = metrics.report(logits, labels, names)
    write_json(tmp_path / "metrics.json", report)
    confusion = np.array(report["confusion"])
    assert confusion.sum() == 900
    assert np.trace(confusion) / 900 == pytest.approx(report["accuracy"]["value"])
    assert (confusion.sum(axis=1) == np.bincount(labels)).all()


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (np.zeros((4, 3)), np.array([0, 0, 1, 1]), r"\(jets, classes\) = \(4, 2\). Received: shape \(4, 3\)"),
        (np.full((4, 2), np.nan), np.array([0, 0, 1, 1]), r"must be finite. Received: NaN or infinity in 4 jets"),
        (np.zeros((0, 2)), np.zeros(0, np.int64), r"at least one jet is needed\. Received: none"),
    ],
)
def test_report_refuses(logits: np.ndarray, labels: np.ndarray, words: str):
    with pytest.raises(ValueError, match=words):
        metrics.report(logits, labels, ("a", "b"))


@pytest.mark.parametrize(
    ("labels", "names", "reason", "lacking"),
    [
        ([0, 0, 0, 1], ("a", "b"), "every class needs at least 2 jets: give more jets of it. Received: b (1)", set()),
        ([0, 0, 0], ("a", "b"), "every class needs at least 2 jets: give more jets of it. Received: b (0)", {"a", "b"}),
        ([0, 0], ("a",), "at least two classes are needed. Received: a", set()),
        (
            [0],
            ("QCD", "Hbb"),
            "every class needs at least 2 jets: give more jets of it. Received: QCD (1), Hbb (0)",
            {"Hbb"},
        ),
    ],
)
def test_what_cannot_be_computed_says_why_and_the_rest_is_there(
    labels: list[int], names: tuple[str, ...], reason: str, lacking: set[str], tmp_path: Path
):
    logits = np.random.default_rng(1).normal(size=(len(labels), len(names)))
    truth = np.array(labels)
    report = metrics.report(logits, truth, names)
    assert report["auc"] == {"value": None, "error": None, "reason": reason, "kind": "macro one-vs-one"}
    assert report["accuracy"]["value"] == pytest.approx((logits.argmax(axis=1) == truth).mean())
    assert np.sum(report["confusion"]) == len(labels)
    empty = {name: row["reason"] for name, row in report["rejection"].items() if row["value"] is None}
    assert set(empty) == lacking
    assert all("need jets: give more. Received: no jet" in why for why in empty.values())
    write_json(tmp_path / "metrics.json", report)
    plots.roc({"": logits}, truth, names, tmp_path / "roc.png")
    assert (tmp_path / "roc.png").exists() == (len(names) > 1)


def test_rejection_refuses():
    with pytest.raises(ValueError, match=r"efficiency must be in \(0, 1\). Received: efficiency=1.5"):
        metrics.rejection(np.ones(3), np.ones(3), 1.5)
    with pytest.raises(ValueError, match=r"both samples need jets. Received: 0 signal, 3 background"):
        metrics.rejection(np.ones(0), np.ones(3), 0.5)


def test_plots_are_written_and_hold_ink(tmp_path: Path):
    from matplotlib.image import imread

    logits, labels = toy_logits(2000, metrics.JETCLASS, 1.5)
    plots.roc({"": logits}, labels, metrics.JETCLASS, tmp_path / "roc.png")
    plots.confusion(metrics.confusion_counts(logits, labels), metrics.JETCLASS, tmp_path / "confusion.png")
    row = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.1, "val_accuracy": 0.4}
    plots.training(
        [{**row, "epoch": e, "ebops": 1000 // e} for e in (1, 2)], "accuracy", 600.0, tmp_path / "training.png"
    )
    plots.bit_widths({"embed0": [3, 4, 4], "logits": [0, 6]}, tmp_path / "bits.png")
    for name in ("roc", "confusion", "training", "bits"):
        picture = imread(tmp_path / f"{name}.png")[..., :3]
        assert picture.std() > 0.05, name
    assert len(list(tmp_path.iterdir())) == 4  # no temporary file is left


def test_bit_width_plot_refuses_a_float_model(tmp_path: Path):
    with pytest.raises(ValueError, match="is the model quantised"):
        plots.bit_widths({}, tmp_path / "bits.png")
