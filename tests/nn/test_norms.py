"""Norms and activations that fixed point computes: defined where float divides by nothing, within a bound elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from qformers.builds.models import load_model
from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.nn import norms
from qformers.nn.hgq import Hgq
from qformers.nn.vocabulary import Linear, Norm
from qformers.precision.fixed import Fixed
from qformers.quant.fold import calibrate
from qformers.quant.quantisers import quantisers

D = 6  # no power of two, so that 1/D is rounded
Array = NDArray[Any]


def model_of(kind: Any, quant: QuantConfig | None = None) -> keras.Model:
    """A norm and the dense step that reads it: one weight per channel, 1."""
    nn = Hgq(quant or QuantConfig(weight="fixed<8,2,RND,SAT_SYM>", activation="fixed<16,5,RND,SAT>"))
    nn.declare(point="n", channel="de")
    x = nn.input("x", (3, D), "bnd")
    read = nn.dense(nn.norm(x, Norm("norm", kind)), "read", Linear("bnd,de->bne", {"e": D}, "e"))
    model = nn.model({"x": x}, read, "norms")
    model.get_layer("read")._kernel.assign(np.eye(D))
    return model


def points(count: int = 500, seed: int = 0) -> Array:
    random = np.random.default_rng(seed)
    return np.asarray(random.normal(0.0, 1.0, (count, 3, D)) * random.uniform(0.3, 3.0, (count, 3, 1)), np.float32)


def normed(model: keras.Model, x: Array) -> Array:
    return np.asarray(keras.Model(model.inputs, model.get_layer("norm_normed").output)({"x": x}, training=False))


def truth(kind: str, x: Array) -> Array:
    x = x.astype(np.float64)
    x = x - x.mean(-1, keepdims=True) if kind == "layer" else x
    return np.asarray(x / np.sqrt((x**2).mean(-1, keepdims=True)))


@pytest.mark.parametrize("learn", [True, False])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_a_norm_is_near_float(kind: str, learn: bool) -> None:
    asked = QuantConfig(learn=learn, activation="fixed<16,6,RND,SAT>")
    model, x = model_of(kind, asked), points()
    calibrate(model, {"x": x}, start=True)
    error = normed(model, x) - truth(kind, x)
    assert np.sqrt((error**2).mean()) < 0.015
    assert np.abs(error).max() < 0.1


@pytest.mark.parametrize("scale", [2.0**-4, 1.0, 2.0**5])
def test_calibration_finds_the_range(scale: float) -> None:
    model, x = model_of("rms"), points()
    calibrate(model, {"x": x * np.float32(scale)}, start=True)
    kernel = np.asarray(model.get_layer("norm_shifted").qkernel)
    assert np.unique(kernel).size == 1
    largest = np.abs(x * scale).max() * kernel[0]
    assert 0.5 <= largest <= 1.0
    np.testing.assert_allclose(normed(model, x * np.float32(scale)), truth("rms", x), atol=0.1)


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_the_root_of_nothing_and_of_too_much_are_defined(kind: str) -> None:
    model, x = model_of(kind), points()
    calibrate(model, {"x": x}, start=True)
    nothing = np.zeros((1, 3, D), np.float32)
    assert not normed(model, nothing).any()
    tiny = normed(model, nothing + np.eye(3, D, dtype=np.float32) * 2.0**-8)
    assert np.isfinite(tiny).all()
    assert np.abs(tiny).max() <= 3.0  # the root stays at its largest value, 256
    beyond = normed(model, x * np.float32(1e6))
    assert np.isfinite(beyond).all()
    assert np.abs(beyond).max() <= np.sqrt(D) + 0.1
    assert (np.sign(beyond) * np.sign(x) >= 0).all() or kind == "layer"  # what saturates keeps its sign


def test_the_parts_of_the_root_add_up_to_it() -> None:
    for channels in (1, 2, 3, 16, 24, 100):
        top = 2.0 ** np.ceil(np.log2(channels))
        sums = np.geomspace(top * 2.0 ** -(norms.SPAN * norms.PARTS), top * 0.999, 400)
        tables = norms.root_tables(channels)
        parts = [np.asarray(table.function(sums)) for table in tables]
        for finer in tables[1:]:  # as in firmware, where the argument saturates at its largest number
            assert float(finer.function(np.array([Fixed.parse(str(finer.argument)).high]))[0]) == 0.0
        np.testing.assert_allclose(np.sum(parts, axis=0), np.sqrt(channels / sums), rtol=1e-6)
        assert norms.share_of(channels) == pytest.approx(1 / channels, rel=2.0**-norms.SHARE_BITS)


def test_a_saved_norm_is_the_same(tmp_path: Path) -> None:
    model, x = model_of("layer"), points()
    calibrate(model, {"x": x}, start=True)
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.memory == model.memory
    assert loaded.memory.shifts == ("norm_shifted",)
    assert loaded.memory.ranged == ("norm_mean", "norm_shifted")
    np.testing.assert_array_equal(loaded({"x": x}), model({"x": x}))


def test_each_step_can_be_told_its_format() -> None:
    layers = {
        "norm_mean": {"input": "fixed<12,6>"},
        "norm_shifted": {"input": "fixed<14,6>"},
        "norm_squares": {"input0": "fixed<7,1>", "input1": "fixed<7,1>"},
        "norm_root1": {"input": "ufixed<8,-1>", "table": "ufixed<9,4>"},
        "norm_normed": {"input0": "fixed<9,1>", "input1": "ufixed<12,9>"},
    }
    found = {q.name: q for q in quantisers(model_of("layer", QuantConfig(learn=False, layers=layers)))}
    for name, bits in (("mean_iq", 12), ("shifted_iq", 14), ("squares_iq1", 7), ("root1_oq", 9), ("normed_iq1", 12)):
        assert set(found[f"norm_{name}"].widths().ravel()) == {bits}


def test_what_a_norm_and_a_gate_cannot_take_is_refused() -> None:
    nn = Hgq(QuantConfig())
    nn.declare(point="n", channel="de")
    x = nn.input("x", (3, D), "bnd")
    with pytest.raises(ConfigError, match=r"norm: in front of a dense step a norm is folded along the last axis only"):
        nn.norm(x, Norm("norm", "layer", axis=-2))
    behind = Linear("bnd,de->bne", {"e": 4}, "e", norm=Norm("behind", "rms", axis=-2))
    with pytest.raises(ConfigError, match=r"behind: a rms norm is computed along the last axis. Received: axis -2"):
        nn.dense(x, "step", behind)
    with pytest.raises(ConfigError, match=r"gated: the two steps of a SwiGLU are linear.*Received: activation relu"):
        nn.swiglu(x, "gated", Linear("bnd,de->bne", {"e": 4}, "e", activation="relu"))
