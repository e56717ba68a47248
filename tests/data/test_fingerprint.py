"""Which files a training was made with: noticed by content, wherever they lie and whenever they were written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from qformers.config.sections import DataConfig
from qformers.data import fingerprint
from qformers.data.fingerprint import changed_files, data_files
from qformers.generate.tracks import run
from qformers.generate.tracks.settings import TrackSettings


def config(folder: Path) -> DataConfig:
    globs = {split: [str(folder / split / "*.root")] for split in ("train", "val", "test")}
    return DataConfig.model_validate({"dataset": "jetclass", "features": "kin", "num_particles": 4, **globs})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files for training, one for validation, none for the test."""
    for name in ("train/a.root", "train/b.root", "val/a.root"):
        path = tmp_path / "here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 1000)
    return tmp_path / "here"


def test_a_copy_is_the_same_and_missing_files_are_nothing(folder: Path, tmp_path: Path):
    found = data_files(config(folder))
    assert set(found) == {"train", "val", "test"}
    assert found["test"] is None
    assert found["train"] != found["val"]
    there = Path(shutil.copytree(folder, tmp_path / "there"))
    os.utime(there / "val" / "a.root", (1, 1))
    assert data_files(config(there)) == found
    shutil.rmtree(there / "val")
    assert changed_files(found, data_files(config(there))) == []


@pytest.mark.parametrize("whole", [1 << 20, 100], ids=["small", "large"])
def test_other_content_of_the_same_length_and_time_is_noticed(
    whole: int, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fingerprint, "WHOLE_BYTES", whole)
    monkeypatch.setattr(fingerprint, "PART_BYTES", 50)
    before, path = data_files(config(folder)), folder / "train" / "b.root"
    stat = path.stat()
    path.write_bytes(b"x" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = data_files(config(folder))
    assert after["val"] == before["val"]
    assert changed_files(before, after) == ["data.train: the files have another content"]
    path.unlink()
    assert changed_files(before, data_files(config(folder))) == ["data.train: the files have another content"]
    assert changed_files(None, after) == []


def test_tables_beside_the_files_are_noticed_too(tmp_path: Path):
    run.generate(TrackSettings(events=3, pileup=0, seed=4), tmp_path / "here", 1, "x")

    def found(folder: Path, features: str = "tracking") -> dict[str, str | None]:
        globs = {split: [str(folder / split / "*-hits.csv")] for split in ("train", "val", "test")}
        tree = {"dataset": "trackml", "features": features, "num_particles": 4, "points": {"task": "tracking"}}
        return data_files(DataConfig.model_validate(tree | globs))

    before = found(tmp_path / "here")
    there = Path(shutil.copytree(tmp_path / "here", tmp_path / "there"))
    assert found(there) == before
    old = {split: before[split] for split in ("train", "val", "test")}  # as runs were written before
    for table in ("truth", "particles", "cells"):
        (path,) = (there / "train").glob(f"*-{table}.csv")
        text = path.read_text()
        path.write_text(text + "\n")
        assert changed_files(before, found(there)) == ["data.train: the tables beside the files have another content"]
        assert changed_files(old, found(there)) == []
        path.write_text(text)
    (there / "detectors.csv").write_text("")
    assert len(changed_files(before, found(there))) == sum(before[split] is not None for split in old)
    assert "train tables" not in found(there, "unknown")
