"""How alkaid traces the layers that move or pick values: gathers become sorting networks, none of them rounds.

A Batcher network sorts N rows by a key in O(N log^2 N) exchanges of two; a gather by multiplexers would cost O(N^2).

- `FromBlocks`: the host's order says which slot each row belongs to, so sorting the rows by it is the inverse gather.
- `ToBlocks` needs the rank of each slot, the inverse of the order: the numbers 0 to N - 1, sorted by the order. Then
  the rows are sorted by their ranks.

The keys of a network are a permutation by contract (`hls.backends.alkaid` says what happens to other numbers), so that
there are no ties.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np


@functools.cache
def register() -> None:
    """Tell alkaid about the layers; its registry takes every subclass when it is made."""
    from alkaid.converter.builtin.keras.layers._base import ReplayOperationBase

    from qformers.layers import lsh, select

    class TraceGivenOrder(ReplayOperationBase):  # type: ignore[misc]
        handles = (lsh.GivenOrder,)

        def call(self, inputs: Any) -> Any:
            return inputs[0][:, None, :, None, :]  # the mask gave the number of slots only

    class TraceToBlocks(ReplayOperationBase):  # type: ignore[misc]
        handles = (lsh.ToBlocks,)

        def call(self, inputs: Any) -> Any:
            rows, order = inputs[0][0], inputs[1][0, 0, :, 0]  # (N, H, E), (O, N)
            slots, heads, channels = rows.shape
            flat = rows.reshape(slots, heads * channels)
            moved = np.stack([_by_key(_ranks(keys), flat) for keys in order]).reshape(-1, slots, heads, channels)
            blocks = (len(order), heads, slots // self.op.block, self.op.block, channels)
            return np.moveaxis(moved, 2, 1).reshape(1, *blocks)

    class TraceFromBlocks(ReplayOperationBase):  # type: ignore[misc]
        handles = (lsh.FromBlocks,)

        def call(self, inputs: Any) -> Any:
            blocks, order = inputs[0][0], inputs[1][0, 0, :, 0]  # (O, H, M, S, E), (O, N)
            orders, heads, _, _, channels = blocks.shape
            rows = np.moveaxis(blocks.reshape(orders, heads, -1, channels), 1, 2)  # (O, N, H, E)
            flat = rows.reshape(orders, -1, heads * channels)
            moved = [_by_key(keys, part).reshape(-1, heads, channels) for keys, part in zip(order, flat, strict=True)]
            return np.moveaxis(np.stack(moved), 2, 1)[None]

    class TraceLargest(ReplayOperationBase):  # type: ignore[misc]
        handles = (select.Largest,)

        def call(self, inputs: Any) -> Any:
            top = np.amax(inputs, axis=self.op.axis, keepdims=True)
            return top if self.op.floor is None else np.maximum(top, self.op.floor)


def _by_key(keys: Any, rows: Any) -> Any:
    """Rows (N, E) in ascending order of keys (N,)."""
    from alkaid.trace.ops.sorting import sort

    return sort(keys, aux_value=rows)[1]


def _ranks(keys: Any) -> Any:
    """The inverse of a permutation (N,)."""
    slots = keys * 0 + np.arange(len(keys))  # constants that alkaid knows as such
    return _by_key(keys, slots[:, None])[:, 0]
