"""The fixed-point peers of ParT: folding, padding, formats, EBOPs, and alkaid's trace bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from support.peers import CLASSES, FORMS, MASKED, NARROW, float_peer, peer_jets, quantised_peer
from support.quantised import WIDE, inputs_of, logits

from qformers.builds.models import load_model
from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from qformers.nn.memory import Fold
from qformers.nn.vocabulary import Linear, Norm, total_scale
from qformers.precision.fixed import Fixed
from qformers.quant.audit import audit, widths
from qformers.quant.fold import calibrate, float_to_quantised, folded_dense, to_numpy
from qformers.quant.quantisers import quantisers

N = 5


@pytest.fixture(scope="module", params=FORMS)
def peer(request: pytest.FixtureRequest) -> tuple[str, keras.Model, keras.Model]:
    """Name of the form, its float model, and its quantised form with wide formats."""
    form = request.param
    float_model, model = float_peer(form, N), quantised_peer(form, N, WIDE)
    float_to_quantised(float_model, model, inputs_of(model, peer_jets(N, 1000, seed=5)))
    return form, float_model, model


def test_wide_formats_come_close_to_float(peer: tuple[str, keras.Model, keras.Model]) -> None:
    jets = peer_jets(N, 400)
    expected, found = logits(peer[1], jets), logits(peer[2], jets)
    assert found.shape == (400, CLASSES)
    assert np.mean(np.abs(found - expected)) < 0.01 * np.std(expected)


def test_a_padded_slot_never_changes_a_bit(peer: tuple[str, keras.Model, keras.Model]) -> None:
    form, _, model = peer
    jets = peer_jets(N, 300)
    expected = logits(model, jets)
    padded = jets["mask"] == 0
    jets["features"][padded] = np.random.default_rng(2).normal(0, 100, (padded.sum(), 4))
    assert padded.sum() > 100
    assert np.array_equal(logits(model, jets), expected) == (form in MASKED)


@pytest.mark.parametrize("form", ["deepsets_sum", "mixer", "jedi", "linformer_mean"])
def test_saving_and_loading_is_exact(form: str, tmp_path: Path) -> None:
    model, jets = quantised_peer(form, N), peer_jets(N, 300)
    float_to_quantised(float_peer(form, N), model, inputs_of(model, jets))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(logits(load_model(tmp_path / "model.keras"), jets), logits(model, jets))


@pytest.mark.parametrize("form", FORMS)
def test_folding_is_exact(form: str) -> None:
    """The same model without norms, with folded weights, is the same function in float64."""
    with_norms, folded = float_peer(form, N, "float64"), float_peer(form, N, "float64", norm="none")
    for name, fold in quantised_peer(form, N).memory.folds.items():
        assert fold.after or "norm" not in name
        kernel, bias = folded_dense(with_norms, name, Fold(fold.before, fold.after, axis=fold.axis))
        folded.get_layer(name)._kernel.assign(kernel)
        if bias is not None:
            folded.get_layer(name).bias.assign(bias.reshape(folded.get_layer(name).bias.shape))
    jets = {name: array.astype(np.float64) for name, array in peer_jets(N, 100, fewest=1).items()}
    assert any("norm" in layer.name for layer in with_norms.layers)
    assert not any("norm" in layer.name for layer in folded.layers)
    np.testing.assert_allclose(logits(folded, jets), logits(with_norms, jets), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("linear", "words"),
    [
        (Linear("bnd,nm->bmd", {"m": 2}, "m", norm=Norm("hidden_norm", "batch")), "its axis 'd' is not the kernel's"),
        (Linear("bnd,de->bne", {"e": 2}, None, norm=Norm("hidden_norm", "batch")), "without bias cannot be folded"),
    ],
)
def test_a_norm_that_cannot_be_folded_is_refused(linear: Linear, words: str) -> None:
    nn = Float32()
    nn.declare(point="nm", channel="de")
    x = nn.input("features", (N, 2), "bnd")
    model = keras.Model(x, nn.dense(x, "hidden", linear))
    with pytest.raises(ConfigError, match=f"hidden: a norm .*{words}"):
        folded_dense(model, "hidden", Fold(after=("hidden_norm",)))


@pytest.mark.parametrize(("particles", "scale"), [(1, 1), (5, 1 / 4), (6, 1 / 8), (8, 1 / 8), (32, 1 / 32)])
def test_a_sum_is_scaled_by_the_next_power_of_two(particles: int, scale: float) -> None:
    assert total_scale(particles) == scale
    for nn in (Float32(), Hgq(QuantConfig(activation="fixed<16,8>"))):
        nn.declare(point="n", channel="d")
        x, mask = nn.input("x", (particles, 2), "bnd"), nn.input("mask", (particles,), "bn")
        model = nn.model({"x": x, "mask": mask}, nn.total(x, mask, "total"), "total")
        values = np.arange(particles * 2, dtype=np.float32).reshape(1, particles, 2)
        bits = (np.arange(particles)[None] % 2 == 0).astype(np.float32)
        found = logits(model, {"x": values, "mask": bits})
        np.testing.assert_array_equal(found, [scale * values[0, ::2].sum(axis=0)])


def test_logits_without_a_mask_keep_their_format() -> None:
    model = quantised_peer("linformer", N, QuantConfig(logits="fixed<5,3,RND,SAT>"))
    float_to_quantised(float_peer("linformer", N), model, inputs_of(model, peer_jets(N, 500)))
    scores = keras.Model(model.inputs, model.get_layer("b0_attn_logits").output)
    found = logits(scores, {name: 20 * array for name, array in peer_jets(N, 500, seed=1).items()})
    assert found.shape == (500, 1, N, 2)
    np.testing.assert_array_equal(found, Fixed.parse("fixed<5,3,RND,SAT>").quantise(found))
    assert (found.min(), found.max()) == (-4.0, 3.75)
    row = next(row for row in audit(model, inputs_of(model, peer_jets(N, 100))) if row.name == "b0_attn_logits")
    assert (row.widest, row.learned) == ("fixed<5,3,RND,SAT>", False)


@pytest.mark.parametrize(
    "form",
    ["jedi", *(pytest.param(form, marks=pytest.mark.slow) for form in ("deepsets", "mixer", "mha", "linformer"))],
)
def test_training_brings_the_ebops_down(form: str) -> None:
    model = quantised_peer(form, N)
    jets = inputs_of(model, peer_jets(N, 256))
    float_to_quantised(float_peer(form, N), model, jets)
    before, bits = _ebops(model), sum(sum(row) for row in widths(model).values())
    for layer in model._flatten_layers():
        if getattr(layer, "_beta", None) is not None:
            layer._beta.assign(1e-3)
    labels = np.random.default_rng(0).integers(0, CLASSES, 256)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss, jit_compile=False)
    model.fit(jets, labels, batch_size=64, epochs=6, verbose=0)
    calibrate(model, jets)
    assert 0 < _ebops(model) < 0.8 * before
    assert sum(sum(row) for row in widths(model).values()) < bits


def _ebops(model: keras.Model) -> int:
    return sum(int(to_numpy(layer.ebops)) for layer in model.layers if getattr(layer, "enable_ebops", False))


def test_calibration_leaves_nothing_outside_the_range(peer: tuple[str, keras.Model, keras.Model]) -> None:
    jets = inputs_of(peer[2], peer_jets(N, 1000, seed=5))
    for row in audit(peer[2], jets):
        if row.learned and row.place == "input":
            assert row.saturated == 0.0, row


@pytest.mark.parametrize(
    ("form", "granularity"),
    [
        *((form, "element" if form in ("mixer", "jedi", "mha", "linformer") else "channel") for form in FORMS),
        ("jedi", "channel"),
    ],
)
def test_the_trace_of_alkaid_is_the_quantised_model(form: str, granularity: str) -> None:
    from alkaid.converter import trace_model
    from alkaid.trace import HWConfig, trace

    model = quantised_peer(form, N, NARROW.model_copy(update={"granularity": granularity}))
    jets = inputs_of(model, peer_jets(N, 2000))
    float_to_quantised(float_peer(form, N), model, jets)
    ports = _ports(model)
    kifs = tuple((1, port.integer_bits, port.fraction_bits) for port in ports.values())
    comb = trace(*trace_model(model, HWConfig(1, 1, -1), {"hard_dc": 5}, inputs_kif=kifs, framework="keras"))
    rounded = {name: port.quantise(jets[name]).astype(np.float32) for name, port in ports.items()}
    expected = logits(model, rounded)
    flat = np.concatenate([rounded[name].reshape(2000, -1) for name in ports], axis=1)
    found = comb.predict(flat.astype(np.float64)).reshape(expected.shape)
    assert np.unique(expected).size > 50
    assert int((found != expected).sum()) == 0


def _ports(model: keras.Model) -> dict[str, Fixed]:
    """Formats of the model inputs: one bit more at both ends than the quantisers that read them have."""
    found: dict[str, Fixed] = {}
    for tensor in model.inputs:
        readers = [q for q in quantisers(model) if q.place == "input" and _reads(q, tensor)]
        parts: list[NDArray[Any]] = [np.array([[part.max() for part in q.kif()] for q in readers])]
        _, integer, fraction = parts[0].max(axis=0)
        found[tensor.name] = Fixed(True, int(integer) + 1, int(fraction) + 1)
    return found


def _reads(quantiser: Any, tensor: Any) -> bool:
    taken = quantiser.layer.input if isinstance(quantiser.layer.input, list) else [quantiser.layer.input]
    return quantiser.tensor(taken) is tensor
