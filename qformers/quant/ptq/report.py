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


@dataclass(frozen=True)
class Trade:
    """What `trade_picture` draws of a search.

    Attributes:
        name: of the model.
        start: the widest formats, from which bits are taken.
        found: the result.
        path: measured points of the predicted path.
        measured: all that the search has measured.
        uniform: one width for all, by width.
        max_loss, ebops: the budget, one of both.
    """

    name: str
    start: Evaluation
    found: Evaluation
    path: Sequence[Evaluation]
    measured: Sequence[Evaluation]
    uniform: Mapping[int, Evaluation]
    max_loss: float | None
    ebops: float | None


def trade_picture(trade: Trade, path: Path) -> None:
    """Divergence from float and the loss that a budget limits, both over EBOPs: start, path, result and budget."""
    from matplotlib.ticker import PercentFormatter

    from qformers.tasks.plots import jets as plots

    found, score = trade.found, spell(trade.found.of)
    judged = "by the probabilities of float" if found.of == "accuracy" else "by the difference from float"
    apart = "Divergence from float [nats]" if found.of == "accuracy" else "Mean squared difference from float"
    with plots.canvas(path, (9.0, 11.0)) as first:
        figure = first.figure
        figure.delaxes(first)
        above, below = figure.subplots(2, 1, sharex=True)
        for axes, key in ((above, "divergence"), (below, "expected_lost")):
            _curves(axes, key, trade)
            axes.set(xscale="log", xlim=_around(trade))
            axes.grid(alpha=0.3, which="both", lw=0.5)
        above.set(yscale="log", ylabel=apart)
        low, high = _losses(trade)
        hidden = sum(one.expected_lost > high for one in trade.measured)
        below.set(ylim=(low, high), xlabel="EBOPs")
        below.set_ylabel(f"{score[:1].upper()}{score[1:]} lost, {judged}")
        below.yaxis.set_major_formatter(PercentFormatter(1.0))
        if hidden:
            words = f"{hidden} of {len(trade.measured)} measured lose more than shown"
            below.text(0.97, 0.95, words, transform=below.transAxes, ha="right", va="top", fontsize=11)
        _number_ticks(below.xaxis)
        scores = f"{score} {found.score:.4f}, of float {found.score + found.lost:.4f}"
        figure.suptitle(f"{trade.name}: {found.ebops:,} EBOPs found, {scores}", fontsize=14)
        figure.legend(*below.get_legend_handles_labels(), loc="outside lower center", ncols=2)


def _curves(axes: Any, key: str, trade: Trade) -> None:
    def drawn(some: Sequence[Evaluation], style: str, **options: Any) -> None:
        axes.plot([one.ebops for one in some], [getattr(one, key) for one in some], style, **options)

    found = "found: least divergence within the budget" if trade.max_loss is None else "found: fewest EBOPs in budget"
    drawn(trade.measured, ".", ms=3, color="0.7", label="measured on the way")
    drawn([trade.uniform[width] for width in sorted(trade.uniform)], "s-", ms=5, lw=1.5, color="tab:orange",
          label="all of one width")  # fmt: skip
    drawn(trade.path, "-", lw=1.8, color="tab:blue", label="path predicted from the table of sensitivities")
    drawn([trade.start], "o", ms=11, mfc="white", mew=2, color="black", zorder=4, label="start: the widest formats")
    drawn([trade.found], "*", ms=18, color="black", zorder=5, label=found)
    if trade.ebops is not None:
        axes.axvline(trade.ebops, color="tab:red", ls="--", lw=1.5, label=f"budget: {trade.ebops:,.0f} EBOPs")
    elif key == "expected_lost" and trade.max_loss is not None:
        axes.axhline(trade.max_loss, color="tab:red", ls="--", lw=1.5, label=f"budget: a loss of {trade.max_loss:.2%}")


def _around(trade: Trade) -> tuple[float, float]:
    """EBOPs from the cheapest to the dearest that is drawn, and the budget."""
    points = [trade.start, trade.found, *trade.path, *trade.measured, *trade.uniform.values()]
    ebops = [max(one.ebops, 1) for one in points] + [trade.ebops or trade.found.ebops]
    return min(ebops) / 1.15, max(ebops) * 1.15


def _losses(trade: Trade) -> tuple[float, float]:
    """Losses of start, path and result, and the budget: one wild trial would flatten all of them."""
    lost = [one.expected_lost for one in (trade.start, trade.found, *trade.path)] + [0.0, trade.max_loss or 0.0]
    room = 0.08 * (max(lost) - min(lost) or 0.01)
    return min(lost) - room, max(lost) + room


def _number_ticks(axis: Any) -> None:
    """Ticks as 20,000 instead of powers of ten: an axis over one decade would show a single label."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.set_minor_formatter(NullFormatter())
