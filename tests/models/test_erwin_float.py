"""The float Erwin is the published one: against plain loops, parameter counts, masks, pads, ties, gradients, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from support import oracle_erwin
from support.erwin import (
    CLASSES,
    FEATURES,
    VARIANTS,
    empty_model,
    expected,
    inputs_of,
    random_events,
    random_model,
    random_state,
    real_rows,
    run,
    small,
)
from support.paths import ROOT
from support.under_jax import under_jax

from qformers.builds.models import load_model
from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError, DataError
from qformers.models import MODELS
from qformers.models.erwin.config import ErwinConfig
from qformers.models.erwin.erwin import erwin
from qformers.models.sizes import Jet, Points
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from qformers.nn.index.nearest import nearest

TOLERANCE = 1e-9
SUPPORT = ROOT / "tests" / "support"


def _same(found: list[Any], wanted: list[Any], tolerance: float = TOLERANCE) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


def _counts(config: ErwinConfig, points: int) -> list[int]:
    """Real points of events: all, some, and as few as the pads allow."""
    if config.pads == "masked":
        return [points, points - 5, 9, 2, 1]
    return [points, points - 5, config.ball_order.fewest // 2 + 1]


@pytest.mark.parametrize(
    ("variant", "points"), [("published", 32), ("stride4", 32), ("masked", 32), *((name, 21) for name in VARIANTS)]
)
def test_equals_plain_loops(variant: str, points: int) -> None:
    config = small(**VARIANTS[variant])
    events = random_events(config, points, _counts(config, points), seed=3)
    model = random_model(config, points)
    found = real_rows(config, model, events, run(model, events))
    assert np.std(np.concatenate([np.ravel(rows) for rows in found])) > 0.1
    _same(found, expected(config, events, model))


@pytest.mark.parametrize("pads", ["duplicates", "masked"])
def test_every_weight_matters_to_the_plain_loops(pads: str) -> None:
    """Otherwise agreement would say nothing about that weight; nor would it about an order that changes nothing."""
    config = small(pads=pads, widths=(6, 8), balls=(8, 4), enc_heads=(2, 2), enc_depths=(2, 1), dec_heads=(3,),
                   dec_depths=(2,), strides=(2,))  # fmt: skip
    events, state = random_events(config, 13, [13], seed=15), random_state(config)
    neighbours = nearest(events.coords, events.mask, config.neighbours)

    def loops(weights: Any, changed: ErwinConfig = config) -> Any:
        return oracle_erwin.erwin(weights, changed, events.features, events.coords, events.mask, neighbours)[0]

    before = loops(state)
    for name, array in state.items():
        moved = array + np.random.default_rng(0).uniform(0.05, 0.2, array.shape)
        change = np.abs(loops({**state, name: moved}) - before).max()
        assert (change > 1e-6) != name.endswith("num_batches_tracked"), name
    for changes in ({"rotate": 0.0}, {"balls": (4, 4)}, {"pads": "masked" if pads == "duplicates" else "duplicates"}):
        assert np.abs(loops(state, config.model_copy(update=changes)) - before).max() > 1e-3, changes


def test_small_clouds_among_large_ones_have_their_own_tree() -> None:
    """21 of 64 points have 32 slots; what stands behind them is read by no point."""
    config = small(balls=(8, 4, 2))
    events = random_events(config, 64, [64, 21, 16, 9], seed=4)
    model = random_model(config, 64)
    _same(real_rows(config, model, events, run(model, events)), expected(config, events, model))
    alone = random_events(config, 21, [21])
    real = events.mask[1] > 0
    alone.features, alone.coords = events.features[1:2, real], events.coords[1:2, real]
    _same([run(random_model(config, 21), alone)[0]], [run(model, events)[1][real]], 1e-12)


@pytest.mark.parametrize("pads", ["duplicates", "masked"])
@pytest.mark.parametrize("kind", ["identical", "grid", "line"])
def test_ties_are_broken_by_index(kind: str, pads: str) -> None:
    config = small(pads=pads)
    events = random_events(config, 21, [21, 17], seed=5)
    if kind == "identical":
        events.coords[:] = 0.25
    elif kind == "grid":
        events.coords = np.round(events.coords)
    else:
        events.coords[..., 1:] = 0.0
    model = random_model(config, 21)
    _same(real_rows(config, model, events, run(model, events)), expected(config, events, model))


@pytest.mark.parametrize("variant", ["published", "masked", "jet_masked"])
def test_masked_points_reach_no_other(variant: str) -> None:
    config = small(**VARIANTS[variant])
    counts = [21, 17, 9] if config.pads == "duplicates" else [21, 9, 1]
    model, events = random_model(config, 21), random_events(config, 21, counts, seed=6)
    if config.pads == "duplicates":
        events.mask[2] = events.mask[1]
    before = real_rows(config, model, events, run(model, events))
    real = events.mask[..., None] > 0
    events.features = np.where(real, events.features, np.nan)
    events.coords = np.where(real, events.coords, np.inf)
    after = run(model, events)
    _same(real_rows(config, model, events, after), before, 1e-13)


def test_an_event_without_points_is_finite_where_pads_are_masked() -> None:
    for variant in ("masked", "jet_masked"):
        config = small(**VARIANTS[variant])
        model, events = random_model(config, 21), random_events(config, 21, [0, 21])
        assert np.isfinite(run(model, events)).all()


@pytest.mark.parametrize("pads", ["duplicates", "masked"])
def test_statistics_of_the_norms_count_slots_with_a_point(pads: str) -> None:
    """In training: what stands in masked points moves neither the statistics nor the other points."""
    config = small(pads=pads, balls=(4, 4, 2))
    events = random_events(config, 32, [32, 12, 9], seed=7)
    moved = []
    for noise in (0.0, 1e3):
        model = random_model(config, 32)
        masked = SimpleNamespace(**vars(events))
        masked.features = np.where(events.mask[..., None] > 0, events.features, noise)
        masked.coords = np.where(events.mask[..., None] > 0, events.coords, noise)
        found = run(model, masked, training=True)
        moved.append([model.get_layer("e0_pool_norm").moving_mean.numpy(), found[events.mask > 0]])
        small_event = real_rows(config, model, masked, found)
    assert all(np.isfinite(rows).all() for rows in small_event)
    _same(moved[0], moved[1], 1e-11)
    assert np.abs(moved[0][0] - random_state(config)["encoder.0.pool.norm.running_mean"]).max() > 1e-3


def test_batch_norms_count_what_upstream_counts() -> None:
    """All slots of the trees of a batch, those that repeat a point included; none behind the tree of a small event."""
    config = small(widths=(6, 8), balls=(4, 4), enc_heads=(2, 2), enc_depths=(1, 1), dec_heads=(2,), dec_depths=(1,),
                   strides=(2,))  # fmt: skip
    events = random_events(config, 32, [32, 13], seed=8)
    model = random_model(config, 32)
    before = keras.Model(model.inputs, model.get_layer("e0_pool").output)(inputs_of(model, events)).numpy()
    old = model.get_layer("e0_pool_norm").moving_mean.numpy().copy()
    run(model, events, training=True)
    there = np.concatenate([before[0], before[1, :8]])  # of 32 and of 16 slots
    wanted = 0.9 * old + 0.1 * there.mean(axis=0)
    found = model.get_layer("e0_pool_norm").moving_mean.numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


MD: dict[str, Any] = {"head": "none"}
EAGLE: dict[str, Any] = {"head": "none", "coords": 2, "balls": (256, 256, 256, 128, 128)}
COSMOLOGY: dict[str, Any] = {
    "head": "none", "balls": (256,) * 4, "enc_heads": (2, 4, 8, 16), "enc_depths": (2, 2, 6, 2), "dec_heads": (2, 4, 8),
    "dec_depths": (2, 2, 2), "strides": (2, 2, 2),
}  # fmt: skip
SHAPENET: dict[str, Any] = {
    "head": "none", "balls": (256, 256), "enc_heads": (8, 8), "enc_depths": (6, 6), "dec_heads": (8,),
    "dec_depths": (6,), "strides": (1,), "neighbours": 8,
}  # fmt: skip
PUBLISHED = [  # task, first width, columns, backbone parameters, of which pooling by 1, which upstream never reads
    (MD, 16, 16, 4_762_332, 0), (MD, 32, 16, 18_955_452, 0), (MD, 64, 32, 75_635_836, 0),
    (EAGLE, 16, 16, 4_758_380, 0), (EAGLE, 32, 16, 18_947_548, 0), (EAGLE, 64, 32, 75_620_028, 0),
    (COSMOLOGY, 32, 32, 4_752_440, 0), (COSMOLOGY, 64, 64, 18_919_416, 0), (COSMOLOGY, 128, 128, 75_497_336, 0),
    (SHAPENET, 64, 64, 1_265_680, 4_480), (SHAPENET, 128, 64, 5_005_200, 17_152),
    (SHAPENET, 256, 64, 19_906_192, 67_072), ({**SHAPENET, "coords": 2}, 64, 64, 1_264_208, 4_416),
]  # fmt: skip


def _weights(shapes: Any) -> int:
    return sum(int(np.prod(shape)) for shape in shapes)


def _published(task: dict[str, Any], width: int) -> ErwinConfig:
    levels = len(task.get("balls", ErwinConfig().balls))
    doubles = 1 if task.get("strides") == (1,) else 2
    return ErwinConfig(widths=tuple(width * doubles**level for level in range(levels)), **task)


@pytest.mark.parametrize(("task", "width", "columns", "wanted", "unread"), PUBLISHED[::3])
def test_parameter_counts_of_the_published_models(
    task: dict[str, Any], width: int, columns: int, wanted: int, unread: int
) -> None:
    model = erwin(_published(task, width), Points(4096, columns), Float32())
    assert _weights(weight.shape for weight in model.trainable_weights) == wanted - unread


@pytest.mark.slow
@pytest.mark.parametrize(("task", "width", "columns", "wanted", "unread"), PUBLISHED)
def test_parameter_counts_of_all_published_models(
    task: dict[str, Any], width: int, columns: int, wanted: int, unread: int
) -> None:
    model = erwin(_published(task, width), Points(4096, columns), Float32())
    assert _weights(weight.shape for weight in model.trainable_weights) == wanted - unread


@pytest.mark.parametrize("variant", ["published", "masked", "stride1", "squared"])
def test_gradients_are_finite_and_every_weight_has_one(variant: str) -> None:
    """Also where points coincide, whose distance has no derivative; positions get none."""
    import tensorflow as tf

    config = small(**VARIANTS[variant])
    model, events = random_model(config, 21), random_events(config, 21, [21, 17], seed=9)
    events.coords[0, :9] = events.coords[0, 0]
    inputs = {name: tf.constant(array) for name, array in inputs_of(model, events).items()}
    with tf.GradientTape() as tape:
        tape.watch(inputs["coords"])
        output = model(inputs, training=True)
        loss = tf.reduce_sum(tf.boolean_mask(output, inputs["mask"] > 0) ** 3)
    weights = [weight.value for weight in model.trainable_weights]
    gradients = tape.gradient(loss, [*weights, inputs["coords"]])
    assert gradients.pop() is None
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert np.isfinite(gradient).all(), weight.path
        assert np.abs(gradient).max() > 0 or weight.path.endswith("attn_k/bias"), weight.path


def test_initial_weights_are_the_published_ones() -> None:
    keras.utils.set_random_seed(1)
    model = erwin(ErwinConfig(head="none", mp_steps=0), Points(1024, 16), Float32())
    assert np.std(model.get_layer("e4_b0_ffn").kernel) == pytest.approx(0.02, rel=0.01)
    assert np.abs(model.get_layer("e4_b0_ffn").kernel).max() > 0.07  # not cut at two widths
    sigma = np.concatenate([np.ravel(model.get_layer(f"e4_b{block}_attn_sigma").kernel) for block in (0, 1)])
    assert sigma.mean() == pytest.approx(-1.0, abs=0.01)
    assert 0.004 < sigma.std() < 0.02
    assert not np.any(model.get_layer("e0_pool").bias)
    norms = {type(layer).__name__: layer.epsilon for layer in model.layers if hasattr(layer, "epsilon")}
    assert norms == {"RMSNormalization": 2.0**-23, "BatchNorm": 1e-5}


@pytest.mark.parametrize("variant", ["published", "masked", "jet", "stride1"])
def test_saved_model_is_the_same_model(variant: str, tmp_path: Path) -> None:
    config = small(**VARIANTS[variant])
    model, events = random_model(config, 21), random_events(config, 21, [21, 17], seed=10)
    model.save(tmp_path / "erwin.keras")
    again = load_model(tmp_path / "erwin.keras")
    np.testing.assert_array_equal(run(again, events), run(model, events))  # the host's orders come with the file
    assert again.memory.config == model.memory.config


def test_a_few_steps_lower_the_loss() -> None:
    keras.utils.set_random_seed(1)
    config = small(widths=(8, 8, 8), enc_heads=(2, 2, 2), dec_heads=(2, 2))
    model, events = empty_model(config, 21, "float32"), random_events(config, 21, [21, 17], seed=11)
    model.compile(keras.optimizers.Adam(1e-2), "mse", jit_compile=False)
    target = np.random.default_rng(0).normal(size=(2, *model.output.shape[1:]))
    losses = model.fit(inputs_of(model, events), target, epochs=15, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
def test_jax_and_a_compiled_step_compute_the_same(tmp_path: Path) -> None:
    """In float32, also with coinciding points; and XLA under TensorFlow."""
    pytest.importorskip("jax", reason="the JAX backend is an extra: pip install jax")
    wanted = {}
    two = {"widths": (6, 8), "balls": (8, 4), "enc_heads": (2, 2), "enc_depths": (2, 1), "dec_heads": (2,),
           "dec_depths": (1,), "strides": (2,)}  # fmt: skip
    for variant in ("masked", "jet"):  # XLA compiles for minutes where there are more levels
        config = small(**VARIANTS[variant], **two)
        model, events = random_model(config, 21, dtype="float32"), random_events(config, 21, [21, 17], seed=14)
        events.coords[:, 5:9] = events.coords[:, :1]
        arrays = inputs_of(model, events)
        target = np.zeros((2, *model.output.shape[1:]), np.float32)
        model.save(tmp_path / f"{variant}.keras")
        np.savez(tmp_path / f"{variant}.npz", target=target, **arrays)
        output = run(model, events)
        real = events.mask > 0 if config.head == "points" else slice(None)
        model.compile(keras.optimizers.SGD(1e-3), "mse", jit_compile=True)
        losses = model.fit(arrays, target, epochs=2, verbose=0).history["loss"]
        wanted[variant] = output, real, losses
    found = under_jax(SUPPORT / "erwin_jax.py", tmp_path)
    for variant, (output, real, losses) in wanted.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{variant}.npy")[real], output[real], rtol=0, atol=1e-4)
        assert losses[1] < losses[0]
        if variant == "jet":  # else rows count that mean nothing
            assert found[variant] == pytest.approx(losses, rel=1e-4)


def test_a_turn_at_45_degrees_mixes_balls() -> None:
    """A point of another ball of the tree reaches a point by the second block and not without rotation."""
    reached = []
    for rotate in (45.0, 0.0):
        config = small(widths=(8,), balls=(8,), enc_heads=(2,), enc_depths=(2,), dec_heads=(), dec_depths=(),
                       strides=(), mp_steps=0, coords=2, rotate=rotate)  # fmt: skip
        model, events = random_model(config, 64), random_events(config, 64, [64], seed=12)
        before = run(model, events)
        events.features[0, 0] += 1.0
        reached.append(int((np.abs(run(model, events) - before)[0].max(axis=-1) > 1e-9).sum()))
    assert reached[1] == 8
    assert reached[0] > 8


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"balls": (8, 4)}, r"balls needs 3 entries, for the 3 levels of widths\. Received: balls=\[8, 4\]"),
        ({"strides": (2,)}, r"strides needs 2 entries"),
        ({"dec_depths": (2,)}, r"dec_depths needs 2 entries"),
        ({"widths": ()}, r"widths needs at least the channels of one level"),
        ({"balls": (8, 6, 4)}, r"balls are powers of two\. Received: balls=\[8, 6, 4\]"),
        ({"strides": (2, 3)}, r"strides are powers of two\. Received: strides=\[2, 3\]"),
        ({"enc_heads": (4, 4, 3)}, r"enc_heads divide the widths of their levels\. Received: enc_heads=\[4, 4, 3\]"),
        ({"dec_heads": (3, 3)}, r"dec_heads divide the widths of their levels"),
        ({"strides": (1, 2)}, r"strides: 1 keeps the channels of a level\. Received: widths=\[6, 8, 12\]"),
        ({"coords": 4}, r"rotate needs 2 or 3 coords; set rotate: 0\. Received: coords=4"),
        ({"decode": False}, r"head: points needs decode: true"),
    ],
)
def test_configurations_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small(**changes)


def test_without_a_decoder_its_keys_mean_nothing() -> None:
    config = small(decode=False, head="jet", dec_heads=(), dec_depths=(5,))
    assert config.turned == (0, 2)
    assert small(coords=5, rotate=0.0).turned == ()


def test_balls_that_would_span_events_are_refused() -> None:
    words = r"16 points have 16 slots, model.balls with model.strides need 32, or a ball would span events; raise"
    with pytest.raises(ConfigError, match=words):
        empty_model(small(balls=(8, 4, 8)), 16)
    assert MODELS["erwin"].particles(small(balls=(8, 4, 8))) == (17, 500_000)
    empty_model(small(balls=(8, 4, 8)), 17)
    config = small()
    model = random_model(config, 21)
    words = r"event 1: 8 points have 8 slots, of which level 1 has 4, and a ball of 8 would span events; set model.pads"
    with pytest.raises(DataError, match=words):
        run(random_model(small(balls=(8, 8, 4)), 21), random_events(config, 21, [21, 8]))
    assert config.ball_order.fewest == 16
    with pytest.raises(DataError, match=r"leave out events of fewer than 9 points"):
        run(model, random_events(config, 21, [0, 21]))


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"erwin needs a number of points.*Received: num_particles=None"):
        erwin(small(), Points(None, FEATURES), Float32())
    with pytest.raises(ConfigError, match=r"head: jet needs events with classes; set model.head: points"):
        erwin(small(head="jet"), Points(21, FEATURES), Float32())
    with pytest.raises(
        ConfigError, match=r"order_slots: points that stand in two slots have no fixed point; set model.pads"
    ):
        erwin(small(), Jet(32, FEATURES, CLASSES), Hgq(QuantConfig()))
    model, events = random_model(small(), 21), random_events(small(), 21, [21, 17])
    events.coords[1, np.flatnonzero(events.mask[1])[3], 0] = np.nan
    with pytest.raises(DataError, match=r"coordinates of real points must be finite.*in event 1, point"):
        run(model, events)


def test_float32_is_as_near_as_upstream() -> None:
    """3e-6 is the bound of parity with upstream on outputs of about one, here of the same weights in float64."""
    config = small(head="none")
    events = random_events(config, 21, [21, 17], seed=13)
    exact, rounded = random_model(config, 21), random_model(config, 21, dtype="float32")
    events.features, events.coords = (np.float64(np.float32(x)) for x in (events.features, events.coords))
    for model in (exact, rounded):
        for layer in model.layers:
            if layer.weights:
                layer.set_weights([np.float32(0.5 * weight) for weight in layer.get_weights()])
    real = events.mask > 0
    np.testing.assert_allclose(run(rounded, events)[real], run(exact, events)[real], rtol=0, atol=3e-6)
    assert replace(config.ball_order, pads="masked") != config.ball_order
