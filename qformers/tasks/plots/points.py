"""Pictures of per-point tasks: precision over recall, efficiency and fake rate in bins; and the table of tracks."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.files import replacing
from qformers.tasks.metrics import shares
from qformers.tasks.plots.jets import canvas

CURVE_POINTS = 1000
Curves = Mapping[str, tuple[NDArray[Any], NDArray[Any]]]  # name -> (scores, labels), both (points,)
LABELS = {"length": "points per track", "pt_gev": "$p_T$ [GeV]", "eta": r"$\eta$"}
APART = 0.12  # points of one bin, in bins
MOST_LEVEL_TICKS = 6  # the labels of more bins than this are turned


def precision_recall(curves: Curves, path: Path, lowest_recall: float = 0.0) -> None:
    """Draw precision over recall, from `lowest_recall` on, as a PNG."""
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


def roc(curves: Curves, path: Path) -> None:
    """Draw the share of points to keep that are kept over that of points to drop, as a PNG."""
    from sklearn.metrics import roc_auc_score, roc_curve

    with canvas(path) as axes:
        for name, (scores, labels) in curves.items():
            false_rate, true_rate, _ = roc_curve(labels, scores)
            thin = np.unique(np.linspace(0, len(true_rate) - 1, CURVE_POINTS).astype(int))
            label = f"{name}, AUC {roc_auc_score(labels, scores):.4f}"
            axes.plot(false_rate[thin], true_rate[thin], label=label)
        axes.plot([0, 1], [0, 1], color="0.8", lw=0.8, zorder=0)
        axes.set(xlabel="pile-up kept (share)", ylabel="hard scatter kept (share)", xlim=(0.0, 1.0), ylim=(0.0, 1.02))
        axes.legend(loc="lower right")


def in_bins(series: Mapping[str, Sequence[Mapping[str, Any]]], key: str, path: Path, quantity: str) -> None:
    """Draw shares in bins with their binomial errors (Wilson); empty bins are left out, and a picture of none.

    Bins from one number to the next of equal width stand on a scale, others one beside the other.

    Args:
        series: name -> rows of `qformers.tasks.metrics.tracks.binned`, all of the same bins.
        key: what the bins are of, a key of `LABELS`.
        path: PNG to write.
        quantity: what the share is, for the axis.
    """
    rows = next(iter(series.values()))
    if not any(row["of"] for one in series.values() for row in one):
        return
    widths = {row["high"] - row["low"] if row["high"] is not None else None for row in rows}
    width = widths.pop() if len(widths) == 1 else None
    with canvas(path) as axes:
        for number, (name, one) in enumerate(series.items()):
            full = [i for i, row in enumerate(one) if row["of"]]
            values = np.array([one[i]["value"] for i in full])
            ends = np.array([shares.interval(one[i]["value"], one[i]["of"]) for i in full]).reshape(-1, 2)
            places = np.array(full) + APART * (number - (len(series) - 1) / 2)
            if width is not None:
                places = rows[0]["low"] + width * (places + 0.5)
            errors = np.abs(np.stack([values - ends[:, 0], ends[:, 1] - values]))
            axes.errorbar(places, values, errors, fmt="o", capsize=3, label=name)
        if width is None:
            axes.set_xticks(
                range(len(rows)), [_words(row) for row in rows], rotation=45 if len(rows) > MOST_LEVEL_TICKS else 0
            )
            axes.minorticks_off()
        axes.set_xlim(*((-0.5, len(rows) - 0.5) if width is None else (rows[0]["low"], rows[-1]["high"])))
        axes.set(xlabel=LABELS[key], ylabel=quantity, ylim=(0.0, 1.2))  # room for the legend above 1
        axes.axhline(1.0, color="0.8", lw=0.8, zorder=0)
        axes.legend(loc="upper left", ncols=3)


def _words(row: Mapping[str, Any]) -> str:
    return f"≥ {row['low']:g}" if row["high"] is None else f"{row['low']:g} to {row['high']:g}"


def write_tracks(path: Path, rows: Mapping[str, NDArray[Any]]) -> None:
    """Write the rows of `qformers.tasks.metrics.tracks.neighbour_tracks` as CSV, one line per track."""
    with replacing(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(rows)
        writer.writerows(zip(*(values.tolist() for values in rows.values()), strict=True))
