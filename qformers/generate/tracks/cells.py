"""Pixels that a straight path through a sensor crosses, with the charge of each."""

from __future__ import annotations

import numpy as np

from qformers.generate.record import Floats, Ints

CHARGE_SPREAD = 0.1  # relative, per pixel
MOST_CELLS = 400  # per direction; longer clusters (grazing tracks) are cut


def traversed(
    middles: tuple[Floats, Floats], spans: tuple[Floats, Floats], depth: float, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints, Floats]:
    """Pixels of n paths.

    Args:
        middles: (n,) in u and in v, middle of each path, in pixels from the corner of the module.
        spans: (n,) in u and in v, how far the path runs while it crosses the sensor, in pixels, signed, never 0.
        depth: thickness of the sensor, in pixels of u (for the length of the path).
        rng: of the fluctuation of the charge.

    Returns:
        path number, channel in u, channel in v, charge (path length in the pixel times 1 +- 0.1), all (cells,), each
        path from its entry to its exit. Pixels with less than 1 % of the path do not fire; every path fires one.
    """
    (u, v), (span_u, span_v) = middles, (np.clip(span, -MOST_CELLS, MOST_CELLS) for span in spans)
    number, at = [np.repeat(np.arange(len(u)), 2)], [np.tile([0.0, 1.0], len(u))]
    for middle, span in ((u, span_u), (v, span_v)):
        low, high = middle - np.abs(span) / 2, middle + np.abs(span) / 2
        first = np.floor(low).astype(np.int64) + 1  # grid lines between the ends
        count = np.maximum(np.ceil(high).astype(np.int64) - first, 0)
        owner = np.repeat(np.arange(len(u)), count)
        line = first[owner] + np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        number.append(owner)
        at.append(np.clip((line - middle[owner]) / span[owner] + 0.5, 0.0, 1.0))
    owners, cuts = np.concatenate(number), np.concatenate(at)
    order = np.lexsort((cuts, owners))
    owners, cuts = owners[order], cuts[order]
    share, middle_cut = np.diff(cuts), (cuts[1:] + cuts[:-1]) / 2
    same = owners[1:] == owners[:-1]
    longest = np.zeros(len(u))
    np.maximum.at(longest, owners[1:][same], share[same])
    fires = same & (share >= np.minimum(0.01, longest[owners[1:]])) & (share > 0)
    path, share, place = owners[1:][fires], share[fires], middle_cut[fires] - 0.5
    length = np.sqrt(depth**2 + span_u**2 + span_v**2)[path] * share
    charge = length * np.maximum(1 + CHARGE_SPREAD * rng.standard_normal(len(path)), 0.1)
    column = np.floor(u[path] + place * span_u[path]).astype(np.int64)
    row = np.floor(v[path] + place * span_v[path]).astype(np.int64)
    return path, column, row, charge
