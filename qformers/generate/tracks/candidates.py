"""Particle-flow-like candidates of generated bunch crossings: for the particle-level pile-up task.

Charged ones carry the vertex that their z at the beam suggests, neutral ones do not: whether those come from the hard
scatter is the question. Momenta are smeared; there is no calorimeter, no overlap of showers, no lost particle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.points.candidates import CLASSES, stored
from qformers.errors import DataError
from qformers.files import foreign, replacing, write_json
from qformers.generate.record import manifest_of
from qformers.generate.tracks.particles import draw
from qformers.generate.tracks.propagate import PION_MASS_GEV
from qformers.generate.tracks.settings import FIRST_EVENT, TrackSettings
from qformers.progress import Reporter, Silent

PT_MIN_GEV = 0.5  # of candidates
PHOTON_SHARE = 0.7  # of neutral ones
TRACK_RESOLUTION, PHOTON_RESOLUTION, HADRON_RESOLUTION = 0.01, 0.1, 0.3  # of pT; neutral ones over sqrt(E / GeV)
VERTEX_WINDOW_MM, Z_RESOLUTION_MM = 1.0, 0.1  # a track nearer to the hard vertex is taken for its own


def make_candidates(settings: TrackSettings, index: int) -> dict[str, NDArray[np.generic]]:
    """Candidates of event `index` (from 0): x (n, 8) float32, charge (n,), hard_scatter (n,), by falling pT.

    Depends on seed, pile-up, pt_min and displaced of the settings and on the index.
    """
    rng = np.random.default_rng([settings.seed, FIRST_EVENT + index, 1])
    particles = draw(settings.pileup, settings.pt_min, settings.displaced, rng, neutrals=True)
    px, py, pz = particles.momentum.T
    pt, size = np.hypot(px, py), len(particles)
    eta, phi = np.arcsinh(pz / pt), np.arctan2(py, px)
    photon = (particles.charge == 0) & (rng.random(size) < PHOTON_SHARE)
    mass = np.where(photon, 0.0, PION_MASS_GEV)
    share = np.where(photon, PHOTON_RESOLUTION, HADRON_RESOLUTION) / np.sqrt(pt * np.cosh(eta))
    width = np.where(particles.charge != 0, TRACK_RESOLUTION, share)
    pt = pt * np.exp(width * rng.standard_normal(size) - width**2 / 2)
    hard_z = particles.position[particles.vertex == 0][0, 2]
    near = np.abs(particles.position[:, 2] + Z_RESOLUTION_MM * rng.standard_normal(size) - hard_z) < VERTEX_WINDOW_MM
    kind = np.select([(particles.charge != 0) & near, particles.charge != 0, photon], [0, 1, 2], len(CLASSES) - 1)
    energy = np.hypot(pt * np.cosh(eta), mass)
    rapidity = np.arctanh(pt * np.sinh(eta) / energy)
    x = np.stack([eta, phi, pt * np.cos(phi), pt * np.sin(phi), pt, energy, rapidity, kind], axis=1)
    order = np.argsort(-pt, kind="stable")
    order = order[pt[order] > PT_MIN_GEV]
    return {
        "x": x[order].astype(np.float32),
        "charge": particles.charge[order].astype(np.int8),
        "hard_scatter": (particles.vertex[order] == 0).astype(np.int8),
    }


def write_candidates(settings: TrackSettings, folder: Path, reporter: Reporter | None = None) -> str:
    """Write ``<folder>/{train,val,test}/candidates_<event>.npz`` where they are missing; returns a line to print.

    Raises:
        DataError: the folder holds candidates of other settings.
    """
    record, made = folder / "candidates.json", settings.as_dict()
    if reason := foreign(folder, lambda place: (place / record.name).is_file(), "candidates that were generated"):
        raise DataError(f"{folder}: {reason}; give another --out")
    if record.exists() and (there := manifest_of(record, dict[str, Any])) != made:
        differing = [
            f"{key}: {there.get(key)} there, {value} now" for key, value in made.items() if there.get(key) != value
        ]
        raise DataError(f"{folder} holds candidates of other settings ({'; '.join(differing)}); give another --out")
    write_json(record, made)
    counts, neutral, hard = [], 0, 0
    tick = (reporter or Silent()).task("events", settings.events)
    for index in range(settings.events):
        tick()
        path = folder / settings.split_of(index) / f"candidates_{FIRST_EVENT + index}.npz"
        if not path.exists():
            with replacing(path) as temporary, temporary.open("wb") as stream:
                np.savez(stream, **make_candidates(settings, index))  # type: ignore[arg-type]  # numpy's stub
        arrays = stored(path)  # checked: it may be there from before
        counts.append(len(arrays["x"]))
        neutral += int((arrays["charge"] == 0).sum())
        hard += int(((arrays["charge"] == 0) & (arrays["hard_scatter"] == 1)).sum())
    return (
        f"{folder}: {len(counts)} events, {np.mean(counts):.0f} candidates per event on average, "
        f"{neutral / sum(counts):.0%} neutral, {hard / max(neutral, 1):.1%} of those from the hard scatter"
    )
