"""Filtered data sets: what a pile-up model keeps, in files that can be read again."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qformers.builds.build import Build
from qformers.builds.models import build_model
from qformers.cli import fit_lda
from qformers.cli.filtering import COMMAND as FILTER
from qformers.config.sections import DataConfig
from qformers.data import DATASETS, DataError, open_split, point_dataset
from qformers.data.points import candidates, filtering
from qformers.data.points.filtering import keep
from qformers.data.points.line_segments import COLUMNS, FAKE, Segments, read_segments, write_segments
from qformers.data.points.readers import SegmentReader, TrackmlReader
from qformers.data.points.segment_features import Lda
from qformers.data.points.trackml import TrackmlOptions, read_event
from qformers.errors import ConfigError
from qformers.generate.tracks import run
from qformers.generate.tracks.candidates import write_candidates
from qformers.generate.tracks.settings import TrackSettings
from qformers.tasks import filter as point_filter

WINDOWS = {"phi_sectors": 8, "eta_edges": [-2, 0, 2], "too_many": "cut"}
HEPT = {
    "architecture": "hept", "width": 4, "heads": 1, "layers": 1, "block_size": 12, "hashes": 1, "regions": 2,
    "hash": "coords", "norm": "batch", "head_width": 4, "head_widths": [8], "dropout": 0, "head": "logits",
}  # fmt: skip


@pytest.fixture(scope="module")
def hits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hits")
    run.generate(TrackSettings(events=10, pileup=3, seed=4, cells=False), folder, 1, "x")
    return folder


def data(hits: Path, **points: Any) -> dict[str, Any]:
    """The data section of windows of 48 hits."""
    section = {split: [str(hits / split / "*-hits.csv")] for split in ("train", "val", "test")}
    return {"dataset": "trackml", "features": "place", "num_particles": 48, "points": WINDOWS | points, **section}


def saved(folder: Path, section: dict[str, Any], **model: Any) -> Path:
    """A run folder with an untrained float model."""
    build = Build.model_validate({"spec": 1, "name": "tiny", "data": section, "model": {**HEPT, **model}})
    source = open_split(build.data, "val")
    made = build_model(build, source.feature_set, source.class_names)
    (folder / "float").mkdir(parents=True)
    made.save(folder / "float" / "model.keras")
    (folder / "build.yaml").write_text(build.to_yaml())
    return folder


@pytest.fixture(scope="module")
def trained(hits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("runs") / "tiny", data(hits, task="pileup"))


def column(path: Path, name: str) -> list[str]:
    with path.open() as stream:
        return [row[name] for row in csv.DictReader(stream)]


def test_filtered_hits_open_as_a_tracking_data_set(hits: Path, trained: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "filtered"
    options = FILTER.parse([str(trained), str(hits), "--out", str(out), "--recall", "0.5", "0.9"])
    assert FILTER.run(options) == 0
    assert "0.9" in capsys.readouterr().out
    stored = json.loads((out / "thresholds.json").read_text())
    loose, tight = stored["thresholds"][1], stored["thresholds"][0]
    assert stored["events"] == 10
    assert loose["target"] == 0.9
    assert loose["recall"] >= 0.9
    assert 0 < tight["judged"] < tight["points"]  # hits beyond |eta| = 2 are not judged, and stay
    assert tight["points"] - tight["judged"] < tight["points_kept"] < loose["points_kept"] < loose["points"]
    before = {path.relative_to(hits): column(path, "hit_id") for path in hits.rglob("*-hits.csv")}
    after = {
        path.relative_to(out / "recall_0.5"): column(path, "hit_id")
        for path in (out / "recall_0.5").rglob("*-hits.csv")
    }
    assert after.keys() == before.keys()
    assert all(set(after[name]) <= set(before[name]) for name in before)
    assert sum(map(len, after.values())) == tight["points_kept"]
    filtered: Any = open_split(DataConfig.model_validate(data(out / "recall_0.5", task="tracking")), "train").load()
    whole: Any = open_split(DataConfig.model_validate(data(hits, task="tracking")), "train").load()
    assert 0 < filtered.mask.sum() < whole.mask.sum()


def test_tables_of_an_event_stay_in_step(hits: Path, tmp_path: Path) -> None:
    reader = TrackmlReader(TrackmlOptions("place"))
    source = next((hits / "val").glob("*-hits.csv"))
    event = read_event(source, reader.options)
    kept = np.arange(len(event)) % 3 > 0
    target = filtering.kept_hits(reader, source, kept, tmp_path)
    again = read_event(target, reader.options)
    np.testing.assert_array_equal(again.features, event.features[kept])
    np.testing.assert_array_equal(again.particle_ids, event.particle_ids[kept])
    assert column(target, "hit_id") == column(target.with_name(target.name.replace("hits", "truth")), "hit_id")
    particles = target.with_name(target.name.replace("hits", "particles"))
    counts = np.array(column(particles, "nhits"), int)
    real = again.particle_ids >= 0
    assert counts.sum() == real.sum()
    assert len(counts) == len(column(source.with_name(particles.name), "nhits"))
    assert (tmp_path / "detectors.csv").read_bytes() == (hits / "detectors.csv").read_bytes()


def test_candidates_that_do_not_count_stay(tmp_path: Path) -> None:
    folder = tmp_path / "candidates"
    write_candidates(TrackSettings(events=10, pileup=8, seed=2), folder)
    section: dict[str, Any] = {split: [str(folder / split / "*.npz")] for split in ("train", "val", "test")}
    points = {"task": "pileup", "phi_sectors": 4, "overlap": 1.2, "too_many": "cut"}
    section |= {"dataset": "candidates", "features": "compact", "num_particles": 96, "points": points}
    place = saved(tmp_path / "run", section, coords=4)
    build = Build.model_validate({"spec": 1, "name": "tiny", "data": section, "model": {**HEPT, "coords": 4}})
    scorer = point_filter.open_run(place, build)
    files = point_filter.event_files("candidates", [folder / "test"])
    rows = point_filter.filter_files(scorer, files, point_filter.thresholds(scorer, [0.5]), tmp_path / "out", {})
    source = files[0][0]
    before, after = (candidates.stored(path) for path in (source, tmp_path / "out" / "recall_0.5" / source.name))
    scores, labels = scorer(source)
    counts = candidates.read_candidates(source).reconstructable
    np.testing.assert_array_equal(~np.isnan(scores), counts)
    np.testing.assert_array_equal(labels, before["hard_scatter"])
    kept = ~counts | (scores >= rows[0]["threshold"])
    assert 0 < kept.sum() < len(kept)
    for name in ("x", "charge", "hard_scatter"):
        np.testing.assert_array_equal(after[name], before[name][kept])


def test_line_segments_are_sliced(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    event = Segments(random.random((20, len(COLUMNS)), np.float32), np.arange(20) // 3 + FAKE, 7)
    event.x[:, -2:] = 1  # layers
    source = tmp_path / "graph_7.npz"
    write_segments(source, event)
    reader = SegmentReader(Lda(random.normal(size=(24, 7)), (1.0,)))
    kept = random.random(20) < 0.5
    found = read_segments(filtering.kept_segments(reader, source, kept, tmp_path / "out"))
    np.testing.assert_array_equal(found.x, event.x[kept])
    np.testing.assert_array_equal(found.particle_id, event.particle_id[kept])
    with pytest.raises(DataError, match=r"event 7: needs one answer per segment. Received: \(3,\) for 20 segments"):
        filtering.filter_segments(event, np.ones(3, bool))


def test_at_least_one_point_stays_and_points_without_a_score_do() -> None:
    assert keep(np.array([0.1, 0.3, 0.2]), 0.9).tolist() == [False, True, False]
    assert keep(np.array([0.1, np.nan, 0.2]), 0.9).tolist() == [False, True, False]
    assert keep(np.array([0.1, 0.3, 0.2]), 0.2).tolist() == [False, True, True]
    assert keep(np.zeros(0), 0.9).tolist() == []


def test_an_interrupted_filter_leaves_nothing(
    hits: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Path:
        raise DataError("disk full")

    monkeypatch.setitem(DATASETS, "trackml", replace(point_dataset("trackml"), write=broken))
    options = FILTER.parse([str(trained), str(hits), "--out", str(tmp_path / "x"), "--recall", "0.9"])
    with pytest.raises(DataError, match="disk full"):
        FILTER.run(options)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_filtered_is_named(hits: Path, trained: Path, tmp_path: Path) -> None:
    def go(*arguments: Any) -> None:
        FILTER.run(FILTER.parse([str(part) for part in arguments]))

    with pytest.raises(DataError, match=rf"{tmp_path} exists: give another --out, or delete it"):
        go(trained, hits, "--out", tmp_path, "--recall", "0.9")
    with pytest.raises(SystemExit, match="2"):  # by the parser, in words of its own
        go(trained, hits, "--out", tmp_path / "x", "--recall", "1.5")
    with pytest.raises(DataError, match=r"nowhere: holds no trackml events \(event\*-hits.csv"):
        go(trained, tmp_path / "nowhere", "--out", tmp_path / "x")
    with pytest.raises(DataError, match=r"data.val: no file matches 'none/\*-hits.csv'"):
        go(trained, hits, "--out", tmp_path / "x", "--set", "data.val=[none/*-hits.csv]")
    with pytest.raises(DataError, match=r"one file; filter them into two folders"):
        go(trained, hits / "val", hits / "val" / next((hits / "val").glob("*-hits.csv")).name, "--out", tmp_path / "x")
    with pytest.raises(DataError, match=r"qat/model.keras is missing: train it first with qformers train"):
        go(trained, hits, "--out", tmp_path / "x", "--phase", "qat")
    with pytest.raises(ConfigError, match=r"data.points.task must be pileup.* Received: tracking"):
        go(trained, hits, "--out", tmp_path / "x", "--set", "data.points.task=tracking")


def test_an_lda_is_fitted_from_files(tmp_path: Path, capsys: Any) -> None:
    random = np.random.default_rng(1)
    for number in range(3):
        ids = np.repeat(np.arange(40), 5)
        x = random.normal(size=(40, len(COLUMNS)))[ids] + 0.2 * random.normal(size=(200, len(COLUMNS)))
        x[:, -2:] = ids[:, None] % 10 + 1  # layers
        write_segments(tmp_path / "train" / f"graph_{number}.npz", Segments(np.abs(x).astype(np.float32), ids, number))
    lda = fit_lda.COMMAND
    assert lda.run(lda.parse([str(tmp_path / "train"), "--out", str(tmp_path / "lda.json"), "--events", "2"])) == 0
    assert "2 events" in capsys.readouterr().out
    assert Lda.load(tmp_path / "lda.json").scalings.shape == (24, 7)
    with pytest.raises(SystemExit, match="2"):
        lda.run(lda.parse([str(tmp_path / "train"), "--out", str(tmp_path / "lda.json"), "--events", "0"]))
