"""Training with one answer per point: what the tasks score, and a whole training of a small HEPT on generated hits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from qformers.builds.build import Build
from qformers.builds.models import load_model
from qformers.config.sections import DataConfig, PointsConfig, QuantConfig
from qformers.data import DataError, open_split
from qformers.data.clouds import PointEvents, joined
from qformers.data.points.targets import PairTargets
from qformers.errors import ConfigError, TrainingError
from qformers.generate.tracks import run
from qformers.generate.tracks.settings import TrackSettings
from qformers.models.inputs import host_inputs
from qformers.nn.index.host_order import HostOrder
from qformers.quant.ptq.budget import Budget
from qformers.quant.ptq.ranges import Rule
from qformers.quant.ptq.session import Settings
from qformers.quant.ptq.stage import quantise, tune
from qformers.tasks import JetTagging, PileupRemoval, Tracking, task_of
from qformers.tasks import points as point_tasks
from qformers.train import phases

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def hits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hits")
    run.generate(TrackSettings(events=10, pileup=3, seed=4, cells=False), folder, 1, "x")
    return folder


def data(hits: Path, **points: Any) -> DataConfig:
    """The data section of windows of 48 hits."""
    section = {split: [str(hits / split / "*-hits.csv")] for split in ("train", "val", "test")}
    more = {"phi_sectors": 8, "eta_edges": [-2, 0, 2], "too_many": "cut", "num_pairs": 512} | points
    tree = {"dataset": "trackml", "features": "place", "num_particles": 48, "points": more, **section}
    return DataConfig.model_validate(tree)


@pytest.fixture(scope="module")
def events(hits: Path) -> PointEvents:
    """Windows, as a source loads them."""
    loaded: Any = open_split(data(hits), "train").load()
    assert loaded.features.shape == (128, 48, 7)
    return loaded


def one_hot(ids: np.ndarray) -> np.ndarray:
    """A place of its own for each particle of a window, far from the others; each noise hit has its own, too."""
    found = np.zeros((*ids.shape, 3 * ids.shape[1]), np.float32)
    for row, window in enumerate(ids):
        _, place = np.unique(window, return_inverse=True)
        noise = window < 0
        place = np.where(noise, ids.shape[1] + np.arange(len(window)), place)
        found[row, np.arange(len(window)), place] = 1.0
    return found


def test_a_perfect_embedding_scores_one_and_a_random_one_does_not(events: PointEvents):
    task = Tracking(PointsConfig(num_pairs=512))
    assert task.measured(one_hot(events.particle_ids), events).value == 1.0
    chance = task.measured(RNG.normal(size=(*events.mask.shape, 4)).astype(np.float32), events)
    assert 0.0 < chance.value < 0.5
    assert 0.0 < chance.error < 0.1


def test_the_loss_prefers_the_better_embedding_and_does_not_depend_on_padding(events: PointEvents):
    task = Tracking(PointsConfig(num_pairs=512))
    good, bad = one_hot(events.particle_ids), RNG.normal(size=(*events.mask.shape, 4)).astype(np.float32)
    assert task.validate(good, events)[0] < 0.1 * task.validate(bad, events)[0]
    moved = np.where(events.mask[..., None] > 0, bad, 100.0).astype(np.float32)
    assert task.validate(moved, events) == task.validate(bad, events)


def test_pairs_of_a_validation_split_are_made_once_and_again_for_another(
    events: PointEvents, monkeypatch: pytest.MonkeyPatch
):
    made: list[int] = []
    real = PairTargets.__call__

    def counted(self: PairTargets, part: PointEvents, seed: int = 0, epoch: int = 0) -> Any:
        made.append(len(part))
        return real(self, part, seed, epoch)

    monkeypatch.setattr(PairTargets, "__call__", counted)
    task, some, outputs = Tracking(PointsConfig(num_pairs=512)), events[:40], one_hot(events.particle_ids)[:40]
    first = task.validate(outputs, some)
    assert task.validate(outputs, joined([events[:20], events[20:40]])) == first  # equal, though another object
    assert made == [32, 8]
    other = replace(some, particle_ids=np.roll(some.particle_ids, 1, axis=1))
    fresh = Tracking(PointsConfig(num_pairs=512)).validate(outputs, other)
    assert task.validate(outputs, other) == fresh != first
    monkeypatch.setattr(point_tasks, "KEPT_BYTES", 0)
    assert Tracking(PointsConfig(num_pairs=512)).validate(outputs, some) == first
    assert made == [32, 8] * 4


def test_pairs_are_drawn_from_seed_and_epoch(events: PointEvents):
    task = Tracking(PointsConfig(num_pairs=128))
    first = task.targets(events[:4], seed=1, epoch=0)
    assert first.shape == (4, 128, 6)
    np.testing.assert_array_equal(first, task.targets(events[:4], seed=1, epoch=0))
    assert not np.array_equal(first, task.targets(events[:4], seed=1, epoch=1))


def test_the_report_of_an_embedding_has_tracks(events: PointEvents, tmp_path: Path):
    task = Tracking(PointsConfig())
    report = json.loads(json.dumps(task.report(one_hot(events.particle_ids), events)))
    assert report["ap_0.9"]["value"] == report["ap_0"]["value"] == 1.0
    assert report["tracks"]["efficiency"]["all"]["perfect"]["value"] == 1.0
    task.pictures(one_hot(events.particle_ids), events, report, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tracks_length.png", "tracks_pt_gev.png"]


def test_an_error_of_the_score_needs_two_windows(events: PointEvents):
    busiest = int(np.argmax(((events.pt > 0.9) & events.reconstructable).sum(axis=1)))
    window = events[np.array([busiest])]
    tracking, pileup = Tracking(PointsConfig()), PileupRemoval(PointsConfig(task="pileup"))
    found = tracking.measured(one_hot(window.particle_ids), window)
    assert (found.value, found.error) == (1.0, None)
    assert found.reason.endswith("needs two events with tracks: give more. Received: one")
    kept = pileup.measured(np.zeros((1, 48, 1), np.float32), window)
    assert kept.value is not None
    assert (kept.error, kept.reason) == (None, "an error of the AUPRC needs two events: give more. Received: 1")
    noise = replace(window, reconstructable=np.zeros_like(window.reconstructable), labels=np.zeros_like(window.labels))
    report = tracking.report(one_hot(window.particle_ids), noise)
    assert report["ap_0.9"]["value"] is None
    assert "Received: none in 1 events" in report["ap_0.9"]["reason"]
    report = pileup.report(np.zeros((1, 48, 1), np.float32), noise)
    assert report["auprc"]["value"] is None
    assert "points to keep and points to drop are needed" in report["auprc"]["reason"]
    for task, outputs in ((tracking, one_hot(window.particle_ids)), (pileup, np.zeros((1, 48, 1), np.float32))):
        with pytest.raises(
            TrainingError, match=r"the validation split has no score, by which the best epoch is chosen"
        ):
            task.validate(outputs, noise)


def test_pile_up_is_scored_on_the_points_that_count(hits: Path, tmp_path: Path):
    events: Any = open_split(data(hits, task="pileup"), "train").load()
    events = replace(events, layout=replace(events.layout, only_reconstructable=True))
    task = PileupRemoval(PointsConfig(task="pileup"))
    perfect = np.where(events.labels > 0, 9.0, -9.0)[..., None].astype(np.float32)
    counts = (events.mask > 0) & events.reconstructable
    perfect[~counts] *= -1  # wrong where it does not matter
    labels = events.labels[counts]
    found = task.measured(perfect, events)
    assert (found.value, found.error) == (1.0, pytest.approx(0.5 / (labels.sum() + 1)))
    report = task.report(perfect, events)
    assert report["points"] == counts.sum()
    assert report["auprc"]["value"] == 1.0
    noisy = task.measured(RNG.normal(size=perfect.shape).astype(np.float32), events)
    assert noisy.value == pytest.approx(labels.mean(), abs=0.1)
    assert noisy.error > 0
    task.pictures(perfect, events, report, tmp_path)
    assert (tmp_path / "precision_recall.png").exists()


@pytest.mark.parametrize(
    ("changes", "points", "words"),
    [
        ({"dataset": "trackm"}, {}, r"unknown data set 'trackm'; did you mean 'trackml'\?"),
        ({"dataset": "line_segments"}, {}, r"data.points.lda: line_segments need the file of an LDA"),
        ({"dataset": "candidates"}, {}, r"candidates have pileup only\. Received: task=tracking"),
        ({"features": "plac"}, {}, r"'plac'.*'place'"),
    ],
)
def test_data_sections_that_do_not_fit_are_refused(hits: Path, changes: dict[str, Any], points: Any, words: str):
    config = data(hits, **points).model_copy(update=changes)
    with pytest.raises(DataError, match=words):
        open_split(config, "train")


HEPT = {
    "architecture": "hept", "width": 8, "heads": 2, "layers": 1, "block_size": 12, "hashes": 2, "regions": 4,
    "hash": "coords", "kernel": "sink", "norm": "batch", "head_width": 4, "head_widths": [16], "dropout": 0,
    "head_activation": "relu",
}  # fmt: skip


def build(hits: Path, head: str, epochs: int = 4, order: str = "onchip", **points: Any) -> Build:
    phase = {"epochs": epochs, "batch_size": 16, "learning_rate": 0.01, "jit_compile": False}
    model = {**HEPT, "head": head, "order": order}
    tree = {"spec": 1, "name": "tiny", "data": data(hits, **points).model_dump(), "model": model}
    return Build.model_validate({**tree, "train": {"float": phase}})


def test_tracking_trains_to_the_end_and_beats_chance(hits: Path, tmp_path: Path):
    made = build(hits, "embedding")
    (finished,) = phases.train_build(made, tmp_path, ["float"], console=Console(quiet=True))
    assert finished.score == "ap_0.9"
    history = (tmp_path / "float" / "history.csv").read_text().splitlines()
    assert "val_ap_0.9" in history[0]
    report = json.loads((tmp_path / "float" / "metrics.json").read_text())
    assert report["ap_0.9"]["value"] == finished.value
    first, last = (float(row.split(",")[history[0].split(",").index("loss")]) for row in (history[1], history[-1]))
    assert last < first
    with np.load(tmp_path / "float" / "test_logits.npz") as saved:
        assert saved["logits"].shape[:2] == saved["particle_ids"].shape == saved["mask"].shape


def test_pile_up_removal_trains_to_the_end(hits: Path, tmp_path: Path):
    made = build(hits, "logits", task="pileup")
    (finished,) = phases.train_build(made, tmp_path, ["float"], console=Console(quiet=True))
    assert finished.score == "auprc"
    assert 0.0 < finished.value <= 1.0


def test_a_model_that_is_given_its_order_trains(hits: Path, events: PointEvents, tmp_path: Path):
    made = build(hits, "embedding", epochs=1, order="host")
    (finished,) = phases.train_build(made, tmp_path, ["float"], console=Console(quiet=True))
    assert finished.score == "ap_0.9"
    assert 0.0 < finished.value <= 1.0
    order = host_inputs(load_model(tmp_path / "float" / "model.keras"), events)["order"]
    np.testing.assert_array_equal(order, HostOrder.drawn(made.model, 0)(events.coords, events.mask))


def test_points_are_not_quantised_without_training_and_nothing_is_written(hits: Path, tmp_path: Path):
    made, out = build(hits, "embedding").model_copy(update={"quant": QuantConfig()}), tmp_path / "run"
    words = r"tiny: formats without training are judged by the accuracy of jets.*Received: data.dataset=trackml"
    with pytest.raises(ConfigError, match=words):
        quantise(made, tmp_path / "model.keras", out, Rule())
    with pytest.raises(ConfigError, match=words):
        tune(made, tmp_path / "model.keras", Settings(Budget(max_loss=0.01)), out)
    assert not out.exists()


def test_the_data_section_decides_the_task(hits: Path):
    assert isinstance(task_of(build(hits, "embedding"), open_split(data(hits), "train")), Tracking)
    made = build(hits, "logits", task="pileup")
    assert isinstance(task_of(made, open_split(made.data, "train")), PileupRemoval)
    jets = made.model_copy(update={"data": made.data.model_copy(update={"dataset": "jetclass", "points": None})})
    assert isinstance(task_of(jets, open_split(data(hits), "train")), JetTagging)
