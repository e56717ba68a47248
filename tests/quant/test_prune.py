"""Pruning on small dense models: what the masks take away, and that it stays away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hgq.layers import QEinsumDense
from pydantic import ValidationError
from rich.console import Console
from support import train_fakes

from qformers import tasks
from qformers.config.sections import PruneConfig, QuantConfig
from qformers.errors import ConfigError
from qformers.nn.formats import Formats
from qformers.nn.roles import Roles
from qformers.quant.prune.callback import Pruning
from qformers.quant.prune.scores import input_sizes, ramp, thresholds
from qformers.quant.prune.sparsity import fill, sparsity
from qformers.quant.prune.targets import Kernel, kernels
from qformers.train import feed, loop, phases

EPOCHS, BATCH, EVENTS = 6, 32, 256
RNG = np.random.default_rng(0)
X = RNG.normal(size=(EVENTS, 3, 8)).astype(np.float32)
Y = np.eye(4, dtype=np.float32)[np.argmax(X.mean(axis=1)[:, :4], axis=1)]


def config(**settings: Any) -> PruneConfig:
    return PruneConfig.model_validate({"sparsity": 0.5, "start": 0.2, "end": 0.6} | settings)


def model(quantised: bool = False, learn: bool = True) -> keras.Model:
    """A kernel with two output axes, one with two input axes, and the classes."""
    keras.utils.set_random_seed(1)
    formats, roles = Formats(QuantConfig(learn=learn)), Roles()
    roles.declare(point="n", head="h", channel="fdec")

    def dense(name: str, equation: str, shape: tuple[int, ...], bias: str) -> Any:
        if not quantised:
            return keras.layers.EinsumDense(equation, shape, bias_axes=bias, name=name)
        axes = equation.split(",")[0]
        quantisers = {"iq_conf": formats.value(name, roles.of(axes, name)), "kq_conf": formats.weight(name)}
        return QEinsumDense(equation, shape, bias_axes=bias, bq_conf=formats.bias(name), name=name, **quantisers)

    inputs = keras.Input((3, 8), name="features")
    heads = dense("heads", "bnf,fhd->bnhd", (3, 2, 6), "hd")(inputs)
    mixed = dense("mixed", "bnhd,hde->be", (5,), "e")(keras.layers.ReLU()(heads))
    return keras.Model(inputs, dense("logits", "be,ec->bc", (4,), "c")(mixed))


def fit(pruned: keras.Model, callback: keras.callbacks.Callback) -> None:
    """Train; two epochs are left when the masks are final."""
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    pruned.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    pruned.fit(X, Y, BATCH, EPOCHS, verbose=0, callbacks=[callback])


def weights(pruned: keras.Model, name: str) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(pruned.get_layer(name)._kernel))


@pytest.mark.parametrize("quantised", [False, True], ids=["float", "hgq"])
@pytest.mark.parametrize("method", ["magnitude", "wanda", "mdmm"])
def test_the_sparsity_asked_for_is_reached_exactly_and_the_rest_goes_on(method: str, quantised: bool):
    pruned = model(quantised)
    before = weights(pruned, "heads")
    fit(pruned, Pruning(config(method=method, layers={"logits": 0.25}), {"features": X}))
    for name, share in (("heads", 0.5), ("mixed", 0.5), ("logits", 0.25)):
        kernel = weights(pruned, name)
        assert np.mean(kernel == 0) == pytest.approx(share, abs=1 / kernel.size), name
    left = weights(pruned, "heads") != 0
    assert np.all(weights(pruned, "heads")[left] != before[left])


def test_masked_weights_have_no_bits_left():
    pruned = model(quantised=True)
    fit(pruned, Pruning(config(), {"features": X}))
    layer = pruned.get_layer("heads")
    bits = keras.ops.convert_to_numpy(layer.kq.bits_(layer._kernel.shape))
    assert not bits[weights(pruned, "heads") == 0].any()
    assert bits.max() > 2


def test_a_weight_that_comes_back_gets_its_bits_back():
    pruned = model(quantised=True)
    optimiser = keras.optimizers.Adam()
    optimiser.build(pruned.trainable_variables)
    pruning = Pruning(config(start=0.0, end=0.9))
    pruning.attach(pruned, optimiser, 100)
    layer = pruned.get_layer("heads")
    before = keras.ops.convert_to_numpy(layer.kq.quantizer._b).copy()
    for step in range(1, 60):
        pruning.after_step(step)
    bits = keras.ops.convert_to_numpy(layer.kq.quantizer._b)
    gone = bits == 0
    assert 0.3 < gone.mean() <= 0.5
    np.testing.assert_array_equal(bits[~gone], before[~gone])
    masked = pruning.masked[0]
    masked.threshold.assign(keras.ops.full_like(masked.threshold, -1e30))  # the threshold falls again
    pruning._hold_widths(masked)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.kq.quantizer._b), before)


def test_whole_units_go_with_their_bias_but_no_class():
    pruned = model()
    fit(pruned, Pruning(config(granularity="unit"), {"features": X}))
    kernel, bias = weights(pruned, "heads"), keras.ops.convert_to_numpy(pruned.get_layer("heads").bias)
    gone = ~kernel.any(axis=0)
    assert gone.sum() == 6
    assert not bias[gone].any()
    assert bias[~gone].all()
    assert weights(pruned, "logits").all()
    report = {layer.layer: layer for layer in sparsity(pruned).layers}
    assert (report["heads"].units, report["heads"].units_gone) == (12, 6)


def test_two_of_every_four_inputs_are_kept():
    pruned = model()
    fit(pruned, Pruning(config(granularity="2:4", layers={"logits": 0}), {"features": X}))
    for name in ("heads", "mixed"):
        matrix = Kernel(pruned.get_layer(name), 0.5).matrix(weights(pruned, name))
        assert np.all(np.sum(matrix.reshape(-1, 4, matrix.shape[1]) != 0, axis=1) == 2), name
    assert weights(pruned, "logits").all()


def test_groups_that_do_not_divide_are_refused():
    words = r"'2:4'.*layer 'logits' do not divide into groups of 4; .*layers: \{logits: 0\}\. Received: 5 inputs"
    with pytest.raises(ConfigError, match=words):
        kernels(model(), config(granularity="2:4"))


def test_a_layer_that_is_not_there_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"'mixd'.*'mixed'.*Received: prune.layers\['mixd'\]=0.5"):
        kernels(model(), config(layers={"mixd": 0.5}))


def test_a_name_counts_before_a_pattern():
    chosen = {k.layer.name: k.sparsity for k in kernels(model(), config(layers={"mixed": 0.25, "*": 0.75}))}
    assert chosen == {"heads": 0.75, "mixed": 0.25, "logits": 0.75}


def test_wanda_without_inputs_is_refused():
    with pytest.raises(ConfigError, match=r"wanda ranks weights by their inputs\. Received: no sample"):
        Pruning(config(method="wanda"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"start": 0.7}, r"start must be before end=0.6\. Received: start=0.7"),
        ({"granularity": "2:4", "sparsity": 0.6}, r"2:4 means sparsity 0.5\. Received: sparsity=0.6"),
        ({"granularity": "unit", "scope": "output"}, r"scope: output goes with granularity: weight"),
        ({"granularity": "some"}, r"granularity"),
    ],
)
def test_sections_that_contradict_themselves_are_refused(settings: dict[str, Any], words: str):
    with pytest.raises(ValidationError, match=words):
        config(**settings)


def test_mdmm_is_refused_under_jax(monkeypatch: pytest.MonkeyPatch):
    made = model()
    optimiser = keras.optimizers.Adam()
    optimiser.build(made.trainable_variables)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ConfigError, match=r"mdmm needs the TensorFlow or PyTorch backend .*KERAS_BACKEND=jax"):
        Pruning(config(method="mdmm")).attach(made, optimiser, 10)


def test_wanda_prefers_weights_with_large_inputs():
    pruned, loud = model(), X.copy()
    loud[..., 0] *= 100
    fit(pruned, Pruning(config(method="wanda", start=0.01, ramp="step"), {"features": loud}))
    assert np.mean(weights(pruned, "heads")[0] == 0) < 0.2
    assert np.mean(weights(pruned, "heads")[1:] == 0) > 0.5


def test_sizes_of_inputs_are_those_of_what_each_weight_multiplies():
    made = model()
    sizes = input_sizes(made, kernels(made, config()), {"features": X})
    expected = np.sqrt(np.mean(X.astype(np.float64) ** 2, axis=(0, 1)))
    np.testing.assert_allclose(sizes[0], np.broadcast_to(expected[:, None, None], (8, 2, 6)), rtol=1e-6)
    hidden = keras.ops.convert_to_numpy(keras.Model(made.input, made.get_layer("mixed").input)(X)).astype(np.float64)
    expected = np.sqrt(np.mean(hidden**2, axis=(0, 1)))
    np.testing.assert_allclose(sizes[1], np.broadcast_to(expected[..., None], (2, 6, 5)), rtol=1e-6)


def test_the_ramp_goes_from_nothing_to_all():
    for shape in ("cubic", "linear", "step"):
        shares = [ramp(config(ramp=shape), progress) for progress in np.linspace(0, 1, 101)]
        assert shares[:20] == [0.0] * 20
        assert shares[60:] == [1.0] * 41
        assert shares == sorted(shares)
    assert ramp(config(), 0.4) == pytest.approx(0.875)
    assert ramp(config(ramp="linear"), 0.4) == pytest.approx(0.5)


@pytest.mark.parametrize("scope", ["layer", "output"])
def test_thresholds_leave_the_share_asked_for(scope: str):
    kernel = Kernel(model().get_layer("mixed"), 0.75)
    scored = RNG.random((12, 5))
    limit = kernel.matrix(thresholds(kernel, config(sparsity=0.75, scope=scope), scored, 1.0))
    below = scored < limit
    assert below.sum() == 45
    if scope == "output":
        assert np.all(below.sum(axis=0) == 9)
    assert not (scored < kernel.matrix(thresholds(kernel, config(scope=scope), scored, 0.0))).any()


def test_zeros_of_the_start_are_held_through_a_phase_without_pruning():
    pruned = model(quantised=True)
    layer = pruned.get_layer("heads")
    keep = RNG.random(layer._kernel.shape) > 0.3
    layer._kernel.assign(weights(pruned, "heads") * keep)
    fit(pruned, Pruning(None, hold=True))
    np.testing.assert_array_equal(weights(pruned, "heads") != 0, keep)


def test_a_mask_that_takes_nothing_changes_nothing():
    """Up to rounding: the step is added to the dense weights instead of to the masked ones."""
    plain, masked = model(), model()
    fit(plain, keras.callbacks.Callback())
    fit(masked, Pruning(None, hold=True))
    for layer in ("heads", "mixed", "logits"):
        np.testing.assert_allclose(weights(masked, layer), weights(plain, layer), rtol=1e-4, atol=1e-5)


def test_mdmm_pulls_weights_below_its_epsilon_before_they_are_cut():
    """Without the constraint hardly any weight is that small."""

    def small(method: str) -> float:
        pruned = model()
        settings = {"mdmm_rate": 0.05, "mdmm_scale": 50.0, "mdmm_epsilon": 0.02, "sparsity": 0.75, "end": 0.99}
        pruning = Pruning(config(method=method, start=0.01, **settings), {"features": X})
        if method == "mdmm":
            fit(pruned, pruning)
        else:
            loss = keras.losses.CategoricalCrossentropy(from_logits=True)
            pruned.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
            pruned.fit(X, Y, BATCH, EPOCHS, verbose=0)
        dense = pruning.masked[0].dense if pruning.masked else pruned.get_layer("heads")._kernel
        return float(np.mean(np.abs(keras.ops.convert_to_numpy(dense)) <= 0.02))

    assert small("magnitude") < 0.2
    assert small("mdmm") > 0.5


def test_the_report_counts_zeros_and_what_they_save(tmp_path: Path):
    pruned = model(quantised=True, learn=False)
    fit(pruned, Pruning(config(), {"features": X}))
    pruned.save(tmp_path / "model.keras")
    report = sparsity(keras.saving.load_model(tmp_path / "model.keras", compile=False))
    heads = report.layers[0]
    assert (heads.layer, heads.weights, heads.pruned) == ("heads", 96, 48)
    layer = pruned.get_layer("heads")
    pairs = ((layer.iq, (1, 3, 8)), (layer.kq, (8, 2, 6)), (layer.bq, (2, 6)))
    input_bits, weight_bits, bias_bits = (float(np.max(quantiser.bits_(shape))) for quantiser, shape in pairs)
    alive = 96 - heads.zeros
    assert heads.ebops == 3 * (alive * input_bits * weight_bits + 12 * bias_bits)
    assert heads.ebops_filled == 3 * (96 * input_bits * weight_bits + 12 * bias_bits)
    assert report.saved() > 0
    assert report.to_json()["zeros"] == sum(layer.zeros for layer in report.layers)
    assert "by a mask" in str(report)


def test_zeros_are_filled_with_other_weights_of_the_layer_and_their_bits():
    made = model(quantised=True)
    layer = made.get_layer("heads")
    layer._kernel.assign(weights(made, "heads") * (RNG.random(layer._kernel.shape) > 0.5))
    width = layer.kq.quantizer._b
    width.assign(keras.ops.where(layer._kernel == 0, 0.0, RNG.integers(3, 6, width.shape).astype(np.float32)))
    before = keras.ops.convert_to_numpy(layer.qkernel)
    assert np.mean(before == 0) > 0.3
    fill(made, seed=1)
    after = keras.ops.convert_to_numpy(layer.qkernel)
    assert after.all()
    np.testing.assert_array_equal(after[before != 0], before[before != 0])
    assert set(after.ravel()) <= set(before.ravel())


def trained(folder: Path, stop_after: int | None = None) -> loop.Trainer:
    """The tiny float model of the training tests, pruned; goes on where an earlier call was stopped."""
    build = train_fakes.build("train.float.prune.sparsity=0.5", "train.float.prune.end=0.5")
    phases.deterministic(1, False)
    feeds = [
        feed.Feed(train_fakes.FakeSource(200, seed), lambda events: train_fakes.host_inputs(None, events), 24)
        for seed in (1, 2)
    ]
    pruning = Pruning(build.train.float.prune)
    settings = phases.settings_of(build, "float")
    task = tasks.JetTagging(train_fakes.CLASSES)
    phase = loop.Phase("float", build.train.float, task, 1, folder, settings, pruning=pruning)
    made = loop.Trainer(phase, train_fakes.tiny_model(), *feeds)
    display, stop = loop.Display("float", 3, made.steps, 0, task, Console(quiet=True)), loop.StopRequest(folder)
    step = made._step

    def counted(batch: feed.Batch) -> None:
        step(batch)
        if made.state.epoch * made.steps + made.state.step == stop_after:
            (folder / "STOP").touch()

    made._step = counted  # type: ignore[method-assign]
    (folder / "STOP").unlink(missing_ok=True)
    made.run(stop, display)
    return made


def test_a_stopped_phase_goes_on_to_the_same_zeros_and_weights(tmp_path: Path):
    whole = trained(tmp_path / "whole")
    assert whole.steps == 3
    for stop in (2, 4, 6):  # while the sparsity rises, just before the masks are final, behind that
        trained(tmp_path / f"parts{stop}", stop_after=stop)
        parts = trained(tmp_path / f"parts{stop}")
        for one, other in zip(whole.variables, parts.variables, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=f"{one.path} after a stop at step {stop}")
    assert np.mean(keras.ops.convert_to_numpy(whole.model.get_layer("hidden")._kernel) == 0) == pytest.approx(
        0.5, abs=0.1
    )


def test_only_models_with_final_masks_are_kept(tmp_path: Path):
    assert {point.epoch for point in trained(tmp_path).pareto.points} <= {2, 3}
