"""Two builds layer by layer: where the bits and the LUTs went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hls.compare.read.run import Run, settings
from hls.compare.table.layers import COSTS, KINDS, Layers, in_order, read_layers

Pair = tuple[float | None, float | None]  # first build, second build; None = that build has none
ADDED = ("lut", "ebops", "zeros")  # costs whose sum over layers means something


@dataclass(frozen=True)
class DiffRow:
    """One layer: mean bits by kind and costs by heading, of both builds."""

    layer: str
    bits: Mapping[str, Pair]
    costs: Mapping[str, Pair]


@dataclass(frozen=True)
class Diff:
    """What differs between two builds.

    Attributes:
        names: the two builds.
        settings: dotted key -> (first, second), where they differ; None = that build has no such key.
        rows: all layers of either, in the order of the model.
        costs: headings of the costs that either has.
        total: sums of the costs that can be added.
        missing: what is not known and how to get it.
        bits_known, costs_known: per build, whether its widths and each of its costs are known at all; where they are
            not, a None in `rows` means "not known", not "no such layer".
    """

    names: tuple[str, str]
    settings: Mapping[str, tuple[Any, Any]]
    rows: tuple[DiffRow, ...]
    costs: tuple[str, ...]
    total: DiffRow
    missing: tuple[str, ...]
    bits_known: tuple[bool, bool]
    costs_known: Mapping[str, tuple[bool, bool]]  # by heading

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        layers = [{"layer": r.layer, "bits": _named(r.bits), "costs": _named(r.costs)} for r in self.rows]
        changed = {key: {"first": first, "second": second} for key, (first, second) in self.settings.items()}
        return {
            "builds": list(self.names),
            "settings": changed,
            "layers": layers,
            "total": _named(self.total.costs),
            "missing": list(self.missing),
        }


def _named(pairs: Mapping[str, Pair]) -> dict[str, dict[str, float | None]]:
    return {key: {"first": first, "second": second} for key, (first, second) in pairs.items()}


def compare(first: Run, second: Run) -> Diff:
    """Compare two runs.

    Raises:
        HlsError: a file of bit widths or costs cannot be read.
    """
    layers = read_layers(first), read_layers(second)
    names = in_order(list(layers[0].layers), list(layers[1].layers))
    rows = tuple(_row(name, *layers) for name in names)
    costs = tuple(head for head in COSTS.values() if any(head in row.costs for row in rows))
    added = [COSTS[key] for key in ADDED if COSTS[key] in costs]
    sums = {head: _sum([row.costs.get(head, (None, None)) for row in rows]) for head in added}
    total = DiffRow("all layers", {}, sums)
    before, after = settings(first.build), settings(second.build)
    keys = [key for key in {**before, **after} if key != "name" and before.get(key) != after.get(key)]
    changed = {key: (before.get(key), after.get(key)) for key in keys}
    missing = (*layers[0].missing, *layers[1].missing)
    bits = (bool(layers[0].source), bool(layers[1].source))
    known = {head: (_has(layers[0], key), _has(layers[1], key)) for key, head in COSTS.items()}
    return Diff((first.name, second.name), changed, rows, costs, total, missing, bits, known)


def _has(layers: Layers, cost: str) -> bool:
    return any(cost in layer.costs for layer in layers.layers.values())


def _row(name: str, first: Layers, second: Layers) -> DiffRow:
    pair = first.layers.get(name), second.layers.get(name)
    bits, costs = {}, {}
    for kind in KINDS:
        widths = [layer.bits[kind].mean if layer and kind in layer.bits else None for layer in pair]
        if widths != [None, None]:
            bits[kind] = (widths[0], widths[1])
    for key, head in COSTS.items():
        numbers = [layer.costs.get(key) if layer else None for layer in pair]
        if numbers != [None, None]:
            costs[head] = (numbers[0], numbers[1])
    return DiffRow(name, bits, costs)


def _sum(pairs: list[Pair]) -> Pair:
    sides = [[pair[side] for pair in pairs if pair[side] is not None] for side in (0, 1)]
    first, second = (sum(x for x in side if x is not None) if side else None for side in sides)
    return first, second


def change(pair: Pair, known: tuple[bool, bool], digits: int) -> str:
    """``8.0 → 5.0 (-3.0)``; one number where both are equal; "–" = no such value in that build, "?" = not known."""
    before, after = pair
    if before is None or after is None:
        if before is None and after is None:
            return ""
        sides = zip(pair, known, strict=True)
        return " → ".join(("–" if sure else "?") if value is None else f"{value:,.{digits}f}" for value, sure in sides)
    if abs(after - before) < 0.5 * 10**-digits:
        return f"{after:,.{digits}f}"
    return f"{before:,.{digits}f} → {after:,.{digits}f} ({after - before:+,.{digits}f})"


def spelt(diff: Diff) -> tuple[list[str], list[list[str]]]:
    """Headings and rows in words, the sum of the costs last."""
    heads = ["layer", *KINDS, *diff.costs]
    rows = []
    for row in (*diff.rows, *([diff.total] if diff.costs else [])):
        bits = [change(row.bits.get(kind, (None, None)), diff.bits_known, 1) for kind in KINDS]
        costs = [change(row.costs.get(head, (None, None)), diff.costs_known[head], 0) for head in diff.costs]
        rows.append([row.layer, *bits, *costs])
    return heads, rows
