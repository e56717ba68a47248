"""Layers of point models in hls4ml, and in alkaid where it writes them anew, each alone: exact, or refused."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hgq.layers import QEinsum, QSubtract
from hgq.quantizer import Quantizer
from support import hls_models as h
from support.battery import build_of as battery_build
from support.battery import models_of
from support.configurations import events

from hls.backends import open_backend
from hls.backends.hls4ml.writer import exactly, graph_of
from hls.proof.agree import agree
from qformers.models.hept import small
from qformers.nn.index.host_order import HostOrder
from qformers.nn.index.lsh import FromBlocks, GivenOrder, ToBlocks
from qformers.nn.index.rounded_pairs import QSymmetricFill
from qformers.nn.index.select import Largest
from qformers.nn.index.sorted_order import SortedOrder
from qformers.nn.index.sorted_tree import SortedTree
from qformers.precision.fixed import Fixed
from qformers.quant.fold import float_to_quantised

POINTS, CHANNELS, ORDERS = 6, 3, 2
BACKENDS = ["vitis", "vivado"]


def rounded(name: str, shape: tuple[int, ...], form: str = h.SOURCE) -> tuple[Any, Any]:
    """A model input and its values in a format."""
    given = keras.Input(shape, name=name)
    return given, Quantizer(h.form(form), name=f"{name}_rounded")(given)


def last(x: Any, name: str) -> Any:
    """A dense layer behind: what only moves values is no output of a model."""
    axes, kernel = "nhrst"[: len(x.shape) - 2], h.MIX[: x.shape[-1], :2]
    shape = (*x.shape[1:-1], 2)
    return h.dense(x, name, h.SOURCE, kernel, equation=f"b{axes}i,io->b{axes}o", shape=shape)


def blocks(block: int = 2, raw: bool = False) -> keras.Model:
    """Rows in blocks and back; `raw`: the input is rounded by those who read the rows, not in front of them."""
    points, values = rounded("points", (POINTS, CHANNELS))
    values = points if raw else values
    order = keras.Input((ORDERS, POINTS), name="order")
    mask = keras.Input((POINTS,), name="mask")
    slots = GivenOrder([[1.0]] * ORDERS, [[1.0] * ORDERS], name="slots")([order, mask])
    column = keras.layers.Reshape((POINTS, 1, CHANNELS), name="column")(values)
    sorted_rows = ToBlocks(block, name="sorted")([column, slots])
    back = FromBlocks(name="back")([sorted_rows, slots])
    bits = Quantizer(h.form("ufixed<1,1>"), name="mask_rounded")(keras.layers.Reshape((POINTS, 1), name="flat")(mask))
    outputs = {"there": last(sorted_rows, "there"), "again": last(back, "again"), "real": last(bits, "real")}
    return keras.Model([points, order, mask], outputs)


@pytest.mark.parametrize("raw", [False, True])
def test_rows_go_to_blocks_and_back(raw: bool, tmp_path: Path) -> None:
    random, count = np.random.default_rng(1), 500
    slots = np.broadcast_to(np.arange(POINTS), (count, ORDERS, POINTS))
    inputs = {
        "points": random.normal(size=(count, POINTS, CHANNELS)).astype(np.float32) * 3,
        "order": random.permuted(slots, axis=-1).astype(np.float32),
        "mask": (random.random((count, POINTS)) < 0.5).astype(np.float32),
    }
    exact(blocks(raw=raw), inputs, "vitis", tmp_path)


@pytest.mark.parametrize("raw", [False, True])
def test_rows_in_blocks_have_the_format_of_what_comes_in(raw: bool, tmp_path: Path) -> None:
    project = open_backend("vitis").write(blocks(raw=raw), h.build_of("rows", backend="vitis"), tmp_path / "project")
    port = next(port for port in project.layout.inputs if port.name == "points")
    formats = {step.name: Fixed.parse(step.format) for step in project.layout.steps}
    for name in ("sorted", "back"):
        assert formats[name].width <= Fixed.parse(port.format).width < 32


@pytest.mark.parametrize("backend", BACKENDS)
def test_largest_values_differences_and_joined_rows(backend: str, tmp_path: Path) -> None:
    points, values = rounded("points", (POINTS, CHANNELS))
    other, more = rounded("other", (POINTS, 1), "fixed<6,2,RND,SAT>")
    forms = [h.form("fixed<7,4,RND,SAT>"), h.form("fixed<6,3,TRN,WRAP>")]
    rows = keras.layers.Reshape((POINTS, 1, CHANNELS), name="rows")(values)
    columns = keras.layers.Reshape((1, POINTS, CHANNELS), name="columns")(values)
    outputs = {
        "top": last(Largest(1, name="top_of")(values), "top"),
        "floored": last(Largest(-1, 0.75, name="floored_of")(values), "floored"),
        "pairs": last(QSubtract(iq_confs=forms, name="pairs_of")([rows, columns]), "pairs"),
        "shifted": last(QSubtract(iq_confs=forms, name="shifted_of")([values, more]), "shifted"),
        "joined": joined(values, more),
    }
    random = np.random.default_rng(2)
    shapes = {"points": (POINTS, CHANNELS), "other": (POINTS, 1)}
    inputs = {name: random.normal(size=(500, *shape)).astype(np.float32) * 4 for name, shape in shapes.items()}
    exact(keras.Model([points, other], outputs), inputs, backend, tmp_path)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_of_pairs_go_to_both_of_their_places(backend: str, tmp_path: Path) -> None:
    with_self, six = rounded("with_self", (6, 2))
    without, three = rounded("without", (3, 2), "fixed<6,2,RND,SAT>")
    form = h.form("fixed<7,4,RND,SAT>")
    outputs = {
        "whole": last(QSymmetricFill(iq_conf=form, particles=3, self_pairs=True, name="whole_of")(six), "whole"),
        "empty": last(QSymmetricFill(iq_conf=form, particles=3, self_pairs=False, name="empty_of")(three), "empty"),
    }
    random = np.random.default_rng(3)
    shapes = {"with_self": (6, 2), "without": (3, 2)}
    inputs = {name: random.normal(size=(500, *shape)).astype(np.float32) * 4 for name, shape in shapes.items()}
    exact(keras.Model([with_self, without], outputs), inputs, backend, tmp_path)


def joined(first: Any, second: Any) -> Any:
    both = keras.layers.Concatenate(name="side_by_side")([first, second])
    kernel = np.vstack([h.MIX, [[1.5, -0.25, 1]]])[:, :2]
    return h.dense(both, "joined", h.SOURCE, kernel, equation="bni,io->bno", shape=(POINTS, 2))


@pytest.mark.parametrize(("axes", "points"), [(1, 5), (2, 8), (3, 11)])
def test_orders_are_those_of_the_host_also_in_ties(axes: int, points: int, tmp_path: Path) -> None:
    drawn = HostOrder.drawn(small(regions=9.0, region_axes=axes), 3)
    coords, near = rounded("coords", (points, 3), "fixed<5,3,RND,SAT>")
    mask, real = rounded("mask", (points, 1), "ufixed<1,1>")
    order = SortedOrder(drawn.regions.tolist(), drawn.alpha.tolist(), 2, name="order_of")([near, real])
    column = keras.layers.Reshape((points, 1, 3), name="column")(near)
    model = keras.Model([coords, mask], {"rows": last(ToBlocks(points, name="sorted")([column, order]), "rows")})
    random = np.random.default_rng(5)
    places = np.clip(np.round(random.normal(0.0, 1.5, (500, points, 3)) * 4) / 4, -4.0, 3.75)
    places[:20] = places[:20, :1]
    shown = random.random((500, points, 1)) < random.random((500, 1, 1))
    inputs = {"coords": places.astype(np.float32), "mask": shown.astype(np.float32)}
    exact(model, inputs, "vitis", tmp_path)


@pytest.mark.parametrize(
    ("axes", "diagonal", "backend"),
    [(1, False, "alkaid"), (2, True, "alkaid"), (3, False, "alkaid"), (5, False, "alkaid"), (3, False, "vitis")],
)
def test_balls_are_cut_along_the_widest_axis(axes: int, diagonal: bool, backend: str, tmp_path: Path) -> None:
    """Also with three axes and more, equal coordinates, few real points in any slots, and none."""
    points = 8
    coords, near = rounded("coords", (points, axes), "fixed<4,2,RND,SAT>")
    mask = keras.Input((points,), name="mask")
    real = Quantizer(h.form("ufixed<1,1>"), name="mask_rounded")(mask)
    order = SortedTree(2, diagonal, name="order_of")([near, real])
    given, values = rounded("points", (points, CHANNELS))
    column = keras.layers.Reshape((points, 1, CHANNELS), name="column")(values)
    model = keras.Model([given, coords, mask], {"rows": last(ToBlocks(2, name="sorted")([column, order]), "rows")})
    random = np.random.default_rng(6)
    places = random.normal(0.0, 1.0, (500, points, axes))
    places[:20] = places[:20, :1]
    shown = random.random((500, points)) < random.random((500, 1))
    moved = random.normal(0.0, 1.0, (500, points, CHANNELS))
    inputs = {"points": moved, "coords": places, "mask": shown}
    exact(model, {name: array.astype(np.float32) for name, array in inputs.items()}, backend, tmp_path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x, y: QEinsum("bni,bnj->bn", iq_confs=[h.form(h.SOURCE)] * 2, name="alone")([x, y]),
         r"alone \(QEinsum\): its equation bni,bnj->bn sums axis i of one input alone; sum it by a QEinsumDense"),
        (lambda x, y: keras.layers.Concatenate(axis=1, name="stacked")([x, y]),
         r"stacked \(Concatenate\): it joins along the last axis. Received: axis 1; set axis=-1"),
        (lambda x, y: keras.layers.Concatenate(name="seven")([x, y, x, y, x, y, x]),
         r"seven \(Concatenate\): it joins 2 to 6 tensors. Received: 7; join some of them before"),
    ],
)  # fmt: skip
def test_what_they_cannot_do_is_refused_by_layer(make: Any, words: str) -> None:
    first, x = rounded("first_in", (POINTS, CHANNELS))
    second, y = rounded("second_in", (POINTS, CHANNELS))
    model = keras.Model([first, second], make(x, y))
    assert any(re.search(words, str(one)) for one in open_backend("vitis").supports(model))


def exact(model: keras.Model, inputs: dict[str, Any], backend: str, folder: Path) -> None:
    project = open_backend(backend).write(model, h.build_of("points_model", backend=backend), folder / backend)
    agreement = agree(project, model, inputs)
    assert agreement.equal, str(agreement)
    assert agreement.events == 500


def test_tools_of_hls4ml_take_a_graph_of_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`hls4ml.model.profiling.numerical` begins with a conversion of its own; tables and pictures come after it."""
    for name in ("pandas", "seaborn"):  # imported there at once
        if importlib.util.find_spec(name) is None:
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.delitem(sys.modules, "hls4ml.model.profiling", raising=False)
    from hls4ml.model import profiling

    cfg, quant, floating, model = models_of("hept", "onchip")
    float_to_quantised(floating, model, events(model, 50, fewest=0))
    graph = graph_of(model, battery_build("hept_onchip", cfg, quant, "vitis"), tmp_path / "graph")
    with exactly():
        again, folder = profiling.get_unoptimized_hlsmodel(graph)
    own = {"SortedOrder", "ToBlocks", "FromBlocks", "Largest"}
    assert own <= {node.class_name for node in graph.get_layers()}
    assert own <= {node.class_name for node in again.get_layers()}
    assert folder is not None
    assert not (tmp_path / "graph").exists()
