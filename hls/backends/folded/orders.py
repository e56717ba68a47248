"""Stores in which an order moves rows of points between two phases, in NumPy and in Verilog (C++: `channels`).

An order is O permutations: the slot that stands at each of N places. A beat of points is T slots; a beat of blocks is T
places of each order, whole blocks of them.

- ``gathered``: rows of slots are kept as they come; a beat of blocks reads the row of each of its places.
- ``scattered``: rows of places are kept as they come and read slot by slot.

Registers hold all rows of an event, and multiplexers over all of them find a row by its number: the numbers of
``gathered`` rows are those of the order in the beat that reads, those of ``scattered`` rows come out of the kernel
beside the rows (``places``). Memory banks need multiplexers over T lanes alone, where the host gives the order: no
beat finds two of its rows in one bank (`hls.backends.folded.banks`). The host then gives, with every beat and in the
place of the numbers, words of banks, lanes and addresses, which wait in a memory until the event is through (`ways`).

Nothing is rounded: a row has, for each of its values, the widest format that any lane gives.

Symbols: n events, B beats, N points, T of them per beat, M blocks of S points, O orders, H heads, E channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hls.backends.alkaid.ports import Value, joined, place, wires
from hls.backends.folded.banks import words
from qformers.quant.phases import Folding

Array = NDArray[np.float64]
Key = tuple[str, str]  # tensor, kind of the store
Kif = tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.int8]]
INPUTS_OF_LUT = 6
WORDS = {  # of a kind of store: lane of each bank, to write; address of each bank and bank of each lane, to read
    "gathered": ("in_lanes", "read_blocks", "read_banks"),
    "scattered": ("sums_lanes", "out_blocks", "out_banks"),
}


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
    fold: Folding,
    shapes: Mapping[Key, tuple[int, ...]],
    given: Mapping[Key, Array],
    stored: Mapping[Key, Array],
    host: Mapping[str, Array],
) -> dict[Key, Array]:
    """What the beats of the next phase read of all rows that move behind a phase.

    Args:
        fold: of the plan.
        shapes: of a beat of what the kernel gives.
        given: (n, B, values of a beat) that it gives.
        stored: likewise, what all other stores give.
        host: likewise, orders that the host gives as banks.
    """
    read = {}
    for (name, kind), values in given.items():
        if kind not in WORDS:
            continue
        order = fold.moves[name].order
        known = {"host": host.get(order), "places": given.get((order, "places"))}
        known |= {way: stored.get((order, way)) for way in ("streamed", "spread")}
        ways = ("host", "streamed", "spread") if kind == "gathered" else ("host", "places")
        numbers = next(found for way in ways if (found := known[way]) is not None)
        move = _gathered if kind == "gathered" else _scattered
        read[name, kind] = move(values, shapes[name, kind], numbers)
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
    """A store of N rows, twice, so that the next event does not touch what is read.

    Attributes:
        layer: that moves them.
        kind: gathered or scattered.
        orders: numbers of the orders that it serves: all of them gather from the same registers.
        row: the values of a row, at their bits in it.
        given: Verilog of the rows of a beat, of each lane.
        numbers: Verilog: gathered: of the slot of each place that a beat reads; scattered: of the slot of each lane.
            None of banks.
        points: N.
    """

    layer: str
    kind: str
    orders: tuple[int, ...]
    row: tuple[Value, ...]
    given: tuple[str, ...]
    numbers: tuple[str, ...]
    points: int

    @property
    def name(self) -> str:
        """In the names of its wires."""
        return f"_{self.layer}{self.orders[0]}"

    @property
    def banks(self) -> bool:
        """Whether they lie in memory banks."""
        return not self.numbers

    @property
    def words(self) -> tuple[str, ...]:
        """Of banks: the words that write and read them."""
        return tuple(f"{kind}{self.orders[0]}" for kind in WORDS[self.kind]) if self.banks else ()

    def low(self, order: int, lane: int) -> int:
        """Lowest bit of a row among those that a beat reads."""
        return (self.orders.index(order) * self.lanes + lane) * self.width

    @property
    def width(self) -> int:
        """Bits of a row."""
        return sum(value.width for value in self.row)

    @property
    def lanes(self) -> int:
        """Rows that a beat writes."""
        return len(self.given)

    @property
    def lane_bits(self) -> int:
        """Of the number of a lane, or of a bank."""
        return address_bits(self.lanes)

    @property
    def slot_bits(self) -> int:
        """Of the number of a slot."""
        return address_bits(self.points)

    @property
    def bits(self) -> int:
        """Of both copies; a bank has as many rows as a power of two."""
        rows = self.lanes * 2 ** address_bits(self.points // self.lanes) if self.banks else self.points
        return 2 * rows * self.width

    @property
    def lut_estimate(self) -> int:
        """Multiplexers, 4 to 1 per LUT; to write lanes to any slot, a comparison of each lane with each slot."""
        if self.banks:
            return 2 * self.lanes * self.width * _tree(self.lanes)
        if self.kind == "gathered":
            return len(self.numbers) * self.width * _tree(self.points)
        compared = -(-(self.points - 1).bit_length() // INPUTS_OF_LUT)
        written = self.points * (self.width * _tree(self.lanes) + self.lanes * compared)
        return written + self.lanes * self.width * _tree(self.points // self.lanes)


def address_bits(beats: int) -> int:
    """Of the number of a beat."""
    return max((beats - 1).bit_length(), 1)


def ways(fold: Folding, shapes: Mapping[str, Sequence[int]], low: int) -> tuple[Value, ...]:
    """Where the words lie that the host gives with a beat in the place of orders, one behind the other from bit `low`.

    Args:
        fold: of the plan.
        shapes: (O, N) of the inputs of the model that are orders of the host.
        low: bits of the values of the beat.
    """
    lane_bits, beat_bits = address_bits(fold.together), address_bits(fold.beats)
    values = []
    for name in fold.host_orders:
        for order in range(shapes[name][0]):
            for kind in (word for kinds in WORDS.values() for word in kinds):
                bits = beat_bits if kind.endswith("_blocks") else lane_bits
                for lane in range(fold.together):
                    values.append(Value(f"{name}/{kind}", (order, lane), low, False, bits, 0))
                    low += bits
    return tuple(values)


def ways_of(fold: Folding, inputs: Mapping[str, Array]) -> Array:
    """Numbers of `ways` for orders (n, O, N) that the host gives: (n, B, words); none: (n, B, 0)."""
    events = len(next(iter(inputs.values())))
    columns = [np.zeros((events, fold.beats, 0))]
    for name in fold.host_orders:
        given = np.asarray(inputs[name]).astype(np.int64)
        for order in range(given.shape[1]):
            found = [words(one, fold.together) for one in given[:, order]]
            columns += [np.stack([one[word] for one in found]) for kinds in WORDS.values() for word in kinds]
    return np.concatenate(columns, axis=2)


def _tree(ways: int) -> int:
    """LUTs of a multiplexer of one bit."""
    return -(-(ways - 1) // 3)


def row_of(kif: Kif) -> tuple[Value, ...]:
    """The values of a row (H, E)."""
    signs, integers, fractions = (np.ravel(part).tolist() for part in kif)
    return place({"": kif[0].shape}, list(zip(map(bool, signs), integers, fractions, strict=True)))


def gathering(
    fold: Folding, layer: str, kif: Kif, rows: Sequence[Value], numbers: Sequence[str], bus: str
) -> tuple[Rows, ...]:
    """Rows of slots: registers for all orders, or banks for each of them.

    Args:
        fold, layer: which moves them.
        kif: (O, H, T / S, S, E), as the next phase reads them.
        rows: T H E, as the kernel gives them in `bus`.
        numbers: see `Rows`; none for banks.
    """
    row = row_of(_picked(kif, (0, slice(None), 0, 0)))
    lanes = [rows[start : start + len(row)] for start in range(0, len(rows), len(row))]
    given, every = tuple(_wired(lane, row, bus) for lane in lanes), tuple(range(len(kif[0])))
    served = [every] if numbers else [(order,) for order in every]
    return tuple(Rows(layer, "gathered", some, row, given, tuple(numbers), fold.points) for some in served)


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
        made.append(Rows(layer, "scattered", (order,), row, given, own, fold.points))
    return tuple(made)


def _picked(kif: Kif, index: tuple[int | slice, ...]) -> Kif:
    signs, integers, fractions = (part[index] for part in kif)
    return signs, integers, fractions


def _wired(lane: Sequence[Value], row: Sequence[Value], bus: str) -> str:
    return joined([wires(value, bus, 0, target) for value, target in zip(lane, row, strict=True) if target.width])


def number(value: Value, bus: str, base: int, points: int) -> str:
    """Verilog of a slot: the whole number in a value whose vector begins at bit `base` of `bus`."""
    slot = Value("", (), 0, False, address_bits(points), 0)
    return joined([wires(value, bus, base, slot)])


def place_of(shape: tuple[int, ...], flat: int) -> tuple[int, int, int]:
    """Order, row within the beat, and place within the row of a value that is read; `shape` as of `laid`."""
    order, head, *lane, channel = (int(part) for part in np.unravel_index(flat, shape))
    lanes, spot = shape[2:-1], head * shape[-1] + channel
    return order, int(np.ravel_multi_index(lane, lanes)), spot
