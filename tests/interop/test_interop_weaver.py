"""weaver-core state dicts: what is accepted, what is refused and in which words, and the sizes inferred."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from support import oracle_part
from support.part import CLASSES, FEATURES, VARIANTS, empty_model, logits, random_model, small

from qformers.errors import WeightsError
from qformers.interop import weaver
from qformers.models.part.config import PartConfig

JETS = oracle_part.random_jets(5, FEATURES, [5, 3, 1], seed=1)


def _state(**changes: Any) -> dict[str, NDArray[np.float64]]:
    return oracle_part.random_state_dict(small(**changes), FEATURES, CLASSES, seed=1)


def _loaded(state: Mapping[str, Any]) -> NDArray[np.float64]:
    model = empty_model(small(), 5)
    weaver.load(model, state)
    return logits(model, *JETS)


@pytest.fixture(scope="module")
def reference() -> NDArray[np.float64]:
    return logits(random_model(small(), 5), *JETS)


class Tensor:
    """The four methods of a PyTorch tensor that `load` calls."""

    def __init__(self, array: NDArray[np.float64]) -> None:
        self.array = array

    def detach(self) -> Tensor:
        return self

    cpu = double = detach

    def numpy(self) -> NDArray[np.float64]:
        return self.array


def test_old_names_of_the_attention_weights_are_read(reference: NDArray[np.float64]) -> None:
    old = {name.replace("in_proj.", "in_proj_"): array for name, array in _state().items()}
    assert "cls_blocks.1.attn.in_proj_bias" in old
    np.testing.assert_array_equal(_loaded(old), reference)


@pytest.mark.parametrize("prefix", ["mod.", "module.mod."])
def test_prefix_of_a_wrapper_is_stripped(prefix: str, reference: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(_loaded({prefix + name: array for name, array in _state().items()}), reference)


def test_tensors_are_read_and_counters_are_not_needed(reference: NDArray[np.float64]) -> None:
    state = {name: Tensor(array) for name, array in _state().items() if not name.endswith("num_batches_tracked")}
    np.testing.assert_array_equal(_loaded(state), reference)


def _damage(name: str, value: Any) -> dict[str, Any]:
    return {**_state(), name: value}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (_damage("blocks.2.fc1.weight", np.zeros((24, 6))), r"extra: blocks\.2\.fc1\.weight \(24, 6\)"),
        (_damage("fc.0.weight", np.zeros((4, 6))), r"misshaped: fc\.0\.weight: expected \(3, 6\)\. Received: \(4, 6\)"),
        (_damage("fc.0.weight", np.zeros((6, 3))), r"misshaped: fc\.0\.weight: expected \(3, 6\)\. Received: \(6, 3\)"),
        (_damage("blocks.0.c_attn", np.ones(6)), r"misshaped: blocks\.0\.c_attn: expected \(2,\)\. Received: \(6,\)"),
        (_damage("norm.bias", np.float64(1.0)), r"misshaped: norm\.bias: expected \(6,\)\. Received: \(\)"),
        (_damage("norm.bias", np.full(6, np.nan)), r"not finite: norm\.bias"),
        (_damage("norm.bias", "text"), r"entry 'norm\.bias' is not an array of numbers\. Received: str"),
        (
            _damage("blocks.0.attn.in_proj_bias", np.zeros(18)),
            r"two entries stand for 'blocks\.0\.attn\.in_proj\.bias'",
        ),
    ],
)
def test_wrong_entries_are_refused_by_name(state: dict[str, Any], words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        _loaded(state)


def test_every_missing_entry_is_named() -> None:
    model, state = empty_model(small(), 5), _state()
    for name in state:
        if not name.endswith("num_batches_tracked"):
            rest = {other: array for other, array in state.items() if other != name}
            with pytest.raises(WeightsError, match=rf"missing: {name} \("):
                weaver.load(model, rest)


def test_all_problems_are_listed_and_nothing_is_filled() -> None:
    """The wrong entries come last in the file, so that a loader that fills as it reads would be caught."""
    model = empty_model(small(), 5)
    before = [np.array(weight) for weight in model.get_weights()]
    state: dict[str, Any] = {**_state(), "fc.0.weight": np.zeros((4, 6)), "head.bias": np.zeros(3)}
    del state["fc.0.bias"]
    with pytest.raises(WeightsError) as caught:
        weaver.load(model, state)
    for words in ("missing: fc.0.bias (3,)", "misshaped: fc.0.weight", "extra: head.bias (3,)", "infer_config"):
        assert words in str(caught.value)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_published_weights_do_not_fit_a_model_with_batch_norms() -> None:
    with pytest.raises(WeightsError, match=r"missing: blocks\.0\.pre_attn_norm\.running_mean \(6,\)"):
        weaver.load(empty_model(small(norm="batch"), 5), _state())


def test_model_with_other_weights_is_refused_by_layer() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="tagger")], name="mlp")
    with pytest.raises(WeightsError, match=r"weaver has no weights for these.*tagger/kernel, tagger/bias"):
        weaver.load(model, _state())


@pytest.mark.parametrize("variant", VARIANTS)
def test_sizes_are_inferred(variant: str) -> None:
    config = small(**VARIANTS[variant])
    found, features, classes = weaver.infer_config(oracle_part.random_state_dict(config, FEATURES, CLASSES, seed=2))
    hidden = {"activation", "remove_self_pair", "pre_activation_pair"}  # no array shows these
    if config.pairs == "none":
        hidden.add("pair_widths")
    assert found.model_dump(exclude=hidden) == config.model_dump(exclude=hidden)
    assert (features, classes) == (FEATURES, CLASSES)


def test_options_that_weights_do_not_show_are_as_published() -> None:
    found, _, _ = weaver.infer_config(_state(activation="relu", remove_self_pair=True, pre_activation_pair=True))
    published = PartConfig()
    for name in ("activation", "pair_activation", "remove_self_pair", "pre_activation_pair", "dropout"):
        assert getattr(found, name) == getattr(published, name)


def _without(*words: str, **changes: Any) -> dict[str, NDArray[np.float64]]:
    return {name: array for name, array in _state(**changes).items() if not any(word in name for word in words)}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"conv1.weight": np.zeros((3, 3))}, r"no entry 'embed\.input_bn\.weight'; found conv1\.weight"),
        ({}, r"no entry 'embed\.input_bn\.weight'; found nothing"),
        (_without("blocks."), r"cannot be inferred: entry 'blocks\.0\.fc1\.weight' is missing"),
        (_without("fc.0.weight"), r"cannot be inferred: entry 'fc\.0\.weight' is missing"),
        (_without(pairs="none", scale_heads=False), r"the number of heads shows in 'blocks\.0\.c_attn'"),
        (
            _damage("blocks.0.c_attn", np.ones(4)),
            r"sizes of these weights contradict each other(?s:.*)heads must divide",
        ),
    ],
)
def test_state_dicts_without_sizes_are_refused(state: dict[str, Any], words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        weaver.infer_config(state)
