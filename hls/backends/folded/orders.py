"""Stores in which an order moves rows of points between two phases, in NumPy and in Verilog.

An order is O permutations: the slot that stands at each of N places. A beat of points is T slots; a beat of blocks is T
places of each order, whole blocks of them.

- ``gathered``: rows of slots are kept as they come; a beat of blocks reads the row of each of its places, by
  multiplexers over all slots. Its numbers are those of the order in the beat that reads.
- ``scattered``: rows of places are written into the slots that the order says, and read slot by slot. Its numbers come
  out of the kernel beside the rows (``places``).

Nothing is rounded: a row has, for each of its values, the widest format that any lane gives.

Symbols: n events, B beats, N points, T of them per beat, M blocks of S points, O orders, H heads, E channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.ports import Value, joined, place, wires
from qformers.quant.phases import Folding

Array = NDArray[np.float64]
Key = tuple[str, str]  # tensor, kind of the store
Kif = tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.int8]]
INPUTS_OF_LUT = 6


def laid(bits: NDArray[np.int8], kind: str, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Sign, integer or fraction bits of what a kernel gives to a store, as the next one reads them.

    Args:
        bits: gathered: (T, H, E); scattered: (O, H, T / S, S, E).
        kind: of the store.
        shape: that is read: gathered: (O, H, T / S, S, E); scattered: (O, H, T, E).
    """
    rows = bits.max(axis=0)[None, :, None, None] if kind == "gathered" else bits.max(axis=(2, 3))[:, :, None]
    return np.asarray(np.broadcast_to(rows, shape))


def moved(
    fold: Folding, shapes: Mapping[Key, tuple[int, ...]], given: Mapping[Key, Array], stored: Mapping[Key, Array]
) -> dict[Key, Array]:
    """What the beats of the next phase read of all rows that move behind a phase.

    Args:
        fold: of the plan.
        shapes: of a beat of what the kernel gives.
        given: (n, B, values of a beat) that it gives.
        stored: likewise, what all other stores give.
    """
    read = {}
    for (name, kind), values in given.items():
        if kind == "gathered":
            order = fold.moves[name].order
            numbers = next(stored[order, way] for way in ("streamed", "spread") if (order, way) in stored)
            read[name, kind] = _gathered(values, shapes[name, kind], numbers)
        elif kind == "scattered":
            read[name, kind] = _scattered(values, shapes[name, kind], given[fold.moves[name].order, "places"])
    return read


def _gathered(values: Array, shape: tuple[int, ...], numbers: Array) -> Array:
    """Rows (n, B, T H E) by numbers (n, B, O T) -> (n, B, O H T E)."""
    together, heads, channels = shape
    events, beats, _ = values.shape
    rows = values.reshape(events, -1, heads, channels)
    picked = rows[np.arange(events)[:, None, None], numbers.astype(np.int64)]  # (n, B, O T, H, E)
    picked = picked.reshape(events, beats, -1, together, heads, channels)
    return np.moveaxis(picked, 3, 4).reshape(events, beats, -1)


def _scattered(values: Array, shape: tuple[int, ...], places: Array) -> Array:
    """Rows (n, B, O H T E) to places (n, B, O T) -> (n, B, O H T E), by slots."""
    orders, heads, _, _, channels = shape
    events, beats, _ = values.shape
    rows = values.reshape(events, beats, orders, heads, -1, channels).transpose(0, 2, 1, 4, 3, 5)
    rows = rows.reshape(events, orders, -1, heads, channels)  # (n, O, N, H, E)
    slots = np.moveaxis(places.reshape(events, beats, orders, -1), 2, 1).reshape(events, orders, -1).astype(np.int64)
    landed = np.empty_like(rows)
    np.put_along_axis(landed, slots[..., None, None], rows, axis=2)
    landed = landed.reshape(events, orders, beats, -1, heads, channels).transpose(0, 2, 1, 4, 3, 5)
    return landed.reshape(events, beats, -1)


@dataclass(frozen=True)
class Rows:
    """A store of N rows in registers, and a second copy that the next event does not touch.

    Attributes:
        layer: that moves them.
        kind: gathered or scattered.
        order: number of the order; 0 for rows that all orders gather.
        row: the values of a row, at their bits in it.
        given: Verilog of the rows of a beat, of each lane.
        numbers: Verilog: gathered: of the slot of each place that a beat reads; scattered: of the slot of each lane.
        points: N.
    """

    layer: str
    kind: str
    order: int
    row: tuple[Value, ...]
    given: tuple[str, ...]
    numbers: tuple[str, ...]
    points: int

    @property
    def name(self) -> str:
        """In the names of its wires."""
        return f"_{self.layer}{self.order}"

    @property
    def width(self) -> int:
        """Bits of a row."""
        return sum(value.width for value in self.row)

    @property
    def lanes(self) -> int:
        """Rows that a beat writes."""
        return len(self.given)

    @property
    def bits(self) -> int:
        """Of both copies."""
        return 2 * self.points * self.width

    @property
    def lut_estimate(self) -> int:
        """Multiplexers, 4 to 1 per LUT; to write lanes to any slot, a comparison of each lane with each slot."""
        if self.kind == "gathered":
            return len(self.numbers) * self.width * _tree(self.points)
        compared = -(-(self.points - 1).bit_length() // INPUTS_OF_LUT)
        written = self.points * (self.width * _tree(self.lanes) + self.lanes * compared)
        return written + self.lanes * self.width * _tree(self.points // self.lanes)


def _tree(ways: int) -> int:
    """LUTs of a multiplexer of one bit."""
    return -(-(ways - 1) // 3)


def row_of(kif: Kif) -> tuple[Value, ...]:
    """The values of a row (H, E)."""
    signs, integers, fractions = (np.ravel(part).tolist() for part in kif)
    return place({"": kif[0].shape}, list(zip(map(bool, signs), integers, fractions, strict=True)))


def gathering(fold: Folding, layer: str, kif: Kif, rows: Sequence[Value], numbers: Sequence[str], bus: str) -> Rows:
    """Rows of slots for all orders.

    Args:
        fold, layer: which moves them.
        kif: (O, H, T / S, S, E), as the next phase reads them.
        rows: T H E, as the kernel gives them in `bus`.
        numbers: see `Rows`.
    """
    row = row_of(_picked(kif, (0, slice(None), 0, 0)))
    lanes = [rows[start : start + len(row)] for start in range(0, len(rows), len(row))]
    return Rows(layer, "gathered", 0, row, tuple(_wired(lane, row, bus) for lane in lanes), tuple(numbers), fold.points)


def scattering(
    fold: Folding, layer: str, kif: Kif, rows: Sequence[Value], numbers: Sequence[str], bus: str
) -> tuple[Rows, ...]:
    """Rows of places, of each order; arguments as for `gathering`, with `kif` (O, H, T, E) and `rows` O H T E."""
    orders, heads, together, channels = kif[0].shape
    made = []
    for order in range(orders):
        row = row_of(_picked(kif, (order, slice(None), 0)))
        first = order * heads * together * channels
        lanes = [
            [
                rows[first + (head * together + lane) * channels + channel]
                for head, channel in np.ndindex(heads, channels)
            ]
            for lane in range(together)
        ]
        given = tuple(_wired(lane, row, bus) for lane in lanes)
        own = tuple(numbers[order * together : (order + 1) * together])
        made.append(Rows(layer, "scattered", order, row, given, own, fold.points))
    return tuple(made)


def _picked(kif: Kif, index: tuple[int | slice, ...]) -> Kif:
    signs, integers, fractions = (part[index] for part in kif)
    return signs, integers, fractions


def _wired(lane: Sequence[Value], row: Sequence[Value], bus: str) -> str:
    return joined([wires(value, bus, 0, target) for value, target in zip(lane, row, strict=True) if target.width])


def number(value: Value, bus: str, base: int, points: int) -> str:
    """Verilog of a slot: the whole number in a value whose vector begins at bit `base` of `bus`."""
    slot = Value("", (), 0, False, max((points - 1).bit_length(), 1), 0)
    return joined([wires(value, bus, base, slot)])


def place_of(kind: str, shape: tuple[int, ...], flat: int) -> tuple[int, int, int]:
    """Order, row within the beat and value within the row of a value (gathered: (O, H, T / S, S, E), else (O, H, T, E))
    that is read; rows of all orders are gathered together.
    """
    order, head, *lane, channel = (int(part) for part in np.unravel_index(flat, shape))
    lanes, spot = shape[2:-1], head * shape[-1] + channel
    row = int(np.ravel_multi_index(lane, lanes))
    return (0, order * math.prod(lanes) + row, spot) if kind == "gathered" else (order, row, spot)
