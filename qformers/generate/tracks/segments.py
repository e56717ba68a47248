"""Line segments from hits of the ``outer`` tracker: what HEPT-CMS learns from, made from generated events.

Two hits of a sensor pair that point back to the beam and bend like a track above the lowest pT make a mini-doublet; two
mini-doublets of adjacent layers (barrel to barrel, barrel to the first disc, disc to disc) in a window that depends on
pT make a segment. It is true where all four hits are of one particle. All 23 columns are filled from the measured hits;
pT is that of the circle through the beam and both mini-doublets. Window widths are ours, loose enough that fakes are as
many as in HEPT-CMS: 48, 32 and 17 % of the segments are true at a pile-up of 50, 100 and 200
(seed 1, one event each).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qformers.data.points.line_segments import COLUMNS, FAKE, Segments
from qformers.errors import DataError
from qformers.generate.record import Arrays, Floats, Ints
from qformers.generate.tracks.geometry import LOWER, SENSOR_GAP, UPPER, Detector
from qformers.generate.tracks.propagate import GEV_PER_TESLA_MM

BARREL_LAYERS, LAST_LAYER = 6, 11
PT_MIN_GEV = 0.8
BEAM_MM = 150.0  # half length of the luminous region
DOUBLET_ALONG_MM = 12.0  # of the upper hit about where the lower one points, along z (barrel) or r (discs)
DOUBLET_SIGMAS = 6.0  # error of the bend that its window allows for
SEGMENT_PHI_RAD, SEGMENT_ALONG_MM = 0.002, 6.0
LOWEST_Z_TO_DISC_MM = 400.0
PT_MAX_GEV = 1000.0
MM_PER_CM = 10.0


@dataclass(frozen=True)
class Doublets:
    """Mini-doublets of one layer and side."""

    lower: Floats  # (m, 3), mm
    upper: Floats  # (m, 3)
    owner: Ints  # (m,), particle of both hits, FAKE where they differ
    bend: Floats  # (m,), phi of the upper hit less that of the lower one
    number: int  # layer, 1-11
    barrel: bool

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def side(self) -> float:
        """Sign of z of a disc."""
        return float(np.sign(self.lower[0, 2])) if len(self) else 1.0


def wrapped(phi: Floats) -> Floats:
    """Angles in [-pi, pi)."""
    return np.asarray((phi + np.pi) % (2 * np.pi) - np.pi)


def _cylindrical(points: Floats) -> tuple[Floats, Floats, Floats]:
    return np.hypot(points[:, 0], points[:, 1]), np.arctan2(points[:, 1], points[:, 0]), points[:, 2]


def _close(first: tuple[Floats, Floats], second: tuple[Floats, Floats], phi_width: float, width: float) -> Ints:
    """Pairs (e, 2) within `phi_width` in phi and `width` in the other coordinate, sorted."""
    from scipy.spatial import cKDTree

    def tree(phi: Floats, other: Floats) -> cKDTree:
        return cKDTree(np.stack([np.cos(phi) / phi_width, np.sin(phi) / phi_width, other / width], axis=1))

    if not len(first[0]) or not len(second[0]):
        return np.zeros((0, 2), np.int64)
    near = tree(*first).sparse_distance_matrix(tree(*second), 1.0, p=np.inf, output_type="ndarray")
    pairs = np.stack([near["i"], near["j"]], axis=1).astype(np.int64)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _smallest_radius(detector: Detector) -> float:
    """Radius of curvature at the lowest pT, mm."""
    return PT_MIN_GEV / (GEV_PER_TESLA_MM * detector.field_tesla)


def doublets(detector: Detector, hits: Arrays, owner: Ints) -> list[Doublets]:
    """Mini-doublets of every layer and side that has any.

    Args:
        detector: ``outer``.
        hits: x, y, z (mm), volume_id, layer_id.
        owner: (hits,) particle of each, FAKE = noise.
    """
    points = np.stack([hits[name] for name in "xyz"], axis=1)
    parts = []
    for volume in (0, 1, 2):
        for number in range(1, LAST_LAYER + 1):
            sensor = [
                np.flatnonzero((hits["volume_id"] == volume) & (hits["layer_id"] == 10 * number + s))
                for s in (LOWER, UPPER)
            ]
            if all(len(rows) for rows in sensor):
                one = _doublets(detector, points, sensor, owner, number)
                parts += [one] if len(one) else []
    return parts


def _doublets(detector: Detector, points: Floats, sensor: list[Ints], owner: Ints, number: int) -> Doublets:
    (r0, phi0, z0), (r1, phi1, z1) = (_cylindrical(points[rows]) for rows in sensor)
    barrel = number <= BARREL_LAYERS
    # where the line from the beam's middle through the lower hit meets the upper sensor
    aimed, seen = (z0 * (1 + SENSOR_GAP / r0), z1) if barrel else (r0 * (1 + SENSOR_GAP / np.abs(z0)), r1)
    step = np.full(len(r0), SENSOR_GAP) if barrel else SENSOR_GAP * r0 / np.abs(z0)  # in r
    error = DOUBLET_SIGMAS * 2**0.5 * detector.resolution_u / r0
    sine = np.minimum(r0 / (2 * _smallest_radius(detector)), 0.95)
    window = step / (2 * _smallest_radius(detector) * np.sqrt(1 - sine**2)) + error
    pairs = _close((phi0, aimed), (phi1, seen), float(window.max()), DOUBLET_ALONG_MM)
    low, high = pairs.T
    bend = wrapped(phi1[high] - phi0[low])
    keep = np.abs(bend) < window[low]
    low, high, bend = low[keep], high[keep], bend[keep]
    same = owner[sensor[0][low]] == owner[sensor[1][high]]
    particle = np.where(same, owner[sensor[0][low]], FAKE)
    return Doublets(points[sensor[0][low]], points[sensor[1][high]], particle, bend, number, barrel)


def _adjacent(inner: Doublets, outer: Doublets) -> bool:
    if inner.barrel and outer.barrel:
        return outer.number == inner.number + 1
    if inner.barrel:
        return outer.number == BARREL_LAYERS + 1
    return not outer.barrel and outer.number == inner.number + 1 and outer.side == inner.side


def circle_pt(inner: Floats, outer: Floats, field_tesla: float) -> Floats:
    """pT in GeV of the circle through the beam line and two points (n, 3), mm; at most 1000."""
    (r0, phi0, _), (r1, phi1, _) = _cylindrical(inner), _cylindrical(outer)
    turn = np.abs(wrapped(phi1 - phi0))
    chord = np.sqrt(np.maximum(r0**2 + r1**2 - 2 * r0 * r1 * np.cos(turn), 0.0))
    radius = chord / np.maximum(2 * np.sin(turn), 1e-9)
    return np.asarray(np.minimum(GEV_PER_TESLA_MM * field_tesla * radius, PT_MAX_GEV))


def _pairs(detector: Detector, inner: Doublets, outer: Doublets) -> Ints:
    """Pairs (e, 2) of mini-doublets that make a segment."""
    (r0, phi0, z0), (r1, phi1, z1) = _cylindrical(inner.lower), _cylindrical(outer.lower)
    to_barrel = outer.barrel
    far = float(np.median(r1 if to_barrel else np.abs(z1)))
    usable = np.full(len(r0), True) if to_barrel else (z0 * outer.side > LOWEST_Z_TO_DISC_MM)
    rows = np.flatnonzero(usable)
    r0, phi0, z0 = r0[rows], phi0[rows], z0[rows]
    if not len(rows):
        return np.zeros((0, 2), np.int64)
    if to_barrel:
        aimed, seen, width = z0 * far / r0, z1, BEAM_MM * (far / r0 - 1)
    else:
        aimed, seen = r0 * far / np.abs(z0), r1
        width = BEAM_MM * r0 * (far - np.abs(z0)) / z0**2
    width = width + SEGMENT_ALONG_MM
    largest = _smallest_radius(detector)
    reach = np.arcsin(min(float(r1.max()) / (2 * largest), 0.95)) - np.arcsin(
        min(float(r0.min()) / (2 * largest), 0.95)
    )
    pairs = _close((phi0, aimed), (phi1, seen), abs(reach) + SEGMENT_PHI_RAD, float(width.max()))
    low, high = pairs.T
    keep = np.abs(seen[high] - aimed[low]) < width[low]
    keep &= circle_pt(inner.lower[rows[low]], outer.lower[high], detector.field_tesla) > PT_MIN_GEV
    keep &= r1[high] > r0[low]
    return np.asarray(np.stack([rows[low], high], axis=1)[keep])


def segments_of(detector: Detector, hits: Arrays, particle_id: Ints, event: int) -> Segments:
    """All line segments of an event.

    Args:
        detector: ``outer``.
        hits: x, y, z (mm), volume_id, layer_id of the event.
        particle_id: (hits,), 0 = noise.
        event: its number.

    Returns:
        Segments whose particle_id counts the event's particles from 0, FAKE for fakes.

    Raises:
        DataError: another detector.
    """
    if detector.name != "outer":
        raise DataError(f"line segments need paired sensors: detector outer. Received: detector={detector.name}")
    known, index = np.unique(particle_id, return_inverse=True)
    owner = np.where(particle_id == 0, FAKE, index - int((known == 0).any()))
    layers = doublets(detector, hits, owner)
    parts, ids = [np.zeros((0, len(COLUMNS)), np.float32)], [np.zeros(0, np.int64)]
    for inner in layers:
        for outer in layers:
            if _adjacent(inner, outer):
                pairs = _pairs(detector, inner, outer)
                parts.append(_columns(detector, inner, outer, pairs))
                first, second = inner.owner[pairs[:, 0]], outer.owner[pairs[:, 1]]
                ids.append(np.where(first == second, first, FAKE))
    return Segments(np.concatenate(parts), np.concatenate(ids), event)


def _columns(detector: Detector, inner: Doublets, outer: Doublets, pairs: Ints) -> NDArray[np.float32]:
    low, high = pairs.T
    lower, upper = (inner.lower[low], outer.lower[high]), (inner.upper[low], outer.upper[high])
    mean = (lower[0] + lower[1] + upper[0] + upper[1]) / 4
    r, phi, z = _cylindrical(mean)
    bend = (inner.bend[low] + outer.bend[high]) / 2
    cm = 1 / MM_PER_CM

    def difference(hits: tuple[Floats, Floats]) -> list[Floats]:
        (r0, _, _), (r1, _, _) = (_cylindrical(points) for points in hits)
        return [(r1 - r0) * cm, *((hits[1] - hits[0]) * cm).T]

    first, second = difference(lower), difference(upper)
    turn = wrapped(_cylindrical(lower[1])[1] - _cylindrical(lower[0])[1])
    sums = [np.stack([_cylindrical(points)[0], *points.T]) for points in (*lower, *upper)]
    half = (sums[0] + sums[1] - sums[2] - sums[3]) / 2 * cm
    pt = circle_pt(lower[0], lower[1], detector.field_tesla)
    place = [phi, np.arcsinh(z / r), pt, r * cm, *(mean * cm).T, bend]
    layers = [np.full(len(pairs), float(of.number)) for of in (inner, outer)]
    return np.stack([*place, *first, turn, *second, *half, *layers], axis=1).astype(np.float32)
