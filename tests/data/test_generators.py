"""Which generator made the jets of a build, by the manifest above their files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.paths import DATA

from qformers.config.sections import DataConfig
from qformers.data.jets.generators import VERSIONS, MadeBy, generators_of
from qformers.generate.jets import manifest, plan


def of(folder: Path) -> DataConfig:
    files = {split: (f"{folder}/{split}/*.h5",) for split in ("train", "val", "test")}
    return DataConfig(dataset="hls4ml_lhc", features="pt_eta_phi", num_particles=8, **files)


@pytest.fixture
def jets(tmp_path: Path) -> Path:
    folder = tmp_path / "jets"
    shutil.copytree(DATA / "lhc5", folder)
    return folder


def rewrite(folder: Path, **changes: object) -> None:
    text = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**text, **changes}))


def test_jets_of_a_former_generator_are_known(jets: Path) -> None:
    rewrite(jets, format=1)
    (one,) = generators_of(of(jets))
    assert one == MadeBy("lhc5", 1)
    assert one.former
    assert str(one) == f"lhc5, version 1 of its generator (now {VERSIONS['lhc5']})"


def test_jets_of_today_are_no_former_ones(jets: Path) -> None:
    fresh = manifest.new(plan.JetSettings("lhc5", jets=60), "x")
    rewrite(jets, format=fresh["format"])
    (one,) = generators_of(of(jets))
    assert not one.former
    assert str(one) == f"lhc5, version {VERSIONS['lhc5']} of its generator"


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"settings": {"preset": "lhc6"}, "format": 1}', '{"settings": {"preset": "lhc5"}, "format": "1"}',
     '{"settings": [], "format": 1}', '{"settings": {"preset": []}, "format": 1}'],
)  # fmt: skip
def test_a_manifest_of_something_else_says_nothing(jets: Path, content: str) -> None:
    (jets / "manifest.json").write_text(content)
    assert generators_of(of(jets)) == ()


def test_jets_without_a_manifest_or_files_say_nothing(jets: Path, tmp_path: Path) -> None:
    (jets / "manifest.json").unlink()
    assert generators_of(of(jets)) == ()
    assert generators_of(of(tmp_path / "nowhere")) == ()
