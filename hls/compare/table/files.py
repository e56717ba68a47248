"""The table as files: CSV (one wide row per build), JSON (with every footnote) and Markdown."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hls.compare.table.cells import Cell, Column, Table
from hls.compare.table.diff import Diff, spelt
from hls.compare.table.kernels import WORDS, Kernels
from hls.compare.table.verdicts import Judged
from hls.escaping import csv_cell
from qformers.files import replacing, write_json

EXTRAS = ("error", "limit", "percent")  # of a cell, each a column of its own


def write_csv(table: Table, path: Path) -> None:
    """One row per build; ``<column>_error`` and the other `EXTRAS` stand behind a column that has them."""
    columns = [(column, extra) for column in table.columns for extra in ("", *_extras(table, column))]
    with replacing(path) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.writer(handle)
        heads = [column.key + (f"_{extra}" if extra else "") for column, extra in columns]
        writer.writerow([*map(csv_cell, heads), "stale"])
        for row, run in zip(table.cells, table.runs, strict=True):
            values = [_plain(row[column.key], extra) for column, extra in columns]
            stale = "; ".join(f"{file} {why}" for file, why in (run.stale or {}).items())
            writer.writerow([*values, csv_cell(stale)])


def _extras(table: Table, column: Column) -> list[str]:
    return [name for name in EXTRAS if any(getattr(row[column.key], name) is not None for row in table.cells)]


def _plain(cell: Cell, extra: str) -> Any:
    if extra:
        return getattr(cell, extra)
    return csv_cell(cell.missing if cell.missing else cell.value)


def to_json(
    table: Table, diff: Diff | None, judged: Sequence[Judged] = (), kernels: Sequence[Kernels] = ()
) -> dict[str, Any]:
    """Everything the table knows, as plain JSON types."""
    builds = [
        {
            "build": run.name,
            "run": str(run.path),
            "cells": {column.key: _cell_json(row[column.key]) for column in table.columns},
            "stale": dict(run.stale or {}),
        }
        for run, row in zip(table.runs, table.cells, strict=True)
    ]
    verdicts = [{"build": item.build, **asdict(item.verdict)} for item in judged]
    more = {"diff": diff.to_json() if diff else None, "budgets": verdicts, "kernels": [k.to_json() for k in kernels]}
    columns = [{"key": c.key, "group": c.group, "head": c.head, "unit": c.unit} for c in table.columns]
    return {"columns": columns, "builds": builds, "notes": list(table.notes), **more}


def _cell_json(cell: Cell) -> dict[str, Any]:
    more = {key: getattr(cell, key) for key in ("error", "limit", "percent", "missing", "flag", "note")}
    return {"value": cell.value, **{key: value for key, value in more.items() if value not in (None, "")}}


def write_table_json(
    table: Table, diff: Diff | None, judged: Sequence[Judged], path: Path, kernels: Sequence[Kernels] = ()
) -> None:
    """Write `to_json`."""
    write_json(path, to_json(table, diff, judged, kernels))


def write_markdown(table: Table, diff: Diff | None, path: Path, kernels: Sequence[Kernels] = ()) -> None:
    """One table per group of columns, kernels and stores, footnotes, and the difference of two builds."""
    lines = ["# Comparison of builds", ""]
    first = table.columns[0]
    for group, columns in table.groups.items():
        shown = [first, *(column for column in columns if column is not first)]
        rows = [[_markdown(row[c.key].text(c)) for c in shown] for row in table.cells]
        lines += [f"## {_markdown(group)}", "", *_block([c.heading for c in shown], rows, [c.number for c in shown])]
    for one in kernels:
        heads, cells = one.heads(), [[_markdown(text) for text in row] for row in one.rows()]
        title = f"## Kernels and stores, {_markdown(one.title)}"
        lines += [title, "", *_block(heads, cells, [head not in WORDS for head in heads])]
    lines += ["## Notes", "", *(f"- {_markdown(note)}" for note in table.notes), ""]
    if table.stale():
        lines += ["## Out of date", "", *(f"- {_markdown(' '.join(entry))}" for entry in table.stale()), ""]
    if diff is not None:
        lines += _diff_lines(diff)
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines))


def _diff_lines(diff: Diff) -> list[str]:
    heads, rows = spelt(diff)
    changed = [[f"`{key}`", _markdown(repr(a)), _markdown(repr(b))] for key, (a, b) in diff.settings.items()]
    title = f"## {_markdown(diff.names[0])} → {_markdown(diff.names[1])}"
    return [
        f"{title}: settings",
        "",
        *_block(["key", *diff.names], changed, [False] * 3),
        f"{title}: mean bits (sign included) and costs per layer",
        "",
        *_block(heads, [[_markdown(text) for text in row] for row in rows], [False, *(True for _ in heads[1:])]),
        *(f"- {_markdown(reason)}" for reason in diff.missing),
        "",
    ]


def _block(heads: list[str], rows: list[list[str]], right: list[bool]) -> list[str]:
    rule = "|".join("---:" if number else "---" for number in right)
    return [f"| {' | '.join(map(_markdown, heads))} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows), ""]


def _markdown(text: str) -> str:
    """Text without a meaning in Markdown tables or HTML."""
    for sign, safe in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), (">", "&gt;"), ("\n", " ")):
        text = text.replace(sign, safe)
    return text
