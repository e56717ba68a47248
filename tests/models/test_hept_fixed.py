"""HEPT in fixed point: the float function with wide formats, and the RTL's arithmetic bit for bit with narrow ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hgq.quantizer import Quantizer
from numpy.typing import NDArray
from support.hept_fixed import FEATURES, FINE, NARROW, both, small

from hls.backends.alkaid.trace import predict, trace
from hls.proof.adversarial import adversarial, ranges
from qformers.builds.models import load_model
from qformers.errors import ConfigError
from qformers.models.hept import fixed_hept
from qformers.models.hept.hept import hept
from qformers.models.sizes import Points
from qformers.nn.formats import fixed_quantiser
from qformers.nn.hgq import Hgq
from qformers.nn.index.host_order import HostOrder
from qformers.nn.index.select import Largest
from qformers.nn.index.sorted_order import SortedOrder
from qformers.precision.fixed import Fixed


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hashes": 1, "layers": 2},
        {"norm": "none", "hashes": 3},
        {"head": "logits", "outputs": 2, "sink": -3.0},
        {"order": "onchip"},
        {"coord_scales": (2.0, 0.0, 0.5), "shared_scale": False},
    ],
)
def test_wide_formats_give_the_float_function(changes: dict[str, Any]) -> None:
    floating, fixed, inputs = both(small(**changes), 12, FINE)
    real = inputs["mask"] > 0
    wanted, found = (np.asarray(model(inputs))[real] for model in (floating, fixed))
    assert wanted.std() > 0.02
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.02 * wanted.std()


def test_masked_points_reach_no_other_point() -> None:
    _, fixed, inputs = both(small(), 12, NARROW)
    masked = inputs["mask"][..., None] == 0
    filled = {**inputs, "features": np.where(masked, 3.0, inputs["features"]).astype(np.float32)}
    filled["coords"] = np.where(masked, inputs["coords"][:, :1], inputs["coords"])
    real = inputs["mask"] > 0
    assert np.array_equal(np.asarray(fixed(inputs))[real], np.asarray(fixed(filled))[real])


def test_slots_have_no_meaning_beyond_the_order() -> None:
    _, fixed, inputs = both(small(), 12, NARROW)
    turned = np.random.default_rng(3).permutation(12)
    moved = {name: inputs[name][:, turned] for name in ("features", "coords", "mask")}
    moved["order"] = np.argsort(turned)[inputs["order"].astype(int)].astype(np.float32)
    assert np.array_equal(np.asarray(fixed(moved)), np.asarray(fixed(inputs))[:, turned])


def test_a_saved_model_is_the_same(tmp_path: Path) -> None:
    _, fixed, inputs = both(small(hashes=1), 8, NARROW)
    fixed.save(tmp_path / "hept.keras")
    assert np.array_equal(np.asarray(load_model(tmp_path / "hept.keras")(inputs)), np.asarray(fixed(inputs)))


def test_largest_is_at_least_its_floor() -> None:
    values = np.array([[[1.0, -4.0], [-3.0, -5.0]]], np.float32)
    assert np.array_equal(Largest(-1, -2.0)(values), [[[1.0], [-2.0]]])
    assert np.array_equal(Largest(1)(values), [[[1.0, -4.0]]])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"order": "onchip", "hash": "latent"}, "model.hash: coords"),
        ({"kernel": "direct"}, "model.kernel: sink"),
        ({"embeddings": ((7, 2),)}, r"model.embeddings: \[\]"),
        ({"block_size": 5}, r"data.num_particles: a multiple of model.block_size \(5\).*Received: 12"),
    ],
)
def test_what_fixed_point_cannot_say_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        hept(fixed_hept(small(**changes)), Points(12, FEATURES), Hgq(NARROW))


def gridded(points: int, count: int = 500) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coordinates in steps of 1/4, so that many are alike, and masks; some events with all points in one place."""
    random = np.random.default_rng(5)
    coords = np.clip(np.round(random.normal(0.0, 1.5, (count, points, 3)) * 4) / 4, -4.0, 3.75)
    coords[:20] = coords[:20, :1]
    mask = random.random((count, points)) < random.random((count, 1))
    mask[:10], mask[20] = True, False
    return coords.astype(np.float32), mask.astype(np.float32)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_chip_sorts_as_the_host_does(axes: int, tmp_path: Path) -> None:
    drawn = HostOrder.drawn(small(regions=9.0, region_axes=axes), 3)
    layer = SortedOrder(drawn.regions.tolist(), drawn.alpha.tolist(), 2, name="order")
    coords, mask = gridded(16)
    by_host = layer.host(coords, mask)
    assert np.array_equal(np.asarray(layer([coords, mask[..., None]]))[:, 0, :, 0], by_host)
    assert len(np.unique(by_host.reshape(-1, 16), axis=0)) > 100

    point, real = keras.Input((16, 3), name="coords"), keras.Input((16, 1), name="mask")
    rounded = Quantizer(fixed_quantiser(Fixed.parse("fixed<5,3,RND,SAT>")), name="coords_rounded")(point)
    bits = Quantizer(fixed_quantiser(Fixed.parse("ufixed<1,1>")), name="mask_rounded")(real)
    model = keras.Model({"coords": point, "mask": real}, layer([rounded, bits]))
    traced = trace(model, {"coords": Fixed.parse("fixed<6,3,TRN,SAT>"), "mask": Fixed.parse("ufixed<1,1>")})
    rows = np.concatenate([coords.reshape(len(coords), -1), mask], axis=1)
    assert np.array_equal(predict(traced.comb, rows).reshape(by_host.shape), by_host)


def test_adversarial_orders_are_permutations() -> None:
    orders = adversarial(hept(fixed_hept(small()), Points(8, FEATURES), Hgq(NARROW))).inputs["order"]
    assert np.array_equal(np.sort(orders, axis=-1), np.broadcast_to(np.arange(8), orders.shape))
    assert len(np.unique(orders.reshape(-1, 8), axis=0)) > 100


def test_adversarial_points_stand_close_together() -> None:
    model = hept(fixed_hept(small()), Points(8, FEATURES), Hgq(NARROW))
    found, spans = adversarial(model), ranges(model)
    close = found.inputs["coords"][np.array(found.cases) == "all points close together"]
    assert len(close) == 64
    assert np.all(np.ptp(close, axis=1) < 2.01 * spans["coords"].step[0])
    ordered = np.sort(close[..., 0], axis=1)
    assert np.all(np.any(np.diff(ordered) == 0, axis=1)), "eight points within three steps without a tie"
