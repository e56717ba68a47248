"""Tables on the terminal and pictures of a comparison of firmware, quantised and float model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table

from hls.proof.fidelity import Fidelity, LayerFidelity
from hls.proof.scores import rows, with_error
from qformers.tasks.metrics.jets import TWO_CLASS_KEY
from qformers.tasks.plots.jets import canvas

Array = NDArray[np.float64]

DRAWN = 20_000  # outputs of points in a scatter plot
STEP = "step of the layer's format in quantised Keras"


def layer_table(fidelity: Fidelity, compared: str) -> Table:
    """One row per layer: its step, absolute error, in steps and relative, and correlation; formats are in the JSON.

    Args:
        fidelity: all layers.
        compared: which values count, in words.
    """
    title = f"Firmware against the float model, per layer ({compared}, {fidelity.events:,} events)"
    table = Table(title=title, caption=f"LSB: {STEP}, the same for every backend", box=SIMPLE_HEAD)
    for column in ("layer", "LSB", "max", "max LSB", "mean LSB", "relative", "corr."):
        table.add_column(column, justify="left" if column == "layer" else "right", no_wrap=True)
    for row in fidelity.layers:
        errors = (f"{row.max_error:.2g}", f"{row.max_lsb:.1f}", f"{row.mean_lsb:.2f}")
        step = f"2^{math.log2(row.lsb):.0f}"
        table.add_row(row.layer, step, *errors, f"{row.relative:.2%}", f"{row.correlation:.4f}")
    return table


def no_layers(fidelity: Fidelity) -> str:
    """Why there is no `layer_table`."""
    reasons = sorted({skipped.reason for skipped in fidelity.skipped})
    shown = "this firmware shows its outputs alone; layers are seen in that of vitis, vivado and alkaid (--backend)"
    return f"no layer is compared with the float model: {'; '.join(reasons) or shown}"


def end_table(end: Mapping[str, Any], events: str = "jets") -> Table:
    """Accuracy, AUC and rejection of each form of the model, on what is called `events`."""
    reports = end["metrics"]
    first = next(iter(reports.values()))
    table = Table(title=f"The whole model on the same {events}", box=SIMPLE_HEAD)
    table.add_column("")
    for form in reports:
        table.add_column(form, justify="right")
    table.add_row("accuracy", *(with_error(report["accuracy"]) for report in reports.values()))
    table.add_row("AUC", *(with_error(report["auc"]) for report in reports.values()))
    for key in ("rejection", TWO_CLASS_KEY):
        for signal in first.get(key, ()):
            table.add_row(f"rejection {signal}", *(_rejection(report[key][signal]) for report in reports.values()))
    return table


def task_table(end: Mapping[str, Any]) -> Table:
    """Scores of each form of a model of points, or of numbers to be predicted: see `hls.proof.scores.rows`."""
    unit = f"the same {end['unit']}"
    if "ap_" in end["score"]:
        unit += "; AP@T: of points of particles with pT > T GeV"
    table = Table(title=f"The whole model on {unit}", box=SIMPLE_HEAD)
    table.add_column("")
    for form in end["metrics"]:
        table.add_column(form, justify="right")
    for name, cells in rows(end["metrics"]).items():
        table.add_row(name, *cells)
    return table


def changes_table(end: Mapping[str, Any]) -> Table:
    """How often (of classes) and by how much two forms of the model differ."""
    classes = all("decisions_changed" in change for change in end["changes"].values())
    others = "Changed outputs" if end.get("unit") == "events" else "Changed outputs of real points"
    table = Table(title="Changed decisions and logits" if classes else others, box=SIMPLE_HEAD)
    for column in ("", *(["decisions"] if classes else []), "max |diff|", "mean |diff|", "corr."):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for pair, change in end["changes"].items():
        decisions = [f"{change['decisions_changed']:.2%}"] if classes else []
        differences = (f"{change['max_difference']:.3g}", f"{change['mean_difference']:.3g}")
        table.add_row(pair, *decisions, *differences, f"{change['correlation']:.5f}")
    return table


def _rejection(rejection: Mapping[str, Any]) -> str:
    if rejection["value"] is None:
        return "n/a"
    error = "" if rejection["error"] is None else f" ± {rejection['error']:.1f}"
    return f"{'> ' if rejection['limit'] else ''}{rejection['value']:.1f}{error} @ {100 * rejection['efficiency']:g}%"


def colour(index: int) -> str:
    """Colour of class `index`: ten different ones, where mplhep's style repeats after six."""
    return f"tab:{('blue', 'orange', 'green', 'red', 'purple', 'brown', 'pink', 'gray', 'olive', 'cyan')[index % 10]}"


def plot_layers(layers: Sequence[LayerFidelity], path: Path, title: str = "") -> None:
    """Mean and largest error of each layer in LSB, first layer on top; a layer without any says so.

    Points and no bars: a logarithmic axis has no 0 that a bar could start from.
    """
    places = np.arange(len(layers))[::-1]
    largest, mean = (np.array([getattr(row, key) for row in layers]) for key in ("max_lsb", "mean_lsb"))
    off = largest > 0
    low = 10.0 ** math.floor(math.log10(np.min(mean[off] / 2, initial=0.5)))  # whole decades around the data and 1 LSB
    high = 10.0 ** math.ceil(math.log10(np.max(largest[off] * 1.2, initial=2.0)))
    with canvas(path, (9.0, max(3.5, 0.34 * len(layers) + 2.2))) as axes:
        axes.hlines(places[off], mean[off], largest[off], color="0.75", lw=2, zorder=1)
        axes.plot(mean[off], places[off], "o", color="tab:blue", ms=8, label="mean")
        axes.plot(largest[off], places[off], "D", color="tab:red", ms=6, label="largest")
        for place in places[~off]:
            axes.text(0.01, place, "no difference", transform=axes.get_yaxis_transform(), va="center", fontsize=11)
        axes.axvline(1.0, color="black", ls=":", lw=1.2, label="1 LSB")
        axes.set(xscale="log", xlim=(low, high), ylim=(-0.8, len(layers) - 0.2))
        axes.set_yticks(places, [row.layer for row in layers], fontsize=11)
        axes.minorticks_off()
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", alpha=0.3, lw=0.5)
        axes.set_xlabel(f"|firmware - float model| of a value [LSB: {STEP}]", fontsize=12)
        axes.set_title(title, loc="left", fontsize=13)
        axes.figure.legend(loc="outside upper right", ncols=3)


def plot_scatter(
    firmware: Array, ideal: Array, class_names: Sequence[str], path: Path, word: str = "Logit", title: str = ""
) -> None:
    """Each output of the firmware over that of the float model, (n, outputs) both.

    One colour per class or target; without names all outputs have one colour, and are thinned out. `word` is what an
    output is called.
    """
    low, high = float(min(firmware.min(), ideal.min())), float(max(firmware.max(), ideal.max()))
    with canvas(path, (7.5, 6.5)) as axes:
        for name, colour_, column in _columns(class_names):
            x, y = ideal[:, column].ravel(), firmware[:, column].ravel()
            if not class_names:
                x, y = x[:: 1 + len(x) // DRAWN], y[:: 1 + len(y) // DRAWN]
            axes.plot(x, y, ".", ms=2, alpha=0.5, label=name, color=colour_)
        axes.plot([low, high], [low, high], color="black", lw=1)
        axes.set(xlabel=f"{word}, float model", ylabel=f"{word}, firmware", xlim=(low, high), ylim=(low, high))
        axes.set_title(title, loc="left", fontsize=13)
        axes.legend(markerscale=6, loc="upper left")


def plot_differences(
    firmware: Array,
    ideal: Array,
    class_names: Sequence[str],
    path: Path,
    word: str = "Logit",
    counted: str = "Jets",
    title: str = "",
) -> None:
    """Histogram of firmware - float, per logit or, without names, of all outputs; (n, outputs) both.

    Beside each name stands mean ± standard deviation of the differences: their spread, not an error of the mean.
    `word` is what an output is called, `counted` what the histogram counts.
    """
    error = firmware - ideal
    edge = float(np.quantile(np.abs(error), 0.995)) or 1.0
    with canvas(path) as axes:
        for name, colour_, column in _columns(class_names):
            values = error[:, column].ravel()
            label = f"{name}: {values.mean():+.2g} ± {values.std():.2g}"
            clipped, ends = np.clip(values, -edge, edge), (-edge, edge)
            axes.hist(clipped, bins=61, range=ends, histtype="step", lw=1.5, label=label, color=colour_)
        axes.set(xlabel=f"{word}, firmware - float (outermost bins: and beyond)", ylabel=f"{counted} per bin")
        axes.set_ylim(0, axes.get_ylim()[1] * 1.35)
        axes.set_title(title, loc="left", fontsize=13)
        meaning = "mean ± standard deviation of the differences"
        axes.legend(
            loc="upper left", ncols=2 if len(class_names) > 4 else 1, title=meaning, title_fontsize=12, alignment="left"
        )


def _columns(class_names: Sequence[str]) -> list[tuple[str, str, int | slice]]:
    """Name, colour and column of what is drawn: each class, or all outputs together."""
    if not class_names:
        return [("all outputs", colour(0), slice(None))]
    return [(name, colour(index), index) for index, name in enumerate(class_names)]
