"""Functions that are called from Python refuse what they cannot use in words, before they compute anything."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support import hls_models as h
from support.paths import CONFIGS
from support.quantised import NATURAL

import hls
from hls.errors import HlsError
from hls.stages.rtl import simulate_rtl
from qformers.builds.build import load
from qformers.builds.models import build_model
from qformers.errors import ConfigError
from qformers.models import MODELS
from qformers.models.arch import Arch


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([1.0, 2.0], "inputs is a mapping of x to arrays. Received: list"),
        ({}, "inputs is a mapping of x to arrays. Received: "),
        ({"y": np.zeros((2, 3))}, "inputs is a mapping of x to arrays. Received: y"),
        ({"x": [[1.0, 2.0, 3.0]]}, r"input 'x' is an array \(events, ...\) of real numbers. Received: list"),
        ({"x": np.array([["a", "b", "c"]])}, "input 'x' is an array .*. Received: <U1"),
        ({"x": np.zeros((2, 3), complex)}, "input 'x' is an array .*. Received: complex128"),
        ({"x": np.array(3.0)}, "input 'x' is an array .*. Received: float64"),
        ({"x": np.array([[1.0, 2.0, np.inf]])}, r"input 'x' has NaN .* events out. Received: inf at \(0, 2\)$"),
        ({"x": np.zeros((0, 3))}, "at least one event is needed to compare. Received: 0"),
    ],
)
def test_a_comparison_takes_arrays_by_name(inputs: Any, words: str) -> None:
    x = keras.Input((3,), name="x")
    model = keras.Model(x, h.dense(x, "first", "fixed<6,3,RND,SAT>", h.MIX))
    with pytest.raises(HlsError, match=words):
        hls.agree(None, model, inputs)  # type: ignore[arg-type]  the project is not looked at


@pytest.mark.parametrize("paths", [[], (), "runs/base"])
def test_runs_to_compare_are_a_list_of_one_or_more(paths: Any) -> None:
    with pytest.raises(HlsError, match=r"paths is a list of run folders, one or more. Received: "):
        hls.compare(paths)


@pytest.mark.parametrize("names", [[], (), "abc", [1, 2]])
def test_classes_of_jets_are_a_list_of_names(names: Any) -> None:
    with pytest.raises(ConfigError, match=r"class_names is a list of names of classes, one or more. Received: "):
        build_model(load(CONFIGS / "part_tiny.yaml"), NATURAL, names)


def test_a_record_of_an_architecture_has_its_parts() -> None:
    with pytest.raises(ConfigError, match=r"Arch: config is the class of .* a Section. Received: None"):
        Arch(None, lambda cfg, jet, nn: None, {})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"Arch: build is the function that makes the model. Received: 3"):
        Arch(MODELS["deepsets"].config, 3, {})  # type: ignore[arg-type]


def test_an_architecture_that_returns_no_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    build = load(CONFIGS / "deepsets_jets8.yaml")
    broken = dataclasses.replace(MODELS["deepsets"], build=lambda cfg, jet, nn: None)
    monkeypatch.setitem(MODELS, "deepsets", broken)
    with pytest.raises(ConfigError, match=r"architecture 'deepsets': its function `build` returns the Keras model"):
        build_model(build, NATURAL, ["a", "b"])


@pytest.mark.parametrize(
    ("stage", "events"),
    [(stage, events) for stage in (hls.simulate, simulate_rtl) for events in ("10", 2.5, 0, -1)]
    + [(hls.simulate, None)],  # of RTL as many as the size of the model says
)
def test_a_simulation_takes_a_whole_number_of_events(stage: Any, events: Any, tmp_path: Path) -> None:
    with pytest.raises(HlsError, match=f"at least one jet is needed: set --events. Received: {events!r}"):
        stage(load(CONFIGS / "part_tiny.yaml"), tmp_path, events)
    assert not list(tmp_path.iterdir())


def test_a_simulation_names_the_backends(tmp_path: Path) -> None:
    with pytest.raises(HlsError, match="unknown backend 'vitiss'; did you mean 'vitis'"):
        hls.simulate(load(CONFIGS / "part_tiny.yaml"), tmp_path, 10, "vitiss")
