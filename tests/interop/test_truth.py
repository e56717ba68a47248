"""What labels say of models of one's own: scores, held-out events, and data sets as events."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from hls import cli
from hls.compare.read.run import read_run
from hls.compare.table.columns import tabulate
from qformers.builds.own_events import Said, events_of, read_labels, said_of
from qformers.errors import ConfigError, DataError
from qformers.interop.fixed_point.stage import Given, quantise
from qformers.interop.truth import logits_of, truth
from qformers.quant.ptq.ranges import Rule

EVENTS = 250
DEMO = Path(__file__).parents[2] / "firmware_configs/part_demo.yaml"


def net(end: str | None, outputs: int) -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(outputs, activation=end)])


@pytest.mark.parametrize(("end", "outputs"), [(None, 3), ("softmax", 3), ("sigmoid", 1), (None, 1)])
def test_accuracy_is_the_share_of_events_decided_rightly(end: str | None, outputs: int) -> None:
    model, random = net(end, outputs), np.random.default_rng(1)
    answers = model.predict(random.normal(0, 1, (EVENTS, 4)).astype(np.float32), verbose=0)
    edge = 0.5 if end == "sigmoid" else 0.0
    decided = answers.argmax(axis=1) if outputs > 1 else (answers[:, 0] > edge).astype(int)
    labels = random.integers(0, max(outputs, 2), EVENTS)
    report = truth(model, "accuracy", labels).report(answers)
    assert report["accuracy"]["value"] == pytest.approx((decided == labels).mean())
    assert 0.0 < report["auc"]["value"] < 1.0
    assert not any(key.startswith("rejection") for key in report)  # nobody said which class is the signal
    hot = np.eye(max(outputs, 2))[labels]
    if outputs > 1:
        assert truth(model, "accuracy", hot).report([answers]) == report


def test_r2_of_several_outputs_is_against_the_mean_of_each() -> None:
    model, random = net(None, 2), np.random.default_rng(1)
    wanted = random.normal((0.0, 100.0), 1.0, (EVENTS, 2))
    answers = wanted + random.normal(0, 0.5, wanted.shape)
    report = truth(model, "mse", wanted).report(answers)
    lost = ((answers - wanted) ** 2).sum() / ((wanted - wanted.mean(axis=0)) ** 2).sum()
    assert report["r2"]["value"] == pytest.approx(1.0 - lost)
    assert report["r2"]["error"] is None  # two outputs of an event go together
    assert report["events"] == EVENTS
    assert report["rmse"]["value"] == pytest.approx(np.sqrt(((answers - wanted) ** 2).mean()))


@pytest.mark.parametrize("rows", [np.zeros((9, 3)), np.ones((9, 3)), np.full((9, 3), 0.4)])
def test_rows_with_another_number_of_ones_are_no_classes(rows: Any) -> None:
    with pytest.raises(DataError, match=r"--labels hold the number of a class, 0 to 2, or a one in the place of it"):
        truth(net(None, 3), "accuracy", rows)


def test_labels_are_numbers_that_can_be_squared(tmp_path: Path) -> None:
    np.save(tmp_path / "huge.npy", np.full(3, 1e300))
    with pytest.raises(DataError, match=r"huge\.npy: labels are finite numbers, within float32\. Received: .* event 0"):
        read_labels(tmp_path / "huge.npy", 3)
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(DataError, match=r"text\.npy: is no array of numbers that numpy\.save wrote"):
        read_labels(tmp_path / "text.npy", 3)


def test_accuracy_is_of_one_row_of_classes() -> None:
    given = keras.Input((4, 2))
    with pytest.raises(
        ConfigError, match=r"the accuracy is of one output .*: use --metric mse. Received: \[\(4, 3\)\]"
    ):
        logits_of(keras.Model(given, keras.layers.Dense(3)(given)))


def test_options_of_labels_go_together(tmp_path: Path) -> None:
    labels, events = tmp_path / "labels.npy", tmp_path / "events.npz"
    assert said_of(None, None, events) is None
    assert said_of(labels, None, events) == Said(labels, "accuracy")
    assert said_of(None, "accuracy", DEMO) == Said(DEMO, "accuracy")  # a data set has its own
    with pytest.raises(ConfigError, match="--metric accuracy needs the classes of the events"):
        said_of(None, "accuracy", events)
    with pytest.raises(ConfigError, match=r"--labels are those of events: give --events FILE too\. Received: .*labels"):
        said_of(labels, None, None)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    monkeypatch.chdir(tmp_path)
    model = net("softmax", 3)
    model.save("net.keras")
    events = np.random.default_rng(0).normal(0, 1, (EVENTS, 4)).astype(np.float32)
    np.savez("events.npz", x=events)
    labels = model.predict(events, verbose=0).argmax(axis=1)
    labels[::5] = (labels[::5] + 1) % 3
    np.save("labels.npy", labels)
    return Given(Path("net.keras"), Path("events.npz"), labels=Path("labels.npy"))


def test_events_that_are_held_out_have_no_say_and_are_measured_on(given: Given) -> None:
    result = quantise(replace(given, held_out=0.2), Rule())
    assert result.events == 200
    assert result.aside is not None
    assert result.aside[1] == 50
    assert str(result).count("on 200 events") == 1
    assert any("held out:  on 50 further events: accuracy 0." in str(piece) for piece in result.pieces())
    manifest = json.loads((result.run / "qat/manifest.json").read_text())
    assert manifest["held_out"]["score"] == result.aside[0].score
    scores = {form: json.loads((result.run / form / "metrics.json").read_text()) for form in ("float", "qat")}
    assert {one["jets"] for one in scores.values()} == {50}  # of the others the formats know something
    assert scores["qat"]["accuracy"]["value"] == pytest.approx(result.aside[0].score)
    again = quantise(replace(given, labels=None), Rule())
    assert again.aside is None
    assert not (again.run / "qat/metrics.json").exists()  # it was of other labels than none


def test_something_is_left_on_both_sides(given: Given) -> None:
    with pytest.raises(ConfigError, match=r"--held-out leaves no event on one side, of 2\. Received: 0.2"):
        quantise(replace(given, held_out=0.2, events=2), Rule())


def test_scores_stand_in_csim_and_the_comparison(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    run = quantise(given, Rule()).run
    for words in (
        ("export", run / "build.yaml", "--backend", "alkaid"),
        ("csim", run / "build.yaml", "--backend", "alkaid"),
    ):
        assert cli.main([str(word) for word in words]) == 0
    told = capsys.readouterr().out
    facts = json.loads((run / "csim_alkaid.json").read_text())
    scores = {form: report["accuracy"]["value"] for form, report in facts["end"]["metrics"].items()}
    assert scores["float"] == pytest.approx(0.8)
    assert scores["csim"] == scores["quantised"]
    assert next(line for line in told.splitlines() if "accuracy" in line).split()[1] == "0.8000"
    assert facts["end"]["changes"]["quantised -> csim"]["decisions_changed"] == 0
    table = tabulate([read_run(run)])
    assert any("net 250 events that were given. They are compared fairly on" in note for note in table.notes)
    row = table.cells[0]
    assert row["accuracy_float"].value == pytest.approx(80.0)
    assert row["accuracy"].value == pytest.approx(100.0 * scores["quantised"])
    assert row["accuracy"].note == "250 events that were given"


def test_a_quantised_model_has_scores_too(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    run = quantise(given, Rule()).run
    (run / "qat/model.keras").rename("hgq.keras")
    words = ["export", "hgq.keras", "--backend", "alkaid", "--events", "events.npz"]
    assert cli.main([*words, "--labels", "labels.npy"]) == 0
    assert cli.main(["csim", "runs/hgq/build.yaml"]) == 0
    assert "accuracy" in capsys.readouterr().out
    facts = json.loads(Path("runs/hgq/csim.json").read_text())
    assert set(facts["end"]["metrics"]) == {"quantised", "csim"}
    assert json.loads(Path("runs/hgq/qat/metrics.json").read_text())["jets"] == EVENTS
    assert cli.main(words) == 0  # without labels, scores of before go
    assert not Path("runs/hgq/qat/metrics.json").exists()
    assert cli.main(["export", "runs/hgq/build.yaml", "--labels", "labels.npy"]) == 2
    assert "--labels goes with a model (.keras)" in capsys.readouterr().err


def takes(shape: tuple[int, ...]) -> keras.Model:
    given = keras.Input(shape, name="x")
    return keras.Model(given, keras.layers.Dense(1)(given))


def test_a_data_set_gives_events_and_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DEMO.parents[1])
    shape = (8, 3)
    for size in (shape, (24,)):
        inputs = events_of(DEMO, takes(size), {})
        assert inputs["x"].shape[1:] == size
    events = len(inputs["x"])
    assert read_labels(DEMO, events).shape == (events,)
    with pytest.raises(DataError, match=rf"has labels of \d+ events in its val split\. Received: {events + 1} events"):
        read_labels(DEMO, events + 1, "val")
    other = takes((7, 3))
    with pytest.raises(
        DataError, match=r"features \(8, 3\) .*, the model takes \{'x': \(7, 3\)\}; save that as an \.npz"
    ):
        events_of(DEMO, other, {})
