"""What the formats of a quantised model do to real data: range seen, width chosen, share cut off."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from qformers.models.quantisers import Place, Quantiser, quantisers, walk
from qformers.models.transfer import to_numpy
from qformers.precision import Fixed


@dataclass(frozen=True)
class Row:
    """One quantiser over all events audited."""

    name: str
    layer: str
    place: Place
    learned: bool
    formats: int  # groups of elements with a width of their own
    width_mean: float  # bits, sign included
    width_max: int
    widest: str  # format that holds all groups, in ap_fixed spelling
    seen_low: float
    seen_high: float
    saturated: float  # share of values outside the range: clipped (SAT) or wrapped (WRAP)
    pruned: float  # share of elements whose format has no bit left


def widths(model: keras.Model) -> dict[str, list[int]]:
    """Bit widths (sign included, one per group that shares a format) of all learned quantisers, by their name."""
    return {q.name: [int(w) for w in q.widths().ravel()] for q in quantisers(model) if q.learned}


def audit(model: keras.Model, inputs: dict[str, NDArray[Any]]) -> list[Row]:
    """One row per quantiser of `model`, measured on `inputs` (by input name)."""
    by_layer: dict[str, list[Quantiser]] = {}
    for quantiser in quantisers(model):
        by_layer.setdefault(quantiser.layer.name, []).append(quantiser)
    rows = []
    for layer, tensors in walk(model, inputs):
        rows += [_row(quantiser, to_numpy(quantiser.tensor(tensors))) for quantiser in by_layer.get(layer.name, [])]
    return rows


def _row(quantiser: Quantiser, seen: NDArray[np.float64]) -> Row:
    seen = seen[..., _used(quantiser)] if quantiser.place == "input" else seen
    k, i, f = quantiser.kif()
    alive = k + i + f > 0
    step = 2.0 ** -f.astype(np.float64)
    core = quantiser.core
    high = 2.0 ** i.astype(np.float64) - step
    low = -k * (high if core.overflow_mode == "SAT_SYM" else high + step)
    outside = ((seen > high + step / 2) | (seen < low - step / 2)) & alive
    bits = quantiser.widths()
    integer = int(np.max(i, where=alive, initial=-99)) if alive.any() else 0
    fraction = int(np.max(f, where=alive, initial=-99)) if alive.any() else 0
    form = Fixed(bool(k.max()), integer, fraction, core.round_mode, core.overflow_mode)
    return Row(
        name=quantiser.name,
        layer=quantiser.layer.name,
        place=quantiser.place,
        learned=quantiser.learned,
        formats=int(bits.size),
        width_mean=float(bits.mean()),
        width_max=int(bits.max()),
        widest=str(form),
        seen_low=float(seen.min()),
        seen_high=float(seen.max()),
        saturated=float(np.broadcast_to(outside, seen.shape).mean()),
        pruned=float(1.0 - alive.mean()),
    )


def _used(quantiser: Quantiser) -> Any:
    """Which elements of the last axis reach the output: constant layers may pick one feature and leave the others."""
    layer = quantiser.layer
    inputs, kernel = (*getattr(layer, "equation", "").split("->")[0].split(","), "")[:2]
    if layer.trainable or not kernel or inputs[-1] not in kernel:
        return slice(None)
    weights = to_numpy(layer._kernel)
    others = tuple(axis for axis, letter in enumerate(kernel) if letter != inputs[-1])
    return np.any(weights != 0, axis=others)


def as_json(rows: list[Row]) -> list[dict[str, Any]]:
    """The rows for a JSON file."""
    return [asdict(row) for row in rows]


def as_table(rows: list[Row], title: str = "Formats on real jets") -> Table:
    """The rows for a terminal."""
    table = Table(title=title)
    for column in ("quantiser", "widest format", "widths", "mean bits", "seen", "outside", "pruned"):
        table.add_column(column, justify="left" if column in ("quantiser", "widest format") else "right")
    for row in rows:
        table.add_row(
            row.name,
            row.widest,
            f"{row.formats}",
            f"{row.width_mean:.1f}",
            f"{row.seen_low:.3g} .. {row.seen_high:.3g}",
            f"{row.saturated:.2%}",
            f"{row.pruned:.0%}",
        )
    return table
