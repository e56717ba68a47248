"""The builds of HEPT: published sizes, and data in a folder of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.paths import CONFIGS

from qformers.builds.build import load
from qformers.builds.data_folder import in_folder
from qformers.cli import train
from qformers.errors import ConfigError
from qformers.interop.hept import TASKS


@pytest.mark.parametrize("task", ["tracking60k", "cms_pileup", "cms_tracking"])
def test_published_builds_are_the_published_models(task: str) -> None:
    build = load(CONFIGS / f"hept_{task}.yaml")
    assert build.model == TASKS[task]
    assert build.quant is None
    assert build.train.qat is None


def test_data_are_taken_from_a_folder(tmp_path: Path) -> None:
    build = load(CONFIGS / "hept_cms_pileup.yaml")
    for split in ("train", "val", "test"):
        with pytest.raises(ConfigError, match=rf"--data: .* must hold the folders train, val, test.*no .*/{split}"):
            in_folder(build, tmp_path)
        (tmp_path / split).mkdir()
    moved = in_folder(build, tmp_path)
    assert moved.data.train == (str(tmp_path / "train" / "graph_*"),)
    assert moved.data.test == (str(tmp_path / "test" / "graph_*"),)
    assert moved.data.points is not None
    assert moved.data.points.lda == str(tmp_path / "lda.json")
    assert moved.model == build.model
    jets = in_folder(load(CONFIGS / "part_demo.yaml"), tmp_path)
    assert jets.data.points is None
    assert Path(jets.data.val[0]).parent == tmp_path / "val"


def test_training_refuses_a_folder_without_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.COMMAND([str(CONFIGS / "part_demo.yaml"), "--data", str(tmp_path)]) == 2
    assert f"--data: {tmp_path} must hold the folders" in capsys.readouterr().err
