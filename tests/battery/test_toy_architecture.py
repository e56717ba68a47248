"""A new architecture is registered in one line and then trains, is swept, and is exact in firmware."""

from __future__ import annotations

import math
from pathlib import Path

import keras
import numpy as np
import pytest
from rich.console import Console
from support.configurations import Sweep, deviation
from support.paths import DATA
from support.toy_architecture import TOY_ARCHITECTURE

from hls.backends import open_backend
from hls.proof.agree import agree
from qformers.builds.build import Build
from qformers.builds.models import build_model, load_model
from qformers.data import open_split
from qformers.errors import ConfigError
from qformers.models import MODELS
from qformers.models.inputs import host_inputs
from qformers.train.phases import train_build


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    """The toy architecture, registered."""
    monkeypatch.setitem(MODELS, "toy", TOY_ARCHITECTURE)
    return "toy"


def build_of(architecture: str) -> Build:
    """A build on the jets of the repository: one epoch of each phase."""
    jets = {split: [str(DATA / "jets" / split / "*.root")] for split in ("train", "val", "test")}
    phase = {"epochs": 1, "batch_size": 64, "jit_compile": False}
    return Build.model_validate(
        {
            "spec": 1,
            "name": "toy_jets",
            "data": {"dataset": "jetclass", "features": "kin", "num_particles": 4, "max_jets": 128, **jets},
            "model": {"architecture": architecture, "width": 4},
            "quant": {"learn": False, "activation": "fixed<8,4>", "weight": "fixed<6,2,RND,SAT_SYM>"},
            "train": {"float": phase, "qat": phase},
            "firmware": {"backend": "alkaid"},
        }
    )


def test_an_unknown_architecture_is_refused_until_it_is_registered() -> None:
    with pytest.raises(ValueError, match="unknown architecture"):
        build_of("toy")


def test_a_registered_architecture_trains_in_float_and_fixed_point_and_is_exact_in_firmware(
    toy: str, tmp_path: Path
) -> None:
    build = build_of(toy)
    train_build(build, tmp_path, ("float", "qat"), console=Console(quiet=True))
    model = load_model(tmp_path / "qat" / "model.keras")
    events = host_inputs(model, open_split(build.data, "test").load())
    assert keras.models.load_model(tmp_path / "float" / "model.keras").get_layer("toy_dense").bias.shape == (4,)
    project = open_backend(build.firmware.backend).write(model, build, tmp_path / "firmware")
    agreement = agree(project, model, events)
    assert agreement.equal, str(agreement)
    assert agreement.values == math.prod(model(events).shape) > 0
    assert np.unique(np.asarray(model(events))).size > 20


@pytest.mark.slow
def test_its_configurations_are_swept(toy: str) -> None:
    sweep = Sweep(MODELS[toy])
    assert max(deviation(MODELS[toy], cfg, model) for cfg, model in sweep.models(5)) < 0.03
    assert not sweep.unseen()


def test_what_it_cannot_say_in_fixed_point_is_refused(toy: str) -> None:
    build = build_of(toy)
    build = build.model_copy(update={"model": build.model.model_copy(update={"third": True})})
    events = open_split(build.data, "train")
    with pytest.raises(ConfigError, match=r"toy_third: 1/3 has no fixed-point form; set model.third: false"):
        build_model(build, events.feature_set, events.class_names, "hgq")
