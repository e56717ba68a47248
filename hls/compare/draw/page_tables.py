"""Tables of the page as plain data: the builds, widths per layer, the difference of two builds, published results."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from hls.compare.read.published import Reference
from hls.compare.read.run import Run
from hls.compare.table.cells import Cell, Column, Table, spell_percent
from hls.compare.table.diff import Diff, DiffRow, Pair, change
from hls.compare.table.kernels import WORDS, Kernels
from hls.compare.table.layers import COSTS, KINDS, Bits, Layers, in_order, read_layers

WIDEST = 16  # bits of the darkest colour
PRINTED = 3  # builds in one heat map on paper
# field of a published point -> heading
NUMBERS = {"n": "N", "features": "features", "accuracy": "accuracy [%]", "auc": "AUC", "lut": "LUT", "dsp": "DSP"}
NUMBERS |= {"latency_ns": "latency [ns]", "ebops": "EBOPs"}


def build_rows(table: Table) -> list[dict[str, Any]]:
    """Rows of the table of builds: the cells by key of their column."""
    first = table.columns[0]
    return [
        {
            "name": str(row[first.key].value),
            "note": row[first.key].note,
            "cells": {column.key: _shown(row[column.key], column) for column in table.columns},
        }
        for row in table.cells
    ]


def _shown(cell: Cell, column: Column) -> dict[str, Any]:
    """Text of a cell and what is behind it; `value` is what it sorts by."""
    value = "" if cell.value is None or cell.missing else str(cell.value)
    classes = ["number" if column.number else "text", "wide" if column.wide else ""]
    if cell.equal is not None:
        classes.append("equal" if cell.equal else "differs")
    return {
        "text": cell.number(column.digits),
        "value": value,
        "missing": cell.short,
        "error": "" if cell.error is None else f"{cell.error:.{column.digits}f}",
        "percent": "" if cell.percent is None else spell_percent(cell.percent),
        "stale": bool(cell.flag),
        "title": cell.missing or " · ".join(part for part in (cell.note, cell.flag) if part),
        "classes": classes,
    }


def bit_widths(runs: Sequence[Run]) -> dict[str, Any]:
    """Heat maps for the screen (all builds in one) and for paper, where they were read, and what is missing.

    Raises:
        HlsError: a file of bit widths cannot be read.
    """
    read = [read_layers(run) for run in runs]
    known = [(run.name, layers) for run, layers in zip(runs, read, strict=True) if layers.layers]
    files = {name: layers.source or "no file" for name, layers in known}
    same = len(set(files.values())) == 1
    paper = [known[start : start + PRINTED] for start in range(0, len(known), PRINTED)]
    return {
        "sources": f"{known[0][1].source or 'no file'} of each"
        if same
        else ", ".join(f"{a}: {b}" for a, b in files.items()),
        "screen": _heat_map(known),
        "paper": [_heat_map(part) for part in paper],
        "widest": WIDEST,
        "missing": [reason for layers in read for reason in layers.missing],
    }


def _heat_map(known: Sequence[tuple[str, Layers]]) -> dict[str, Any]:
    """Layers by builds and kinds: mean bits as number and colour; LUT or EBOPs, and zero weights where known."""
    names: list[str] = []
    for _, layers in known:
        names = in_order(names, list(layers.layers))
    known_costs = {key for _, layers in known for layer in layers.layers.values() for key in layer.costs}
    all_lut = all(any("lut" in layer.costs for layer in layers.layers.values()) for _, layers in known)
    shown = ("lut", "zeros") if all_lut else ("lut", "ebops", "zeros")  # kernels have LUT where layers have none
    costs = {key: COSTS[key] for key in shown if key in known_costs}
    rows = []
    for name in names:
        row = [layers.layers.get(name) for _, layers in known]
        cells: list[dict[str, Any]] = []
        for layer in row:
            cells += [_bits(layer.bits.get(kind) if layer else None, kind == KINDS[0]) for kind in KINDS]
            numbers = [layer.costs.get(key) if layer else None for key in costs]
            cells += [{"text": "" if x is None else f"{x:,.0f}", "class": None, "title": None} for x in numbers]
        learned = any(layer is not None and layer.learned for layer in row)
        rows.append({"layer": name, "learned": learned, "cells": cells})
    return {"names": [name for name, _ in known], "heads": [*KINDS, *costs.values()], "rows": rows}


def _bits(bits: Bits | None, first: bool) -> dict[str, Any]:
    edge = ["first"] if first else []
    if bits is None:
        return {"text": "", "class": " ".join(edge) or None, "title": None}
    colour = f"b{min(max(round(bits.mean), 0), WIDEST)}"
    return {"text": f"{bits.mean:.1f}", "class": " ".join([colour, *edge]), "title": bits.note}


def difference(diff: Diff) -> dict[str, Any]:
    """Settings that differ and, layer by layer, before, after and change."""
    return {
        "names": diff.names,
        "settings": diff.settings,
        "heads": [*KINDS, *diff.costs],
        "rows": [_changes(row, diff) for row in diff.rows],
        "total": _changes(diff.total, diff) if diff.costs else None,
    }


def _changes(row: DiffRow, diff: Diff) -> dict[str, Any]:
    bits = [_pair(row.bits.get(kind), diff.bits_known, 1) for kind in KINDS]
    costs = [_pair(row.costs.get(head), diff.costs_known[head], 0) for head in diff.costs]
    return {"layer": row.layer, "pairs": [*bits, *costs]}


def _pair(pair: Pair | None, known: tuple[bool, bool], digits: int) -> dict[str, str]:
    """A number in both builds; `moved` is what it sorts by."""
    before, after = pair or (None, None)
    if before is None and after is None:
        return {"text": "", "delta": "", "moved": ""}
    if before is None or after is None:
        moved = str((after or 0) - (before or 0)) if all(known) else ""  # a layer that is not there costs nothing
        return {"text": change((before, after), known, digits), "delta": "", "moved": moved}
    gain = after - before
    if abs(gain) < 0.5 * 10**-digits:
        return {"text": f"{after:,.{digits}f}", "delta": "", "moved": "0"}
    text = f"{before:,.{digits}f} → {after:,.{digits}f}"
    return {"text": text, "delta": f"{gain:+,.{digits}f}", "moved": str(gain)}


def kernels(some: Sequence[Kernels]) -> list[dict[str, Any]]:
    """Tables of kernels and stores: heading, columns, rows; the sums are the last row."""
    return [
        {
            "title": one.title.removesuffix(" STALE"),
            "stale": one.stale,
            "heads": [{"text": head, "number": head not in WORDS} for head in one.heads()],
            "rows": list(zip_longest(one.rows(), [[*row.layers] for row in one.plan.kernels], fillvalue=[])),
        }
        for one in some
    ]


def published(references: Sequence[Reference]) -> dict[str, Any]:
    """All published results, and each publication once."""
    rows = [
        {
            "title": " ".join(filter(None, (reference.work.label, reference.point.variant))),
            "numbers": [getattr(reference.point, key) for key in NUMBERS],
            "reference": reference,
        }
        for reference in references
    ]
    works = list(dict.fromkeys(reference.work for reference in references))
    return {"heads": list(NUMBERS.values()), "rows": rows, "works": works}
