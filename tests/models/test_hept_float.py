"""The float HEPT is the published one: against plain loops, parameter counts, masks, padding, files, JAX."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pytest
from support import oracle_hept
from support.hept import FEATURES, VARIANTS, empty_model, random_model, random_state, run, small
from support.paths import ROOT

from qformers.builds.models import load_model
from qformers.errors import ConfigError
from qformers.interop.hept import TASKS
from qformers.models.hept.config import HeptConfig
from qformers.models.hept.hept import hept
from qformers.models.hept.layers import BlockKernel, CombineHashes
from qformers.models.sizes import Points
from qformers.nn.float32 import Float32
from qformers.nn.index.host_order import HostOrder

TOLERANCE = 1e-10  # float64; rounding alone gives about 1e-14


def _same(found: Any, expected: Any, mask: Any, tolerance: float = TOLERANCE) -> None:
    """Equal on real points; what stands in rows of masked ones means nothing."""
    assert found.shape == expected.shape
    real = np.asarray(mask) > 0
    np.testing.assert_allclose(found[real], expected[real], rtol=0, atol=tolerance)


@pytest.mark.parametrize(  # blocks of 6: fewer points, two full ones, three with padding
    ("variant", "points"), [("tracking", 12), *((variant, points) for variant in VARIANTS for points in (4, 17))]
)
def test_equals_plain_loops(variant: str, points: int) -> None:
    config = small(**VARIANTS[variant], layers=4)
    counts = [points, points - 1, 3, 1, 0]
    events = oracle_hept.random_events(points, FEATURES, config, counts, seed=3)
    expected = oracle_hept.hept(random_state(config), config, *events)
    found = run(random_model(config, points), *events)
    assert np.isfinite(expected[events[2] > 0]).all()
    assert expected.shape == (5, points, config.outputs if config.head == "logits" else config.head_width)
    _same(found, expected, events[2])


@pytest.mark.parametrize("variant", ["tracking", "cms_pileup", "shared_order"])
def test_every_weight_matters_to_the_plain_loops(variant: str) -> None:
    """Otherwise agreement would say nothing about that weight. Nothing depends on the bias of the scales, as published.

    What only decides in which block a point stands has to move by more than a little.
    """
    config = small(**VARIANTS[variant])
    events = oracle_hept.random_events(14, FEATURES, config, [14, 9], seed=2)
    state = random_state(config)
    before = oracle_hept.hept(state, config, *events)
    for name, array in state.items():
        unread = name.endswith("w_rpe.bias") or (name.endswith("e2lsh.alpha") and config.hash == "coords")
        sorts = name == "regions" or name.endswith("alpha")
        moved = array[..., ::-1, :] * 1.7 if sorts else array + np.random.default_rng(0).uniform(0.05, 0.2, array.shape)
        change = np.nanmax(np.abs(oracle_hept.hept({**state, name: moved}, config, *events) - before))
        assert change == 0.0 if unread else change > 1e-6, name


COUNTS = [  # trainable parameters of the reference; of pileup10k the class embedding (7 x 10) comes on top
    (TASKS["tracking60k"], 15, 326_436),
    (TASKS["tracking600"], 15, 266_772),
    (TASKS["pileup10k"], 8, 311_137 + 70),
    (TASKS["cms_pileup"], 24, 562_296),
    (TASKS["cms_tracking"], 24, 2_599_111),
    (TASKS["cms_pileup"].model_copy(update={"heads": 3, "width": 24, "head_width": 24, "layers": 3}), 24, 255_624),
    (
        TASKS["cms_tracking"].model_copy(
            update={"heads": 6, "width": 24, "head_width": 24, "hashes": 3, "head_widths": (256,) * 7}
        ),
        24,
        516_527,
    ),
]


@pytest.mark.parametrize(("config", "features", "expected"), COUNTS)
def test_parameter_counts_of_the_published_models(config: HeptConfig, features: int, expected: int) -> None:
    model = hept(config, Points(None, features), Float32())
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == expected
    frozen = sum(int(np.prod(weight.shape)) for weight in model.non_trainable_weights)
    alphas = config.layers * config.heads * (config.width + config.coords) * config.hashes
    assert frozen == alphas + config.hashes * config.region_axes * config.heads


@pytest.mark.parametrize("variant", ["tracking", "cms_pileup", "sink", "shared_order"])
def test_masked_points_reach_no_other(variant: str) -> None:
    """Whatever stands in masked slots, also infinities, and however many of them there are."""
    config = small(**VARIANTS[variant])
    features, coords, mask = oracle_hept.random_events(14, FEATURES, config, [11, 7, 1], seed=4)
    model = random_model(config, 14)
    reference = run(model, features, coords, mask)
    noise = np.random.default_rng(0).normal(0.0, 1e3, features.shape)
    noise[0], noise[1] = np.nan, np.inf
    real = mask[:, :, None] > 0
    for other, place in ((np.where(real, features, noise), coords), (features, np.where(real, coords, np.inf))):
        found = run(model, np.where(np.isfinite(other), other, 0.0) if config.embeddings else other, place, mask)
        _same(found, reference, mask, 1e-13)
    wider = [np.pad(array, [(0, 0), (0, 7)] + [(0, 0)] * (array.ndim - 2)) for array in (features, coords, mask)]
    _same(run(random_model(config, 21), *wider)[:, :14], reference, mask, 1e-13)


def test_batch_norms_count_real_points_only() -> None:
    """In training: what stands in masked slots moves neither the statistics nor the other points."""
    config = small(norm="batch", head_norm=True, dropout=0.0)
    features, coords, mask = oracle_hept.random_events(14, FEATURES, config, [11, 7], seed=4)
    keras.utils.set_random_seed(2)
    model = empty_model(config, 14)
    start = model.get_weights()
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {"b0_attn_norm", "b0_ffn_norm", "project_norm", "head0_norm", "head1_norm"} == {norm.name for norm in norms}
    reference = run(model, features, coords, mask, training=True)
    moved = [np.array(norm.moving_mean.numpy()) for norm in norms]
    model.set_weights(start)
    real = mask[:, :, None] > 0
    _same(run(model, np.where(real, features, 1e3), coords, mask, training=True), reference, mask, 1e-12)
    for norm, mean in zip(norms, moved, strict=True):
        np.testing.assert_allclose(norm.moving_mean.numpy(), mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", ["tracking", "cms_tracking", "shared_order"])
def test_events_do_not_see_each_other_and_slots_mean_nothing(variant: str) -> None:
    config = small(**VARIANTS[variant])
    features, coords, mask = oracle_hept.random_events(13, FEATURES, config, [13, 8, 2], seed=5)
    model = random_model(config, None)
    together = run(model, features, coords, mask)
    for event in range(3):
        alone = run(model, features[event : event + 1], coords[event : event + 1], mask[event : event + 1])
        _same(alone[0], together[event], mask[event], 1e-13)
    order = np.random.default_rng(0).permutation(13)
    shuffled = run(model, features[:, order], coords[:, order], mask[:, order])
    _same(shuffled, together[:, order], mask[:, order], 1e-12)


def test_a_model_for_any_number_of_points_is_the_fixed_one() -> None:
    config = small()
    model = random_model(config, None)
    for points in (6, 15):  # at least a block: with fewer, a fixed model takes one smaller block
        events = oracle_hept.random_events(points, FEATURES, config, [points, 5], seed=6)
        _same(run(model, *events), run(random_model(config, points), *events), events[2], 0.0)


@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
def test_sink_form_is_the_direct_form(spread: float) -> None:
    """Also where every key lies far below 1e-20, so that the sink outweighs all of them."""
    config = small()
    features, coords, mask = oracle_hept.random_events(14, FEATURES, config, [14, 9, 3], seed=7)
    sink = random_model(config.model_copy(update={"kernel": "sink"}), 14)
    direct = random_model(config, 14)
    _same(run(sink, features, coords * spread, mask), run(direct, features, coords * spread, mask), mask, 1e-11)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_gradients_are_finite_where_every_key_lies_below_the_sink(jit_compile: bool) -> None:
    """The denominator then is 1e-20, whose square is 0 in float32."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    mask, values = tf.ones((1, 3, 1, 2, 5, 1)), tf.constant(rng.normal(size=(1, 3, 2, 2, 5, 3)), tf.float32)

    def gradients(form: Any, queries: Any, keys: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([queries, keys])
            sums = BlockKernel(form)([queries, keys, values, mask])
            result = CombineHashes(form)(tf.reshape(sums, (1, 3, 2, 10, sums.shape[-1])))
        return tape.gradient(result, [queries, keys], tf.ones_like(result))

    for spread in (1.0, 5.0, 8.0, 30.0, 1000.0):
        sides = [tf.constant(rng.normal(size=(1, 3, 2, 2, 5, 4)) * spread, tf.float32) for _ in range(2)]
        forms: tuple[Literal["direct", "sink"], ...] = ("direct", "sink")
        direct, sink = (
            tf.function(lambda *tensors, form=form: gradients(form, *tensors), jit_compile=jit_compile)(*sides)
            for form in forms
        )
        for one, other in zip(direct, sink, strict=True):
            assert np.isfinite(one).all(), spread
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_hash_of_coordinates_in_each_layer_is_the_published_one_blind_to_queries_and_keys() -> None:
    config = small(layers=2)
    features, coords, mask = oracle_hept.random_events(14, FEATURES, config, [14, 9, 3], seed=11)
    published, model = random_model(config, 14), empty_model(config.model_copy(update={"hash": "coords_each"}), 14)
    for layer in published.layers:
        weights = layer.get_weights()
        if layer.name.endswith("_attn_order"):
            alpha = weights[0]
            alpha[:, : config.width] = 0
            layer.set_weights([alpha])
            weights = [alpha[:, config.width :]]
        model.get_layer(layer.name).set_weights(weights)
    _same(run(model, features, coords, mask), run(published, features, coords, mask), mask, 1e-13)
    orders = [model.get_layer(f"b{index}_attn_order").alpha for index in range(config.layers)]
    assert all(tuple(alpha.shape) == (config.heads, config.coords, config.hashes) for alpha in orders)
    assert not np.array_equal(orders[0], orders[-1]), "each layer has an order of its own"


def test_order_from_the_host_is_that_of_the_model() -> None:
    config = small(hash="coords")
    features, coords, mask = oracle_hept.random_events(14, FEATURES, config, [14, 9, 3, 0], seed=8)
    coords[0, 3:9] = coords[0, 2]  # ties go by slot
    model, state = random_model(config, 14), random_state(config)
    order = HostOrder(state["regions"][:, :, 0], state[oracle_hept.SHARED_ALPHA][0])(coords, mask)
    assert order.shape == (4, config.hashes, 14)
    for event, real in enumerate(mask > 0):
        for number in range(config.hashes):
            assert sorted(order[event, number]) == list(range(14))
            expected = oracle_hept.orders(state, "", config, (number, 0), ([], []), coords[event][real])[0]
            np.testing.assert_array_equal(order[event, number][: real.sum()], np.flatnonzero(real)[expected])
    given = random_model(config.model_copy(update={"order": "host"}), 14)
    assert "regions" not in {layer.name for layer in given.layers}
    found = run(given, features, coords, mask, order.astype(np.float64))
    _same(found, run(model, features, coords, mask), mask, 1e-13)


def test_order_of_the_host_is_drawn_by_seed() -> None:
    config = small(hash="coords", order="host", regions=40.0, region_axes=2)
    first, again, other = (HostOrder.drawn(config, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.alpha, again.alpha)
    assert np.abs(first.alpha - other.alpha).max() > 0.1
    np.testing.assert_allclose(first.regions * 3, np.round(first.regions * 3), atol=1e-12)
    np.testing.assert_allclose(first.regions.prod(axis=1), 40.0, rtol=0.2)


@pytest.mark.parametrize("variant", ["tracking", "pileup", "cms_pileup", "sink", "shared_order"])
@pytest.mark.parametrize("points", [None, 14], ids=["any", "N14"])
def test_saved_model_is_the_same_model(variant: str, points: int | None, tmp_path: Path) -> None:
    config = small(**VARIANTS[variant])
    model = random_model(config, points)
    events = oracle_hept.random_events(14, FEATURES, config, [14, 6, 0], seed=9)
    model.save(tmp_path / "hept.keras")
    again = load_model(tmp_path / "hept.keras")
    np.testing.assert_array_equal(run(again, *events), run(model, *events))
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]


def test_dropout_acts_in_training_only() -> None:
    config = small(dropout=0.5)
    events = oracle_hept.random_events(14, FEATURES, config, [14, 6], seed=10)
    model = random_model(config, 14)
    trained = run(model, *events, training=True)
    assert np.isfinite(trained).all()
    assert np.nanmax(np.abs(trained - run(model, *events))) > 1e-3


@pytest.mark.parametrize("variant", ["cms_pileup", "sink"])
def test_a_few_steps_lower_the_loss(variant: str) -> None:
    """Every trainable weight but the unread bias moves; regions and alphas stay."""
    keras.utils.set_random_seed(1)
    config = small(**{**VARIANTS[variant], "dropout": 0.0})
    features, coords, mask = oracle_hept.random_events(14, FEATURES, config, [14, 9], seed=11)
    model = empty_model(config, 14, "float32")
    before = [np.array(keras.ops.convert_to_numpy(weight)) for weight in model.weights]
    model.compile(keras.optimizers.Adam(3e-3), "mse", jit_compile=False)
    target = np.random.default_rng(0).normal(size=model.output.shape[1:])
    inputs = {"features": features, "coords": coords, "mask": mask}
    history = model.fit(inputs, np.stack([target, target]), epochs=12, verbose=0)
    losses = history.history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.9 * losses[0]
    for weight, old in zip(model.weights, before, strict=True):
        stays = not weight.trainable or weight.path.endswith("attn_scale/bias")
        assert (np.abs(keras.ops.convert_to_numpy(weight) - old).max() == 0.0) == stays, weight.path


CHILD = """
import sys, keras, numpy as np
from qformers.builds.models import load_model
arrays = np.load(sys.argv[1] + "/events.npz")
model = load_model(sys.argv[1] + "/hept.keras")
assert keras.backend.backend() == "jax"
np.save(sys.argv[1] + "/found.npy", np.asarray(model({name: arrays[name] for name in arrays.files})))
"""


@pytest.mark.slow
def test_jax_computes_the_same_model(tmp_path: Path) -> None:
    """In float32, with points that share coordinates and features: ties are broken alike by both backends."""
    pytest.importorskip("jax", reason="the JAX backend is an extra: pip install jax")
    config = small()
    features, coords, mask = oracle_hept.random_events(15, FEATURES, config, [15, 8], seed=12)
    features[:, 5:10], coords[:, 5:10] = features[:, :1], coords[:, :1]
    model = random_model(config, 15, dtype="float32")
    model.save(tmp_path / "hept.keras")
    single = {name: np.asarray(array, np.float32) for name, array in zip(("features", "coords", "mask"),
              (features, coords, mask), strict=True)}  # fmt: skip
    np.savez(tmp_path / "events.npz", **single)  # type: ignore[arg-type]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    _same(np.load(tmp_path / "found.npy"), run(model, features, coords, mask), mask, 1e-4)


def test_more_embeddings_than_columns_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"2 embeddings need as many columns and one more\. Received: 2 features"):
        hept(small(**VARIANTS["cms_pileup"]), Points(12, 2), Float32())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"region_axes": 3, "coords": 2}, r"region_axes are the first coordinates, of which there are 2"),
        ({"order": "host"}, r"order: host needs hash: coords.*Received: hash=latent"),
        ({"order": "host", "hash": "coords_each"}, r"their scales are not known there. Received: hash=coords_each"),
        ({"coords": 1, "region_axes": 1}, r"shared_scale: true needs two coordinates\. Received: coords=1"),
        ({"regions": 0.5}, r"greater than or equal to 1"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small(**changes)
