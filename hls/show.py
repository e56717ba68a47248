"""Tables on the terminal and pictures of a comparison of firmware, quantised and float model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table

from hls.fidelity import Fidelity, LayerFidelity
from qformers.plots import canvas

Array = NDArray[np.float64]


def layer_table(fidelity: Fidelity) -> Table:
    """One row per layer: absolute error, in LSB and relative, and correlation; formats are in the JSON."""
    table = Table(title="Firmware against the float model, per layer (real particles)", box=SIMPLE_HEAD)
    for column in ("layer", "max", "max LSB", "mean LSB", "relative", "corr."):
        table.add_column(column, justify="left" if column == "layer" else "right", no_wrap=True)
    for row in fidelity.layers:
        errors = (f"{row.max_error:.2g}", f"{row.max_lsb:.1f}", f"{row.mean_lsb:.2f}")
        table.add_row(row.layer, *errors, f"{row.relative:.2%}", f"{row.correlation:.4f}")
    return table


def end_table(end: Mapping[str, Any]) -> Table:
    """Accuracy, AUC and rejection of each form of the model."""
    reports = end["metrics"]
    signals = list(next(iter(reports.values()))["rejection"])
    table = Table(title="The whole model on the same jets", box=SIMPLE_HEAD)
    table.add_column("")
    for form in reports:
        table.add_column(form, justify="right")
    table.add_row("accuracy", *(_with_error(report["accuracy"], 4) for report in reports.values()))
    table.add_row("AUC", *(_with_error(report["auc"], 4) for report in reports.values()))
    for signal in signals:
        table.add_row(f"rejection {signal}", *(_rejection(report["rejection"][signal]) for report in reports.values()))
    return table


def changes_table(end: Mapping[str, Any]) -> Table:
    """How often and by how much two forms of the model differ."""
    table = Table(title="Changed decisions and logits", box=SIMPLE_HEAD)
    for column in ("", "decisions", "max |diff|", "mean |diff|", "corr."):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for pair, change in end["changes"].items():
        differences = (f"{change['max_difference']:.3g}", f"{change['mean_difference']:.3g}")
        table.add_row(pair, f"{change['decisions_changed']:.2%}", *differences, f"{change['correlation']:.5f}")
    return table


def _with_error(measured: Mapping[str, float], digits: int) -> str:
    return f"{measured['value']:.{digits}f} ± {measured['error']:.{digits}f}"


def _rejection(found: Mapping[str, Any]) -> str:
    error = "" if found["error"] is None else f" ± {found['error']:.1f}"
    return f"{'> ' if found['limit'] else ''}{found['value']:.1f}{error} @ {100 * found['efficiency']:g}%"


def colour(index: int) -> str:
    """Colour of class `index`: ten different ones, where mplhep's style repeats after six."""
    return f"tab:{('blue', 'orange', 'green', 'red', 'purple', 'brown', 'pink', 'gray', 'olive', 'cyan')[index % 10]}"


def plot_layers(rows: Sequence[LayerFidelity], path: Path) -> None:
    """Mean (bar) and largest (dot) error of each layer in LSB, first layer on top."""
    names = [row.layer for row in rows]
    places = np.arange(len(rows))[::-1]
    with canvas(path, (9.0, max(3.5, 0.34 * len(rows) + 1.5))) as axes:
        axes.barh(places, [row.mean_lsb for row in rows], height=0.6, color="tab:blue", label="mean")
        axes.plot([row.max_lsb for row in rows], places, "o", color="tab:red", ms=5, label="largest")
        axes.set_xscale("log")
        axes.set_yticks(places, names, fontsize=11)
        axes.set_ylim(-0.8, len(rows) - 0.2)
        axes.minorticks_off()
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("|firmware - float| [LSB]")
        axes.legend(loc="upper right")


def plot_scatter(firmware: Array, ideal: Array, class_names: Sequence[str], path: Path) -> None:
    """Each logit of the firmware over that of the float model, one colour per class; (n, classes) both."""
    low, high = float(min(firmware.min(), ideal.min())), float(max(firmware.max(), ideal.max()))
    with canvas(path, (7.5, 6.5)) as axes:
        for index, name in enumerate(class_names):
            axes.plot(ideal[:, index], firmware[:, index], ".", ms=2, alpha=0.5, label=name, color=colour(index))
        axes.plot([low, high], [low, high], color="black", lw=1)
        axes.set(xlabel="Logit, float model", ylabel="Logit, firmware", xlim=(low, high), ylim=(low, high))
        axes.legend(markerscale=6, loc="upper left")


def plot_differences(firmware: Array, ideal: Array, class_names: Sequence[str], path: Path) -> None:
    """Histogram of firmware - float per logit, with its spread; (n, classes) both."""
    error = firmware - ideal
    edge = float(np.quantile(np.abs(error), 0.995)) or 1.0
    with canvas(path) as axes:
        for index, name in enumerate(class_names):
            label = f"{name}: {error[:, index].mean():+.3f} ± {error[:, index].std():.3f}"
            axes.hist(
                np.clip(error[:, index], -edge, edge),
                bins=61,
                range=(-edge, edge),
                histtype="step",
                lw=1.5,
                label=label,
                color=colour(index),
            )
        axes.set(xlabel="Logit, firmware - float (outermost bins: and beyond)", ylabel="Jets")
        axes.set_ylim(0, axes.get_ylim()[1] * 1.35)
        axes.legend(loc="upper left", ncols=2 if len(class_names) > 4 else 1)
