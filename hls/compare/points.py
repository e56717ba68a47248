"""Points of the Pareto plots: one per build and source, from the cells of the table."""

from __future__ import annotations

from dataclasses import dataclass

from hls.compare.cells import Cell, Table
from hls.compare.sources import group_of


@dataclass(frozen=True)
class Point:
    """One build as one source sees it.

    Attributes:
        build: its name.
        source: with its stage, e.g. "yosys [synthesis]".
        value: LUT, ns or EBOPs.
        accuracy: per cent.
        error: of the accuracy, statistical.
        stale: whether any of the two belongs to another build or model.
    """

    build: str
    source: str
    value: float
    accuracy: float
    error: float | None
    stale: bool


def points(table: Table, quantity: str) -> list[Point]:
    """All points of a quantity.

    Args:
        table: the comparison.
        quantity: field of a report, e.g. "lut" or "latency_ns", or "ebops".
    """
    found = []
    for row in table.cells:
        accuracy = row["accuracy"]
        if not isinstance(accuracy.value, float):
            continue
        for column in table.columns:
            cell = row[column.key]
            if column.key.rpartition(".")[2] != quantity or not isinstance(cell.value, int | float):
                continue
            label = column.group if column.source else group_of("EBOPs", "model")
            found.append(_point(row["build"], label, cell, accuracy))
    return found


def _point(build: Cell, source: str, cell: Cell, accuracy: Cell) -> Point:
    stale = bool(cell.flag or accuracy.flag)
    return Point(str(build.value), source, float(cell.value or 0), float(accuracy.value or 0), accuracy.error, stale)


def frontier(found: list[Point]) -> list[Point]:
    """Those that no other beats in both value and accuracy, by rising value."""
    best: list[Point] = []
    for point in sorted(found, key=lambda p: (p.value, -p.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best
