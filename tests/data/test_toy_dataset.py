"""A data set is one file with a reader and one line of `DATASETS`: what is written here is all that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from support.toy_dataset import TOY_JETS, write_toy_jets

from qformers.builds.build import Build
from qformers.config.sections import DataConfig
from qformers.data import DATASETS, DataError, open_split
from qformers.quant.ptq import run_folder
from qformers.tasks import JetTagging, task_of
from qformers.train import phases


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """A build of a toy data set, registered for the length of a test."""
    monkeypatch.setitem(DATASETS, "toy_jets", TOY_JETS)
    globs = {}
    for seed, split in enumerate(("train", "val", "test")):
        write_toy_jets(tmp_path / split, 300, seed)
        globs[split] = [str(tmp_path / split / "*.npz")]
    phase = {"epochs": 2, "batch_size": 50, "learning_rate": 0.02, "jit_compile": False}
    tree: dict[str, Any] = {
        "spec": 1,
        "name": "toy",
        "data": {"dataset": "toy_jets", "features": "plain", "num_particles": 3, **globs},
        "model": {"architecture": "deepsets"},
        "quant": {},
        "train": {"float": phase, "qat": phase},
    }

    return Build.model_validate(tree)


def test_a_registered_data_set_streams_and_has_a_task(build: Build) -> None:
    split = open_split(build.data, "train")
    assert (len(split), split.class_names) == (300, ("near", "far"))
    first = np.concatenate([batch.labels for batch in split.stream(50, seed=1, epoch=0)])
    again = np.concatenate([batch.labels for batch in split.stream(50, seed=1, epoch=0)])
    np.testing.assert_array_equal(first, again)
    assert sorted(first) == sorted(split.load().labels)
    assert isinstance(task_of(build, split), JetTagging)


def test_a_registered_data_set_trains_in_float_and_quantised(build: Build, tmp_path: Path) -> None:
    run = tmp_path / "run"
    float_phase, qat = phases.train_build(build, run, ["float", "qat"], console=Console(quiet=True))
    assert float_phase.value > 0.8  # the two classes lie apart
    assert qat.value > 0.8
    assert qat.ebops > 0
    material = run_folder.gather(run / "float" / "model.keras", build, 100)  # its jets calibrate as well
    assert next(iter(material.shop.inputs.values())).shape[0] == 100


def test_an_unregistered_data_set_is_named_with_its_neighbours(build: Build) -> None:
    other = build.data.model_copy(update={"dataset": "toy_jet"})
    with pytest.raises(DataError, match=r"unknown data set 'toy_jet'; did you mean 'toy_jets'\?"):
        open_split(other, "train")


def test_the_kind_of_a_data_set_and_its_section_go_together(tmp_path: Path) -> None:
    (tmp_path / "event000001000-hits.csv").touch()
    base: dict[str, Any] = {split: [str(tmp_path / "*")] for split in ("train", "val", "test")}
    base |= {"features": "kin", "num_particles": 4}
    with pytest.raises(DataError, match=r"'trackml' is a data set of points; say what is asked.* Received: no section"):
        open_split(DataConfig.model_validate({**base, "dataset": "trackml"}), "train")
    with pytest.raises(DataError, match=r"'jetclass' is a data set of jets.* Received: points with task tracking"):
        open_split(DataConfig.model_validate({**base, "dataset": "jetclass", "points": {}}), "train")
