"""The one format that stands for all of a quantiser, as `precision.json` has it, can be read back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qformers.precision.table import value_of
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
