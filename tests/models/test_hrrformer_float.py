"""Hrrformer in float: published sizes, plain loops, quirks, and the form whose Fourier transform is folded."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from support.oracle_hrrformer import Hrrformer
from support.peers import NARROW
from support.quantised import inputs_of, logits, shaken

from qformers.errors import ConfigError
from qformers.models import MODELS
from qformers.models.hrrformer import fixed_hrrformer, small
from qformers.models.hrrformer.attention import transform
from qformers.models.hrrformer.config import HrrformerConfig
from qformers.models.hrrformer.published import PUBLISHED
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from qformers.quant.fold import transfer

T, CLASSES, ENTRIES = 6, 3, 4
COUNTS = {  # of the paper's models
    "listops": 9_173_514, "text": 12_996_610, "retrieval": 428_034, "image": 1_120_394, "path": 11_804_162,
    "path_x": 22_811_906, "ember": 659_458 + 256 * 16_384,
}  # fmt: skip
QUIRKS: dict[str, dict[str, Any]] = {
    "published": {"masked": True, "mask_beta": False, "mask_pool": False, "scale_by_T": False},
    "masked": {},
    "unmasked": {"masked": False, "mask_beta": False, "mask_pool": False},
    "exact inverse": {"inverse": "exact"},
    "pre": {"residuals": "pre", "norm": "layer", "biases": True},
    "post": {"residuals": "post", "norm": "rms"},
    "class token": {"head": "class_token", "scale_by_T": False, "mask_pool": False},
    "pair": {"pair": True},
    "pair of places": {"pair": True, "positions": "learned", "embed_widths": (5, 8)},
    "pair of waves": {"pair": True, "vocabulary": ENTRIES, "positions": "fixed", "embed_norm": True},
    "tokens": {"vocabulary": ENTRIES, "positions": "learned", "embed_norm": True, "norm": "layer"},
    "waves": {"vocabulary": ENTRIES, "positions": "fixed", "activation": "gelu_tanh"},
    "places": {"positions": "learned", "embed_widths": (5, 8), "activation": "silu"},
    "dot": {"attention": "dot", "activation": "gelu"},
    "none": {"attention": "none"},
}


def model_of(cfg: HrrformerConfig, dtype: str = "float64") -> keras.Model:
    """A shaken float model of six tokens."""
    keras.utils.set_random_seed(3)
    return shaken(MODELS["hrrformer"].build(cfg, Jet(T, 3, CLASSES), Float32(dtype)))


def events(count: int = 8, fewest: int = 1) -> dict[str, NDArray[Any]]:
    """Whole events as all forms read them; pads are not zero."""
    random = np.random.default_rng(5)
    mask = (np.arange(T) < random.integers(fewest, T + 1, (count, 1))).astype(np.float64)
    return {
        "features": random.normal(size=(count, T, 3)),
        "mask": mask,
        "tokens": random.integers(0, ENTRIES, (count, T)),
    }


@pytest.mark.parametrize("task", PUBLISHED)
def test_the_published_forms_have_the_published_parameters(task: str) -> None:
    published = PUBLISHED[task]
    jet = Jet(published.length * (2 if published.model.pair else 1), 1, published.classes)
    assert MODELS["hrrformer"].build(published.model, jet, Float32()).count_params() == COUNTS[task]


@pytest.mark.parametrize("quirk", QUIRKS)
def test_it_equals_plain_loops(quirk: str) -> None:
    cfg = small(**QUIRKS[quirk])
    model, given = model_of(cfg), events()
    expected = [
        Hrrformer(model, cfg)(x, m)
        for x, m in zip(given["tokens" if cfg.vocabulary else "features"], given["mask"], strict=True)
    ]
    found = logits(model, inputs_of(model, given))
    assert np.std(expected, axis=0).min() > 1e-3  # the events differ
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("quirk", [name for name, changes in QUIRKS.items() if changes.get("attention") is None])
@pytest.mark.parametrize("width", [8, 12, 32])
def test_the_folded_transform_is_the_same_function(quirk: str, width: int) -> None:
    cfg = small(**{**QUIRKS[quirk], "embed_widths": (width,)})
    if cfg.inverse == "exact":
        return
    published, folded = model_of(cfg), model_of(fixed_hrrformer(cfg))
    assert folded.memory.config["form"] == "dft"
    transfer(published, folded)
    given = inputs_of(published, events(50))
    expected = logits(published, given)
    np.testing.assert_allclose(logits(folded, given), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("width", [4, 6, 16])
def test_the_transform_is_orthonormal_and_that_of_fourier(width: int) -> None:
    rows = transform(width)
    matrix = np.concatenate([rows["edge"], rows["re"], rows["im"]])
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(width), atol=1e-14)
    x = np.random.default_rng(0).normal(size=width)
    spectrum = np.fft.rfft(x)
    np.testing.assert_allclose(rows["edge"] @ x * np.sqrt(width), spectrum[[0, -1]].real, atol=1e-13)
    np.testing.assert_allclose(rows["re"] @ x * np.sqrt(width / 2), spectrum[1:-1].real, atol=1e-13)
    np.testing.assert_allclose(rows["im"] @ x * np.sqrt(width / 2), spectrum[1:-1].imag, atol=1e-13)


@pytest.mark.parametrize(("mask_beta", "seen"), [(False, True), (True, False)])
def test_pads_leak_into_beta_unless_they_are_masked(mask_beta: bool, seen: bool) -> None:
    model, given = model_of(small(mask_beta=mask_beta)), events(50)
    before = logits(model, inputs_of(model, given))
    given["features"] = given["features"] + 3.0 * (1.0 - given["mask"][..., None])
    changed = np.abs(logits(model, inputs_of(model, given)) - before).max()
    assert (changed > 1e-2) == seen
    assert seen or changed < 1e-12


@pytest.mark.parametrize(("epsilon", "finite"), [(0.0, False), (1e-12, True)])
def test_a_value_of_zeros_is_no_number_only_where_it_was_published_so(epsilon: float, finite: bool) -> None:
    model = model_of(small(cosine_epsilon=epsilon))
    model.get_layer("b0_attn_v").set_weights([np.zeros((8, 2, 4))])
    assert np.isfinite(logits(model, inputs_of(model, events()))).all() == finite


def test_an_event_without_tokens_has_finite_logits_and_gradients() -> None:
    import tensorflow as tf

    model, given = model_of(small(), "float32"), events(4)
    given["mask"][0] = 0.0
    with tf.GradientTape() as tape:
        total = keras.ops.sum(model(inputs_of(model, given), training=True) ** 2)
    gradients = tape.gradient(total, [variable.value for variable in model.trainable_variables])
    assert np.isfinite(float(total))
    assert all(np.isfinite(np.asarray(gradient)).all() for gradient in gradients if gradient is not None)


def test_weights_are_of_size_one_where_they_are_scaled_by_the_number_of_tokens() -> None:
    for scaled, low, high in ((True, np.exp(-2), np.exp(2)), (False, np.exp(-2) / T, np.exp(2) / 1)):
        model, given = model_of(small(scale_by_T=scaled)), events(200)
        weights = keras.Model(model.inputs, model.get_layer("b0_attn_weights").output)
        found = np.asarray(weights(inputs_of(model, given)))[given["mask"] > 0]
        assert (found >= low).all()
        assert (found <= high).all()
    assert found.mean() < 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embed_widths": ()}, r"embed_widths needs at least the model width. Received: embed_widths=\(\)"),
        ({"embed_widths": (6,), "heads": 3}, "heads of an even width, 4 or more. Received: heads=3 of 6 channels"),
        ({"embed_widths": (8,), "heads": 3}, "heads must divide the model width 8. Received: heads=3"),
        ({"form": "dft", "inverse": "exact"}, "form: dft has inverse: approximate alone. Received: inverse=exact"),
        ({"positions": "fixed"}, "positions: fixed is of tokens"),
        ({"vocabulary": 3, "embed_widths": (4, 8)}, "tokens .vocabulary. have embed_widths of the model width alone"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        small(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inverse": "exact"}, "inverse: exact has no fixed point; set model.inverse: approximate, which is another"),
        ({"head": "class_token"}, "head: class_token has no fixed point; set model.head: mean"),
        ({"pair": True}, "pair: true has no fixed point; set model.pair: false"),
        ({"mask_pool": False}, "set model.mask_pool: true"),
    ],
)  # fmt: skip
def test_what_fixed_point_has_not_is_refused_with_the_way_out(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MODELS["hrrformer"].build(fixed_hrrformer(small(**changes)), Jet(T, 3, CLASSES), Hgq(NARROW))


def test_a_pair_of_an_odd_number_of_tokens_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.pair: data.num_particles must be even. Received: 5"):
        MODELS["hrrformer"].build(small(pair=True), Jet(5, 3, CLASSES), Float32())
