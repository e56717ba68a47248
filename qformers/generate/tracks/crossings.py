"""Where the particles of an event cross the sensors: surface after surface, with scattering in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qformers.generate.record import Bools, Floats, Ints
from qformers.generate.tracks.geometry import Barrel, Detector, Disc, Surface
from qformers.generate.tracks.particles import Particles
from qformers.generate.tracks.propagate import State, advance, scatter, to_cylinder, to_plane

OVERLAP_MM = 1.0  # from a surface to that of an overlapping module


@dataclass(frozen=True)
class Crossings:
    """Crossings of one surface: particle (index), true place (n, 3) mm and momentum (n, 3) GeV there."""

    surface: Surface
    particle: Ints
    position: Floats
    momentum: Floats


def _step(state: State, surface: Surface, field: float) -> tuple[State, Bools]:
    """States on the surface, and which of them are really on it."""
    if isinstance(surface, Barrel):
        path = to_cylinder(state, surface.radius, field)
    else:
        path = to_plane(state, surface.z, field)
    there = advance(state, np.where(np.isnan(path), 0.0, path), field)
    if isinstance(surface, Barrel):
        crossed = ~np.isnan(path) & (np.abs(there.position[:, 2]) < surface.half_length)
    else:
        r = np.hypot(there.position[:, 0], there.position[:, 1])
        crossed = ~np.isnan(path) & (r >= surface.rings[0][0]) & (r < surface.rings[-1][1])
    return there, crossed


def _normals(surface: Surface, position: Floats) -> Floats:
    if isinstance(surface, Disc):
        return np.broadcast_to(np.array([0.0, 0.0, 1.0]), position.shape)
    radial = position * [1.0, 1.0, 0.0]
    return np.asarray(radial / np.maximum(np.linalg.norm(radial, axis=1, keepdims=True), 1e-9))


def _rows(state: State, which: Ints) -> State:
    return State(state.position[which], state.momentum[which], state.charge[which])


def _further(state: State, surface: Surface, field: float) -> State:
    """About 1 mm further on, r or z: where an overlapping module is met."""
    if isinstance(surface, Barrel):
        return advance(state, np.full(len(state.charge), OVERLAP_MM), field)
    pt, pz = np.hypot(state.momentum[:, 0], state.momentum[:, 1]), np.abs(state.momentum[:, 2])
    return advance(state, OVERLAP_MM * pt / pz, field)


def crossings(
    detector: Detector, particles: Particles, overlap: float, material: float, rng: np.random.Generator
) -> Iterator[Crossings]:
    """All crossings of the charged particles, one surface at a time.

    Args:
        detector: the tracker.
        particles: of the event; neutral ones leave nothing.
        overlap: probability of a second crossing about 1 mm further, in an overlapping module.
        material: scales the thickness of every surface.
        rng: all random numbers come from it.
    """
    field = detector.field_tesla
    chosen = np.flatnonzero(particles.charge != 0)
    state = _rows(State(particles.position, particles.momentum, particles.charge), chosen)
    for surface in detector.surfaces:
        there, crossed = _step(state, surface, field)
        hit = np.flatnonzero(crossed)
        arrived = _rows(there, hit)
        twice = np.flatnonzero(rng.random(len(hit)) < overlap)
        doubled = _further(_rows(arrived, twice), surface, field)
        yield Crossings(
            surface,
            chosen[np.concatenate([hit, hit[twice]])],
            np.concatenate([arrived.position, doubled.position]),
            np.concatenate([arrived.momentum, doubled.momentum]),
        )
        if material and len(hit):
            thickness = detector.radiation_lengths * material
            arrived = scatter(arrived, _normals(surface, arrived.position), thickness, rng)
        position, momentum = state.position.copy(), state.momentum.copy()
        position[hit], momentum[hit] = arrived.position, arrived.momentum
        state = State(position, momentum, state.charge)
