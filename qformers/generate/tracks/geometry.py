"""Two trackers as barrel cylinders and endcap discs, cut into modules that only define pixel grids and frames.

``pixel`` has the volumes, layers, radii and module frames of TrackML's pixel detector (volumes 7, 8, 9) in 2 T; its
surfaces are ideal cylinders and planes where TrackML's modules are flat and stagger. ``outer`` has six barrel layers
and five discs of paired sensors in 3.8 T, with radii and positions close to those of the CMS outer tracker for the
HL-LHC (CMS-TDR-014): it is what line segments are built from. Lengths in mm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qformers.generate.record import Floats, Ints


@dataclass(frozen=True)
class Barrel:
    """A cylinder about the beam, cut into `modules_phi` x `modules_z` modules."""

    volume: int
    layer: int
    radius: float
    half_length: float
    modules_phi: int
    modules_z: int
    tilt: float = 0.0  # of the modules about their axis along z, towards larger phi, rad


@dataclass(frozen=True)
class Disc:
    """A ring at +z or -z, cut into rings (r_low, r_high, modules in phi)."""

    volume: int
    layer: int
    z: float
    rings: tuple[tuple[float, float, int], ...]


Surface = Barrel | Disc


@dataclass(frozen=True)
class Detector:
    """A tracker and its field; the order of `barrels` and `discs` is that in which a track from the beam meets them."""

    name: str
    field_tesla: float
    barrels: tuple[Barrel, ...]  # by radius
    discs: tuple[Disc, ...]  # by |z|, both sides
    pitch_u: float  # of a pixel, across (r-phi)
    pitch_v: float  # of a pixel, along z (barrel) or r (discs)
    half_thickness: float  # of the sensor
    radiation_lengths: float  # of one surface at normal incidence, in units of X0
    resolution_u: float
    resolution_v: float

    @property
    def surfaces(self) -> tuple[Surface, ...]:
        """Barrels, then discs."""
        return (*self.barrels, *self.discs)

    def depth(self, surface: Surface) -> float:
        """Thickness of silicon that charge comes from, mm: TrackML's public clusters show ``module_t``, which its table
        calls half the thickness, in the barrel and twice that in the discs.
        """
        return self.half_thickness if isinstance(surface, Barrel) else 2 * self.half_thickness


@dataclass(frozen=True)
class Modules:
    """Where points lie in their module: its number, the place in its frame, and its axes."""

    module: Ints  # (n,), from 1 within a layer
    u: Floats  # (n,), mm from the centre
    v: Floats  # (n,)
    axis_u: Floats  # (n, 3), unit vectors of the module
    axis_v: Floats
    axis_w: Floats  # normal


TILT = np.deg2rad(8.0)  # of TrackML's barrel pixel modules (rot_xw, rot_yw of its detectors.csv)


def _pixel() -> Detector:
    layers = ((32.0, 16), (72.0, 32), (116.0, 52), (172.0, 78))  # radius, modules in phi
    barrels = tuple(Barrel(8, 2 + 2 * i, r, 490.0, n, 14, TILT) for i, (r, n) in enumerate(layers))
    rings = ((30.0, 103.0, 54), (103.0, 176.0, 54))
    discs = []
    for i, z in enumerate((600.0, 700.0, 820.0, 960.0, 1100.0, 1300.0, 1500.0)):
        discs += [Disc(7, 14 - 2 * i, -z, rings), Disc(9, 2 + 2 * i, z, rings)]
    return Detector("pixel", 2.0, barrels, tuple(discs), 0.05, 0.05625, 0.15, 0.025, 0.05 / 12**0.5, 0.05625 / 12**0.5)


SENSOR_GAP = 2.6  # mm between the lower and the upper sensor of a pair
LOWER, UPPER = 1, 2  # layer_id = 10 * layer + one of these in the outer tracker


def _outer() -> Detector:
    barrels, discs = [], []
    for i, r in enumerate((230.0, 357.0, 508.0, 686.0, 860.0, 1083.0)):
        for sensor in (LOWER, UPPER):
            barrels.append(Barrel(1, 10 * (i + 1) + sensor, r + SENSOR_GAP * (sensor - 1), 1200.0, 24 + 12 * i, 24))
    rings = ((230.0, 515.0, 60), (515.0, 800.0, 90), (800.0, 1100.0, 120))
    for i, z in enumerate((1311.0, 1550.0, 1850.0, 2220.0, 2650.0)):
        for sensor in (LOWER, UPPER):
            for side, volume in ((-1.0, 0), (1.0, 2)):
                distance = z + SENSOR_GAP * (sensor - 1)
                discs.append(Disc(volume, 10 * (i + 7) + sensor, side * distance, rings))
    return Detector("outer", 3.8, tuple(barrels), tuple(discs), 0.1, 1.467, 0.15, 0.012, 0.1 / 12**0.5, 1.467 / 12**0.5)


def _build() -> dict[str, Detector]:
    return {detector.name: detector for detector in (_pixel(), _outer())}


DETECTORS = _build()


def _frame(phi: Floats, flip: bool) -> tuple[Floats, Floats, Floats]:
    """Unit vectors (tangential, radial, z), each (n, 3), at azimuth `phi`; `flip` turns the tangential one."""
    none, sign = np.zeros_like(phi), -1.0 if flip else 1.0
    tangential = np.stack([-sign * np.sin(phi), sign * np.cos(phi), none], axis=1)
    radial = np.stack([np.cos(phi), np.sin(phi), none], axis=1)
    return tangential, radial, np.stack([none, none, none + 1.0], axis=1)


def in_barrel(barrel: Barrel, points: Floats) -> Modules:
    """Modules of points (n, 3) on a cylinder; u runs with phi, v with z, w outwards and `tilt` towards larger phi."""
    phi = np.arctan2(points[:, 1], points[:, 0]) % (2 * np.pi)
    width, length = 2 * np.pi / barrel.modules_phi, 2 * barrel.half_length / barrel.modules_z
    column = np.minimum((phi / width).astype(np.int64), barrel.modules_phi - 1)
    row = np.clip(((points[:, 2] + barrel.half_length) / length).astype(np.int64), 0, barrel.modules_z - 1)
    centre_phi, centre_z = (column + 0.5) * width, (row + 0.5) * length - barrel.half_length
    tangential, radial, along = _frame(centre_phi + barrel.tilt, flip=False)
    module = 1 + row * barrel.modules_phi + column
    return Modules(module, barrel.radius * (phi - centre_phi), points[:, 2] - centre_z, tangential, along, radial)


def in_disc(disc: Disc, points: Floats) -> Modules:
    """Modules of points (n, 3) on a disc; v runs outwards, w away from the middle of the detector, as TrackML's do, so
    that u runs against phi at +z and with phi at -z.
    """
    r, phi = np.hypot(points[:, 0], points[:, 1]), np.arctan2(points[:, 1], points[:, 0]) % (2 * np.pi)
    edges = np.array([high for _, high, _ in disc.rings])
    ring = np.minimum(np.searchsorted(edges, r, side="right"), len(disc.rings) - 1)
    count = np.array([n for _, _, n in disc.rings])
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    middle = np.array([(low + high) / 2 for low, high, _ in disc.rings])
    width = 2 * np.pi / count[ring]
    column = np.minimum((phi / width).astype(np.int64), count[ring] - 1)
    centre = (column + 0.5) * width
    side = 1.0 if disc.z > 0 else -1.0
    tangential, radial, along = _frame(centre, flip=disc.z > 0)
    across = -side * r * (phi - centre)
    return Modules(1 + first[ring] + column, across, r - middle[ring], tangential, radial, side * along)


def module_rows(detector: Detector) -> Iterator[dict[str, float]]:
    """Rows of TrackML's ``detectors.csv``: one per module, in the order of volume, layer and module."""
    for surface in sorted(detector.surfaces, key=lambda s: (s.volume, s.layer)):
        if isinstance(surface, Barrel):
            width, length = 2 * np.pi / surface.modules_phi, 2 * surface.half_length / surface.modules_z
            cells = [(z, f) for z in range(surface.modules_z) for f in range(surface.modules_phi)]
            phi = np.array([(f + 0.5) * width for _, f in cells])
            r, z = np.full(len(cells), surface.radius), np.array([(i + 0.5) * length for i, _ in cells])
            z -= surface.half_length
            half_u = np.full(len(cells), surface.radius * width / 2)
            low_u, high_u, half_v = half_u, half_u, np.full(len(cells), length / 2)
        else:
            count = np.array([n for *_, n in surface.rings])
            phi = np.concatenate([(np.arange(n) + 0.5) * 2 * np.pi / n for n in count])
            low, high = (np.repeat([ring[i] for ring in surface.rings], count) for i in (0, 1))
            per = np.repeat(count, count)
            r, z, half_v = (low + high) / 2, np.full(len(phi), surface.z), (high - low) / 2
            low_u, high_u = np.pi * low / per, np.pi * high / per
        points = np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)
        sensors = in_barrel(surface, points) if isinstance(surface, Barrel) else in_disc(surface, points)
        for i in range(len(points)):
            axes = {"u": sensors.axis_u[i], "v": sensors.axis_v[i], "w": sensors.axis_w[i]}
            yield {
                "volume_id": surface.volume,
                "layer_id": surface.layer,
                "module_id": int(sensors.module[i]),
                **dict(zip(("cx", "cy", "cz"), points[i].tolist(), strict=True)),
                **{f"rot_{x}{name}": float(axes[name][k]) for k, x in enumerate("xyz") for name in "uvw"},
                "module_t": detector.half_thickness,
                "module_minhu": float(low_u[i]),
                "module_maxhu": float(high_u[i]),
                "module_hv": float(half_v[i]),
                "pitch_u": detector.pitch_u,
                "pitch_v": detector.pitch_v,
            }
