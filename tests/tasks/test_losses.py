"""InfoNCE and focal losses beside plain loops over their definitions, in double precision; and the pairs they take."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from qformers.data.clouds import PointCloud, PointLayout, stack
from qformers.data.points import pairs as make_pairs
from qformers.data.points.targets import PairTargets, point_targets
from qformers.errors import DataError
from qformers.tasks.losses import points as losses_points
from qformers.tasks.losses.packed import PairInfoNce, PointFocal

TAU, SIGMA = 0.05, 0.75
EXACT = 1e-9 if keras.backend.backend() == "tensorflow" else 1e-5  # others compute in single precision


def cloud(rng, points=40, particles=6, event=0):
    ids = rng.integers(-1, particles, points)
    eta, phi = rng.normal(size=(2, points)) * 1.2
    return PointCloud(
        features=rng.normal(size=(points, 3)).astype(np.float32),
        coords=np.stack([eta, phi, eta * phi], axis=1).astype(np.float32),
        labels=(ids >= 0).astype(np.int64),
        particle_ids=ids,
        pt=np.where(ids >= 0, 0.5 + 0.3 * ids, 0).astype(np.float32),
        eta=np.zeros(points, np.float32),
        reconstructable=(ids >= 0) & (ids != 4),
        layers=rng.integers(0, 5, points),
        event=event,
        layout=PointLayout(("a", "b", "c"), ("eta", "phi", "other"), ("noise", "particle")),
    )


def loop_losses(x, pairs, positive, weight):
    """Loss of each positive pair by its definition: {(i, j): loss}; `weight` of each point's negatives."""
    similarity = {(i, j): np.exp(-np.linalg.norm(x[i] - x[j]) / (2 * SIGMA**2)) for i, j in pairs.tolist()}
    top = max(similarity.values()) / TAU
    e = {pair: np.exp(s / TAU - top) for pair, s in similarity.items()}
    labels = dict(zip(map(tuple, pairs.tolist()), positive, strict=True))
    negative = [
        sum(weight[i] * e[i, k] for (a, k), same in labels.items() if a == i and not same) for i in range(len(x))
    ]
    return {(i, j): -np.log(e[i, j] / (e[i, j] + negative[i])) for (i, j), same in labels.items() if same}


def batch(rng):
    clouds = [cloud(rng, 40, event=1), cloud(rng, 31, event=2)]
    embedding = rng.normal(size=(2, 48, 5)) * 0.5
    return clouds, embedding


def arguments(packed):
    return packed.pairs, packed.positive, packed.valid


def test_info_nce_of_hept_equals_its_definition():
    rng = np.random.default_rng(0)
    clouds, x = batch(rng)
    found = [make_pairs.hept_pairs(one, rng) for one in clouds]
    packed = make_pairs.pack(clouds, found, 48, 1600)
    expected = []
    for one, embedding, (pairs, positive) in zip(clouds, x, found, strict=True):
        losses = loop_losses(embedding[: len(one)], pairs, positive, np.ones(len(one)))
        ids = one.particle_ids
        per_particle = [
            np.mean([v for (i, _), v in losses.items() if ids[i] == p]) for p in {ids[i] for i, _ in losses}
        ]
        assert len(per_particle) > 1
        expected.append(np.mean(per_particle))
    value = losses_points.info_nce_hept(ops.convert_to_tensor(x), *arguments(packed), packed.particle)
    assert float(value) == pytest.approx(np.mean(expected), rel=EXACT)


def test_info_nce_of_hept_cms_equals_its_definition():
    rng = np.random.default_rng(1)
    clouds, x = batch(rng)
    found = [make_pairs.cms_pairs(one, radius=1.0, most=6) for one in clouds]
    packed = make_pairs.pack(clouds, found, 48, 1600)
    expected = []
    for one, embedding, (pairs, positive) in zip(clouds, x, found, strict=True):
        length = np.array([(one.particle_ids == p).sum() if p >= 0 else 0 for p in one.particle_ids])
        losses = loop_losses(embedding[: len(one)], pairs, positive, length / length.max())
        expected.append(np.mean(list(losses.values())))
    value = losses_points.info_nce_cms(ops.convert_to_tensor(x), *arguments(packed), packed.weight)
    assert float(value) == pytest.approx(np.mean(expected), rel=max(EXACT, 1e-7))  # the weights are single precision


def test_no_positive_pair_and_equal_points_give_finite_losses_and_gradients():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes the gradient with TensorFlow")

    rng = np.random.default_rng(2)
    one = cloud(rng)
    pairs, positive = make_pairs.hept_pairs(one)
    packed = make_pairs.pack([one], [(pairs, positive & False)], 40, 1600)
    none = losses_points.info_nce_hept(rng.normal(size=(1, 40, 5)), *arguments(packed), packed.particle)
    assert float(none) == 0.0
    packed = make_pairs.pack([one], [(pairs, positive)], 40, 1600)
    x = tf.zeros((1, 40, 5))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = losses_points.info_nce_hept(x, *arguments(packed), packed.particle)
    assert np.isfinite(float(loss))
    assert np.isfinite(tape.gradient(loss, x).numpy()).all()


def test_pairs_are_those_of_the_definition():
    rng = np.random.default_rng(3)
    one = cloud(rng)
    where, ids = one.coords[:, :2].astype(float), one.particle_ids
    near = {(i, j) for i in range(40) for j in range(40) if i != j and np.linalg.norm(where[i] - where[j]) < 1.0}
    expected = set()
    for p in set(ids[ids >= 0].tolist()):
        own = np.flatnonzero(ids == p).tolist()
        if len(own) > 1:
            reached = {j for i in own for (a, j) in near if a == i} | set(own)
            expected |= {(i, j) for i in own for j in reached if i != j}
    expected |= {(j, i) for i, j in expected}
    pairs, positive = make_pairs.hept_pairs(one)
    assert set(map(tuple, pairs.tolist())) == expected
    for (i, j), same in zip(pairs.tolist(), positive, strict=True):
        assert same == (ids[i] == ids[j] and ids[i] not in (-1, 4) and one.pt[i] > 0.9)
    with_random, _ = make_pairs.hept_pairs(one, np.random.default_rng(0))
    assert set(map(tuple, pairs.tolist())) < set(map(tuple, with_random.tolist()))


def test_neighbours_are_the_nearest_and_both_ways():
    found = make_pairs.neighbours_within(np.array([[0.0], [1.0], [1.5], [9.0]]), 2.0, 1)
    assert found.tolist() == [[0, 1], [1, 0], [1, 2], [2, 1]]
    assert make_pairs.neighbours_within(np.zeros((1, 2)), 1.0, 5).shape == (0, 2)


def test_thinning_keeps_the_positive_pairs_and_packing_refuses_too_many():
    rng = np.random.default_rng(4)
    one = cloud(rng)
    pairs, positive = make_pairs.hept_pairs(one)
    few, labels = make_pairs.thinned(pairs, positive, int(positive.sum()) + 10, rng)
    assert labels.sum() == positive.sum()
    assert len(few) == positive.sum() + 10
    few, labels = make_pairs.thinned(pairs, positive, 5, rng)
    assert (len(few), labels.all()) == (5, True)
    with pytest.raises(DataError, match=rf"event 0: raise num_points or num_pairs.*40 points and {len(pairs)} pairs"):
        make_pairs.pack([one], [(pairs, positive)], 40, 5)


def test_pairs_need_eta_and_phi():
    one = cloud(np.random.default_rng(5))
    import dataclasses

    other = dataclasses.replace(one, layout=PointLayout(one.layout.features, ("x", "y", "z"), one.layout.classes))
    with pytest.raises(DataError, match=r"need the coordinates eta and phi. Received: x, y, z"):
        make_pairs.hept_pairs(other)


def bce(p, y):
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))


def focal_inputs():
    rng = np.random.default_rng(6)
    logits, labels = rng.normal(size=(2, 30)) * 2, rng.random((2, 30)) < 0.3
    mask = np.ones((2, 30))
    mask[1, 20:] = 0
    return logits, labels.astype(float), mask


def test_focal_loss_of_hept_equals_its_definition():
    logits, labels, mask = focal_inputs()
    p = 1 / (1 + np.exp(-logits))
    loss = 0.25 * (1 - np.exp(-bce(p, labels))) ** 2 * bce(p, labels)
    expected = np.mean([loss[0].mean(), loss[1, :20].mean()])
    value = losses_points.focal_hept(ops.convert_to_tensor(logits), labels, mask)
    assert float(value) == pytest.approx(expected, rel=EXACT)
    extreme = losses_points.focal_hept(np.float32([[-200.0, 200.0]]), np.float32([[1, 0]]), np.ones((1, 2)))
    assert float(extreme) == pytest.approx(0.25 * 200)


@pytest.mark.parametrize("static", [None, 15.0])
def test_focal_loss_of_hept_cms_equals_its_definition(static):
    logits, labels, mask = focal_inputs()
    expected = []
    for row, size in ((0, 30), (1, 20)):
        y, p = labels[row, :size], 1 / (1 + np.exp(-logits[row, :size]))
        mr = static or 2 * (y == 0).sum() / (y == 1).sum()
        weight = np.where(y == 1, mr / (1 + mr), 1 / (1 + mr))
        expected.append((weight * (1 - np.exp(-bce(p, y))) ** 2 * bce(p, y)).mean())
    value = losses_points.focal_cms(ops.convert_to_tensor(logits), labels, mask, static_ratio=static)
    assert float(value) == pytest.approx(np.mean(expected), rel=EXACT)


def test_focal_loss_of_an_event_without_positives_is_finite():
    value = losses_points.focal_cms(np.float32([[-90.0, 90.0]]), np.zeros((1, 2)), np.ones((1, 2)))
    assert np.isfinite(float(value))
    assert float(value) > 0


def test_stacking_pads_cuts_or_refuses():
    rng = np.random.default_rng(7)
    clouds = [cloud(rng, 5, event=3), cloud(rng, 8, event=4)]
    events = stack(clouds, 10)
    assert events.features.shape == (2, 10, 3)
    assert events.mask.sum(axis=1).tolist() == [5, 8]
    assert (events.particle_ids[0, 5:] == -1).all()
    assert (events[1:].cloud(0).coords == clouds[1].coords).all()
    assert events[1:].events.tolist() == [4]
    assert stack(clouds).mask.shape == (2, 8)
    assert (stack(clouds, 6, "cut").particle_ids[1] == clouds[1].particle_ids[:6]).all()
    with pytest.raises(DataError, match=r"event 4 has more points than slots.*Received: 8 points, num_points=6"):
        stack(clouds, 6)
    with pytest.raises(DataError, match="no event to stack"):
        stack([])


def events_of(rng):
    return stack([cloud(rng, 40, event=1), cloud(rng, 31, event=2)], 48)


@pytest.mark.parametrize("kind", ["hept", "cms"])
def test_packed_pairs_give_the_same_loss_and_train_a_model(kind):
    rng = np.random.default_rng(8)
    events = events_of(rng)
    targets = PairTargets(kind, 1600)
    packed = targets(events, seed=3, epoch=1)
    assert packed.shape == (2, 1600, 6)
    assert (packed == targets(events, seed=3, epoch=1)).all()
    loss = PairInfoNce(kind)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    x = rng.normal(size=(2, 48, 5)).astype(np.float32)
    clouds = [events.cloud(i) for i in (0, 1)]
    if kind == "hept":
        assert (packed != targets(events, seed=3, epoch=2)).any()  # other random pairs
        found = [
            make_pairs.hept_pairs(one, np.random.default_rng([3, 1, one.event, i])) for i, one in enumerate(clouds)
        ]
        plain = make_pairs.pack(clouds, found, 48, 1600)
        expected = losses_points.info_nce_hept(x, *arguments(plain), plain.particle)
    else:
        plain = make_pairs.pack(clouds, [make_pairs.cms_pairs(one) for one in clouds], 48, 1600)
        expected = losses_points.info_nce_cms(x, *arguments(plain), plain.weight)
    assert float(again(packed, x)) == pytest.approx(float(expected), rel=1e-6)
    inputs = keras.Input((48, 3))
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Dense(16, "relu")(inputs)))
    model.compile(keras.optimizers.Adam(0.01), again)
    steps = [float(model.train_on_batch(events.features, packed)) for _ in range(15)]
    assert steps[-1] < steps[0]


@pytest.mark.parametrize("kind", ["hept", "cms"])
def test_packed_labels_give_the_same_focal_loss(kind):
    events = events_of(np.random.default_rng(9))
    logits = np.random.default_rng(0).normal(size=(2, 48, 1)).astype(np.float32)
    for only in (False, True):
        layout = dataclasses.replace(events.layout, only_reconstructable=only)
        targets = point_targets(dataclasses.replace(events, layout=layout))
        counts = events.mask * (events.reconstructable if only else 1)
        function = losses_points.focal_hept if kind == "hept" else losses_points.focal_cms
        expected = function(logits[..., 0], events.labels.astype(np.float32), counts.astype(np.float32))
        loss = keras.losses.deserialize(keras.losses.serialize(PointFocal(kind)))
        assert float(loss(targets, logits)) == pytest.approx(float(expected), rel=1e-6)


def test_unknown_kinds_are_refused():
    for make in (PairInfoNce, PointFocal):
        with pytest.raises(ValueError, match=r"kind must be hept or cms. Received: kind=triplet"):
            make("triplet")
    with pytest.raises(DataError, match=r"must be hept or cms. Received: kind=triplet"):
        PairTargets("triplet", 5)
    with pytest.raises(DataError, match=r"num_pairs must be positive. Received: num_pairs=0"):
        PairTargets("hept", 0)
