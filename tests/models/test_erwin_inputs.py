"""What the host makes of jets and points for an Erwin: coordinates, orders, neighbours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from pydantic import ValidationError
from support.erwin import CLASSES, FEATURES, empty_model, small

from qformers.builds.build import load
from qformers.builds.models import fresh_model
from qformers.data.clouds import NO_PARTICLE, PointEvents, PointLayout
from qformers.data.events import Events, FeatureSet
from qformers.errors import ConfigError, DataError
from qformers.models.inputs import host_inputs, jet_coords, takes_events

N = 21


def jets(counts: list[int], points: int = N, seed: int = 0) -> Events:
    """Jets with so many particles each, the axis anywhere in phi."""
    rng = np.random.default_rng(seed)
    axis = rng.uniform(-np.pi, np.pi, (len(counts), 1))
    pt, eta = rng.uniform(1, 20, (len(counts), points)), rng.normal(0.5, 0.2, (len(counts), points))
    phi = axis + rng.normal(0, 0.2, (len(counts), points))
    vectors = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], axis=-1)
    mask = (np.arange(points) < np.array(counts)[:, None]).astype(np.float32)
    names = tuple(f"f{index}" for index in range(FEATURES))
    numbers = ((0.0,) * FEATURES, (1.0,) * FEATURES, (-9.0,) * FEATURES, (9.0,) * FEATURES)
    features = rng.normal(size=(len(counts), points, FEATURES)).astype(np.float32)
    return Events(
        features, (vectors * mask[..., None]).astype(np.float32), mask, np.zeros(len(counts), np.int64),
        tuple("abc"), FeatureSet(names, *numbers),
    )  # fmt: skip


def test_coordinates_of_a_jet_are_angles_around_its_axis() -> None:
    events = jets([N, 3, 1, 0])
    coords = jet_coords(events.vectors, events.mask)
    assert coords.dtype == np.float32
    assert np.abs(coords).max() < 1.5  # also where phi wraps
    np.testing.assert_array_equal(coords[events.mask == 0], 0.0)
    np.testing.assert_allclose(coords[2, 0], 0.0, atol=1e-5)  # one particle is the jet
    turned = events.vectors.copy()
    turned[..., 0], turned[..., 1] = -events.vectors[..., 1], events.vectors[..., 0]
    np.testing.assert_allclose(jet_coords(turned, events.mask), coords, atol=1e-5)
    px, py, pz = np.float64(events.vectors[1, :3, :3]).T
    axis = [total.sum() for total in (px, py, pz)]
    eta = np.arcsinh(pz / np.hypot(px, py)) - np.arcsinh(axis[2] / np.hypot(axis[0], axis[1]))
    np.testing.assert_allclose(coords[1, :3, 0], eta, atol=1e-6)


@pytest.mark.parametrize("pads", ["duplicates", "masked"])
def test_a_model_of_jets_gets_all_its_inputs(pads: str) -> None:
    config = small(coords=2, head="jet", pads=pads)
    keras.utils.set_random_seed(1)
    model = empty_model(config, N, "float32")
    assert takes_events(model)
    events = jets([N, 9, 12] if pads == "duplicates" else [N, 9, 0])
    inputs = host_inputs(model, events)
    assert {name: array.shape[1:] for name, array in inputs.items()} == {
        "features": (N, FEATURES), "coords": (N, 2), "mask": (N,), "order": (1 + len(config.turned), 32),
        "neighbours": (N, 4),
    }  # fmt: skip
    logits = np.asarray(model(inputs))
    assert logits.shape == (3, CLASSES)
    assert np.isfinite(logits).all()
    for event in range(3):
        some = host_inputs(model, events[event : event + 1])
        np.testing.assert_allclose(np.asarray(model(some))[0], logits[event], rtol=0, atol=1e-5)
    shown = inputs["neighbours"][1]
    assert (shown[:9] >= 0).all()
    assert shown[:9].max() < 9
    assert (shown[9:] == -1).all()


def test_jets_have_two_coordinates() -> None:
    model = empty_model(small(head="jet"), N, "float32")
    with pytest.raises(
        ConfigError, match=r"eta and phi around its axis; set model\.coords: 2, .*Received: model\.coords=3"
    ):
        host_inputs(model, jets([N]))


def test_events_of_too_few_points_are_refused_in_words() -> None:
    model = empty_model(small(coords=2, head="jet"), N, "float32")
    with pytest.raises(DataError, match=r"event 1: 5 points have 8 slots.*set model\.pads: masked"):
        host_inputs(model, jets([N, 5]))


def points() -> PointEvents:
    """Two events of N points in space."""
    rng = np.random.default_rng(0)
    shape = (2, N)
    layout = PointLayout(tuple(f"f{index}" for index in range(FEATURES)), ("x", "y", "z"), ("a", "b"))
    numbers: dict[str, Any] = {
        "features": rng.normal(size=(*shape, FEATURES)).astype(np.float32),
        "coords": rng.normal(size=(*shape, 3)).astype(np.float32),
        "mask": np.ones(shape, np.float32), "labels": np.zeros(shape, np.int64),
        "particle_ids": np.full(shape, NO_PARTICLE), "pt": np.zeros(shape, np.float32),
        "eta": np.zeros(shape, np.float32), "reconstructable": np.zeros(shape, np.bool_),
        "layers": np.zeros(shape, np.int64), "events": np.arange(2), "layout": layout,
    }  # fmt: skip
    return PointEvents(**{name: numbers[name] for name in PointEvents.__dataclass_fields__})


def test_points_keep_their_coordinates() -> None:
    events = points()
    model = empty_model(small(), N, "float32")
    inputs = host_inputs(model, events)
    np.testing.assert_array_equal(inputs["coords"], events.coords)
    assert np.asarray(model(inputs)).shape == (2, N, 2)


def test_coordinates_are_scaled_by_the_host_and_some_left_out() -> None:
    scales = (2.0, 0.0, 0.25)
    model = empty_model(small(coords=2, coord_scales=scales, head="jet", pads="masked"), N, "float32")
    events = points()
    inputs = host_inputs(model, events)
    np.testing.assert_array_equal(inputs["coords"], events.coords[..., [0, 2]] * np.float32([2.0, 0.25]))
    saved = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    np.testing.assert_array_equal(host_inputs(saved, events)["order"], inputs["order"])
    wide = replace(events, coords=events.coords * np.float32([1.0, 0.0, 0.0]))  # one axis: the tree is a sort by it
    order = host_inputs(model, wide)["order"][:, 0]
    for event in range(2):
        np.testing.assert_array_equal(order[event, :N], np.argsort(events.coords[event, :, 0], kind="stable"))


def test_scales_that_do_not_fit_are_refused_in_words() -> None:
    with pytest.raises(ValidationError, match=r"as many are not 0 as there are coords\. Received: coord_scales=\[2"):
        small(coords=3, coord_scales=(2.0, 0.0, 1.0))
    with pytest.raises(ValidationError, match=r"coord_scales are powers of two"):
        small(coords=2, coord_scales=(3.0, 1.0))
    model = empty_model(small(coords=2, coord_scales=(1.0, 1.0), head="jet", pads="masked"), N, "float32")
    with pytest.raises(ConfigError, match=r"model\.coord_scales has one number for each .* have 3\. Received: "):
        host_inputs(model, points())
    model = empty_model(small(coords=2, head="jet", pads="masked"), N, "float32")
    with pytest.raises(ConfigError, match=r"points have 3 coordinates; set model\.coords: 3, or choose some by model"):
        host_inputs(model, points())


def test_a_build_file_makes_the_model(tmp_path: Path) -> None:
    path = tmp_path / "balls.yaml"
    path.write_text(
        "spec: 1\nname: balls\n"
        "data: {dataset: jetclass, train: [a], val: [a], test: [a], features: kin, num_particles: 32}\n"
        "model: {architecture: erwin, coords: 2, widths: [8, 16], balls: [8, 8], enc_heads: [2, 4], "
        "enc_depths: [2, 2],\n  dec_heads: [], dec_depths: [], strides: [2], "
        "mp_steps: 0, pads: masked, decode: false, head: jet}\n"
        "train: {qat: null}\n"
    )
    model = fresh_model(load(path))
    assert {tensor.name for tensor in model.inputs} == {"features", "coords", "mask", "order"}
    assert model.output.shape[1:] == (10,)
    with pytest.raises(
        ConfigError, match=r"'data\.num_particles': this model takes 9 to 500000 particles\. Received: 8"
    ):
        load(path, ["data.num_particles=8"])
    quantised = fresh_model(load(path, ["quant={}"]), "hgq")
    assert {tensor.name: tensor.shape for tensor in quantised.inputs} == {t.name: t.shape for t in model.inputs}
    with pytest.raises(
        ConfigError, match=r"points that stand in two slots have no fixed point; set model.pads: masked"
    ):
        fresh_model(load(path, ["quant={}", "model.pads=duplicates"]), "hgq")
