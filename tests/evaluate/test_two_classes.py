"""Sets of two classes: files told apart by what is in them, rejections at 30 and 50 % in tables and JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from rich.console import Console

from hls.proof.show import end_table
from qformers.data import DataError, Events
from qformers.data.jets.top_landscape import FEATURES
from qformers.data.jets.toy import (
    hls4ml_lhc_arrays,
    jetclass_branches,
    nanoaod_branches,
    write_arrays,
    write_quark_gluon_jets,
    write_top_jets,
    write_tree,
)
from qformers.errors import ConfigError
from qformers.evaluate.events import _recognised
from qformers.evaluate.figures import differences, scored
from qformers.evaluate.stage import evaluate
from qformers.tasks import JetTagging
from qformers.tasks.metrics import jets as metrics


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 8 particles with 7 numbers each that knows nothing, with two outputs."""
    keras.utils.set_random_seed(3)
    features = keras.Input((8, 7), name="features")
    path = tmp_path_factory.mktemp("tagger") / "tagger.keras"
    keras.Model(features, keras.layers.Dense(2)(keras.layers.Flatten()(features))).save(path)
    return path


@pytest.mark.parametrize(
    ("write", "name", "dataset"),
    [
        (write_top_jets, "test.h5", "top_landscape"),
        (lambda path, jets: write_arrays(path, hls4ml_lhc_arrays(jets)), "test.h5", "hls4ml_lhc"),
        (write_quark_gluon_jets, "QG_jets.npz", "quark_gluon"),
        (lambda path, jets: write_tree(path, jetclass_branches(jets)), "test.root", "jetclass"),
        (lambda path, jets: write_tree(path, nanoaod_branches(jets), "Events"), "test.root", "nanoaod"),
    ],
)
def test_files_are_told_apart_by_what_is_in_them(write: object, name: str, dataset: str, tmp_path: Path) -> None:
    assert callable(write)
    write(tmp_path / name, 5)
    assert _recognised([tmp_path / name]) == dataset


def test_two_classes_have_both_rejections_in_table_and_json(tagger: Path, tmp_path: Path) -> None:
    path = write_top_jets(tmp_path / "test.h5", 400, slots=8)
    found = evaluate([tagger], [path], out=tmp_path / "out")
    assert (found.config.dataset, found.config.features) == ("top_landscape", "kin")
    names = [f"{key} {name}" for key in ("rejection", "rejection_30") for name in ("top", "qcd")]
    numbers = found.models[0].numbers
    assert set(numbers) == {"accuracy", "auc", *names}
    for name in names:
        value, error = numbers[name].value, numbers[name].error
        assert value is not None
        assert error is not None
        assert 0 < error < value
    table = found.markdown()
    for words in ("rejection top @ 50%", "rejection qcd @ 50%", "rejection top @ 30%", "rejection qcd @ 30%"):
        assert f"| background {words} |" in table
    found.save()
    report = json.loads((tmp_path / "out" / "evaluation.json").read_text())["models"]["tagger"]["report"]
    assert report["rejection_30"]["top"]["efficiency"] == 0.3


def test_a_limit_has_no_difference_and_that_is_why() -> None:
    labels = np.repeat([0, 1], 60)
    random, apart = np.random.default_rng(2), 20.0 * np.eye(2)[labels]
    task = JetTagging(("top", "qcd"))
    nothing = np.zeros((120, 1, 4), np.float32)
    jets = Events(nothing[..., :0], nothing, nothing[..., 0], labels, task.class_names, FEATURES["pt_eta_phi"])
    loose, sharp = (scored(task, random.normal(size=(120, 2)) + signal, jets, None) for signal in (0 * apart, apart))
    name = "rejection_30 top"
    assert (sharp.numbers()[name].reason, sharp.numbers()[name].error) == (metrics.LIMIT, None)
    assert loose.numbers()[name].error is not None
    for first, second, words in (
        (loose, sharp, f"one of the models has only {metrics.LIMIT}"),
        (sharp, loose, f"one of the models has only {metrics.LIMIT}"),
        (sharp, sharp, f"both models have only {metrics.LIMIT}"),
    ):
        found = differences(first, second)
        assert (found[name].value, found[name].reason) == (None, words)
        assert found["accuracy"].value is not None


def test_files_without_labels_ask_for_a_build(tagger: Path, tmp_path: Path) -> None:
    path = write_tree(tmp_path / "nano.root", nanoaod_branches(5), "Events")
    with pytest.raises((ConfigError, DataError), match=r"data.labels: nanoaod has no labels of its own"):
        evaluate([tagger], [path], out=tmp_path / "out")


def test_the_comparison_of_firmware_shows_both() -> None:
    labels = np.repeat([0, 1], 300)
    logits = np.random.default_rng(1).normal(size=(600, 2)) + 2.0 * np.eye(2)[labels]
    shown = io.StringIO()
    report = metrics.report(logits, labels, ("quark", "gluon"))
    Console(width=100, file=shown).print(end_table({"metrics": {"float": report}}))
    text = shown.getvalue()
    assert text.count("rejection quark") == text.count("rejection gluon") == 2
    assert text.count("@ 30%") == text.count("@ 50%") == 2
    assert "±" in text
