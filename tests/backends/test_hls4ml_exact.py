"""The firmware equals Keras: every mode of every format, every layer that may be converted, a whole ParT."""

from __future__ import annotations

import numpy as np
import pytest
from support import hls_models
from support.hls_models import Compared


def assert_equal(made: Compared, name: str) -> None:
    wanted, found = made.keras[name], made.firmware[name]
    assert found.shape == wanted.shape
    assert np.unique(wanted).size > 1, "a constant output would show nothing"
    different = int((wanted != found).sum())
    assert different == 0, f"{different} of {wanted.size} values differ, by up to {np.abs(wanted - found).max()}"


@pytest.mark.parametrize("name", hls_models.FORMAT_OUTPUTS)
def test_every_format_is_exact(formats: Compared, name: str) -> None:
    assert_equal(formats, name)


@pytest.mark.parametrize("name", hls_models.OPERATION_OUTPUTS)
def test_every_layer_is_exact(operations: Compared, name: str) -> None:
    assert_equal(operations, name)


def test_part_is_exact_on_ten_thousand_jets(part4: Compared) -> None:
    assert len(part4.firmware["logits"]) == 10_000
    assert_equal(part4, "logits")
