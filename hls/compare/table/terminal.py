"""The table on a terminal: one block per group of columns, so that it fits and no two stages share a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from hls.compare.table.cells import Cell, Column, Table
from hls.compare.table.diff import Diff, spelt
from hls.compare.table.kernels import WORDS, Kernels
from hls.compare.table.layers import KINDS

_STYLE: Any = {"title_justify": "left", "title_style": "bold", "box": SIMPLE_HEAD}


def print_table(table: Table, console: Console) -> None:
    """Print all groups, what was not run, what is out of date, and the footnotes."""
    first = table.columns[0]
    for group, columns in table.groups.items():
        shown = RichTable(title=escape(group), **_STYLE)
        shown.add_column(first.head, no_wrap=True)
        rest = [column for column in columns if column is not first]
        for column in rest:
            shown.add_column(escape(column.heading), justify="right" if column.number else "left")
        for row in table.cells:
            shown.add_row(escape(str(row[first.key].value)), *(_styled(row[c.key], c) for c in rest))
        console.print(shown)
    for name, what in table.missing():
        console.print(f"{name}: {what}", markup=False, style="dim", soft_wrap=True)
    for name, file, why in table.stale():
        console.print(f"STALE {name}/{file} {why}", markup=False, style="bold yellow", soft_wrap=True)
    for note in table.notes:
        console.print(f"- {note}", markup=False, highlight=False, soft_wrap=True)


def print_kernels(some: Sequence[Kernels], console: Console) -> None:
    """Print what the kernels and stores of folded firmware take."""
    for one in some:
        shown = RichTable(title=escape(f"Kernels and stores, {one.title}"), **_STYLE)
        for head in one.heads():
            shown.add_column(escape(head), justify="left" if head in WORDS else "right")
        for row in one.rows():
            shown.add_row(*map(escape, row))
        console.print(shown)


def _styled(cell: Cell, column: Column) -> str:
    text = escape(cell.short or cell.text(column))
    if cell.missing:
        return f"[dim]{text}[/dim]"
    if cell.flag:
        return f"[bold yellow]{text}[/bold yellow]"
    return f"[bold red]{text}[/bold red]" if cell.equal is False else text


def print_diff(diff: Diff, console: Console) -> None:
    """Print which settings differ and, layer by layer, where the bits and the LUTs went."""
    for key, (before, after) in diff.settings.items():
        console.print(f"{key}: {before!r} -> {after!r}", markup=False)
    for reason in diff.missing:
        console.print(reason, markup=False, style="dim", soft_wrap=True)
    heads, rows = spelt(diff)
    parts = {
        "mean bits per layer, sign included": heads[: len(KINDS) + 1],
        "cost of each layer": [heads[0], *diff.costs],
    }
    for title, chosen in parts.items():
        shown = RichTable(title=escape(f"{' -> '.join(diff.names)}: {title}"), **_STYLE)
        for head in chosen:
            shown.add_column(escape(head), justify="left" if head == heads[0] else "right", no_wrap=True)
        picked = [[row[heads.index(head)] for head in chosen] for row in rows]
        lines = [line for line in picked if any(line[1:])]
        for line in lines:
            shown.add_row(*map(escape, line))
        if lines:
            console.print(shown)
