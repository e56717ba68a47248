"""Arrays without an answer are refused by every way into a model, in words that say what was received."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from qformers.errors import DataError
from qformers.nn.layers import MaskedMean, RememberingModel
from qformers.quant.quantisers import walk

WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "call": lambda model, x: model(x),
    "predict": lambda model, x: model.predict(x, verbose=0),
    "predict_on_batch": lambda model, x: model.predict_on_batch(x),
    "walk": lambda model, x: list(walk(model, x)),  # calibration and audit
}


@pytest.fixture(scope="module")
def model() -> Any:
    points, mask = keras.Input((4, 3), name="features"), keras.Input((4,), name="mask")
    mean = MaskedMean(name="mean")([points, mask])
    return RememberingModel({"features": points, "mask": mask}, mean)


def given(events: int = 2) -> dict[str, Any]:
    mask = np.ones((events, 4), np.float32)
    mask[:, 3] = 0
    return {"features": np.ones((events, 4, 3), np.float32), "mask": mask}


@pytest.mark.parametrize("way", WAYS)
def test_no_event_is_refused(way: str, model: Any) -> None:
    with pytest.raises(DataError, match=r"at least one event .*: give some. Received: input .* of shape \(0, 4, 3\)"):
        WAYS[way](model, given(0))


@pytest.mark.parametrize("way", [way for way in WAYS if way != "call"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(wrong: float, way: str, model: Any) -> None:
    x = given()
    x["features"][1, 2, 0] = wrong
    words = rf"input 'features' must be finite.* leave .* out. Received: {wrong} at \(1, 2, 0\), in 1 of 2 events"
    with pytest.raises(DataError, match=words):
        WAYS[way](model, x)


@pytest.mark.parametrize("way", WAYS)
def test_what_has_an_answer_is_taken(way: str, model: Any) -> None:
    x = given()
    x["features"][:, 3] = np.nan  # a slot that the mask leaves out
    WAYS[way](model, x)
    WAYS[way](model, {name: keras.ops.convert_to_tensor(array) for name, array in x.items()})
