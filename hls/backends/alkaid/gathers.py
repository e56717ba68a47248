"""How alkaid traces the layers that move or pick values: gathers become sorting networks, none of them rounds.

A Batcher network sorts N rows by a key in O(N log^2 N) exchanges of two; a gather by multiplexers would cost O(N^2).

- `FromBlocks`: the host's order says which slot each row belongs to, so sorting the rows by it is the inverse gather.
- `ToBlocks` needs the rank of each slot, the inverse of the order: the numbers 0 to N - 1, sorted by the order. Then
  the rows are sorted by their ranks.

- `SortedOrder` sorts slots by keys of code, hash and slot, in this order from the top; ranks along the axes come from
  networks of their own, and a rank's region is the number of run ends that it has passed.

No two keys of a network are equal: slots are part of those computed here, and the host's orders are permutations by
contract.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qformers.precision.fixed import Fixed
from qformers.quant.kinds.moves import places_of


def given_order(layer: Any, inputs: Any) -> Any:
    """`GivenOrder`: the order as it comes in; the mask gave the number of slots only."""
    return inputs[0][:, None, :, None, :]


def slot_numbers(layer: Any) -> Fixed:
    """Format of an order (B, O, N): slots 0 to N - 1, each exactly once, as the host has to see to."""
    return _numbers(layer.input[0])


def tree_order(layer: Any, inputs: Any) -> Any:
    """`TreeOrder`: one row of the orders, as long as its level."""
    return inputs[:, layer.row, : layer.slots][:, None, None, None, :]


def tree_numbers(layer: Any) -> Fixed:
    """Format of the orders (B, 1 + R, S): the slots of a level, each exactly once, as the host sees to."""
    return _numbers(layer.input)


def _numbers(order: Any) -> Fixed:
    bits = (int(order.shape[-1]) - 1).bit_length()
    return Fixed(False, max(bits, 1), 0, "TRN", "WRAP")


def to_blocks(layer: Any, inputs: Any) -> Any:
    """`ToBlocks`: rows (1, N, H, E) and an order (1, 1, O, 1, N) -> (1, O, H, M, S, E)."""
    rows, order = inputs[0][0], inputs[1][0, 0, :, 0]  # (N, H, E), (O, N)
    slots, heads, channels = rows.shape
    flat = rows.reshape(slots, heads * channels)
    moved = np.stack([_by_key(_ranks(keys), flat) for keys in order]).reshape(-1, slots, heads, channels)
    blocks = (len(order), heads, slots // layer.block, layer.block, channels)
    return np.moveaxis(moved, 2, 1).reshape(1, *blocks)


def from_blocks(layer: Any, inputs: Any) -> Any:
    """`FromBlocks`: blocks (1, O, H, M, S, E) and an order (1, 1, O, 1, N) -> rows (1, O, H, N, E)."""
    blocks, order = inputs[0][0], inputs[1][0, 0, :, 0]  # (O, H, M, S, E), (O, N)
    orders, heads, _, _, channels = blocks.shape
    rows = np.moveaxis(blocks.reshape(orders, heads, -1, channels), 1, 2)  # (O, N, H, E)
    flat = rows.reshape(orders, -1, heads * channels)
    moved = [_by_key(keys, part).reshape(-1, heads, channels) for keys, part in zip(order, flat, strict=True)]
    return np.moveaxis(np.stack(moved), 2, 1)[None]


def largest(layer: Any, inputs: Any) -> Any:
    """`Largest`: the axis stays, with length 1."""
    top = np.amax(inputs, axis=layer.axis, keepdims=True)
    return top if layer.floor is None else np.maximum(top, layer.floor)


def symmetric_fill(layer: Any, inputs: Any) -> Any:
    """`QSymmetricFill`: values (1, P, H) -> (1, H, N, N), the same wires for a pair and its mirror image."""
    values = inputs[0]
    with_zeros = np.concatenate([values, values[:1] * 0.0])  # behind the last pair, where index -1 points to
    return np.moveaxis(with_zeros[layer.index], -1, 0)[None]


def moved(layer: Any, inputs: Any) -> Any:
    """Values of the input at other places, wires alone; zeros where there is no source."""
    places = places_of(layer)
    flat = np.reshape(inputs, -1)
    with_zero = np.concatenate([flat, flat[:1] * 0.0])  # where index -1 points to
    return with_zero[places][None]


def rectified(layer: Any, inputs: Any) -> Any:
    """The larger of a value and 0."""
    from alkaid.trace.ops import relu

    return relu(inputs)


def sorted_order(layer: Any, inputs: Any) -> Any:
    """`SortedOrder`: coordinates (1, N, C) and which slots are real (1, N, 1) -> order (1, 1, O, 1, N)."""
    coords, real = inputs[0][0], inputs[1][0, :, 0]  # (N, C), (N,)
    hashes, axes = layer.host.regions.shape
    whole = coords[:, :axes] * 2.0**layer.fraction_bits
    ranks = [_ranks(_sorted_slots(column, real)) for column in whole.T]
    lengths = layer.run_lengths(len(real))  # (N + 1, O, A)
    count = np.sum(real)
    orders = []
    for number in range(hashes):
        regions = [_regions(ranks[axis], lengths[:, number, axis], count) for axis in range(axes)]
        hashed = whole @ layer.directions[:, number].astype(np.float64)
        orders.append(_sorted_slots(_joined([hashed, *regions]), real))
    return np.stack(orders)[None, None, :, None, :]


def sorted_tree(layer: Any, inputs: Any) -> Any:
    """`SortedTree`: coordinates (1, N, d) and which slots are real (1, N) -> order (1, 1, 1, 1, N)."""
    coords, real = inputs[0][0], inputs[1][0]  # (N, d), (N,)
    columns = list(coords.T)
    if layer.diagonal:
        columns = [columns[0] + columns[1], columns[1] - columns[0]]
    slots = real * 0 + np.arange(len(real))
    nodes = [np.stack([*columns, real, slots], axis=1)]  # (w, d + 2) each
    while len(nodes[0]) > layer.leaf:
        nodes = [half for node in nodes for half in np.split(_along_widest(node), 2)]
    return np.concatenate(nodes)[:, -1][None, None, None, None, :]


def _along_widest(node: Any) -> Any:
    """A node (w, d + 2) of coordinates, bit and slot, sorted along the widest of the coordinates."""
    *columns, real, slots = node.T
    low, high = (reach(float(reach(column.lhs[side])) for column in columns) for reach, side in ((min, 0), (max, 1)))
    key, widest = columns[0], _width(columns[0], real, low, high)
    for column in columns[1:]:
        width = _width(column, real, low, high)
        wider = width > widest
        key = [wider.msb_mux(new, old) for new, old in zip(column, key, strict=True)]
        widest = width.max_of(widest)  # of two single values np.maximum gives the first, whatever they are
    step = min(float(np.min(column.lhs[2])) for column in columns)
    bits = 2.0 ** int(slots.lhs[1].max()).bit_length()
    behind = (high - low + step) / step * bits
    unique = [
        bit.msb_mux((value - low) / step * bits + slot, slot + behind)
        for bit, value, slot in zip(real, key, slots, strict=True)
    ]
    return _by_key(type(node)(np.array(unique)), node)


def _width(values: Any, real: Any, low: float, high: float) -> Any:
    """Largest less smallest real one of values (w,) between low and high; the same below 0 where none is real."""

    def shown(other: float) -> Any:
        return type(values)(np.array([bit.msb_mux(value, other) for bit, value in zip(real, values, strict=True)]))

    return np.max(shown(low)) - np.min(shown(high))


def _joined(parts: Any) -> Any:
    """Arrays of whole numbers (N,) as one, the last on top."""
    total, weight = 0.0, 1.0
    for part in parts:
        low, high, _ = part.lhs
        first, span = float(np.min(low)), float(np.max(high)) - float(np.min(low)) + 1.0
        total = total + (part - first) * weight
        weight *= 2.0 ** int(np.ceil(np.log2(span)))
    return total


def _sorted_slots(keys: Any, real: Any) -> Any:
    """Slots (N,) by whole numbers, then by slot; those that are not real last, in their order."""
    low, high, _ = keys.lhs
    bits = 2.0 ** int(np.ceil(np.log2(len(real))))
    slots = np.arange(len(real), dtype=np.float64)
    behind = (float(np.max(high)) - float(np.min(low)) + 1.0) * bits
    unique = [
        bit.msb_mux(key, behind + slot)
        for bit, key, slot in zip(real, (keys - float(np.min(low))) * bits + slots, slots, strict=True)
    ]
    return _by_key(type(keys)(np.array(unique)), (real * 0 + slots)[:, None])[:, 0]


def _regions(ranks: Any, lengths: Any, count: Any) -> Any:
    """Whole part of rank / length (N,), where `lengths` (N + 1,) is known for each count of real points."""
    most = max(int((number - 1) // length) for number, length in enumerate(lengths) if number)
    total = ranks * 0
    counts = np.arange(round(float(count.low)), round(float(count.high)) + 1)  # fewer where bits of the mask are dead
    for run in range(1, most + 1):
        ends = np.minimum(run * lengths, len(ranks)).astype(np.float64)[counts]
        total = total + (ranks >= (float(ends[0]) if len(ends) == 1 else count.lookup(ends)))
    return total


def _by_key(keys: Any, rows: Any) -> Any:
    """Rows (N, E) in ascending order of keys (N,)."""
    from alkaid.trace.ops.sorting import sort

    return sort(keys, aux_value=rows)[1]


def _ranks(keys: Any) -> Any:
    """The inverse of a permutation (N,)."""
    slots = keys * 0 + np.arange(len(keys))  # constants that alkaid knows as such
    return _by_key(keys, slots[:, None])[:, 0]
