"""The float ParT is the published one: against plain loops, parameter counts, padding, permutation, files, JAX."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from support import oracle_part
from support.part import CLASSES, FEATURES, VARIANTS, empty_model, logits, random_model, small
from support.paths import SUPPORT
from support.under_jax import under_jax

from qformers.models.part.config import PartConfig
from qformers.models.part.part import part
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32

TOLERANCE = 1e-9  # float64; rounding alone gives about 1e-14


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("particles", [5, 9], ids=["N5", "N9"])  # below and above the width of 6
def test_equals_plain_loops(variant: str, particles: int) -> None:
    config = small(**VARIANTS[variant])
    jets = oracle_part.random_jets(particles, FEATURES, [particles, 4, 2, 1, 0], seed=3)
    state = oracle_part.random_state_dict(config, FEATURES, CLASSES, seed=1)
    expected = oracle_part.part(state, config, *jets)
    found = logits(random_model(config, particles), *jets)
    assert found.shape == expected.shape == (5, CLASSES)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_equals_plain_loops_for_degenerate_pairs() -> None:
    """Twins, a particle along the beam and one at rest hit every floor of the pair features."""
    config = small()
    features, vectors, mask = oracle_part.random_jets(6, FEATURES, [6, 5], seed=5)
    vectors[0, 1] = vectors[0, 0]
    vectors[0, 2] = [0.0, 0.0, 30.0, 30.0]
    vectors[1, 0] = [0.0, 0.0, 0.0, 0.5]
    vectors[1, 5] = 0.0  # a padded slot, zero as JetClass readers leave it
    state = oracle_part.random_state_dict(config, FEATURES, CLASSES, seed=1)
    expected = oracle_part.part(state, config, features, vectors, mask)
    np.testing.assert_allclose(
        logits(random_model(config, 6), features, vectors, mask), expected, rtol=0, atol=TOLERANCE
    )


def test_every_weight_matters_to_the_plain_loops() -> None:
    """Otherwise agreement would say nothing about that weight. Only the bias of the keys drops out of a softmax."""
    config = small(fc_widths=(7,))
    jets = oracle_part.random_jets(3, FEATURES, [3, 2], seed=2)
    state = oracle_part.random_state_dict(config, FEATURES, CLASSES, seed=1)
    before = oracle_part.part(state, config, *jets)
    for name, array in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        noise = np.random.default_rng(0).normal(0.0, 0.1, array.shape)
        change = np.abs(oracle_part.part({**state, name: array + np.abs(noise)}, config, *jets) - before).max()
        assert change > 1e-6, name
    key_bias = np.zeros(3 * config.width)
    key_bias[config.width : 2 * config.width] = 1.0
    moved = {**state, "blocks.0.attn.in_proj.bias": state["blocks.0.attn.in_proj.bias"] + key_bias}
    np.testing.assert_allclose(oracle_part.part(moved, config, *jets), before, atol=1e-12)


JETCLASS = {"kin": (7, 2_142_166), "kinpid": (13, 2_142_958), "full": (17, 2_143_486)}


def _parameters(config: PartConfig, features: int, classes: int) -> int:
    model = part(config, Jet(4, features, classes), Float32())
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize("inputs", JETCLASS)
def test_parameter_count_of_the_published_model(inputs: str) -> None:
    features, expected = JETCLASS[inputs]
    assert _parameters(PartConfig(), features, 10) == expected


def test_parameter_count_without_pairs() -> None:
    assert _parameters(PartConfig(pairs="none"), 7, 10) == 2_132_598


@pytest.mark.parametrize(
    ("features", "embed", "pair", "heads", "blocks", "expected"),
    [(3, (16,), (8,), 2, 1, 7_211), (7, (32,), (16,), 4, 2, 39_921), (7, (64, 64), (32,), 4, 3, 208_485)],
)
def test_parameter_count_of_small_models(
    features: int, embed: tuple[int, ...], pair: tuple[int, ...], heads: int, blocks: int, expected: int
) -> None:
    config = PartConfig(embed_widths=embed, pair_widths=pair, heads=heads, blocks=blocks, class_blocks=1)
    assert _parameters(config, features, 5) == expected


@pytest.mark.parametrize("variant", ["published_form", "mean_head", "remove_self_pair"])
def test_padding_changes_nothing(variant: str) -> None:
    """Neither what stands in padded slots (noise, zeros, the jet again) nor how many there are."""
    config = small(**VARIANTS[variant])
    counts = [7, 3, 1, 0]
    features, vectors, mask = oracle_part.random_jets(7, FEATURES, counts, seed=4)
    model = random_model(config, 7)
    reference = logits(model, features, vectors, mask)
    real = mask[:, :, None] > 0
    zeros = logits(model, np.where(real, features, 0.0), np.where(real, vectors, 0.0), mask)
    np.testing.assert_allclose(zeros, reference, rtol=0, atol=1e-13)
    wrap = np.array([np.arange(7) % max(count, 1) for count in counts])[:, :, None]
    x, v = (np.take_along_axis(array, wrap, axis=1) for array in (features, vectors))
    np.testing.assert_allclose(logits(model, x, v, mask), reference, rtol=0, atol=1e-13)
    x, v, m = (np.pad(array, [(0, 0), (0, 4)] + [(0, 0)] * (array.ndim - 2)) for array in (features, vectors, mask))
    np.testing.assert_allclose(logits(random_model(config, 11), x, v, m), reference, rtol=0, atol=1e-13)


@pytest.mark.parametrize("variant", ["published_form", "mean_head"])
def test_order_of_particles_changes_nothing(variant: str) -> None:
    """Real and padded slots are shuffled together."""
    features, vectors, mask = oracle_part.random_jets(7, FEATURES, [7, 4, 1], seed=6)
    order = np.random.default_rng(0).permutation(7)
    model = random_model(small(**VARIANTS[variant]), 7)
    shuffled = logits(model, features[:, order], vectors[:, order], mask[:, order])
    np.testing.assert_allclose(shuffled, logits(model, features, vectors, mask), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("variant", ["published_form", "mean_head"])
def test_empty_jets_have_one_finite_answer(variant: str, dtype: str) -> None:
    """The logits of nothing depend on the weights alone: equal for all empty jets, whatever the slots hold."""
    features, vectors, mask = oracle_part.random_jets(5, FEATURES, [0, 0, 0], seed=7)
    features[1], vectors[1] = 0.0, 0.0
    found = logits(random_model(small(**VARIANTS[variant]), 5, dtype=dtype), features, vectors, mask)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[1:], found[[0, 0]])


def test_float32_is_close_to_float64() -> None:
    jets = oracle_part.random_jets(6, FEATURES, [6, 3, 1, 0], seed=8, mass=5.0)
    single = logits(random_model(small(), 6, dtype="float32"), *jets)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, logits(random_model(small(), 6), *jets), rtol=0, atol=2e-5)


@pytest.mark.parametrize("variant", ["published_form", "remove_self_pair", "no_pairs", "mean_head"])
def test_saved_model_is_the_same_model(variant: str, tmp_path: Path) -> None:
    model = random_model(small(**VARIANTS[variant]), 6)
    jets = oracle_part.random_jets(6, FEATURES, [6, 2, 0], seed=9)
    model.save(tmp_path / "part.keras")
    again = keras.saving.load_model(tmp_path / "part.keras", safe_mode=True)
    np.testing.assert_array_equal(logits(again, *jets), logits(model, *jets))
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]


def test_dropout_acts_in_training_only() -> None:
    features, vectors, mask = oracle_part.random_jets(6, FEATURES, [6, 5], seed=10)
    model = random_model(small(dropout=0.5, attn_dropout=0.5, activation_dropout=0.5), 6)
    trained = logits(model, features, vectors, mask, training=True)
    assert np.isfinite(trained).all()
    assert np.abs(trained - logits(model, features, vectors, mask)).max() > 1e-3


def test_jax_computes_and_trains_the_same_model(tmp_path: Path) -> None:
    """Forward pass equal to TensorFlow's; a few steps of training on one batch lower a finite loss.

    In float32, because Keras' JAX backend casts float64 down in some operations (arctan2, layer norm).
    """
    pytest.importorskip("jax", reason="the JAX backend is an extra: pip install jax")
    model = random_model(small(blocks=1, class_blocks=1), 6, dtype="float32")
    jets = oracle_part.random_jets(6, FEATURES, [6, 4, 1, 0] * 4, seed=11, mass=5.0)
    model.save(tmp_path / "part.keras")
    np.savez(tmp_path / "jets.npz", features=jets[0], vectors=jets[1], mask=jets[2], labels=np.arange(16) % CLASSES)
    result = under_jax(SUPPORT / "jax_child.py", tmp_path)
    assert result["backend"] == "jax"
    np.testing.assert_allclose(result["logits"], logits(model, *jets), rtol=0, atol=2e-5)
    losses = result["losses"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_fresh_model_starts_near_equal_classes() -> None:
    """Finite and of order one at the start: a wrong fan in an initialiser would show here."""
    jets = oracle_part.random_jets(6, FEATURES, [6, 5, 1], seed=12)
    found = logits(empty_model(small(), 6), *jets)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 5.0
