"""Pictures of predictions of a quantity as PNG: predicted over true values, and what is left between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.events import Target
from qformers.tasks.plots.jets import canvas

DRAWN = 5000  # events in a scatter plot, at most
BINS = 61
BEYOND = 0.995  # quantile of the residuals where the histogram ends

Floats = NDArray[np.floating[Any]]


def words(target: Target) -> str:
    """ "Energy [epsilon per atom]"."""
    return f"{target.name[:1].upper()}{target.name[1:]} [{target.unit}]"


def predicted(values: Floats, truth: Floats, target: Target, path: Path) -> None:
    """Predicted over true values, and the line where they are equal.

    Args:
        values, truth: (n,).
        target: what they are.
        path: PNG to write.
    """
    step = 1 + len(truth) // DRAWN
    ends = [float(min(values.min(), truth.min())), float(max(values.max(), truth.max()))]
    with canvas(path, (7.5, 6.5)) as axes:
        axes.plot(truth[::step], values[::step], ".", ms=3, alpha=0.5, color="tab:blue")
        axes.plot(ends, ends, color="black", lw=1)
        axes.set(xlabel=f"{words(target)}, true", ylabel=f"{words(target)}, predicted")


def residuals(values: Floats, truth: Floats, target: Target, path: Path) -> None:
    """Histogram of predicted - true values, with mean and spread; as in `predicted`."""
    error = values.astype(np.float64) - truth
    edge = float(np.quantile(np.abs(error), BEYOND)) or 1.0
    with canvas(path) as axes:
        label = f"{error.mean():+.3f} ± {error.std():.3f}"
        clipped = np.clip(error, -edge, edge)
        axes.hist(clipped, bins=BINS, range=(-edge, edge), histtype="step", lw=1.8, label=label)
        axes.set(xlabel=f"{words(target)}, predicted - true (outermost bins: and beyond)", ylabel="Events")
        axes.legend(loc="upper left", title="mean ± standard deviation", title_fontsize=12, alignment="left")
