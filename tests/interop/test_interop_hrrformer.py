"""Upstream Hrrformer weights as arrays: what is accepted, what is refused and in which words.

That upstream's names are these is tested beside flax itself in test_reference_hrr.py.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from support.flax_hrrformer import CLASSES, ENTRIES, HEADS, LEARNED, TOKENS, empty_model, params_of, small
from support.quantised import inputs_of, logits, shaken

from qformers.builds.models import load_model
from qformers.cli import importing
from qformers.errors import WeightsError
from qformers.flax_files import EXPORT
from qformers.interop import hrrformer as upstream
from qformers.interop.importers import Sizes, hrrformer_from_flax, import_weights
from qformers.models.hrrformer.published import PUBLISHED

Params = dict[str, NDArray[Any]]
HALF = {"heads": HEADS}  # of the small models
LISTOPS = Sizes(task="listops", dtype="float64", options=HALF)


def model_of(task: str) -> keras.Model:
    """A small shaken one."""
    keras.utils.set_random_seed(7)
    return shaken(empty_model(small(task)))


def events(model: keras.Model) -> dict[str, NDArray[Any]]:
    """Tokens and a mask that has pads."""
    random = np.random.default_rng(2)
    mask = (np.arange(TOKENS) < random.integers(1, TOKENS + 1, (9, 1))).astype(np.float64)
    return inputs_of(model, {"tokens": random.integers(0, ENTRIES, (9, TOKENS)), "mask": mask})


def listops(**changes: Any) -> Params:
    """Its entries, with others in the place of some; of None there is none."""
    params = {**params_of(model_of("listops"), "listops"), **changes}
    return {name: array for name, array in params.items() if array is not None}


@pytest.mark.parametrize("task", PUBLISHED)
def test_the_command_saves_the_same_model(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_of(task)
    np.savez(tmp_path / "w.npz", **params_of(model, task))
    words = ["hrrformer", str(tmp_path / "w.npz"), str(tmp_path / "a.keras"), "--task", task, "--dtype", "float64"]
    words += ["--set", f"heads={HEADS}", *(() if task in LEARNED else ("--particles", str(TOKENS)))]
    assert importing.COMMAND(words) == 0
    saved = load_model(tmp_path / "a.keras")
    given = events(model)
    expected = logits(model, given)
    assert expected.std(axis=0).min() > 1e-3  # the events differ
    np.testing.assert_array_equal(logits(saved, given), expected)
    printed = capsys.readouterr().out
    assert f"{model.count_params():,} parameters" in printed
    assert f"output ({CLASSES},)" in printed
    assert f"taken: heads=2, residuals={PUBLISHED[task].model.residuals}, " in printed


@pytest.mark.parametrize("task", PUBLISHED)
def test_every_entry_lands_in_a_weight_and_every_weight_gets_one(task: str) -> None:
    """Each entry is the only one with its numbers."""
    params = {
        name: np.arange(array.size, dtype=float).reshape(array.shape) + 1e4 * (index + 1)
        for index, (name, array) in enumerate(params_of(empty_model(small(task)), task).items())
    }
    model = empty_model(small(task))
    upstream.load(model, params, small(task))
    found = params_of(model, task)
    assert found.keys() == params.keys()
    assert sum(array.size for array in params.values()) == model.count_params()
    for name, array in params.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("prefix", ["params/", "params/params/"])
@pytest.mark.parametrize("task", ["retrieval", "ember"])
def test_what_flax_wraps_them_in_is_taken_off(prefix: str, task: str) -> None:
    model = model_of(task)
    params = {prefix + name: array for name, array in params_of(model, task).items()}
    made, config = hrrformer_from_flax(params, Sizes(TOKENS, "float64", HALF, task))
    assert config == small(task)
    np.testing.assert_array_equal(logits(made, events(model)), logits(model, events(model)))


@pytest.mark.parametrize(("task", "tokens"), [("text", 4000), ("retrieval", 8000), ("listops", TOKENS)])
def test_where_nobody_says_tokens_are_as_many_as_places_or_as_published(task: str, tokens: int) -> None:
    params = params_of(empty_model(small(task)), task)
    made, _ = hrrformer_from_flax(params, Sizes(task=task, options=HALF))
    assert made.inputs[0].shape == (None, tokens)
    assert made.dtype == "float32"


def test_options_reach_the_model() -> None:
    options = {**HALF, "activation": "relu", "mask_beta": True, "cosine_epsilon": 0.0}
    model, config = hrrformer_from_flax(listops(), Sizes(task="listops", dtype="float64", options=options))
    other, _ = hrrformer_from_flax(listops(), LISTOPS)
    assert (config.activation, config.mask_beta, config.cosine_epsilon) == ("relu", True, 0.0)
    assert np.abs(logits(model, events(model)) - logits(other, events(model))).max() > 1e-3


LAYER = "Encoder_0/EncoderLayer_1"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({f"{LAYER}/LayerNorm_1/bias": np.zeros(8)}, rf"extra: {LAYER}/LayerNorm_1/bias \(8,\)"),
        ({"Dense_2/bias": np.zeros(2)}, r"extra: Dense_2/bias \(2,\)"),
        (
            {"Encoder_0/EncoderLayer_3/LayerNorm_0/bias": np.zeros(8)},
            r"missing: Encoder_0/EncoderLayer_2/(?s:.*)extra: Encoder_0/EncoderLayer_3/LayerNorm_0/bias",
        ),
        (
            {f"{LAYER}/SelfAttention_0/query/kernel": np.zeros((8, 2, 4))},
            r"misshaped: .*query/kernel: expected \(8, 8\)\. Received: \(8, 2, 4\)",
        ),
        (
            {"Encoder_0/EmbeddingLearned_0/Embed_1/embedding": None},
            r"missing: Encoder_0/EmbeddingLearned_0/Embed_1/embedding \(2000, 8\)",
        ),
        ({"Encoder_0/EncoderLayer_0/MLP_0/Dense_0/kernel": np.zeros(3)}, r"Dense_0/kernel: expected \(8, 256\)"),
        ({"Dense_1/kernel": np.zeros((7, 0))}, r"misshaped: Dense_1/kernel: expected \(7, 10\)\. Received: \(7, 0\)"),
        ({"Dense_1/bias": np.full(CLASSES, np.nan)}, r"residuals=half:\n  not finite: Dense_1/bias"),
        ({"Dense_1/bias": np.array(["a", "b", "c"])}, r"entry 'Dense_1/bias' is not an array of numbers"),
        ({"Dense_1/bias": np.ones(CLASSES, complex)}, r"Received: array of complex128"),
        (
            {"Dense_0/bias": None, "Dense_1/bias": np.full(CLASSES, np.inf), "cls_token": np.zeros(2)},
            r"missing: Dense_0/bias \(7,\)\n  extra: cls_token \(2,\)\n  not finite: Dense_1/bias$",
        ),
    ],
)
def test_wrong_entries_are_refused_by_name(changes: Params, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        hrrformer_from_flax(listops(**changes), LISTOPS)


@pytest.mark.parametrize("task", ["text", "ember"])
def test_every_missing_entry_is_named_and_nothing_is_loaded(task: str) -> None:
    model, params = model_of(task), params_of(model_of(task), task)
    before = model.get_weights()
    for name in params:
        rest = {other: array + 1 for other, array in params.items() if other != name}
        words = "no table" if name.endswith("Embed_0/embedding") else rf"missing: {name} \("
        with pytest.raises(WeightsError, match=words):
            upstream.load(model, rest, small(task))
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, r"no table 'Encoder_0/EmbeddingLearned_0/Embed_0/embedding'; found nothing$"),
        ({"w": np.zeros(2)}, r"not the weights of this task's Hrrformer: .*found w$"),
        ({"params/EmbeddingFixed_0/Embed_0/embedding": np.zeros((2, 2))}, r"; perhaps the task is retrieval$"),
        ({"Encoder_0/EmbeddingFixed_0/Embed_0/embedding": np.zeros((2, 2))}, r"the task is text or image$"),
    ],
)
def test_weights_of_something_else_are_refused(params: Params, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        hrrformer_from_flax(params, LISTOPS)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        (Sizes(), r"hrrformer needs a task, whose form the model gets; choose one of listops, text, .* task=None"),
        (Sizes(task="listop"), r"did you mean 'listops'\?\. Received: task=listop"),
        (
            Sizes(task="listops"),
            r"the task listops and the options do not go together: .*Received: heads=8 of 8 channels",
        ),
        (Sizes(task="listops", options={"heads": 3}), r"heads must divide the model width 8\. Received: heads=3"),
        (Sizes(task="listops", options={"blocks": 1}), r"option 'blocks' is not one that the weights leave open"),
        (Sizes(task="listops", options={"head": 1}), r"option 'head' .*did you mean 'heads'\?"),
        (Sizes(task="listops", options={**HALF, "residuals": "post"}), r"(?s)residuals=post:.*missing: .*LayerNorm_1"),
        (Sizes(7, task="listops", options=HALF), r"vectors of 6 places; leave particles away\. Received: particles=7"),
        (Sizes(task="ember", options=HALF), r"no table 'Embedding_0/.*perhaps the task is listops or path or path_x"),
    ],
)
def test_wrong_tasks_options_and_lengths_are_refused(sizes: Sizes, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        hrrformer_from_flax(listops(), sizes)


def test_a_pair_of_an_odd_number_of_tokens_is_refused() -> None:
    params = params_of(empty_model(small("retrieval")), "retrieval")
    with pytest.raises(WeightsError, match=r"particles counts both sequences and must be even\. Received: particles=5"):
        hrrformer_from_flax(params, Sizes(5, options=HALF, task="retrieval"))


def test_a_model_that_upstream_has_no_names_for_is_refused() -> None:
    config = small("listops").model_copy(update={"norm": "batch", "form": "dft"})
    with pytest.raises(WeightsError, match=r"norm: layer and form: fft.*b0_attn_q_edge/kernel.*moving_mean"):
        upstream.load(empty_model(config), listops(), config)


def _pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"params": listops()}))


def _objects(path: Path) -> None:
    np.savez(path, params=np.array({"w": 1}, dtype=object))


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("w.h5", _pickle, r"w\.h5: of hrrformer a \.npz is read\. What upstream's scripts save is a pickle, .*"),
        ("w.npz", _pickle, r"w\.npz: cannot be read as arrays \(File is not a zip file\).*"),
        ("w.npz", _objects, r"w\.npz: .*holds Python objects, which are not read.*"),
    ],
)
def test_other_files_are_refused_with_the_lines_that_write_arrays(
    name: str, write: Callable[[Path], None], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / name)
    monkeypatch.setattr(pickle, "loads", None)  # nothing is unpickled
    with pytest.raises(WeightsError, match=words + re.escape(EXPORT)):
        import_weights("hrrformer", tmp_path / name, tmp_path / "a.keras", LISTOPS)
    assert not (tmp_path / "a.keras").exists()
