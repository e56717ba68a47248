"""The ball tree that a chip sorts: the same as the host's on the same numbers, also turned by 45 degrees."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from qformers.models import MODELS
from qformers.models.erwin import pooled, small
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32
from qformers.nn.index.ball_tree import partition, rotated
from qformers.nn.index.sorted_tree import SortedTree


def events(slots: int, axes: int, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates on a coarse grid, so that many are alike, and any number of real points in any slots."""
    rng = np.random.default_rng(slots + axes)
    coords = (rng.integers(-4, 4, (count, slots, axes)) / 8).astype(np.float32)
    real = rng.permuted(np.arange(slots) < rng.integers(0, slots + 1, (count, 1)), axis=1)
    return coords, real.astype(np.float32)


@pytest.mark.parametrize(("slots", "axes", "leaf"), [(8, 2, 4), (16, 3, 2), (32, 1, 8), (64, 2, 16)])
def test_the_tree_is_that_of_the_host(slots: int, axes: int, leaf: int) -> None:
    coords, real = events(slots, axes)
    order = np.asarray(SortedTree(leaf)([coords, real]))
    assert order.shape == (len(coords), 1, 1, 1, slots)
    np.testing.assert_array_equal(order[:, 0, 0, 0], partition(coords, leaf, real))


def test_the_diagonal_tree_is_turned_by_45_degrees() -> None:
    coords, real = events(32, 2)
    order = np.asarray(SortedTree(8, diagonal=True)([coords, real]))[:, 0, 0, 0]
    np.testing.assert_array_equal(order, partition(rotated(coords, 45.0), 8, real))
    straight = np.asarray(SortedTree(8)([coords, real]))[:, 0, 0, 0]
    assert (order != straight).any(axis=1).mean() > 0.5


def test_minus_zero_is_zero() -> None:
    coords = np.zeros((1, 8, 1), np.float32)
    coords[0, ::2] = -0.0
    order = np.asarray(SortedTree(2)([coords, np.ones((1, 8), np.float32)]))[0, 0, 0, 0]
    np.testing.assert_array_equal(order, np.arange(8))


def test_it_is_saved_with_all_that_decides_it() -> None:
    layer = SortedTree(4, diagonal=True, scales=(2.0, 0.0, 1.0), name="tree")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    assert again.host == layer.host


def test_what_a_chip_cannot_sort_is_refused_in_words() -> None:
    with pytest.raises(ValidationError, match=r"order: onchip needs pads: masked\. Received: pads=duplicates"):
        small(order="onchip", pads="duplicates")
    turned = r"order: onchip turns the tree of the finest level alone, by 45 degrees in two dimensions; set rotate: 0"
    for changes in ({"rotate": 30.0}, {"coords": 3, "rotate": 45.0}):
        with pytest.raises(ValidationError, match=turned):
            small(order="onchip", enc_depths=(2,), **changes)
    with pytest.raises(ValidationError, match=turned):
        pooled(order="onchip", enc_depths=(1, 2), rotate=45.0)
    assert pooled(order="onchip", enc_depths=(2, 1), dec_depths=(2,), rotate=45.0).turned == (0,)


def test_a_model_that_sorts_is_the_model_that_is_given_the_order() -> None:
    """Also with a coarsening, where the order within a ball counts, and with coordinates that the host scales."""
    rng = np.random.default_rng(1)
    coords = rng.normal(size=(20, 16, 2)).astype(np.float32)
    mask = (np.arange(16) < rng.integers(0, 17, (20, 1))).astype(np.float32)
    features = rng.normal(size=(20, 16, 3)).astype(np.float32)
    given = {"features": features, "coords": coords, "mask": mask}
    for config in (pooled(coord_scales=(0.5, 0.0, 4.0)), small(enc_depths=(2,), rotate=45.0, head="points", outputs=2)):
        keras.utils.set_random_seed(1)
        host = MODELS["erwin"].build(config, Jet(16, 3, 3), Float32())
        chip = MODELS["erwin"].build(config.model_copy(update={"order": "onchip"}), Jet(16, 3, 3), Float32())
        assert {tensor.name for tensor in host.inputs} - {tensor.name for tensor in chip.inputs} == {"order"}
        chip.set_weights(host.get_weights())
        wanted = np.asarray(host({**given, "order": config.ball_order(coords, mask)}))
        np.testing.assert_allclose(np.asarray(chip(given)) * mask[..., None], wanted * mask[..., None], atol=1e-5)
