"""Regions of an event: phi sectors (tracking-6k has ten) and windows small enough for one firmware block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qformers.data.clouds import NO_PARTICLE, PointCloud
from qformers.errors import DataError

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

SECTOR_OVERLAP = 1.1  # sectors are widened by this factor, as for tracking-6k


class Window(NamedTuple):
    """One window of an event of n points."""

    core: Mask  # (n,), points that lie in its core
    seen: Mask  # (n,), points that it sees
    part: PointCloud  # these, in their order


def directions(cloud: PointCloud) -> tuple[Floats, Floats]:
    """eta and phi (rad) of the points, (n,) each: coordinates of hits; line segments have them among their features.

    Raises:
        DataError: there are none.
    """
    coords, features = (
        {name: column.astype(np.float64) for name, column in zip(names, values.T, strict=True)}
        for names, values in ((cloud.layout.coords, cloud.coords), (cloud.layout.features, cloud.features))
    )
    if {"eta", "phi"} <= coords.keys():
        return coords["eta"], coords["phi"]
    if {"eta", "sinphi", "cosphi"} <= features.keys():
        return features["eta"], np.arctan2(features["sinphi"], features["cosphi"])
    raise DataError(
        "regions need the coordinates eta and phi, or the features eta, sinphi and cosphi; take whole events "
        "(data.points.phi_sectors: 1, eta_edges: []). "
        f"Received: coordinates {', '.join(coords)}; features {', '.join(features)}"
    )


def windows(
    cloud: PointCloud,
    phi_sectors: int,
    eta_edges: Sequence[float] = (),
    overlap: float = SECTOR_OVERLAP,
    local: bool = False,
) -> list[Window]:
    """Cut an event into windows of equal width in phi and the given bins of eta, sector by sector.

    Args:
        cloud: as `directions` needs it.
        phi_sectors: number of windows in phi.
        eta_edges: ascending; () = one bin over everything.
        overlap: at least 1.
        local: whether the coordinates eta and phi are counted from the middle of the window.

    Raises:
        DataError: wrong numbers, or no such coordinates.
    """
    if phi_sectors < 1 or overlap < 1 or list(eta_edges) != sorted(set(eta_edges)) or len(eta_edges) == 1:
        raise DataError(
            f"regions need phi_sectors >= 1, overlap >= 1 and ascending eta_edges. "
            f"Received: phi_sectors={phi_sectors}, overlap={overlap}, eta_edges={list(eta_edges)}"
        )
    eta, phi = directions(cloud)
    edges = list(eta_edges) or [-np.inf, np.inf]
    found = []
    for sector in range(phi_sectors):
        middle = 2 * np.pi * sector / phi_sectors
        away = np.abs((phi - middle + np.pi) % (2 * np.pi) - np.pi)
        for low, high in pairwise(edges):
            margin = (overlap - 1) * (high - low) / 2 if np.isfinite(high - low) else 0.0
            core = (away <= np.pi / phi_sectors) & (eta >= low) & (eta < high)
            wide = (away <= overlap * np.pi / phi_sectors) & (eta >= low - margin) & (eta < high + margin)
            if phi_sectors == 1:
                core, wide = (eta >= low) & (eta < high), (eta >= low - margin) & (eta < high + margin)
            part = cloud[wide]
            if local:
                part = replace(part, coords=_from({"eta": _centre(low, high), "phi": middle}, part))
            found.append(Window(core, wide, part))
    return found


def regions(
    cloud: PointCloud,
    phi_sectors: int,
    eta_edges: Sequence[float] = (),
    overlap: float = SECTOR_OVERLAP,
    local: bool = False,
) -> list[PointCloud]:
    """Cut an event into windows of equal width in phi and the given bins of eta (of the hit, seen from the origin).

    A window also holds the points of its neighbours within (overlap - 1) of its half width; a particle belongs to the
    window whose core holds at least half of its points, and is not reconstructable in any other (its points there stay,
    as background); a point of no particle belongs to the window whose core it lies in. Points keep their order.

    Args:
        cloud, phi_sectors, eta_edges, overlap, local: as `windows`.

    Raises:
        DataError: as `windows`.
    """
    ids, inverse, counts = np.unique(cloud.particle_ids, return_inverse=True, return_counts=True)
    alone = cloud.particle_ids == NO_PARTICLE
    parts = []
    for core, wide, part in windows(cloud, phi_sectors, eta_edges, overlap, local):
        whole = np.bincount(inverse[core], minlength=len(ids)) >= counts / 2
        belongs = np.where(alone, core, whole[inverse])
        parts.append(replace(part, reconstructable=part.reconstructable & belongs[wide]))
    return parts


def _centre(low: float, high: float) -> float:
    """Of a bin; 0 of one over everything."""
    return (low + high) / 2 if np.isfinite(high - low) else 0.0


def _from(middle: dict[str, float], part: PointCloud) -> NDArray[np.float32]:
    """Coordinates of points, those called eta and phi counted from there, phi in [-pi, pi)."""
    coords = part.coords.astype(np.float64)
    for column, name in enumerate(part.layout.coords):
        if name in middle:
            coords[:, column] -= middle[name]
        if name == "phi":
            coords[:, column] = (coords[:, column] + np.pi) % (2 * np.pi) - np.pi
    return coords.astype(np.float32)
