"""The benchmarks of HEPT: their trainings are builds, their numbers are what they say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.paths import ROOT

sys.path.insert(0, str(ROOT))
from benchmarks import cost, hept_baselines, hept_results, hept_table
from qformers.builds.build import Build, load
from qformers.data import open_split
from qformers.data.clouds import PointEvents
from qformers.errors import ConfigError
from qformers.generate.tracks.candidates import write_candidates
from qformers.generate.tracks.settings import TrackSettings

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("variant", hept_results.VARIANTS, ids=lambda variant: variant.run)
def test_every_training_is_a_build_of_its_own(variant: hept_results.Variant) -> None:
    command = variant.command("train.py")
    changes = [command[at + 1] for at, word in enumerate(command) if word == "--set"]
    build = load(variant.build, changes)
    assert build.data.points is not None
    assert build.data.points.task == variant.task
    assert build.name == f"hept_{variant.run}"
    other = [v.changes for v in hept_results.VARIANTS if v.task == variant.task and v is not variant]
    assert variant.changes not in other


def test_an_unknown_training_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        hept_results.parse(["--only", "pileup_firmwear"])
    assert "no training 'pileup_firmwear'; did you mean 'pileup_firmware'?" in capsys.readouterr().err


def fake(folder: Path, logits: np.ndarray, arrays: dict[str, Any], metrics: dict[str, Any]) -> None:
    """What a training leaves, as far as the table reads it."""
    folder.mkdir(parents=True)
    np.savez(folder / "test_logits.npz", logits=logits, **arrays)
    phase = {"epochs": 2}
    manifest = {"seed": 1, "date": "2026-01-01", "machine": {"cores": 1, "processor": "x"}}
    manifest |= {"settings": {"train": {"float": phase}}, "jets": {"train": 5, "test": 6}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "metrics.json").write_text(json.dumps(metrics))


def test_rows_carry_paired_differences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = (80, 20)
    labels = (RNG.random(shape) < 0.3).astype(np.int64)
    arrays = {"mask": np.ones(shape), "reconstructable": RNG.random(shape) < 0.8, "labels": labels}
    arrays["events"] = np.arange(80) // 2
    scores = {name: {"value": 0.5, "error": 0.1} for name in ("auprc", "roc_auc", "f3")}
    good = labels + 0.4 * RNG.normal(size=shape)
    worse = good + 0.4 * RNG.normal(size=shape)
    fake(tmp_path / "pileup_firmware" / "float", good[..., None], arrays, scores)
    fake(tmp_path / "pileup_plain" / "float", worse[..., None], arrays, scores)
    results = tmp_path / "hept.json"
    fake(tmp_path / "pileup_200k" / "float", good[..., None], arrays, scores)  # shared, not yet quantised
    variants = {
        "pileup_firmware": ("pileup", "firmware", "float"),
        "pileup_plain": ("pileup", "plain", "float"),
        "pileup_200k": ("pileup", "quantised", "qat"),
    }
    hept_table.collect(variants, {"pileup": "trees"}, tmp_path, results)
    first, second = json.loads(results.read_text())["rows"]
    assert first["run"] == "pileup_firmware"
    assert "minus_firmware" not in first
    apart = second["minus_firmware"]["auprc"]
    assert apart["value"] == pytest.approx(second["scores"]["auprc"]["value"] - first["scores"]["auprc"]["value"])
    assert apart["value"] < -3 * apart["error"] < 0
    assert apart["error"] < np.hypot(first["scores"]["auprc"]["error"], second["scores"]["auprc"]["error"])
    hept_table.show(results)
    printed = capsys.readouterr().out
    assert "| plain " in printed
    assert "5 windows trained, 6 tested" in printed


def test_windows_without_tracks_have_no_ap() -> None:
    ids = np.array([[1, 1, 2, 2], [-1, -1, -1, -1]])
    arrays = {"mask": np.ones((2, 4)), "particle_ids": ids, "pt": np.full((2, 4), 2.0)}
    arrays |= {"reconstructable": ids >= 0, "logits": np.array([[[0.0], [0.1], [5.0], [5.1]], [[0.0]] * 4])}
    precision = hept_table.window_ap(arrays)
    assert precision[0] == 1.0
    assert np.isnan(precision[1])


class Everything:
    """A task of which all points count."""

    def targets(self, events: PointEvents) -> np.ndarray:
        return np.stack([events.labels, events.mask], axis=-1)


@pytest.mark.slow
def test_boosted_trees_learn_from_one_point(tmp_path: Path) -> None:
    from sklearn.metrics import average_precision_score

    write_candidates(TrackSettings(events=10, pileup=5, seed=3), tmp_path)
    section: dict[str, Any] = {split: [str(tmp_path / split / "*.npz")] for split in ("train", "val", "test")}
    section |= {"dataset": "candidates", "features": "compact", "num_particles": 200}
    section["points"] = {"task": "pileup", "too_many": "cut"}
    build = Build.model_validate({"spec": 1, "name": "tiny", "data": section, "model": {"architecture": "hept"}})
    events: dict[str, Any] = {split: open_split(build.data, split) for split in ("train", "val", "test")}
    loaded = {split: source.load() for split, source in events.items()}
    outputs, facts = hept_baselines.boosted(loaded, Everything(), seed=1)
    test = loaded["test"]
    assert outputs.shape == (*test.mask.shape, 1)
    real = test.mask > 0
    auprc = average_precision_score(test.labels[real], outputs[real][:, 0])
    assert auprc > test.labels[real].mean() + 0.2  # the class of charged ones says most of it
    assert facts["trees"] % hept_baselines.EVERY == 0
    embedding, _ = hept_baselines.coordinates(loaded)
    assert embedding[real].std(axis=0) == pytest.approx(np.ones(4), abs=0.3)
    jets = build.model_copy(update={"data": build.data.model_copy(update={"points": None})})
    with pytest.raises(ConfigError, match=r"data.points is missing: these baselines are for points. Received: jets"):
        hept_baselines.baseline(jets, tmp_path)


def test_the_slope_is_the_power_of_n() -> None:
    sizes = [1000, 4000, 16_000]
    assert cost.slope(sizes, [1e-9 * size**2 for size in sizes]) == pytest.approx(2.0)
    assert cost.slope([1000], [1.0]) is None


def test_a_measurement_ends_at_its_limits() -> None:
    arguments = ("hept", "hept", "forward", "1000", "1")
    assert cost.in_a_process(arguments, memory_mib=5, limit_s=60) == {"exceeded": "0.00488281 GiB"}
    assert cost.in_a_process(arguments, memory_mib=10_000, limit_s=0.2) == {"exceeded": "0.2 s"}
    assert cost.cell({"exceeded": "10 GiB"}) == "over 10 GiB"
    with pytest.raises(RuntimeError, match=r"(?s)hept forward nothing 1 ended with 1: .*'nothing'"):
        cost.in_a_process(("hept", "hept", "forward", "nothing", "1"), 10_000, 60)
