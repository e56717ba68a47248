"""What a search gives: beside uniform precision, in words, as JSON and as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from qformers.precision.fixed import Fixed
from qformers.quant.ptq.bench import Trial
from qformers.quant.ptq.evaluator import Evaluation
from qformers.quant.ptq.slots import Slot, place_of
from qformers.tasks.score_names import spell

Uniform = Mapping[int, Trial]  # width -> point


@dataclass(frozen=True)
class UniformComparison:
    """The tuned model beside uniform precision.

    Attributes:
        width, point: the cheapest uniform model that loses no more by the same measure; None if none does.
        ebops_ratio: its EBOPs over those of the tuned model.
        same_divergence_ratio: the same at exactly the divergence of the tuned model, between two widths (straight in
            ln EBOPs over ln divergence); None outside of the widths measured.
    """

    width: int | None
    point: Trial | None
    ebops_ratio: float | None
    same_divergence_ratio: float | None


def compare(tuned: Evaluation, uniform: Uniform, max_loss: float | None) -> UniformComparison:
    """Beside the cheapest uniform model within `max_loss`; without one, within the loss of the tuned model."""
    allowed = tuned.expected_lost if max_loss is None else max_loss
    good = [width for width, point in uniform.items() if point.measured.expected_lost <= allowed]
    width = min(good, key=lambda bits: uniform[bits].measured.ebops, default=None)
    point = None if width is None else uniform[width]
    ratio = None if point is None else point.measured.ebops / tuned.ebops
    at_same = _ebops_at(tuned.divergence, [point.measured for point in uniform.values()])
    return UniformComparison(width, point, ratio, None if at_same is None else at_same / tuned.ebops)


def _ebops_at(divergence: float, curve: Sequence[Evaluation]) -> float | None:
    """EBOPs of uniform precision at a divergence, between the two widths around it."""
    points = sorted(curve, key=lambda measured: measured.ebops)
    for fewer, more in pairwise(points):
        if fewer.divergence >= divergence >= more.divergence > 0:
            share = np.log(fewer.divergence / divergence) / max(np.log(fewer.divergence / more.divergence), 1e-12)
            return float(np.exp((1 - share) * np.log(fewer.ebops) + share * np.log(more.ebops)))
    return None


def in_words(tuned: Evaluation, jets: str, compared: UniformComparison, labelled: bool = True) -> list[str]:
    """The result on the jets of the search, in lines for a terminal.

    Args:
        tuned: the result.
        jets: which jets these are.
        compared: beside uniform precision.
        labelled: see `in_short`.
    """
    lines = [f"found: EBOPs {tuned.ebops:,}; on {jets}: {in_short(tuned, labelled)}"]
    if compared.point is None:
        lines.append("uniform precision: no width measured is as accurate")
    else:
        other = compared.point.measured
        lines.append(f"uniform {compared.width} bits: EBOPs {other.ebops:,}, {in_short(other, labelled)}")
        lines.append(f"uniform / found: {compared.ebops_ratio:.2f} in EBOPs at no more loss of {spell(tuned.of)}")
    if compared.same_divergence_ratio is not None:
        lines.append(
            f"uniform / found: {compared.same_divergence_ratio:.2f} in EBOPs at the same divergence from float "
            "(between two widths)"
        )
    return lines


def in_short(measured: Evaluation, labelled: bool = True) -> str:
    """The losses of a model in one line.

    Args:
        measured: the model.
        labelled: whether anybody said what is right; without that float alone can be asked.
    """
    name = spell(measured.of)
    by_labels = f", {measured.lost:.2%} +- {measured.lost_error:.2%} by the labels" if labelled else ""
    if measured.of == "accuracy":
        return (
            f"divergence {measured.divergence:.2e} nats, {name} lost {measured.expected_lost:.3%} by the probabilities "
            f"of float{by_labels}"
        )
    return (
        f"mean squared difference from float {measured.divergence:.2e}, {name} lost {measured.expected_lost:.3%} by "
        f"that{by_labels}"
    )


def bits_picture(formats: Mapping[Slot, Fixed], path: Path) -> None:
    """Bits per layer (row) and slot (column), sign included; 0 bits are never chosen."""
    from qformers.tasks.plots import jets as plots

    layers = list(dict.fromkeys(slot.layer for slot in formats))
    places = {slot.name: ("weight", "bias", "value", "table").index(place_of(slot)) for slot in formats}
    names = sorted(places, key=lambda name: (places[name], name))
    widths = np.full((len(layers), len(names)), np.nan)
    for slot, form in formats.items():
        widths[layers.index(slot.layer), names.index(slot.name)] = form.width
    with plots.canvas(path, (max(8.0, 0.75 * len(names) + 4), max(4.0, 0.3 * len(layers) + 2))) as axes:
        picture = axes.imshow(widths, cmap="Blues", vmin=0, aspect="auto")
        for (row, column), width in np.ndenumerate(widths):
            if np.isfinite(width):
                colour = "white" if width > 0.6 * np.nanmax(widths) else "black"
                axes.text(column, row, f"{width:.0f}", ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(np.arange(len(names)), [name.replace("_", " ") for name in names], rotation=45, ha="right")
        axes.set_yticks(np.arange(len(layers)), layers, fontsize=10)
        axes.tick_params(which="both", length=0)
        axes.figure.colorbar(picture, label="Bits, sign included")


def trade_picture(
    tuned: Evaluation, path_points: Sequence[Trial], points: Sequence[Trial], uniform: Uniform, path: Path
) -> None:
    """Divergence from float and score over EBOPs: all that was measured, the predicted path, uniform precision."""
    from qformers.tasks.plots import jets as plots

    with plots.canvas(path, (9.0, 10.0)) as first:
        figure, grid = first.figure, first.get_gridspec()
        figure.delaxes(first)
        grid = figure.add_gridspec(2, 1)
        float_score, score = tuned.score + tuned.lost, spell(tuned.of)
        apart = "Divergence from float [nats]" if tuned.of == "accuracy" else "Mean squared difference from float"
        for place, (key, label) in enumerate((("divergence", apart), ("score", f"{score[:1].upper()}{score[1:]}"))):
            axes = figure.add_subplot(grid[place])
            _curves(axes, key, (tuned, path_points, points, uniform))
            axes.set(xscale="log", ylabel=label)
            if key == "divergence":
                axes.set_yscale("log")
            else:
                axes.axhline(float_score, color="black", ls=":", lw=1.2, label="float")
            axes.grid(alpha=0.3, which="both", lw=0.5)
            axes.legend()
        axes.set_xlabel("EBOPs")


def _curves(axes: Any, key: str, what: tuple[Evaluation, Sequence[Trial], Sequence[Trial], Uniform]) -> None:
    tuned, path_points, points, uniform = what

    def values(some: Sequence[Evaluation]) -> tuple[list[int], list[float]]:
        return [one.ebops for one in some], [getattr(one, key) for one in some]

    axes.plot(*values([point.measured for point in points]), ".", ms=3, color="0.7", label="measured in the search")
    axes.plot(*values([point.measured for point in path_points]), "-", lw=1.5, label="predicted path")
    ordered = [uniform[width].measured for width in sorted(uniform)]
    axes.plot(*values(ordered), "s-", ms=5, lw=1.5, label="uniform width")
    axes.plot(*values([tuned]), "*", ms=18, color="black", label="found")
