"""The one format that stands for all of a quantiser, as `precision.json` has it, can be read back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from qformers.precision.table import value_of
from qformers.quant.fold import batch_norm_numbers, chained
from qformers.quant.formats import setting_of


@pytest.mark.parametrize(
    ("kif", "mode", "text"),
    [
        (([1], [0], [0]), "SAT_SYM", "ufixed<1,1,RND,SAT_SYM>"),  # a weight that has learned 0 bits is 0
        (([1], [0], [0]), "SAT", "fixed<1,1,RND,SAT>"),  # 0 or -1
        (([1, 1], [5, 1], [-5, 3]), "SAT_SYM", "fixed<5,2,RND,SAT_SYM>"),
        (([1, 0], [5, 1], [-5, 3]), "SAT", "fixed<9,6,RND,SAT>"),
        (([0], [0], [0]), "SAT", "ufixed<1,1,RND,SAT>"),
    ],
)
def test_it_holds_all_and_is_read_back(kif: tuple[list[int], ...], mode: str, text: str) -> None:
    core = SimpleNamespace(round_mode="RND", overflow_mode=mode)
    quantiser: Any = SimpleNamespace(kif=lambda: tuple(map(np.array, kif)), core=core, learned=True)
    setting = setting_of(quantiser)
    assert str(setting.value) == text
    assert value_of("weight", text) == setting.value


@pytest.mark.parametrize(("scale", "center"), [(True, True), (False, True), (True, False), (False, False)])
def test_a_batch_norm_is_its_factor_and_offset(scale: bool, center: bool) -> None:
    """Also one that learns no factor or no offset, as models of one's own have them."""
    layer = keras.layers.BatchNormalization(scale=scale, center=center, epsilon=0.01)
    layer.build((None, 3))
    for place, weight in enumerate(layer.weights):
        weight.assign(np.array([0.5, 2.0, 1.25]) + place)
    events = np.random.default_rng(3).normal(size=(20, 3)).astype(np.float32)
    factor, offset = batch_norm_numbers(layer)
    np.testing.assert_allclose(events * factor + offset, layer(events, training=False), rtol=1e-5, atol=1e-6)
    twice, moved = chained([layer, layer])
    np.testing.assert_allclose(events * twice + moved, layer(layer(events)), rtol=1e-5, atol=1e-5)
