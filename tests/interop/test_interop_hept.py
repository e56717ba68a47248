"""Upstream HEPT state dicts: what is accepted, what is refused and in which words, and the script that saves them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import oracle_hept
from support.hept import FEATURES, VARIANTS, empty_model, random_model, run, small

from qformers.builds.models import load_model
from qformers.cli import importing
from qformers.errors import WeightsError
from qformers.interop import hept as upstream
from qformers.interop import importers

CONFIG = small()
EVENTS = oracle_hept.random_events(13, FEATURES, CONFIG, [13, 7], seed=1)


def _state(**changes: Any) -> dict[str, Any]:
    return {**oracle_hept.random_state_dict(CONFIG, FEATURES, seed=1), **changes}


@pytest.fixture(scope="module")
def reference() -> NDArray[np.float64]:
    return run(random_model(CONFIG, None), *EVENTS)


@pytest.mark.parametrize("prefix", ["model.", "module.model."])
def test_prefix_of_a_wrapper_is_stripped(prefix: str, reference: NDArray[np.float64]) -> None:
    model = empty_model(CONFIG, None)
    upstream.load(model, {prefix + name: array for name, array in _state().items()})
    np.testing.assert_array_equal(run(model, *EVENTS), reference)


@pytest.mark.parametrize("variant", ["tracking", "pileup", "cms_pileup"])
def test_every_entry_lands_in_a_weight_and_every_weight_gets_one(variant: str) -> None:
    """Each entry is the only one with its numbers; frozen regions and alphas are among them."""
    config = small(**VARIANTS[variant])
    state = {
        name: np.arange(array.size, dtype=float).reshape(array.shape) + 1e4 * (index + 1)
        for index, (name, array) in enumerate(oracle_hept.random_state_dict(config, FEATURES, seed=1).items())
    }
    model = empty_model(config, None)
    upstream.load(model, state)
    found = [np.sort(np.ravel(weight.numpy())) for weight in model.weights]
    expected = [np.sort(array.ravel()) for array in state.values()]
    assert sorted(map(tuple, found)) == sorted(map(tuple, expected))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (_state(**{"attns.1.w_q.weight": np.zeros((8, 4))}), r"extra: attns\.1\.w_q\.weight \(8, 4\)"),
        (_state(**{"W.weight": np.zeros((8, 7))}), r"misshaped: W\.weight: expected \(7, 8\)\. Received: \(8, 7\)"),
        (_state(regions=np.ones((3, 2, 3))), r"misshaped: regions: expected \(3, 2, 2\)\. Received: \(3, 2, 3\)"),
        (
            _state(**{"attns.0.attn.e2lsh.alpha": np.ones((2, 3, 7))}),
            r"misshaped: attns\.0\.attn\.e2lsh\.alpha: expected \(2, 7, 3\)\. Received: \(2, 3, 7\)",
        ),
        (_state(**{"W.weight": np.full((7, 8), np.inf)}), r"not finite: W\.weight"),
        (_state(regions="text"), r"entry 'regions' is not an array of numbers\. Received: str"),
        (
            _state(**{"norm_mid.bias": np.zeros(7)}),
            r"tasks with known sizes are tracking60k(?s:.*)extra: norm_mid\.bias",
        ),
    ],
)
def test_wrong_entries_are_refused_by_name(state: dict[str, Any], words: str) -> None:
    model = empty_model(CONFIG, None)
    before = [np.array(weight) for weight in model.get_weights()]
    with pytest.raises(WeightsError, match=words):
        upstream.load(model, state)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_the_offsets_that_the_fork_saves_and_no_hept_uses_are_left_out(reference: NDArray[np.float64]) -> None:
    model = empty_model(CONFIG, None)
    upstream.load(model, _state(**{"attns.0.attn.e2lsh.beta": np.full((1, CONFIG.hashes), 0.5)}))
    np.testing.assert_array_equal(run(model, *EVENTS), reference)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"attns.0.attn.e2lsh.beta": np.zeros((2, 3))},
            r"extra: attns\.0\.attn\.e2lsh\.beta \(2, 3\)",
        ),  # of another shape
        ({"attns.7.attn.e2lsh.beta": np.zeros((1, 3))}, r"extra: attns\.7\.attn\.e2lsh\.beta"),  # of no layer
        ({"attns.0.e2lsh.beta": np.zeros((1, 3))}, r"extra: attns\.0\.e2lsh\.beta"),
        ({"regions": np.zeros((3, 2, 2))}, r"all zero: regions; it is drawn at random and never trained: save it anew"),
        ({"regions": -np.ones((3, 2, 2))}, r"negative: regions -1; they are numbers of cells"),
        ({"attns.0.attn.e2lsh.alpha": np.zeros((2, 7, 3))}, r"all zero: attns\.0\.attn\.e2lsh\.alpha"),
        ({"W.weight": np.full((7, 8), np.nan)}, r"not finite: W\.weight"),
        (
            {"W.weight": np.ones((7, 8), complex)},
            r"entry 'W\.weight' is not an array of numbers\. Received: array of compl",
        ),
    ],
)
def test_entries_that_no_training_leaves_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        upstream.load(empty_model(CONFIG, None), _state(**changes))


def test_every_missing_entry_is_named() -> None:
    model, state = empty_model(CONFIG, None), _state()
    for name in state:
        rest = {other: array for other, array in state.items() if other != name}
        with pytest.raises(WeightsError, match=rf"missing: {name} \("):
            upstream.load(model, rest)


def test_a_model_with_one_order_for_all_layers_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"no weights for these.*hash: latent.*order_of_coords/alpha"):
        upstream.load(empty_model(small(hash="coords"), None), _state())


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for PyTorch that gives a HEPT-CMS state dict, as Lightning wraps it, for a task of that size."""
    config = small(**VARIANTS["cms_pileup"])
    state = {f"model.{name}": array for name, array in oracle_hept.random_state_dict(config, FEATURES, 1).items()}
    content = {"epoch": 3, "state_dict": state}
    torch = SimpleNamespace(load=lambda path, map_location, weights_only: content, Tensor=np.ndarray)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(upstream.TASKS, "cms_pileup", config)
    path = tmp_path / "best.ckpt"
    path.write_bytes(b"read by the stand-in")
    return path


def test_script_saves_the_same_model(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = checkpoint.with_suffix(".keras")
    arguments = ["hept", str(checkpoint), str(target), "--task", "cms_pileup", "--dtype", "float64"]
    assert importing.COMMAND([*arguments, "--set", "block_size=5"]) == 0
    config = small(**VARIANTS["cms_pileup"])
    events = oracle_hept.random_events(13, FEATURES, config, [13, 7], seed=2)
    saved = load_model(target)
    assert {tensor.name: tensor.shape for tensor in saved.inputs} == {
        "features": (None, None, FEATURES),
        "coords": (None, None, 5),
        "mask": (None, None),
    }
    expected = run(random_model(config.model_copy(update={"block_size": 5}), None), *events)
    np.testing.assert_array_equal(run(saved, *events), expected)
    printed = capsys.readouterr().out
    assert "output (None, 2)" in printed
    assert "block_size=5" in printed


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        (importers.Sizes(), r"hept needs a task, whose sizes the model gets; choose one of tracking60k, tracking600"),
        (importers.Sizes(task="trackin60k"), r"did you mean 'tracking60k'\?\. Received: task=trackin60k"),
        (
            importers.Sizes(task="cms_pileup", options={"head": 1}),
            r"option 'head' is not one that the weights leave open",
        ),
        (
            importers.Sizes(task="cms_pileup", options={"block_size": 0}),
            r"an option cannot be used(?s:.*)greater than 0",
        ),
        (
            importers.Sizes(task="cms_pileup", options={"head_activation": "hard_tanh"}),
            r"an option cannot be used: head_activation must be 'tanh', 'silu' or 'relu'\. Received: 'hard_tanh'$",
        ),
        (
            importers.Sizes(task="cms_pileup", options={"hash": "latent"}),
            r"option 'hash' is not one that the weights leave open; choose one of activation, block_size, dropout, h",
        ),
        (
            importers.Sizes(task="tracking60k"),
            r"missing: attns\.1\.norm1\.weight \(24,\)(?s:.*)extra: norm_mid\.weight",
        ),
    ],
)
def test_wrong_tasks_and_options_are_refused(sizes: importers.Sizes, words: str, checkpoint: Path) -> None:
    with pytest.raises(WeightsError, match=words):
        importers.import_weights("hept", checkpoint, checkpoint.with_suffix(".keras"), sizes)
    assert not checkpoint.with_suffix(".keras").exists()


@pytest.mark.parametrize("state", [{}, {"conv.weight": np.zeros((3, 3))}, {upstream.ANCHOR: np.zeros(3)}])
def test_other_weights_are_refused(state: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match=r"not the weights of a HEPT: no matrix 'feat_encoder\.0\.weight'; found"):
        upstream.num_features(state, CONFIG)


def test_a_task_is_refused_for_part() -> None:
    with pytest.raises(WeightsError, match=r"a task belongs to hept.*Received: tracking60k"):
        importers.part_from_weaver({}, importers.Sizes(task="tracking60k"))
