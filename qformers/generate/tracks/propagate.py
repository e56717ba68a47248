"""Steps of a helix from one surface to the next, and multiple scattering in it.

`qformers.generate.jets.helix` takes particles from their birth to the calorimeter in one step; here a step starts
anywhere, because the direction changes at every layer. A positive charge turns clockwise about the field (+z).
Lengths in mm, momenta in GeV.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qformers.generate.record import Bools, Floats

GEV_PER_TESLA_MM = 0.29979e-3
PION_MASS_GEV = 0.13957
_SMALLEST_COSINE = 0.05  # material at grazing incidence is bounded


@dataclass(frozen=True)
class State:
    """Particles on their way."""

    position: Floats  # (n, 3)
    momentum: Floats  # (n, 3)
    charge: Floats  # (n,), +-1

    def put(self, which: Bools, other: State) -> State:
        """The states `which` taken from `other`."""
        keep = which[:, None]
        return State(
            np.where(keep, other.position, self.position), np.where(keep, other.momentum, self.momentum), self.charge
        )


def _radius(state: State, field_tesla: float) -> Floats:
    """Signed radius of curvature: > 0 turns clockwise."""
    pt = np.hypot(state.momentum[:, 0], state.momentum[:, 1])
    signed: Floats = pt / (GEV_PER_TESLA_MM * state.charge * field_tesla)
    return signed


def advance(state: State, length: Floats, field_tesla: float) -> State:
    """States after the transverse path `length` (n,)."""
    radius = _radius(state, field_tesla)
    pt = np.hypot(state.momentum[:, 0], state.momentum[:, 1])
    phi = np.arctan2(state.momentum[:, 1], state.momentum[:, 0])
    out = phi - length / radius
    x = state.position[:, 0] + radius * (np.sin(phi) - np.sin(out))
    y = state.position[:, 1] - radius * (np.cos(phi) - np.cos(out))
    z = state.position[:, 2] + length * state.momentum[:, 2] / pt
    momentum = np.stack([pt * np.cos(out), pt * np.sin(out), state.momentum[:, 2]], axis=1)
    return State(np.stack([x, y, z], axis=1), momentum, state.charge)


def to_cylinder(state: State, cylinder_mm: float, field_tesla: float) -> Floats:
    """Transverse path (n,) to the cylinder, going outwards; NaN for tracks that turn back before it or start beyond it.

    With the centre c of the circle and the direction psi, |p|^2 = c^2 + R^2 + 2 R c sin(gamma - psi).
    """
    radius = _radius(state, field_tesla)
    phi = np.arctan2(state.momentum[:, 1], state.momentum[:, 0])
    cx = state.position[:, 0] + radius * np.sin(phi)
    cy = state.position[:, 1] - radius * np.cos(phi)
    centre = np.maximum(np.hypot(cx, cy), 1e-12)
    sine = (cylinder_mm**2 - centre**2 - radius**2) / (2 * radius * centre)
    inside = np.hypot(state.position[:, 0], state.position[:, 1]) < cylinder_mm
    reached = inside & (np.abs(sine) <= 1.0)
    angle = np.arcsin(np.clip(sine, -1.0, 1.0))
    turn = phi - np.arctan2(cy, cx)
    paths = [np.abs(radius) * ((np.sign(radius) * (turn + a)) % (2 * np.pi)) for a in (angle, np.pi - angle)]
    return np.where(reached, np.minimum(*paths), np.nan)


def to_plane(state: State, plane_mm: float, field_tesla: float) -> Floats:
    """Transverse path (n,) to the plane z = `plane_mm` ahead; NaN when it lies behind or beyond half a turn."""
    pt = np.hypot(state.momentum[:, 0], state.momentum[:, 1])
    pz = np.where(np.abs(state.momentum[:, 2]) < 1e-12, 1e-12, state.momentum[:, 2])
    path = (plane_mm - state.position[:, 2]) * pt / pz
    return np.where((path > 0) & (path < np.pi * np.abs(_radius(state, field_tesla))), path, np.nan)


def scattering_angle(momentum: Floats, thickness: Floats) -> Floats:
    """Highland's width of the projected scattering angle, rad (PDG, Passage of particles through matter), for pions.

    Args:
        momentum: (n,), GeV.
        thickness: (n,), in radiation lengths.
    """
    beta = momentum / np.hypot(momentum, PION_MASS_GEV)
    width: Floats = 0.0136 / (beta * momentum) * np.sqrt(thickness) * (1 + 0.038 * np.log(thickness / beta**2))
    return np.maximum(width, 0.0)


def scatter(state: State, normal: Floats, thickness: float, rng: np.random.Generator) -> State:
    """Turn every momentum by multiple scattering in a layer.

    Args:
        state: at the layer.
        normal: (n, 3), unit normals of the layer there.
        thickness: of the layer at normal incidence, in radiation lengths.
        rng: draws two numbers per particle.
    """
    size = np.linalg.norm(state.momentum, axis=1)
    direction = state.momentum / size[:, None]
    cosine = np.maximum(np.abs((direction * normal).sum(axis=1)), _SMALLEST_COSINE)
    width = scattering_angle(size, thickness / cosine)
    helper = np.where(np.abs(direction[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    first = np.cross(direction, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(direction, first)
    kicks = width[:, None] * rng.standard_normal((len(size), 2))
    turned = direction + np.tan(kicks[:, :1]) * first + np.tan(kicks[:, 1:]) * second
    turned *= (size / np.linalg.norm(turned, axis=1))[:, None]
    return State(state.position, turned, state.charge)
