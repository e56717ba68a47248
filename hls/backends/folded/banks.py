"""Which memory bank each point lies in, so that every block, of slots or of an order, finds its points in S banks.

Points are written block by block in one order and read block by block in another. A point is an edge between the block
that it is written with and the block that it is read with; each block has S edges, so that the edges can be coloured
with S colours of which no block has one twice (König). The colours are the banks: each bank has one row to write and
one row to read per clock, and no row is stored twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]


def banks(order: Sequence[int] | Index, size: int) -> Index:
    """Bank of each slot, (N,).

    Args:
        order: (N,), the slot that stands at each place; N is a multiple of S.
        size: S, points per block and banks.
    """
    slots = np.asarray(order, np.int64)
    blocks = len(slots) // size
    ends = np.empty((len(slots), 2), np.int64)  # of each slot: its block of slots, and its block in the order
    ends[:, 0], ends[slots, 1] = np.arange(len(slots)) // size, np.arange(len(slots)) // size
    ends[:, 1] += blocks
    colour, edge_of = np.full(len(slots), -1), np.full((2 * blocks, size), -1)
    for slot, (one, other) in enumerate(ends):
        free, wanted = (int(np.argmax(edge_of[node] < 0)) for node in (one, other))
        if free != wanted:
            _swap(edge_of, ends, colour, int(other), (free, wanted))
        colour[slot] = free
        edge_of[[one, other], free] = slot
    return colour


def _swap(edge_of: Index, ends: Index, colour: Index, start: int, pair: tuple[int, int]) -> None:
    """Swap the two colours along the path from block `start`, which then has the first of them free."""
    path, node, side = [], start, 0
    while (slot := int(edge_of[node, pair[side]])) >= 0:
        path.append(slot)
        node, side = int(ends[slot].sum()) - node, 1 - side
    for slot in path:
        edge_of[ends[slot], colour[slot]] = -1
    for number, slot in enumerate(path):
        colour[slot] = pair[1 - number % 2]
        edge_of[ends[slot], colour[slot]] = slot


def words(order: Index, size: int) -> dict[str, Index]:
    """What the engine reads for one order, each (M, S).

    Args:
        order: (N,), the slot that stands at each place.
        size: S.

    Returns:
        Of each block of slots: ``in_lanes``, lane of the point of each bank; ``out_blocks``, block in the order of the
        point of each bank; ``out_banks``, bank of each lane. Of each block in the order the same of its places, of
        blocks of slots: ``sums_lanes``, ``read_blocks``, ``read_banks``.
    """
    bank, place = banks(order, size), np.argsort(order)
    in_lanes, out_blocks = _by_bank(bank, np.arange(len(order)), place, size)
    sums_lanes, read_blocks = _by_bank(bank[order], np.arange(len(order)), order, size)
    return {
        "in_lanes": in_lanes,
        "out_blocks": out_blocks,
        "out_banks": bank.reshape(-1, size),
        "sums_lanes": sums_lanes,
        "read_blocks": read_blocks,
        "read_banks": bank[order].reshape(-1, size),
    }


def _by_bank(bank: Index, here: Index, there: Index, size: int) -> tuple[Index, Index]:
    """Lane, and block at the other end, of the point in each bank of each block."""
    shape = (len(here) // size, size)
    lanes, blocks = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    lanes[here // size, bank] = here % size
    blocks[here // size, bank] = there // size
    return lanes, blocks
