"""Model files that were saved before modules moved and models had a memory: they load, and compute what they did."""

from __future__ import annotations

import numpy as np
import pytest
from support.paths import DATA
from support.quantised import logits

from qformers.builds.models import load_model
from qformers.nn.memory import memory_of
from qformers.quant.fidelity import axes_of, counterpart

SAVED = DATA / "saved"


@pytest.mark.parametrize("vocabulary", ["float", "hgq"])
@pytest.mark.parametrize("name", ["part", "hept"])
def test_an_older_file_loads_and_computes_the_same(name: str, vocabulary: str) -> None:
    model = load_model(SAVED / f"{name}_{vocabulary}.keras")
    with np.load(SAVED / "outputs.npz") as saved:
        events = {key.removeprefix(f"{name}_"): saved[key] for key in saved.files if key.startswith(f"{name}_")}
    wanted = events[vocabulary]
    if vocabulary == "hgq":
        np.testing.assert_array_equal(logits(model, events), wanted)
    else:  # rounding of sums differs between processors
        np.testing.assert_allclose(logits(model, events), wanted, rtol=0, atol=1e-5)
    assert memory_of(model) is None
    assert axes_of(model) == {}
    assert counterpart(model, "logits") is None
