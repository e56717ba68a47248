"""Pictures of per-point tasks: precision over recall, efficiency and fake rate in bins; and the table of tracks."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.files import replacing
from qformers.tasks.plots.jets import canvas

CURVE_POINTS = 1000
LABELS = {"length": "points per track", "pt_gev": "$p_T$ [GeV]", "eta": r"$\eta$"}
MOST_LEVEL_TICKS = 6  # the labels of more bins than this are turned


def precision_recall(
    curves: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], path: Path, lowest_recall: float = 0.0
) -> None:
    """Draw precision over recall.

    Args:
        curves: name -> (scores, labels), both (points,).
        path: PNG to write.
        lowest_recall: left end of the axis.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    with canvas(path) as axes:
        for name, (scores, labels) in curves.items():
            precision, recall, _ = precision_recall_curve(labels, scores)
            shown = np.flatnonzero(recall >= lowest_recall)
            thin = shown[np.unique(np.linspace(0, len(shown) - 1, CURVE_POINTS).astype(int))]
            area = average_precision_score(labels, scores)
            axes.plot(recall[thin], precision[thin], label=f"{name}, AUPRC {area:.4f}")
        axes.set(xlabel="recall", ylabel="precision", xlim=(lowest_recall, 1.0), ylim=(0.0, 1.02))
        axes.legend()


def in_bins(series: Mapping[str, Sequence[Mapping[str, Any]]], key: str, path: Path, quantity: str) -> None:
    """Draw shares in bins with their binomial errors; empty bins are left out.

    Args:
        series: name -> rows of `qformers.tasks.metrics.tracks.binned`, all of the same bins.
        key: what the bins are of, a key of `LABELS`.
        path: PNG to write.
        quantity: what the share is, for the axis.
    """
    with canvas(path) as axes:
        for number, (name, rows) in enumerate(series.items()):
            full = [i for i, row in enumerate(rows) if row["of"]]
            values, errors = ([rows[i][column] for i in full] for column in ("value", "error"))
            places = np.array(full) + 0.12 * (number - (len(series) - 1) / 2)
            axes.errorbar(places, values, errors, fmt="o", capsize=3, label=name)
        rows = next(iter(series.values()))
        ticks = [f"{row['low']:g}–{row['high']:g}" if row["high"] is not None else f"≥ {row['low']:g}" for row in rows]
        axes.set_xticks(range(len(rows)), ticks, rotation=45 if len(rows) > MOST_LEVEL_TICKS else 0)
        axes.minorticks_off()
        axes.set(xlabel=LABELS[key], ylabel=quantity, xlim=(-0.5, len(rows) - 0.5), ylim=(0.0, 1.05))
        axes.legend()


def write_tracks(path: Path, rows: Mapping[str, NDArray[Any]]) -> None:
    """Write the rows of `qformers.tasks.metrics.tracks.neighbour_tracks` as CSV, one line per track."""
    with replacing(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(rows)
        writer.writerows(zip(*(values.tolist() for values in rows.values()), strict=True))
