"""LUT against initiation interval of folded firmware, a point per choice and a line per K, as PNG in mplhep's style."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from hls.backends.folded.survey import Row
from hls.compare.draw.pareto import OUR_COLOURS, plain_axis
from qformers.tasks.plots.jets import canvas

SIZE_INCHES = (8.5, 6.5)
MARKER, RING, LABEL_ABOVE = 8, 15, (6, 5)  # of a point; around the chosen one; of its label, in points from it
LIMIT = "#b00000"


def plot(
    rows: Sequence[Row],
    path: Path,
    most_ii_ns: float | None = None,
    most_lut: float | None = None,
    chosen: Row | None = None,
) -> Path:
    """Draw a point per row, filled where it was traced and open where it was scaled, and a line per K.

    Args:
        rows: of a survey.
        path: of the picture.
        most_ii_ns, most_lut: limits, drawn as lines.
        chosen: row with a ring.
    """
    numbers = sorted({row.choice.keys_per_clock for row in rows}, key=lambda keys: -(keys or sys.maxsize))
    with canvas(path, SIZE_INCHES) as axes:
        for keys, colour in zip(numbers, cycle(OUR_COLOURS)):
            some = sorted((row for row in rows if row.choice.keys_per_clock == keys), key=lambda row: row.ii_ns)
            places = [row.ii_ns for row in some], [row.lut for row in some]
            name = None if len(numbers) == 1 else "all keys" if keys is None else f"K = {keys}"
            axes.plot(*places, color=colour, lw=1, alpha=0.6, zorder=1, label=name)
            for row in some:
                face = colour if row.traced else "white"
                axes.plot(row.ii_ns, row.lut, "o", mec=colour, mfc=face, ms=MARKER, zorder=2)
                words = f"T = {row.choice.points_per_clock}"
                where: dict[str, Any] = {"xytext": LABEL_ABOVE, "textcoords": "offset points"}
                axes.annotate(words, (row.ii_ns, row.lut), fontsize=9, color=colour, **where)
        for traced, label in ((True, "traced"), (False, "scaled from traced ones")):
            if any(row.traced == traced for row in rows):
                axes.plot([], [], "o", mec="black", mfc="black" if traced else "white", ms=MARKER, label=label)
        if chosen is not None:
            axes.plot(
                chosen.ii_ns, chosen.lut, "o", mec=LIMIT, mfc="none", mew=2, ms=RING, label=f"chosen: {chosen.choice}"
            )
        for limit, draw, words in (
            (most_ii_ns, axes.axvline, "II <= {:g} ns"),
            (most_lut, axes.axhline, "LUT <= {:,.0f}"),
        ):
            if limit is not None:
                draw(limit, color=LIMIT, lw=1.2, ls="--", label=words.format(limit))
        axes.set(xscale="log", yscale="log", xlabel="Initiation interval [ns]", ylabel="LUT (alkaid's estimate)")
        axes.margins(0.15)
        axes.grid(alpha=0.25, which="major", lw=0.6)
        plain_axis(axes.xaxis)
        plain_axis(axes.yaxis)
        axes.legend(loc="upper right", fontsize=11)
    return path
