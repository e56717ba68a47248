"""A bias that is not of the last axis: Keras' TensorFlow backend adds it elsewhere, and `SteadyBias` does not."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
from support import configurations
from support.configurations import WIDEST, deviation

from qformers.models import MODELS
from qformers.models.mixer import MixerConfig
from qformers.models.part import small
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from qformers.nn.layers import SteadyBias, keras_misplaces_bias
from qformers.nn.vocabulary import Linear

EQUATIONS = {  # output without the batch, letters of the bias
    "bnd,nm->bmd": ("md", "m"),
    "bnd,dh->bhn": ("hn", "h"),
    "bnd,dhe->bnhe": ("nhe", "h"),
    "bnd,dhe->bhne": ("hne", "he"),
    "bnd,de->bne": ("ne", "e"),
}


def _case(equation: str, n: int, d: int, new: int) -> tuple[Linear, np.ndarray[Any, Any]]:
    """A dense step whose letters m, h and e have size `new`, and its input."""
    linear = Linear(equation, {letter: new for letter in "mhe" if letter in equation}, EQUATIONS[equation][1])
    return linear, np.random.default_rng(n + d).normal(0, 1, (3, n, d)).astype(np.float32)


def _truth(layer: Any, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(np.einsum(layer.equation, x, np.asarray(layer.kernel)) + np.asarray(layer.bias))


@pytest.mark.parametrize("equation", EQUATIONS)
def test_float_adds_a_bias_along_its_own_axis_whatever_sizes_coincide(equation: str) -> None:
    for n, d, new in itertools.product((2, 3, 4), repeat=3):
        linear, x = _case(equation, n, d, new)
        nn = Float32()
        nn.declare(point="nm", head="h", channel="de")
        inputs = nn.input("features", (n, d), "bnd")
        model = nn.model({"features": inputs}, nn.dense(inputs, "step", linear), "toy")
        layer = model.get_layer("step")
        layer.bias.assign(np.random.default_rng(0).normal(0, 1, layer.bias.shape))
        assert np.allclose(model({"features": x}), _truth(layer, x), atol=1e-5), (n, d, new)


def test_keras_still_adds_such_a_bias_to_the_wrong_axis() -> None:
    """When this fails, Keras has mended `ops.add`, and `SteadyBias` and `keras_misplaces_bias` can go."""
    wrong = set()
    for equation, (axes, bias_axes) in EQUATIONS.items():
        for n, d, new in itertools.product((2, 3, 4), repeat=3):
            linear, x = _case(equation, n, d, new)
            layer = keras.layers.EinsumDense(equation, linear.output_shape(x.shape), bias_axes=bias_axes)
            layer.build(x.shape)
            layer.bias.assign(np.random.default_rng(0).normal(0, 1, layer.bias.shape))
            off = not np.allclose(layer(x), _truth(layer, x), atol=1e-5)
            assert off == keras_misplaces_bias(axes, linear.output_shape(x.shape), bias_axes), (equation, n, d, new)
            wrong |= {equation} if off else set()
    assert wrong == {"bnd,nm->bmd", "bnd,dh->bhn", "bnd,dhe->bnhe"}


def test_an_unknown_size_may_be_the_wrong_one() -> None:
    assert keras_misplaces_bias("hn", (2, None), "h")
    assert not keras_misplaces_bias("nh", (None, 2), "h")
    assert not keras_misplaces_bias("hn", (2, 5), None)


def test_it_is_saved_and_loaded_as_what_it_is() -> None:
    layer = SteadyBias("bnd,nm->bmd", (3, 3), bias_axes="m", name="mix")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(again, SteadyBias)


@pytest.mark.parametrize(
    ("name", "sizes", "config"),
    [
        ("mixer", (6, 6), MixerConfig(feature_widths=(7,), token_widths=(6,), fc_widths=(5,))),
        ("mixer", (6, 3), MixerConfig(feature_widths=(7,), particle_widths=(3,), token_widths=(6,), fc_widths=(5,))),
        ("part", (4, 3), small(pairs="input", heads=4)),
        ("part", (4, 3), small(pairs="none", heads=4, head="class_token", class_blocks=1, class_attention="scores")),
    ],
)
def test_models_whose_particles_are_as_many_as_their_channels_or_heads_equal_float(
    name: str, sizes: tuple[int, int], config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jet = Jet(*sizes, 3, None)  # type: ignore[arg-type]  # no feature set: nothing here reads one
    monkeypatch.setattr(configurations, "SIZES", jet)
    arch = MODELS[name]
    model = arch.build(arch.fixed(config), jet, Hgq(WIDEST))
    assert deviation(arch, config, model) < 0.01
