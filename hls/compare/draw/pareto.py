"""Pareto plot as PNG and PDF in mplhep's style: accuracy against LUT and against latency, published results beside.

Of builds that learn something else than classes of jets it is their score instead; without published results.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from hls.compare.read.published import WARNING, Reference, drawn
from hls.compare.table.cells import FLOAT_ONLY, OTHER_TASK, Column, Table
from hls.compare.table.points import Point, frontiers, points
from qformers.files import replacing

PANELS = {"lut": "LUT", "latency_ns": "Latency [ns]"}
_PLAIN = {"lut": "LUT", "latency_ns": "latency"}
SIZE_INCHES, DPI = (15.0, 8.6), 110
OUR_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito
LINES: tuple[Any, ...] = ("--", ":", "-.", (0, (9, 4)))  # best builds, for each initiation interval
SOURCE_MARKERS = ("s", "D", "^", "v", "P", "X")
WORK_COLOURS = ("#4C72B0", "#8C6D31", "#55A868", "#8172B3", "#C44E52", "#937860", "#64B5CD", "#DA8BC3")
STAGE_MARKERS = {"R": "o", "P": "<", "E": "d"}
THREE = 3  # features per particle of a filled marker
LEGEND_LINE = 0.0235  # height of a legend entry, as a share of the figure
_STAGES = {"R": "placed and routed", "P": "stage not stated", "E": "estimated (da4ml 0.6.0)"}
_CAPTION = (
    "The number beside a published point is N, its particles; filled = 3 features per particle, open = 16. Dashed: the "
    "best of these builds by the source nearest to a routed design, for each II. Bars: statistical. Citations: "
    "published.yaml."
)


def plot(table: Table, references: tuple[Reference, ...], stem: Path) -> list[Path]:
    """Write ``<stem>.png`` and ``<stem>.pdf``; returns both.

    Args:
        table: our builds; one marker per source of LUT or latency, which the legend names.
        references: published results; empty = none are drawn.
        stem: path without ending.
    """
    import matplotlib as mpl
    import mplhep
    from matplotlib.figure import Figure

    small = {"font.size": 14, "axes.labelsize": 16, "legend.fontsize": 10.5, "xtick.labelsize": 12}
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "pdf")]
    if not table.metrics:
        return _without_scores(paths)
    metric = table.metrics[0]
    shown = drawn(references) if metric.key == "accuracy" else ()
    with mpl.rc_context({**mplhep.style.ROOT, **small}):
        figure = Figure(figsize=SIZE_INCHES, dpi=DPI)
        panels = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(left=0.055, right=0.795, top=0.98, bottom=0.155 if shown else 0.09, wspace=0.04)
        sources = _sources(table, metric)
        for axes, (quantity, label) in zip(panels, PANELS.items(), strict=True):
            _published(axes, shown, quantity)
            _ours(axes, table, quantity, sources, metric)
            axes.set(xscale="log", xlabel=label)
            axes.margins(0.07)
            axes.grid(alpha=0.25, which="major", lw=0.6)
            plain_ticks(axes)
        panels[0].set_ylabel(metric.heading[:1].upper() + metric.heading[1:])
        _legends(figure, table, sources, shown, _known(table, metric))
        if shown:
            figure.text(0.055, 0.012, "\n".join(textwrap.wrap(f"{WARNING} {_CAPTION}", 185)), fontsize=10, va="bottom")
        for path in paths:
            with replacing(path) as temporary:
                figure.savefig(temporary)
    return paths


def _without_scores(paths: list[Path]) -> list[Path]:
    """Of models that were given as files: nothing to plot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.5), dpi=DPI)
    figure.text(0.5, 0.5, "These builds have no score that could be drawn beside their cost.", ha="center", va="center")
    for path in paths:
        with replacing(path) as temporary:
            figure.savefig(temporary)
    return paths


def _sources(table: Table, metric: Column) -> list[str]:
    """Sources in either panel, in the order of the columns."""
    order = list(table.groups)
    sources = {point.source for quantity in PANELS for point in points(table, quantity, metric.key)}
    return sorted(sources, key=order.index)


def plain_ticks(axes: Any) -> None:
    """`plain_axis` of the horizontal one."""
    plain_axis(axes.xaxis)


def plain_axis(axis: Any) -> None:
    """Ticks as 50k and 100 instead of powers of ten: a log axis over one decade would show a single label."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low > 12 else (1, 1.5, 2, 3, 5, 7)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: spell(value)))
    axis.set_minor_formatter(NullFormatter())


def spell(value: float) -> str:
    """A number for an axis: 50, 2k, 1.5M."""
    for factor, letter in ((1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:g}{letter}"
    return f"{value:g}"


def _published(axes: Any, references: Sequence[Reference], quantity: str) -> None:
    works = _works(references)
    for reference in references:
        value = getattr(reference.point, quantity)
        if value is None:
            continue
        colour = works[_title(reference)]
        face = colour if reference.point.features == THREE else "none"
        place = (value, reference.point.accuracy)
        axes.plot(*place, STAGE_MARKERS[reference.point.stage], mfc=face, mec=colour, ms=6, alpha=0.75, zorder=2)
        axes.annotate(str(reference.point.n), place, (4, 3), textcoords="offset points", fontsize=8, color=colour)


def _works(references: Sequence[Reference]) -> dict[str, str]:
    """Title of a work -> its colour."""
    titles = dict.fromkeys(_title(reference) for reference in references)
    return {title: WORK_COLOURS[index % len(WORK_COLOURS)] for index, title in enumerate(titles)}


def _title(reference: Reference) -> str:
    return f"{reference.work.label}, {reference.work.arxiv}"


def _ours(axes: Any, table: Table, quantity: str, sources: Sequence[str], metric: Column) -> None:
    marks, colours = points(table, quantity, metric.key), _builds(table)
    absent = [name for name in colours if all(point.build != name for point in marks)]
    if absent:
        why = {str(row["build"].value): row[metric.key].missing for row in table.cells}
        known = {OTHER_TASK: f"has no {metric.head}", FLOAT_ONLY: FLOAT_ONLY}
        reasons = {name: known.get(why[name], f"no {_PLAIN[quantity]} yet") for name in absent}
        words = "\n".join(f"{name}: {why}" for name, why in reasons.items())
        axes.text(0.03, 0.03, words, transform=axes.transAxes, va="bottom", fontsize=10, color="#b00000")
    lines = frontiers(marks, sources)
    for style, line in zip(cycle(LINES), lines.values(), strict=False):
        axes.step([p.value for p in line], [p.score for p in line], where="post", color="0.45", lw=1.2, ls=style)
        if len(lines) > 1:
            _interval_label(axes, line[-1])
    for point in marks:
        face = "white" if point.stale else colours[point.build]
        style = {"color": colours[point.build], "mfc": face, "mec": "black", "mew": 0.8, "ms": 9, "capsize": 3}
        marker = SOURCE_MARKERS[sources.index(point.source) % len(SOURCE_MARKERS)]
        axes.errorbar(point.value, point.score, yerr=point.error, fmt=marker, zorder=4, **style)


def _interval_label(axes: Any, best: Point) -> None:
    """Say the initiation interval above the best build that has it."""
    from matplotlib.patheffects import withStroke

    style = {"xytext": (0, 13), "textcoords": "offset points", "ha": "center", "fontsize": 11, "zorder": 5}
    halo = [withStroke(linewidth=3, foreground="white")]
    axes.annotate(_spell(best.ii), (best.value, best.score), path_effects=halo, **style)


def _spell(ii: int | None) -> str:
    return f"II = {'?' if ii is None else ii}"


def _known(table: Table, metric: Column) -> dict[str, list[int | None]]:
    """Build -> initiation intervals of its points, rising; {} where all builds have the same one."""
    found = [point for quantity in PANELS for point in points(table, quantity, metric.key)]
    if len({point.ii for point in found}) < 2:
        return {}
    own = {point.build: {one.ii for one in found if one.build == point.build} for point in found}
    return {build: sorted(some, key=lambda ii: (ii is None, ii or 0)) for build, some in own.items()}


def _builds(table: Table) -> dict[str, str]:
    """Name of a build -> its colour."""
    return {run.name: OUR_COLOURS[index % len(OUR_COLOURS)] for index, run in enumerate(table.runs)}


def _legends(
    figure: Any,
    table: Table,
    sources: Sequence[str],
    references: Sequence[Reference],
    intervals: Mapping[str, Sequence[int | None]],
) -> None:
    """Legends beside the panels: builds and works by colour, sources and stages by marker."""
    from matplotlib.lines import Line2D

    def entry(label: str, marker: str, colour: str, face: str | None = None) -> Any:
        inside = colour if face is None else face
        return Line2D([], [], marker=marker, label=label, mec=colour, mfc=inside, ms=8, ls="none")

    blocks = {
        "These builds": [
            entry(", ".join([name, *map(_spell, intervals.get(name, ()))]), "s", colour)
            for name, colour in _builds(table).items()
        ],
        "Number from": [
            *(entry(s, SOURCE_MARKERS[i % len(SOURCE_MARKERS)], "black") for i, s in enumerate(sources)),
            entry("out of date", "s", "black", "white"),
        ],
        "Published (other data)": [entry(title, "o", colour) for title, colour in _works(references).items()],
        "Published stage": [entry(words, STAGE_MARKERS[key], "0.4") for key, words in _STAGES.items() if references],
    }
    top = 0.985
    for title, handles in blocks.items():
        if handles:
            drawn_at = {"loc": "upper left", "bbox_to_anchor": (0.8, top), "alignment": "left", "title_fontsize": 11.5}
            figure.legend(handles=handles, title=title, handletextpad=0.2, borderpad=0, labelspacing=0.3, **drawn_at)
            top -= (len(handles) + 1) * LEGEND_LINE + 0.025
