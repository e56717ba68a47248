"""The model in float64, which wide sums are compared with: equal where float32 is exact, and right where it rounds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support import hls_models as h
from support import wide
from support.hept_fixed import NARROW, both, events, small
from support.paths import SUPPORT
from support.peers import peer_jets, quantised_peer
from support.under_jax import under_jax

from hls.backends import open_backend
from hls.backends.protocol import Project
from hls.errors import HlsError
from hls.proof.agree import agree, keras_outputs
from hls.proof.exact import exact, in_float64
from hls.proof.layerwise import first_difference

BACKENDS = ["vitis", "alkaid"]


def written(model: keras.Model, backend: str, folder: Path) -> Project:
    return open_backend(backend).write(model, h.build_of("wide", backend=backend), folder / backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", wide.MODELS)
def test_firmware_with_wide_sums_is_the_model_in_float64(kind: str, backend: str, tmp_path: Path) -> None:
    model, inputs = wide.MODELS[kind](), {"x": h.numbers(3, 3000)}
    project = written(model, backend, tmp_path)
    twin = exact(model, project)
    assert agree(project, model, inputs).equal
    rounded, wanted = keras_outputs(model, inputs), keras_outputs(twin, inputs)
    assert sum(np.sum(rounded[name] != values) for name, values in wanted.items()) > 50
    assert first_difference(project, twin, {"x": inputs["x"][:50]}) is None


@pytest.mark.parametrize("bits", [18, 20, 25])
def test_tables_of_any_width_are_those_of_keras_in_alkaid(bits: int, tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    bent = h.table(h.dense(x, "first", h.SOURCE, h.MIX), "bent", "fixed<12,4,RND,SAT>", f"fixed<{bits},2,RND,SAT>")
    model, inputs = keras.Model(x, {"bent": bent}), {"x": h.numbers(3, 3000)}
    project = written(model, "alkaid", tmp_path)
    np.testing.assert_array_equal(project.outputs(inputs)["bent"], keras_outputs(model, inputs)["bent"])


def test_a_softmax_whose_tables_are_others_in_cpp_is_refused_by_layer() -> None:
    def refused(bits: int) -> list[str]:
        x = keras.Input((3,), name="x")
        y = h.softmax(h.dense(x, "first", h.SOURCE, h.MIX), "soft", tables=f"ufixed<{bits},1,RND_CONV,SAT>")
        return [str(one) for one in open_backend("vitis").supports(keras.Model(x, {"y": y}))]

    assert refused(12) == []
    (words,) = refused(22)
    told = r"soft .*: \d+ entries of its inv_table, of 22 bits, are others in hls4ml's C\+\+; give it fewer"
    assert re.search(told, words)


def test_what_is_wrapped_is_exact_as_far_as_a_float64_goes(tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    model = keras.Model(x, {"y": h.dense(x, "first", "fixed<8,5,TRN,WRAP>", h.MIX)})
    project = written(model, "vitis", tmp_path)
    assert agree(project, model, {"x": np.full((1, 3), 1e12, np.float32)}).equal
    with pytest.raises(HlsError, match=r"input 'x' holds 1e\+18, which 'first_iq' wraps .* up to 5\.6295e\+14; give"):
        agree(project, model, {"x": np.full((1, 3), 1e18, np.float32)})


def test_under_jax_wide_sums_are_held_in_float64_too(tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="the JAX backend is an extra: pip install jax")
    found = under_jax(SUPPORT / "wide.py", tmp_path)
    assert (found["backend"], found["equal"], found["values"]) == ("jax", True, 2700)


def hept_model() -> keras.Model:
    return both(small(), 12, NARROW)[1]


MODELS: dict[str, tuple[Callable[[], keras.Model], Callable[[], dict[str, Any]]]] = {
    "operations": (
        h.operations_model,
        lambda: {"x": h.numbers(3, 1000), "y": h.numbers(6, 1000).reshape(1000, 2, 3)},
    ),
    "part": (lambda: h.part_model(4), lambda: h.jets(4, 500)),
    "mixer": (lambda: quantised_peer("mixer", 8), lambda: peer_jets(8, 500)),
    "hept": (hept_model, lambda: events(small(), 12)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_where_float32_is_exact_both_are_equal(kind: str) -> None:
    made, drawn = MODELS[kind]
    model, inputs = made(), drawn()
    before = keras.config.dtype_policy().name
    twin = in_float64(model)
    assert keras.config.dtype_policy().name == before
    assert {tensor.dtype for tensor in twin.outputs} == {"float64"}
    wanted = keras_outputs(model, inputs)
    for name, values in keras_outputs(twin, inputs).items():
        np.testing.assert_array_equal(values, wanted[name])
        assert np.unique(values).size > 1
