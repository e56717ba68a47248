"""A bad event of the validation split is met before the first step of training, and named with its split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.paths import CONFIGS

from qformers.builds.build import load
from qformers.data.jets.toy import hls4ml_lhc_arrays, write_arrays
from qformers.errors import DataError
from qformers.train import phases


def test_a_bad_jet_in_val_is_said_before_training(tmp_path: Path) -> None:
    overrides = ["data.dataset=hls4ml_lhc", "data.features=lnpt_eta_phi", "data.classes=[]", "data.cache=null"]
    for seed, split in enumerate(("train", "val", "test")):
        arrays = hls4ml_lhc_arrays(64, seed=seed)
        if split == "val":
            arrays["jetConstituentList"][40, 0, 8] = np.nan
        write_arrays(tmp_path / f"{split}.h5", arrays)
        overrides.append(f"data.{split}=[{tmp_path / split}.h5]")
    build = load(CONFIGS / "part_tiny.yaml", [*overrides, "train.float.batch_size=16"])
    with pytest.raises(DataError, match=r"^data.val: .*val.h5, .*'j1_etarel': non-finite value nan in jet 40 "):
        phases.train_build(build, tmp_path / "run", ["float"])
    assert not list((tmp_path / "run").rglob("*.json"))  # no checkpoint of a model that never took a step
    assert not (tmp_path / "run" / "build.yaml").exists()  # so that the mended build is taken
