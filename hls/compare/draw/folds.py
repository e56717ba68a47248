"""LUT against initiation interval of folded firmware, a point per choice, as PNG in mplhep's style."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hls.backends.folded.survey import Row
from hls.compare.draw.pareto import OUR_COLOURS, plain_axis
from qformers.tasks.plots.jets import canvas

SIZE_INCHES = (8.0, 6.5)
MARKER, LABEL_ABOVE = 9, (7, 6)  # of a point; of its label, in points from it


def plot(rows: Sequence[Row], path: Path, most_ii_ns: float | None = None, most_lut: float | None = None) -> Path:
    """Draw a point per row, filled where it was traced and open where it was scaled.

    Args:
        rows: of a survey.
        path: of the picture.
        most_ii_ns, most_lut: limits, drawn as lines.
    """
    with canvas(path, SIZE_INCHES) as axes:
        colour = OUR_COLOURS[0]
        intervals, luts = [row.ii_ns for row in rows], [row.lut for row in rows]
        axes.plot(intervals, luts, color=colour, lw=1, alpha=0.5, zorder=1)
        for traced, label, face in ((True, "traced", colour), (False, "scaled from traced ones", "white")):
            chosen = [row for row in rows if row.traced == traced]
            if chosen:
                places = [row.ii_ns for row in chosen], [row.lut for row in chosen]
                axes.plot(*places, "o", mec=colour, mfc=face, ms=MARKER, label=label, zorder=2)
        for row in rows:
            where: dict[str, Any] = {"xytext": LABEL_ABOVE, "textcoords": "offset points"}
            axes.annotate(str(row.choice), (row.ii_ns, row.lut), fontsize=12, **where)
        for limit, draw in ((most_ii_ns, axes.axvline), (most_lut, axes.axhline)):
            if limit is not None:
                draw(limit, color="#b00000", lw=1.2, ls="--")
        axes.set(xscale="log", yscale="log", xlabel="Initiation interval [ns]", ylabel="LUT (alkaid's estimate)")
        axes.margins(0.15)
        axes.grid(alpha=0.25, which="major", lw=0.6)
        plain_axis(axes.xaxis)
        plain_axis(axes.yaxis)
        axes.legend(loc="lower left")
    return path
