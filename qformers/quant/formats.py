"""The formats that a quantised model has, as a table: what training made of what the build file asked for."""

from __future__ import annotations

import keras
import numpy as np

from qformers.precision.fixed import Fixed
from qformers.precision.table import PrecisionTable, Row, Setting
from qformers.quant.quantisers import Quantiser, quantisers

BITS = 1 << 20  # more than a format has, on either side of the point


def model_table(model: keras.Model) -> PrecisionTable:
    """One row per layer that has a format; where elements have formats of their own, the one that holds them all.

    Args:
        model: vocabulary hgq, from memory or from a file.
    """
    rows: dict[str, Row] = {}
    for quantiser in quantisers(model):
        layer = quantiser.layer
        row = rows.setdefault(layer.name, Row(layer.name, type(layer).__name__, {}))
        rows[layer.name] = Row(row.layer, row.kind, {**row.settings, quantiser.slot: setting_of(quantiser)})
    return PrecisionTable(tuple(rows.values()))


def setting_of(quantiser: Quantiser) -> Setting:
    """The format that holds all formats of a quantiser, and how many there are."""
    k, i, f = quantiser.kif()
    core = quantiser.core
    symmetric = core.overflow_mode == "SAT_SYM"  # a sign without a bit behind it is 0 there, and else 0 or -1
    alive = (i + f > 0) | ((k + i + f > 0) & (not symmetric))
    if not alive.any():
        return Setting(Fixed(False, 1, 0, core.round_mode, core.overflow_mode), "learned, nothing left")
    form = Fixed(
        bool(k[alive].max()), int(i[alive].max()), int(f[alive].max()), core.round_mode, core.overflow_mode
    )  # fmt: skip
    kinds = np.unique((k * BITS + i) * BITS + f).size
    source = ("learned" if quantiser.learned else "fixed") + (f", {kinds} formats" if kinds > 1 else "")
    return Setting(form, source)
