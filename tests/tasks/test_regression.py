"""Regression: its numbers against plain statements, and a small model of clusters through the whole flow."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qformers.builds.build import Build, load
from qformers.config.sections import DataConfig, PhaseConfig
from qformers.data.clusters.cluster_rows import TARGETS
from qformers.errors import ConfigError, TrainingError
from qformers.evaluate.figures import differences, scored
from qformers.generate.clusters.run import ClusterSettings, generate
from qformers.quant.ptq.evaluator import SearchJets, beside_float
from qformers.tasks import TASKS, Regression, task_of
from qformers.tasks.metrics import regression as metrics

from support.paths import CONFIGS  # isort: skip

Array = np.ndarray[Any, Any]


def sample(events: int = 400, seed: int = 0) -> tuple[Array, Array]:
    """Predicted and true values."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-3.0, 0.4, events)
    return truth + rng.normal(0.05, 0.2, events), truth


# numbers


def test_numbers_are_those_of_plain_statements() -> None:
    predicted, truth = sample(50)
    pairs = list(zip(predicted.tolist(), truth.tolist(), strict=True))
    mean = math.fsum(truth) / 50
    left, spread = math.fsum((p - t) ** 2 for p, t in pairs), math.fsum((t - mean) ** 2 for _, t in pairs)
    report = metrics.report(predicted, truth)
    assert report["r2"]["value"] == pytest.approx(1 - left / spread, rel=1e-12)
    assert report["rmse"]["value"] == pytest.approx(math.sqrt(left / 50), rel=1e-12)
    assert report["mae"]["value"] == pytest.approx(math.fsum(abs(p - t) for p, t in pairs) / 50, rel=1e-12)
    assert report["bias"] == pytest.approx(math.fsum(p - t for p, t in pairs) / 50, rel=1e-9)
    assert report["of_mean"]["rmse"]["value"] == pytest.approx(math.sqrt(spread / 50), rel=1e-12)
    assert report["events"] == 50


@pytest.mark.parametrize("measure", [metrics.r2, metrics.rmse, metrics.mae])
def test_errors_are_the_spread_over_samples(measure: Any) -> None:
    found = [measure(*sample(400, seed)) for seed in range(300)]
    spread = np.std([one.value for one in found])
    assert np.mean([one.error for one in found]) == pytest.approx(spread, rel=0.15)


def test_the_mean_has_no_r2_and_the_truth_has_all() -> None:
    _, truth = sample()
    assert metrics.r2(np.full(len(truth), truth.mean()), truth).value == pytest.approx(0.0, abs=1e-12)
    assert metrics.r2(truth, truth).value == 1.0
    assert metrics.rmse(truth, truth).error == 0.0


def test_what_has_no_r2_says_why() -> None:
    assert metrics.r2(np.ones(1), np.ones(1)).reason == metrics.ALIKE
    assert metrics.rmse(np.ones(1), np.zeros(1)).reason == metrics.TOO_FEW
    assert metrics.r2(np.ones(3), np.ones(3)).value is None
    with pytest.raises(TrainingError, match=r"data.val: has no R\^2, .* at least two events of different values"):
        Regression(TARGETS[0]).validate(np.zeros((3, 1), np.float32), np.ones((3, 1), np.float32))


@pytest.mark.parametrize(
    ("predicted", "words"),
    [
        (np.ones(3), r"must be \(events,\).* Received: shapes \(3,\) and \(4,\)"),
        (np.array([1.0, np.nan, 1.0, 1.0]), r"must be finite. Received: NaN"),
    ],
)
def test_predictions_that_are_none(predicted: Array, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        metrics.report(predicted, np.ones(4))


# the task


def test_outputs_are_standardised_by_constants_of_the_data_set() -> None:
    task, target = Regression(TARGETS[0]), TARGETS[0]
    values = np.array([[-3.2], [-2.0], [-4.5]], np.float32)
    z = task.targets(values)
    np.testing.assert_allclose(z, (values - target.shift) * target.scale, rtol=1e-6)
    np.testing.assert_allclose(task.predicted(z), values[:, 0], rtol=1e-6)
    loss, score = task.validate(z, values)
    assert (loss, score) == (0.0, pytest.approx(1.0))
    assert float(task.loss(PhaseConfig(epochs=1, batch_size=1))(z, z + 0.5)) == pytest.approx(0.25)
    report = task.report(z + np.float32(0.5), values)
    assert report["rmse"]["value"] == pytest.approx(0.5 / target.scale, rel=1e-5)
    assert (report["target"], report["target_unit"]) == ("energy", "epsilon per atom")


def test_what_is_of_classes_is_refused() -> None:
    config = DataConfig(dataset="jetclass", train=(), val=(), test=(), features="kin", num_particles=4)
    with pytest.raises(
        ConfigError, match=r"regression is of data sets with one target; .* Received: 'jetclass' with 0"
    ):
        TASKS["regression"](config, ("a",))
    with pytest.raises(
        ConfigError, match=r"label_smoothing: classes have it, and 'energy' is a number.* Received: 0.1"
    ):
        Regression(TARGETS[0]).loss(PhaseConfig(epochs=1, batch_size=1, label_smoothing=0.1))


def test_two_models_differ_with_paired_errors() -> None:
    predicted, truth = sample(200)
    task = Regression(TARGETS[0])
    labels = truth[:, None].astype(np.float32)

    class Two:
        """Events, of which only labels count."""

        def __init__(self) -> None:
            self.labels = labels

    outputs = [task.targets((predicted + shift)[:, None]) for shift in (0.0, 0.01)]
    one, other = (scored(task, array, Two(), None) for array in outputs)  # type: ignore[arg-type]
    assert one.numbers()["r2"].value == metrics.r2(task.predicted(outputs[0]), task.truth(labels)).value
    apart = differences(one, other)["rmse"]
    assert apart.value == pytest.approx(other.report["rmse"]["value"] - one.report["rmse"]["value"])
    assert apart.error is not None
    assert apart.error < one.report["rmse"]["error"]


def test_a_search_for_bits_judges_values() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(2000, 1))
    floats = (truth + 0.3 * rng.normal(size=truth.shape)).astype(np.float32)
    rounded = floats + 0.1 * rng.normal(size=truth.shape)
    measured = beside_float(rounded, SearchJets({}, truth, floats, values=True), 7)
    assert measured.divergence == pytest.approx(0.01, rel=0.1)
    assert measured.expected_lost == pytest.approx(measured.divergence / truth.var())
    assert measured.score == pytest.approx(metrics.r2(rounded[:, 0], truth[:, 0]).value)
    assert measured.lost == pytest.approx(measured.expected_lost, abs=3 * measured.lost_error)
    assert (measured.of, measured.ebops) == ("r2", 7)


def test_forms_of_a_model_are_compared_by_r2() -> None:
    from rich.console import Console

    from hls.proof import show
    from hls.proof.fidelity import end_to_end_targets

    predicted, truth = sample(100)
    task, labels = Regression(TARGETS[0]), truth[:, None].astype(np.float32)
    z = task.targets(predicted[:, None]).astype(np.float64)
    end = end_to_end_targets(task, {"float": z, "quantised": z + 0.25, "csim": z + 0.25}, labels)
    assert (end["score"], end["unit"]) == ("r2", "events")
    assert end["metrics"]["csim"] == end["metrics"]["quantised"] == task.report((z + 0.25).astype(np.float32), labels)
    assert end["changes"]["float -> csim"]["max_difference"] == pytest.approx(0.25)
    assert "decisions_changed" not in end["changes"]["float -> csim"]
    console = Console(width=120, record=True)
    console.print(show.task_table(end), show.changes_table(end))
    text = console.export_text()
    assert "The whole model on the same events" in text
    assert "Changed outputs\n" in "\n".join(f"{line.strip()}\n" for line in text.splitlines())
    assert all(word in text for word in ("R²", "RMSE", "MAE"))


# the flow


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """DeepSets on small clusters, for two epochs."""
    data = tmp_path_factory.mktemp("clusters")
    generate(ClusterSettings(clusters=400, held_out=80, atoms=8, sweeps=40), data, "x")
    globs = [f"data.{split}=[{data}/{split}/*.npz]" for split in ("train", "val", "test")]
    short = [
        f"train.{phase}.{key}"
        for phase in ("float", "qat")
        for key in ("epochs=2", "batch_size=40", "jit_compile=false")
    ]
    return load(CONFIGS / "deepsets_clusters.yaml", [*globs, *short, "data.num_particles=8", "name=deepsets_small"])


def test_a_model_of_clusters_goes_through_the_flow(build: Build, tmp_path: Path) -> None:
    from hls.compare.read.run import read_run
    from hls.compare.table.columns import tabulate
    from qformers.evaluate.stage import evaluate
    from qformers.quant.ptq.stage import quantise
    from qformers.train.stage import train

    run = tmp_path / "run"
    train(build, run)
    for phase in ("float", "qat"):
        report = json.loads((run / phase / "metrics.json").read_text())
        manifest = json.loads((run / phase / "manifest.json").read_text())
        assert (manifest["score"], manifest["test"]["r2"]) == ("r2", report["r2"])
        assert report["events"] == 80
        assert (run / phase / "plots" / "predicted.png").is_file()
        assert (run / phase / "plots" / "residuals.png").is_file()

    done = quantise(build, run / "float" / "model.keras", tmp_path / "ptq")
    assert "test R² " in str(done)

    models = [run / "float" / "model.keras", run / "qat" / "model.keras"]
    result = evaluate(models, [], out=tmp_path / "evaluation")
    result.save()
    text = result.markdown()
    assert "80 events of clusters, features place" in text
    assert "RMSE and MAE in epsilon per atom; that mean has RMSE " in text
    assert result.models[1].numbers["r2"].value == json.loads((run / "qat/metrics.json").read_text())["r2"]["value"]

    table = tabulate([read_run(run)])
    assert read_run(run).task == "regression"
    assert table.metrics[0].key == "r2"
    row = table.cells[0]
    assert row["rmse"].value == json.loads((run / "qat/metrics.json").read_text())["rmse"]["value"]
    assert "accuracy" not in row


def test_the_task_of_a_build_of_clusters(build: Build) -> None:
    from qformers.data import open_split

    split = open_split(build.data, "test")
    task = task_of(build, split)
    assert isinstance(task, Regression)
    assert split.class_names == ("energy",)


def test_what_one_event_or_equal_ones_lack_is_said() -> None:
    one, alike = np.array([1.0]), np.array([2.0, 2.0, 2.0])
    assert metrics.rmse(one, one + 1).reason == "an error needs two events: give more"
    assert metrics.mae(one, one + 1).reason == "an error needs two events: give more"
    assert metrics.r2(alike, alike).reason == "at least two events of different values are needed: give more"
    assert metrics.rmse(alike, alike + 1).error is not None
