"""The float peers of ParT: against plain loops, padding, order, published sizes."""

from __future__ import annotations

import numpy as np
import pytest
from support.oracle_peers import ORACLES, Weights
from support.peers import CLASSES, FORMS, MASKED, UNORDERED, float_peer, peer_jets
from support.quantised import logits

from qformers.models import MODELS
from qformers.models.jedi_linear import JediLinearConfig
from qformers.models.sizes import Jet
from qformers.models.transformer import TransformerConfig
from qformers.nn.float32 import Float32
from qformers.quant.fold import to_numpy

N = 6


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("form", FORMS)
def test_equals_plain_loops(form: str, norm: str) -> None:
    model = float_peer(form, N, "float64", norm=norm)
    jets = {name: array.astype(np.float64) for name, array in peer_jets(N, 6, fewest=1).items()}
    cfg = FORMS[form]
    expected = [
        ORACLES[cfg.architecture](Weights(model), cfg, x, m)
        for x, m in zip(jets["features"], jets["mask"], strict=True)
    ]
    found = logits(model, jets)
    assert found.shape == (6, CLASSES)
    assert np.std(found, axis=0).min() > 1e-3  # the jets differ
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("form", MASKED)
def test_a_padded_slot_never_changes_a_logit(form: str) -> None:
    model, jets = float_peer(form, N, "float64"), peer_jets(N, 100)
    expected = logits(model, jets)
    padded = jets["mask"] == 0
    jets["features"][padded] = np.random.default_rng(1).normal(0, 100, (padded.sum(), 4))
    assert padded.sum() > 100
    np.testing.assert_allclose(logits(model, jets), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_order_matters_where_it_is_said_to(form: str) -> None:
    model, jets = float_peer(form, N, "float64"), peer_jets(N, 20, fewest=3)
    turned = {name: array[:, ::-1] for name, array in jets.items()}
    difference = np.abs(logits(model, turned) - logits(model, jets)).max()
    assert (difference < 1e-12) == (form in UNORDERED)


def _weights(architecture: str, cfg: object, particles: int) -> int:
    model = MODELS[architecture].build(cfg, Jet(particles, 3, 5), Float32())
    return int(sum(np.prod(v.shape) for v in model.trainable_variables))


@pytest.mark.parametrize(("particles", "expected"), [(8, 5717), (16, 7765)])
def test_the_transformer_has_the_published_size(particles: int, expected: int) -> None:
    """The released models of arXiv:2510.24784 have 5.7 and 7.8 thousand parameters."""
    assert _weights("transformer", TransformerConfig(norm="none"), particles) == expected


def test_the_cost_of_jedi_linear_does_not_depend_on_n() -> None:
    """Five layers of 64 inputs or outputs and the head: 19,589 weights at any N."""
    cfg = JediLinearConfig(norm="none")
    assert [_weights("jedi_linear", cfg, n) for n in (8, 32)] == [19589, 19589]


def test_statistics_of_the_norms_count_real_particles_only() -> None:
    model, jets = float_peer("deepsets", N), peer_jets(N, 64)
    before = to_numpy(model.get_layer("phi0_norm").moving_mean)
    other = {**jets, "features": jets["features"] + 50.0 * (1 - jets["mask"][..., None])}
    after = []
    for inputs in (jets, other):
        model.get_layer("phi0_norm").moving_mean.assign(before)
        model(inputs, training=True)
        after.append(to_numpy(model.get_layer("phi0_norm").moving_mean))
    assert np.abs(after[0] - before).max() > 0.01
    np.testing.assert_allclose(after[0], after[1], rtol=1e-5)


def test_an_empty_jet_gives_a_finite_answer() -> None:
    for form in FORMS:
        jets = peer_jets(N, 2)
        jets = {name: np.zeros_like(array) for name, array in jets.items()}
        assert np.all(np.isfinite(logits(float_peer(form, N), jets)))
