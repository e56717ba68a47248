"""Propagation in a solenoid: where a particle enters the calorimeter, how close it came to the beam.

A charged particle runs on a helix about the field (z), clockwise for positive charge. Lengths in
metres here, momenta in GeV, impact parameters in mm.
"""

from dataclasses import dataclass

import numpy as np

from qformers.generate.record import CALORIMETER_HALF_LENGTH_MM, CALORIMETER_RADIUS_MM, Floats, wrap_phi

FIELD_TESLA = 3.8
_GEV_PER_TESLA_METRE = 0.29979
_RADIUS = CALORIMETER_RADIUS_MM / 1000
_HALF_LENGTH = CALORIMETER_HALF_LENGTH_MM / 1000


@dataclass(frozen=True)
class Propagated:
    """Per particle: entry into the calorimeter and, for charged ones, the closest approach to the beam."""

    eta: Floats  # of the entry point, seen from the origin
    phi: Floats
    track_phi: Floats  # direction of the momentum at closest approach (neutrals: at birth)
    d0: Floats  # mm, 0 for neutrals
    dz: Floats  # mm


def _straight(position: Floats, momentum: Floats) -> Propagated:
    """Neutral particles; position and momentum (n, 3)."""
    x, y, z = position.T
    px, py, pz = momentum.T
    pt = np.maximum(np.hypot(px, py), 1e-12)
    ux, uy = px / pt, py / pt
    along = x * ux + y * uy
    to_barrel = -along + np.sqrt(np.maximum(along**2 - (x**2 + y**2 - _RADIUS**2), 0.0))
    path = np.minimum(to_barrel, _transverse_path_to_end(z, pz, pt))
    out_x, out_y, out_z = x + ux * path, y + uy * path, z + pz / pt * path
    none = np.zeros(len(x))
    eta = np.arcsinh(out_z / np.maximum(np.hypot(out_x, out_y), 1e-12))
    return Propagated(eta, np.arctan2(out_y, out_x), np.arctan2(py, px), none, none)


def _transverse_path_to_end(z: Floats, pz: Floats, pt: Floats) -> Floats:
    """Transverse path length to the end plane ahead, m."""
    speed = np.where(np.abs(pz) < 1e-12, 1e-12, pz)
    path: Floats = (np.copysign(_HALF_LENGTH, speed) - z) * pt / speed
    return path


def _curved(position: Floats, momentum: Floats, charge: Floats) -> Propagated:
    """Charged particles; position and momentum (n, 3), charge (n,)."""
    x, y, z = position.T
    px, py, pz = momentum.T
    pt, phi = np.maximum(np.hypot(px, py), 1e-12), np.arctan2(py, px)
    radius = pt / (_GEV_PER_TESLA_METRE * charge * FIELD_TESLA)  # signed: > 0 turns clockwise
    sign, size = np.sign(radius), np.abs(radius)
    centre_x, centre_y = x + radius * np.sin(phi), y - radius * np.cos(phi)
    centre = np.maximum(np.hypot(centre_x, centre_y), 1e-12)

    track_phi = np.arctan2(sign * centre_x, -sign * centre_y)
    turned = -sign * wrap_phi(phi - track_phi)  # angle run through from closest approach to birth
    # At angle a from closest approach the distance to the beam is r^2 = c^2 + R^2 - 2 c R cos a.
    cosine = (centre**2 + size**2 - _RADIUS**2) / (2 * centre * size)
    to_barrel = size * (np.arccos(np.clip(cosine, -1.0, 1.0)) - turned)
    to_barrel = np.where(cosine <= -1.0, np.inf, to_barrel)  # loopers never reach the barrel
    path = np.minimum(to_barrel, _transverse_path_to_end(z, pz, pt))

    out_phi = phi - path / radius
    out_x, out_y = centre_x - radius * np.sin(out_phi), centre_y + radius * np.cos(out_phi)
    out_z = z + pz / pt * path
    return Propagated(
        eta=np.arcsinh(out_z / np.maximum(np.hypot(out_x, out_y), 1e-12)),
        phi=np.arctan2(out_y, out_x),
        track_phi=track_phi,
        d0=1000 * sign * (centre - size),
        dz=1000 * (z - pz / pt * size * turned),
    )


def propagate(position_mm: Floats, momentum: Floats, charge: Floats) -> Propagated:
    """Propagate particles born at ``position_mm`` (n, 3) with ``momentum`` (n, 3), GeV, to the calorimeter."""
    charged = charge != 0
    straight = _straight(position_mm / 1000, momentum)
    curved = _curved(position_mm / 1000, momentum, np.where(charged, charge, 1.0))
    return Propagated(*(np.where(charged, getattr(curved, n), getattr(straight, n)) for n in _FIELDS))


_FIELDS = ("eta", "phi", "track_phi", "d0", "dz")
