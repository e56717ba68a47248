"""An event display: the points of one event, coloured by the track that a model found or by its score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.clouds import PointCloud
from qformers.data.points.hit_features import SCALE
from qformers.tasks.plots.jets import canvas

Floats = NDArray[np.floating[Any]]
GOLDEN = 0.618034  # of the circle of hues: tracks of neighbouring numbers differ most
BRIGHTNESS = (0.95, 0.7, 0.5)  # in turn
LEAST_SIZE, MOST_SIZE, POINTS_AT_MOST = 1.0, 16.0, 2000.0  # of a point, in pt^2; events of more have smaller ones


def places(cloud: PointCloud) -> list[tuple[str, str, Floats, Floats]]:
    """Planes in which points can be drawn, each with the names of its axes: (x, y) and (z, r) of hits, else (eta, phi).

    Empty where a layout has neither.
    """
    column = {name: cloud.features[:, i] for i, name in enumerate(cloud.layout.features)}
    if {"r", "phi", "z"} <= set(column):
        r, phi, z = (column[name].astype(np.float64) * SCALE[name] for name in ("r", "phi", "z"))
        return [("x [mm]", "y [mm]", r * np.cos(phi), r * np.sin(phi)), ("z [mm]", "r [mm]", z, r)]
    coordinates = {name: cloud.coords[:, i] for i, name in enumerate(cloud.layout.coords)}
    if {"eta", "phi"} <= set(coordinates):
        return [(r"$\eta$", r"$\phi$ [rad]", coordinates["eta"], coordinates["phi"])]
    return []


def tracks(cloud: PointCloud, clusters: NDArray[np.int64], path: Path) -> bool:
    """Draw the points of an event coloured by found track, whose points are joined outwards; those of none are grey.

    Args:
        cloud: the event.
        clusters: (n,), number of each point's track, -1 = of none.
        path: PNG to write.

    Returns:
        Whether there was a plane to draw in.
    """
    from matplotlib.colors import hsv_to_rgb

    hues = np.stack(
        [clusters * GOLDEN % 1.0, np.full(len(clusters), 0.9), np.take(BRIGHTNESS, clusters % len(BRIGHTNESS))], axis=1
    )
    colours = np.where((clusters >= 0)[:, None], hsv_to_rgb(hues), 0.75)
    found = np.unique(clusters[clusters >= 0])
    chains = [np.flatnonzero(clusters == number) for number in found]
    words = f"event {cloud.event}: {len(cloud)} points, {len(found)} tracks found, grey: of none"
    return _drawn(cloud, path, words, {"c": colours}, np.argsort(clusters >= 0, kind="stable"), "", chains)


def scores(cloud: PointCloud, values: Floats, path: Path) -> bool:
    """Draw the points of an event coloured by score (n,), a probability; else as `tracks`."""
    colours = {"c": values, "cmap": "viridis", "vmin": 0.0, "vmax": 1.0}
    words = f"event {cloud.event}: {len(cloud)} points"
    return _drawn(cloud, path, words, colours, np.argsort(values, kind="stable"), "score")


def _drawn(
    cloud: PointCloud,
    path: Path,
    words: str,
    colours: dict[str, Any],
    order: NDArray[np.int64],
    bar: str,
    chains: Sequence[NDArray[np.int64]] = (),
) -> bool:
    """`order` says which points come on top; `bar` is the name of the colour bar, if there is one; `chains` are the
    numbers of points that a line joins.
    """
    from matplotlib.collections import LineCollection

    planes = places(cloud)
    if not planes or not len(cloud):
        return False
    size = float(np.clip(MOST_SIZE * POINTS_AT_MOST / len(cloud), LEAST_SIZE, MOST_SIZE))
    given = np.asarray(colours["c"])
    colours = {**colours, "c": given[order]}
    with canvas(path, (7.5 * len(planes), 6.5)) as first:
        figure = first.figure
        figure.delaxes(first)
        axes = figure.subplots(1, len(planes), squeeze=False)[0]
        for panel, (across, up, x, y) in zip(axes, planes, strict=True):
            if up.startswith(("y", "r")):  # planes of hits
                outwards = [chain[np.argsort(np.hypot(x, y)[chain], kind="stable")] for chain in chains]
                lines = [np.stack([x[chain], y[chain]], axis=1) for chain in outwards]
                shades = [given[chain[0]] for chain in outwards]
                panel.add_collection(LineCollection(lines, colors=shades, linewidths=0.5, zorder=0.5))
            drawn = panel.scatter(x[order], y[order], s=size, linewidths=0, **colours)
            panel.set(xlabel=across, ylabel=up)
            if across.startswith("x"):
                panel.set_aspect("equal")
        if bar:
            figure.colorbar(drawn, ax=axes[-1], label=bar)
        figure.suptitle(words, fontsize=13)
    return True
