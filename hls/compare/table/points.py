"""Points of the Pareto plots: one per build and source, from the cells of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hls.compare.read.interval import Interval, interval_of
from hls.compare.table.cells import Cell, Table
from hls.compare.table.sources import group_of


@dataclass(frozen=True)
class Point:
    """One build as one source sees it.

    Attributes:
        build: its name.
        source: with its stage, e.g. "yosys [synthesis]".
        value: LUT, ns or EBOPs.
        score: accuracy in per cent, or what else the metric is.
        error: of the score, statistical.
        stale: whether any of the two belongs to another build or model.
        ii: clocks between two events of the hardware that the value is of; None where nothing states it.
    """

    build: str
    source: str
    value: float
    score: float
    error: float | None
    stale: bool
    ii: int | None = None


def points(table: Table, quantity: str, metric: str = "accuracy") -> list[Point]:
    """All points of a quantity.

    Args:
        table: the comparison.
        quantity: field of a report, e.g. "lut" or "latency_ns", or "ebops".
        metric: key of the column of the score; builds without it, or with a limit alone, have no point.
    """
    drawn = []
    for row, run in zip(table.cells, table.runs, strict=True):
        score = row.get(metric, Cell())
        if not isinstance(score.value, float) or score.limit:  # where the value lies above a limit is not known
            continue
        for column in table.columns:
            cell = row[column.key]
            if column.quantity != quantity or not isinstance(cell.value, int | float):
                continue
            label = column.group if column.source else group_of("EBOPs", "model")
            drawn.append(_point(row["build"], label, cell, score, interval_of(run, column.source)))
    return drawn


def _point(build: Cell, source: str, cell: Cell, score: Cell, interval: Interval | None) -> Point:
    stale, ii = bool(cell.flag or score.flag), interval.cycles if interval else None
    return Point(str(build.value), source, float(cell.value or 0), float(score.value or 0), score.error, stale, ii)


def frontiers(some: Sequence[Point], sources: Sequence[str]) -> dict[int | None, list[Point]]:
    """Initiation interval -> the best points of that interval, by rising interval; an unknown one last.

    Args:
        some: points of one quantity.
        sources: in order, towards a routed design: of each interval the last one that has a point of it counts, since
            lines of several sources would cross.
    """
    found = {}
    for ii in sorted({point.ii for point in some}, key=lambda ii: (ii is None, ii or 0)):
        same = [point for point in some if point.ii == ii]
        nearest = max((point.source for point in same), key=sources.index)
        found[ii] = frontier([point for point in same if point.source == nearest])
    return found


def frontier(some: Sequence[Point]) -> list[Point]:
    """Those of some points that no other beats in both value and score, by rising value."""
    best: list[Point] = []
    for point in sorted(some, key=lambda p: (p.value, -p.score)):
        if not best or point.score > best[-1].score:
            best.append(point)
    return best
