"""Orders of points, and rows that stand in them: sorts become `TopK`, whose ties keep the order of the slots.

Symbols in shapes, behind the batch axis, as in `qformers.nn.index.lsh`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qformers.interop.qonnx.graph import Graph, Tensor
from qformers.nn.index.lsh import LAST

WHOLE = 7  # ONNX's number of int64


def given_order(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """GivenOrder: the order as it comes in; padding stays where it is."""
    order, slots = _whole(g, inputs[0]), inputs[1].shape[0]
    hashes, points = order.shape
    if slots > points:
        first = g.node("Slice", order, [0], [1], [2], shape=(hashes, 1), kind="int64")
        zeros = g.node("Mul", first, 0, hint="zeros", kind="int64")
        behind = g.node(
            "Add", zeros, np.arange(points, slots), hint="padding", shape=(hashes, slots - points), kind="int64"
        )
        order = g.node("Concat", order, behind, shape=(hashes, slots), kind="int64", axis=2)
    return g.reshape(order, (1, hashes, 1, slots), kind="int64")


def tree_order(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """TreeOrder: one row of the orders, as long as its level."""
    slots = layer.slots
    row = g.node("Gather", inputs[0], layer.row, shape=inputs[0].shape[1:], axis=1, hint="row")
    first = g.node("Slice", row, [0], [slots], [1], shape=(slots,))
    return g.reshape(_whole(g, first), (1, 1, 1, slots), kind="int64")


def to_blocks(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """ToBlocks: rows (P, H or 1, E) and an order (T, O, H or 1, P) -> (O, H, M, S, E)."""
    x, (sides, hashes, orders, slots) = inputs[0], inputs[1].shape
    _, heads, channels = x.shape
    shape = (hashes, orders, slots)
    order = g.node("Gather", inputs[1], min(layer.side, sides - 1), shape=shape, kind="int64", axis=1, hint="side")
    if orders == 1:
        rows = _rows(g, g.reshape(x, (slots, heads * channels)), order)
        rows = g.transpose(g.reshape(rows, (hashes, slots, heads, channels)), (1, 3, 2, 4))
    else:
        head = np.arange(orders)[:, None] if heads > 1 else np.zeros((1, 1), np.int64)
        places = g.node("Add", g.node("Mul", order, heads, kind="int64"), head, kind="int64")
        rows = _rows(g, g.reshape(x, (slots * heads, channels)), places)
    blocks = (hashes, max(heads, orders), slots // layer.block, layer.block, channels)
    return g.reshape(rows, blocks)


def from_blocks(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """FromBlocks: blocks (O, H, M, S, E) and an order (T, O, H or 1, P) -> (O, H, P, E)."""
    blocks, (_, hashes, orders, slots) = inputs[0], inputs[1].shape
    _, heads, _, _, channels = blocks.shape
    shape = (hashes, orders, slots)
    order = g.node("Gather", inputs[1], 0, shape=shape, kind="int64", axis=1, hint="side")
    first = slots * np.arange(hashes * heads).reshape(hashes, heads, 1)
    rank = g.order(order)  # the inverse of a permutation
    places = g.node("Add", rank, first, shape=(hashes, heads, slots), kind="int64")
    rows = _rows(g, g.reshape(blocks, (hashes * heads * slots, channels)), places)
    return g.reshape(rows, (hashes, heads, slots, channels))


def sorted_order(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """SortedOrder: coordinates (N, C) and which slots are real (N, 1) -> order (1, O, 1, N)."""
    coords, mask = inputs
    points, features = coords.shape
    hashes, axes = layer.host.regions.shape
    shown = g.node("Greater", g.reshape(mask, (points,)), 0.0, kind="bool", hint="real")
    used = g.node("Slice", coords, [0], [axes], [2], shape=(points, axes)) if features > axes else coords
    whole = _whole(g, g.node("Round", g.node("Mul", used, 2.0**layer.fraction_bits, hint="in_steps")))
    whole = g.transpose(whole, (2, 1), kind="int64")  # (A, N)
    real = g.reshape(shown, (1, points), kind="bool")
    keys = g.node("Where", real, whole, LAST, shape=(axes, points), kind="int64", hint="keys")
    rank = g.order(g.order(keys))
    count = g.node("ReduceSum", _whole(g, shown), [1], shape=(), kind="int64", hint="count", keepdims=0)
    lengths = g.constant(layer.run_lengths(points), "run_lengths", "int64")  # (N + 1, O, A)
    length = g.node("Gather", lengths, count, shape=(hashes, axes), kind="int64", axis=0, hint="run_length")
    region = g.node(
        "Div", g.reshape(rank, (1, axes, points), kind="int64"), g.reshape(length, (hashes, axes, 1), kind="int64"),
        shape=(hashes, axes, points), kind="int64", hint="region",
    )  # fmt: skip
    weights = points ** np.arange(axes)[:, None]
    parts = g.node("Mul", region, weights, kind="int64")
    code = g.node("ReduceSum", parts, [2], shape=(hashes, points), kind="int64", hint="code", keepdims=0)
    hashed = g.node("MatMul", layer.directions.T, whole, shape=(hashes, points), kind="int64", hint="hashed")
    code = g.node("Where", real, code, LAST, shape=(hashes, points), kind="int64", hint="code_shown")
    hashed = g.node("Where", real, hashed, 0, shape=(hashes, points), kind="int64", hint="hash_shown")
    return g.reshape(_lexsort(g, code, hashed, "int64"), (1, hashes, 1, points), kind="int64")


def sorted_tree(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """SortedTree: coordinates (S, d) and which slots are real (S,) -> order (1, 1, 1, S)."""
    coords, real = inputs
    slots, axes = coords.shape
    columns = [g.node("Gather", coords, axis, shape=(slots,), axis=2, hint="column") for axis in range(axes)]
    if layer.diagonal:
        columns = [g.node("Add", *columns), g.node("Sub", columns[1], columns[0])]
    shown = g.node("Cast", g.node("Greater", real, 0.0, kind="bool"), hint="real", to=1)
    numbers = g.node("Mul", _whole(g, shown), 0, hint="zeros", kind="int64")
    order = g.node("Add", numbers, np.arange(slots), hint="slots", kind="int64")
    size = slots
    while size > layer.leaf:
        order = _halved(g, columns, shown, order, size)
        size //= 2
    return g.reshape(order, (1, 1, 1, slots), kind="int64")


def _halved(g: Graph, columns: Sequence[Tensor], shown: Tensor, order: Tensor, size: int) -> Tensor:
    """The order once every node of `size` slots is sorted along its widest coordinate."""
    slots = order.shape[0]
    nodes = (slots // size, size)
    there = g.node("Greater", g.reshape(_pick(g, shown, order), nodes), 0.5, kind="bool", hint="there")
    values = [g.reshape(_pick(g, column, order), nodes) for column in columns]
    key, widest = values[0], _width(g, values[0], there)
    for value in values[1:]:
        width = _width(g, value, there)
        wider = g.node("Greater", width, widest, kind="bool")
        key = g.node("Where", wider, value, key, shape=nodes)
        widest = g.node("Max", widest, width)
    key = g.node("Where", there, key, np.inf, shape=nodes, hint="key")
    rows = g.reshape(order, nodes, kind="int64")
    inside = _lexsort(g, key, rows, "float32")
    return g.reshape(_pick(g, rows, inside, "int64"), (slots,), kind="int64")


def _width(g: Graph, values: Tensor, there: Tensor) -> Tensor:
    shape, axes = (values.shape[0], 1), [2]
    ends = [
        g.node(op, g.node("Where", there, values, other, shape=values.shape), shape=shape, axes=axes, keepdims=1)
        for op, other in (("ReduceMax", -np.inf), ("ReduceMin", np.inf))
    ]
    return g.node("Sub", *ends, hint="width")


def _whole(g: Graph, x: Tensor) -> Tensor:
    return g.node("Cast", x, kind="int64", to=WHOLE)


def _pick(g: Graph, values: Tensor, places: Tensor, kind: str = "float32") -> Tensor:
    """values[..., places] along the last axis."""
    return g.node("GatherElements", values, places, kind=kind, axis=len(values.shape))


def _lexsort(g: Graph, code: Tensor, key: Tensor, kind: str) -> Tensor:
    """Places that sort by `code` (of NumPy type `kind`), then by `key`, then by slot."""
    by_key = g.order(key)
    by_code = g.order(_pick(g, code, by_key, kind))
    return _pick(g, by_key, by_code, "int64")


def _rows(g: Graph, x: Tensor, places: Tensor) -> Tensor:
    """Rows of (N, E) by places of any shape: (places, E)."""
    count = int(np.prod(places.shape))
    index = g.reshape(places, (count, 1), kind="int64")
    return g.node("GatherND", x, index, shape=(count, x.shape[-1]), batch_dims=1)
