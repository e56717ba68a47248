"""Rows of points in the memories of a block engine: where each number of a point lies, and how it reaches a port.

A row has no lane: all S points of a block have the same row, one behind the other in a word. Formats are the widest
that any lane needs. Numbers pass from a row to a port, and from a port to a row, by wires alone: zeros below, copies of
the sign above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hls.backends.alkaid.ports import Value

Place = tuple[int, ...]  # of a number among those of its name in one point, e.g. (head, channel)


@dataclass(frozen=True)
class Spot:
    """Where a value of a part's port comes from or goes to: which row, of which lane, which number of it."""

    row: str
    lane: int
    name: str
    place: Place


@dataclass(frozen=True)
class Row:
    """The numbers of a point, packed."""

    fields: Mapping[tuple[str, Place], Value]

    @property
    def width(self) -> int:
        """Bits."""
        return sum(field.width for field in self.fields.values())

    @classmethod
    def of(cls, values: Iterable[tuple[Spot, Value]]) -> Row:
        """The row that holds these values of all lanes exactly."""
        groups: dict[tuple[str, Place], list[Value]] = {}
        for spot, value in values:
            groups.setdefault((spot.name, spot.place), []).append(value)
        fields, low = {}, 0
        for (name, place), group in groups.items():
            alive = [value for value in group if value.width]
            signed, integer, fraction = (
                (any(v.signed for v in alive), max(v.integer_bits for v in alive), max(v.fraction_bits for v in alive))
                if alive
                else (False, 0, 0)
            )
            fields[name, place] = Value(name, place, low, signed, integer, fraction)
            low += fields[name, place].width
        return cls(fields)


def raw(row: Row, numbers: Mapping[str, np.ndarray]) -> list[int]:
    """Points as whole numbers of the row's bits: name -> (N, ...), each value within its format."""
    count = len(next(iter(numbers.values())))
    packed = [0] * count
    for (name, place), field in row.fields.items():
        if field.width:
            column = np.moveaxis(np.asarray(numbers[name], np.float64), 0, -1)[place]
            bits = np.floor(column * 2.0**field.fraction_bits).astype(np.int64) & ((1 << field.width) - 1)
            packed = [word | (int(bit) << field.low) for word, bit in zip(packed, bits, strict=True)]
    return packed


def numbers(row: Row, name: str, words: Sequence[int]) -> np.ndarray:
    """The values (N, E) of the numbers `name` of points, in the order of the row."""
    fields = [field for (own, _), field in row.fields.items() if own == name]
    table = np.zeros((len(words), len(fields)))
    for column, field in enumerate(fields):
        mask, sign = (1 << field.width) - 1, (1 << field.width) >> 1
        for index, word in enumerate(words):
            value = (word >> field.low) & mask
            value -= (1 << field.width) if field.signed and value & sign else 0
            table[index, column] = value * 2.0**-field.fraction_bits
    return table
