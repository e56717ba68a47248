"""The table as data: columns in groups, rows of cells; every way to show it reads this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hls.compare.read.run import Run

OTHER_TASK = "another task"  # why a build has no score of this name
GIVEN = "given as a file"  # why a model of one's own was not trained here
FLOAT_ONLY = "float only"  # why a build without a section `quant` has nothing of a quantised model or of firmware


@dataclass(frozen=True)
class Cell:
    """One cell: a value, or the reason why there is none.

    Attributes:
        value: None when missing.
        error: statistical, of `value`.
        percent: `value` as a share of the device, 0 to 100 and more.
        reason: why there is no value, where nothing is to be run for it.
        command: what gives the value, where it was not run.
        flag: a warning, e.g. that the number belongs to another model.
        note: more on it, for a tooltip.
        equal: whether outputs are equal, for a cell that says so.
        limit: whether `value` is a lower limit, for a number that may be one.
    """

    value: float | int | str | None = None
    error: float | None = None
    percent: float | None = None
    reason: str = ""
    command: str = ""
    flag: str = ""
    note: str = ""
    equal: bool | None = None
    limit: bool | None = None

    @property
    def missing(self) -> str:
        """Why there is no value, e.g. "not run: qformers csim ..."; "" where there is one."""
        return f"not run: {self.command}" if self.command else self.reason

    @property
    def short(self) -> str:
        """The same without the command."""
        return "not run" if self.command else self.reason

    def number(self, digits: int) -> str:
        """The value, as a lower limit where it is one."""
        return f"{'> ' if self.limit else ''}{spell(self.value, digits)}"

    def text(self, column: Column) -> str:
        """The cell in words: the value with its error, percentage and warning, or the reason why it is missing."""
        parts = [self.missing or self.number(column.digits)]
        if self.error is not None:
            parts.append(f"± {self.error:.{column.digits}f}")
        if self.percent is not None:
            parts.append(f"({spell_percent(self.percent)})")
        if self.flag:
            parts.append("STALE")
        return " ".join(parts)


def not_run(run: Run, command: str) -> Cell:
    """The cell of what a command gives that was not run; of a float-only build there is nothing to run."""
    return Cell(reason=FLOAT_ONLY) if run.float_only else Cell(command=command)


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: name in CSV and JSON, e.g. "yosys.lut".
        group: heading above it; columns of one source and stage share one.
        head: heading.
        cell: what stands in it for a run.
        unit: shown with the heading, "" for none.
        number: whether it holds numbers (aligned right, sorted by value).
        digits: after the decimal point.
        wide: whether its text may take several lines.
        task: of the builds that have it ("jets", "regression", or a task of points); builds of another task have no
            value, and it is left out where none has that task. "" for all builds.
        metric: whether it says how well the quantised model does: plots show it over the cost.
        quantity: the cost that it holds, e.g. "lut", "latency_ns" or "ebops", "" for none: plots show it across.
        source: of the report that it shows, "" for a column that shows none.
    """

    key: str
    group: str
    head: str
    cell: Callable[[Run], Cell]
    unit: str = ""
    number: bool = True
    digits: int = 0
    wide: bool = False
    task: str = ""
    metric: bool = False
    quantity: str = ""
    source: str = ""

    @property
    def heading(self) -> str:
        """Heading with unit."""
        return f"{self.head} [{self.unit}]" if self.unit else self.head


def spell_percent(percent: float) -> str:
    """A share of a device: one decimal, two where it is tiny."""
    return f"{percent:.{1 if percent >= 0.1 else 2}f} %" if percent else "0 %"


def spell(value: float | int | str | None, digits: int) -> str:
    """A number with `digits` decimals and thousands in groups; text as it is."""
    return str(value) if isinstance(value, str) or value is None else f"{value:,.{digits}f}"


@dataclass(frozen=True)
class Table:
    """One row per run.

    Attributes:
        columns: in order; the first is the name of the build.
        runs: one per row.
        cells: per row, by column key.
        notes: footnotes: what the groups are, how far each source is from a routed design.
    """

    columns: tuple[Column, ...]
    runs: tuple[Run, ...]
    cells: tuple[Mapping[str, Cell], ...]
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> dict[str, list[Column]]:
        """Columns by group, in order."""
        groups: dict[str, list[Column]] = {}
        for column in self.columns:
            groups.setdefault(column.group, []).append(column)
        return groups

    @property
    def metrics(self) -> list[Column]:
        """Columns that plots show over the cost; the first is the one that a plot without a choice shows."""
        return [column for column in self.columns if column.metric]

    def missing(self) -> list[tuple[str, str]]:
        """(build, what was not run and how to run it), each once."""
        lines = {
            (run.name, cell.missing): None
            for run, row in zip(self.runs, self.cells, strict=True)
            for cell in row.values()
            if cell.command
        }
        return list(lines)

    def stale(self) -> list[tuple[str, str, str]]:
        """(build, file, why it is out of date)."""
        return [(run.name, file, why) for run in self.runs for file, why in (run.stale or {}).items()]
