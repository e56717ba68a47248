"""`order: host`: what the host feeds a HEPT with is decided by the model file alone."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from support.hept import FEATURES, empty_model, run, small

from qformers.builds.models import load_model
from qformers.data.clouds import PointEvents, PointLayout
from qformers.errors import ConfigError, DataError
from qformers.models.hept.hept import hept
from qformers.models.inputs import host_inputs, takes_events
from qformers.models.sizes import Points
from qformers.nn.float32 import Float32
from qformers.nn.index.host_order import HostOrder

CONFIG = small(hash="coords", order="host", regions=6.0)
POINTS = 14


def events(counts: list[int], points: int = POINTS) -> PointEvents:
    """Random points; a mask with holes, and coordinates of all slots, also of those that hold nothing."""
    rng = np.random.default_rng(4)
    shape = (len(counts), points)
    mask = rng.permuted((np.arange(points) < np.array(counts)[:, None]).astype(np.float32), axis=1)
    none = np.zeros(shape, np.int64)
    features, coords = (rng.normal(size=(*shape, size)).astype(np.float32) for size in (FEATURES, CONFIG.coords))
    layout = PointLayout(tuple("abcde"), ("eta", "phi", "r"), ("kept",))
    pt = np.zeros(shape, np.float32)
    return PointEvents(
        features, coords, mask, none, none, pt, pt, mask > 0, none, events=np.arange(len(counts)), layout=layout
    )


def test_the_order_is_that_of_the_drawn_numbers_with_masked_points_last():
    model, some = empty_model(CONFIG, POINTS, "float32"), events([14, 9, 3, 0])
    assert takes_events(model)
    inputs = host_inputs(model, some)
    assert set(inputs) == {"features", "coords", "mask", "order"}
    order = inputs["order"].astype(int)
    assert order.shape == (4, CONFIG.hashes, POINTS)
    np.testing.assert_array_equal(order, HostOrder.drawn(CONFIG, 0)(some.coords, some.mask))
    for mask, orders in zip(some.mask, order, strict=True):
        for row in orders:
            assert sorted(row) == list(range(POINTS))
            assert np.all(np.diff(mask[row]) <= 0)
    other = hept(CONFIG.model_copy(update={"order_seed": 1}), Points(POINTS, FEATURES), Float32("float32"))
    assert not np.array_equal(host_inputs(other, some)["order"], inputs["order"])


@pytest.mark.parametrize("points", [None, POINTS], ids=["any", "N14"])
def test_the_order_is_saved_with_the_model(points: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = CONFIG.model_copy(update={"order_seed": 5})
    model, some = empty_model(config, points, "float32"), events([14, 8])
    before = host_inputs(model, some)
    model.save(tmp_path / "hept.keras")
    monkeypatch.setattr(HostOrder, "drawn", None)  # nothing is drawn again
    again = load_model(tmp_path / "hept.keras")
    np.testing.assert_array_equal(host_inputs(again, some)["order"], before["order"])
    kept, found = (each.get_layer("order_slots").host for each in (model, again))
    np.testing.assert_array_equal(found.regions, kept.regions)
    np.testing.assert_array_equal(found.alpha, kept.alpha)
    outputs = (
        run(each, *(before[name] for name in ("features", "coords", "mask", "order"))) for each in (model, again)
    )
    np.testing.assert_array_equal(*outputs)


def test_slots_in_front_of_which_nothing_stands_do_not_matter():
    """The order of real points is that of the event alone, wherever its empty slots are."""
    some = events([9])
    real = some.mask[0] > 0
    drawn = HostOrder.drawn(CONFIG, 0)
    packed = drawn(some.coords[:, real], some.mask[:, real])[0]
    found = drawn(some.coords, some.mask)[0, :, :9]
    np.testing.assert_array_equal(found, np.flatnonzero(real)[packed])


def test_models_and_events_that_do_not_fit_are_refused():
    model = empty_model(CONFIG, POINTS, "float32")
    with pytest.raises(ConfigError, match=r"input '\w+' of the model has shape .*the events give \(12, "):
        host_inputs(model, events([12], points=12))
    bare = keras.Model(order := keras.Input((3, POINTS), name="order"), keras.layers.Flatten()(order), name="bare")
    with pytest.raises(ConfigError, match=r"input 'order' of model 'bare' .*give the order yourself\. Received: 2"):
        host_inputs(bare, events([14]))


@pytest.mark.parametrize("value", [-1.0, 4.0, 1.5])
def test_numbers_beyond_the_tables_of_a_model_are_refused(value: float):
    model, some = empty_model(small(embeddings=((7, 2), (4, 1))), POINTS, "float32"), events([14])
    some.features[..., -2:] = 3
    some.features[some.mask == 0] = 99  # padding is not looked up
    assert host_inputs(model, some)["features"][..., -1].max() >= 3
    some.features[0, 5, -1] = value
    with pytest.raises(DataError, match=rf"column 'e' must hold 0 to 3, the entries of model.embeddings.*: {value:g}"):
        host_inputs(model, some)


def test_no_event_is_refused() -> None:
    with pytest.raises(DataError, match=r"at least one event .*: give some. Received: input 'mask' of shape \(0, 14\)"):
        host_inputs(empty_model(CONFIG, POINTS, "float32"), events([]))
