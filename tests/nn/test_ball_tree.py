"""Ball trees by sorting: against plain recursion, with ties, pads and any number of points; PyPI's `balltree-erwin`."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import oracle_erwin
from support.erwin import small

from qformers.errors import DataError
from qformers.nn.index import ball_tree
from qformers.nn.index.ball_order import BallOrder
from qformers.nn.index.ball_tree import partition, rotated, slots_of, tree
from qformers.nn.index.nearest import nearest

SIZES = (2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 127, 129, 300, 513, 1000)


def clouds(kind: str, points: int, d: int, count: int = 4, dtype: str = "float64") -> NDArray[Any]:
    """Points of a kind that has ties, or of one that has none."""
    random = np.random.default_rng(points * 10 + d)
    made = random.normal(size=(count, points, d))
    if kind == "grid":
        made = np.round(made * 2) / 2 * random.choice([1.0, -1.0], size=made.shape)  # 0 and -0 among them
    if kind == "identical":
        made[:] = made[:, :1]
    if kind == "line":
        made[..., 1:] = 0.5
    return made.astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["any", "grid", "identical", "line"])
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_tree_is_that_of_plain_recursion(d: int, kind: str, dtype: str) -> None:
    for points in SIZES:
        made = clouds(kind, points, d, 2, dtype)
        order, first = tree(made)
        assert order.shape == first.shape == (2, slots_of(points))
        for cloud in range(2):
            slots = slots_of(points)
            wanted = oracle_erwin.leaves(list(range(points)), np.asarray(made[cloud], np.float64), slots)
            leaves = [
                order[cloud, slot : slot + 2][first[cloud, slot : slot + 2]].tolist() for slot in range(0, slots, 2)
            ]
            assert leaves == wanted, points
            assert first[cloud, ::2].all()
            repeated = np.flatnonzero(~first[cloud])
            np.testing.assert_array_equal(order[cloud, repeated], order[cloud, repeated - 1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["any", "grid", "identical"])
def test_pads_are_left_out_and_go_last(kind: str, dtype: str) -> None:
    made = clouds(kind, 64, 3, 6, dtype)
    random = np.random.default_rng(0)
    real = np.zeros((6, 64), np.bool_)
    for cloud, count in enumerate((64, 40, 33, 7, 1, 0)):
        real[cloud, random.permutation(64)[:count]] = True
    made[~real] = 1e9
    for leaf in (2, 8, 64):
        order = partition(made, leaf, real)
        np.testing.assert_array_equal(np.sort(order), np.tile(np.arange(64), (6, 1)))
        for cloud in range(6):
            points: list[int | None] = [*np.flatnonzero(real[cloud]).tolist(), *[None] * int((~real[cloud]).sum())]
            wanted = oracle_erwin.cut_slots(points, lambda point, cloud=cloud: made[cloud][point], leaf)
            found = [point if real[cloud, point] else None for point in order[cloud].tolist()]
            if leaf == 64:
                assert set(found) == set(wanted)
            else:
                assert found == wanted
    np.testing.assert_array_equal(partition(made, 8, np.ones_like(real)), partition(made, 8))


def test_pads_stand_where_upstream_has_them() -> None:
    _, first = tree(clouds("any", 1000, 3, 1))
    assert (~first).sum() == 24
    np.testing.assert_array_equal(np.flatnonzero(~first[0])[:3], [1, 33, 65])
    assert (~tree(clouds("any", 300, 3, 1))[1]).sum() == 212


def test_a_batch_is_its_clouds_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = clouds("grid", 77, 3, 9)
    whole, first = tree(made)
    monkeypatch.setattr(ball_tree, "TOGETHER", 200)
    for jobs in (1, 3):
        for one, other in zip(tree(made, jobs), (whole, first), strict=True):
            np.testing.assert_array_equal(one, other)
    for cloud in range(9):
        np.testing.assert_array_equal(tree(made[cloud : cloud + 1])[0][0], whole[cloud])
    assert tree(made[:0])[0].shape == (0, 128)


def test_one_point_is_refused() -> None:
    with pytest.raises(DataError, match=r"a ball tree needs two points or more\. Received: 1"):
        tree(np.zeros((3, 1, 2)))


@pytest.mark.parametrize("angle", [45.0, 30.0])
def test_rotation_is_that_of_matrices(angle: float) -> None:
    for d in (2, 3):
        made = clouds("any", 50, d)
        wanted = np.array([[oracle_erwin.turn(p, angle) for p in cloud] for cloud in made])
        longer = np.sqrt(2) if d == 2 and angle == 45.0 else 1.0
        np.testing.assert_allclose(rotated(made, angle), wanted * longer, rtol=0, atol=1e-12)
        assert rotated(made.astype(np.float32), angle).dtype == np.float32
    with pytest.raises(
        DataError, match=r"rotated in 2 or 3 dimensions; set model\.rotate: 0\. Received: 4 coordinates"
    ):
        rotated(np.zeros((1, 2, 4)), angle)


def test_sums_and_differences_cut_as_a_turn_by_45_degrees() -> None:
    made = np.random.default_rng(0).normal(size=(200, 64, 2))
    turn = ball_tree.rotation(2, 45.0)
    with_products = np.stack([made[..., 0] * turn[0, c] + made[..., 1] * turn[1, c] for c in (0, 1)], axis=-1)
    np.testing.assert_array_equal(partition(rotated(made, 45.0), 8), partition(with_products, 8))


@pytest.mark.parametrize("pads", ["duplicates", "masked"])
def test_rows_of_the_order_are_those_of_plain_loops(pads: Any) -> None:
    config = small(pads=pads, strides=(4, 2), balls=(8, 4, 2))
    for points in (21, 64):
        made = clouds("grid" if points == 64 else "any", points, 3, 3)
        mask = np.ones((3, points))
        mask[1, 3:5] = 0
        orders = config.ball_order(made, mask)
        assert orders.shape == (3, 1 + len(config.turned), slots_of(points))
        assert orders.dtype == np.int32
        for event in range(3):
            real = np.flatnonzero(mask[event])
            main = oracle_erwin.main_tree(made[event][real], points, pads)
            found = orders[event, 0].tolist()
            if pads == "masked":
                assert sorted(found) == list(range(slots_of(points)))
                found = [point if point in real else None for point in found]
            assert found == [None if point is None else int(real[point]) for point in main]
            turned = oracle_erwin.turned_orders(config, made[event][real], main)
            for row, level in enumerate(config.turned, 1):
                slots = len(main) // config.ball_order.merged(level)
                found = orders[event, row].tolist()
                assert sorted(found) == list(range(slots_of(points)))
                assert found[slots:] == list(range(slots, slots_of(points)))
                ball = config.balls[level]
                merged = config.ball_order.merged(level)
                groups = [main[slot * merged : (slot + 1) * merged] for slot in range(slots)]
                holding = {slot for slot, group in enumerate(groups) if any(point is not None for point in group)}
                for start in range(0, slots, ball):
                    wanted = set(turned[level][start : start + ball]) & holding
                    assert set(found[start : start + ball]) & holding == wanted


def test_slots_behind_a_small_event_hold_a_masked_point() -> None:
    order = BallOrder((4,), (), 0.0, (), "duplicates")
    mask = np.zeros((1, 16))
    mask[0, [3, 5, 7, 9, 11]] = 1
    found = order(np.random.default_rng(0).normal(size=(1, 16, 2)), mask)
    assert set(found[0, 0, :8].tolist()) == {3, 5, 7, 9, 11}
    np.testing.assert_array_equal(found[0, 0, 8:], 0)


def test_nearest_points_are_those_of_plain_loops() -> None:
    made = clouds("grid", 19, 2, 3)
    mask = np.ones((3, 19))
    mask[1, 4:] = 0
    mask[2, ::3] = 0
    found = nearest(made, mask, 6)
    for event in range(3):
        real = np.flatnonzero(mask[event]).tolist()
        for point in range(19):
            wanted: list[int] = []
            if point in real:
                apart = {other: float(np.sum((made[event, point] - made[event, other]) ** 2)) for other in real}
                wanted = sorted(real, key=lambda other: (apart[other], other))[:6]
            assert found[event, point].tolist() == wanted + [-1] * (6 - len(wanted))


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`balltree-erwin`; its functions of arrays need no PyTorch, only its annotations do."""
    if "torch" not in sys.modules and not _there("torch"):
        torch: Any = ModuleType("torch")
        torch.Tensor = torch.device = object
        torch.compiler = SimpleNamespace(disable=lambda **_: lambda function: function)
        monkeypatch.setitem(sys.modules, "torch", torch)
    return pytest.importorskip("balltree", reason="pip install balltree-erwin==0.1.0")


def _there(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


@pytest.mark.reference
def test_balls_are_those_of_upstream_on_a_thousand_clouds(upstream: Any) -> None:
    random = np.random.default_rng(0)
    for _ in range(1000):
        points, d = int(random.integers(2, 700)), int(random.integers(2, 4))
        made = random.normal(size=(points, d))
        index, real = upstream.build_balltree_with_offsets(made, np.array([0, points], np.intp))
        order, first = tree(made[None])
        np.testing.assert_array_equal(np.asarray(real, np.bool_), first[0])
        size = 2
        while size <= len(index):
            balls = [np.sort(np.reshape(slots, (-1, size)), axis=1) for slots in (index, order[0])]
            np.testing.assert_array_equal(balls[0], balls[1])
            size *= 2


@pytest.mark.reference
def test_rotated_balls_are_those_of_upstream(upstream: Any) -> None:
    random = np.random.default_rng(1)
    for _ in range(300):
        level = int(random.integers(2, 9))
        cut = int(random.integers(1, level))
        made = random.normal(size=(1 << level, 3))
        theirs = upstream.partition_balltree_with_offsets(made, np.array([0, 1 << level], np.intp), cut)
        ours = partition(made[None], (1 << level) >> cut)[0]
        balls = [np.sort(np.reshape(slots, (1 << cut, -1)), axis=1) for slots in (theirs, ours)]
        np.testing.assert_array_equal(balls[0], balls[1])
