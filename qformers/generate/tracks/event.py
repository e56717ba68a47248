"""One event as TrackML's tables: hits, truth, particles and, where wanted, cells; and the vertex of each particle."""

from __future__ import annotations

import numpy as np

from qformers.generate.record import Arrays, Floats, Ints
from qformers.generate.tracks import cells as pixels
from qformers.generate.tracks.crossings import Crossings, crossings
from qformers.generate.tracks.geometry import Barrel, Detector, Modules, Surface, in_barrel, in_disc
from qformers.generate.tracks.particles import Particles, draw
from qformers.generate.tracks.settings import FIRST_EVENT, PARTICLES_PER_EVENT, TrackSettings

Tables = dict[str, Arrays]  # table -> column -> (rows,)
CHARGE_PER_MM = 1.0
FEWEST_HITS = 3  # hits of particles with fewer weigh nothing in truth.weight


def make_event(settings: TrackSettings, index: int) -> Tables:
    """Tables of event `index` (from 0): hits, truth, particles, vertices and, if `settings.cells`, cells.

    Depends on the settings and the index alone. Lengths in mm, momenta in GeV. `truth.weight` is 1 / (weighted hits)
    for hits of particles with at least three hits, else 0.
    """
    rng = np.random.default_rng([settings.seed, FIRST_EVENT + index])
    particles = draw(settings.pileup, settings.pt_min, settings.displaced, rng)
    crossed = list(crossings(settings.tracker, particles, settings.overlap, settings.material, rng))
    kept = [_efficient(one, settings.inefficiency, rng) for one in crossed]
    true_hits = sum(len(one.particle) for one in kept)
    kept += _noise(settings.tracker, int(rng.poisson(settings.noise * true_hits)), rng)
    parts = [_hits_of(one, settings.tracker, settings.cells, rng) for one in kept if len(one.particle)]
    return _tables(parts, particles, index, rng)


def _efficient(one: Crossings, inefficiency: float, rng: np.random.Generator) -> Crossings:
    keep = rng.random(len(one.particle)) >= inefficiency
    return Crossings(one.surface, one.particle[keep], one.position[keep], one.momentum[keep])


def _noise(detector: Detector, count: int, rng: np.random.Generator) -> list[Crossings]:
    """Noise hits, spread over the surfaces by their area and evenly over each; their direction is near the normal."""
    surfaces = detector.surfaces
    area = np.array([_area(surface) for surface in surfaces])
    made = []
    for surface, hits in zip(surfaces, rng.multinomial(count, area / area.sum()), strict=True):
        phi = rng.uniform(-np.pi, np.pi, hits)
        if isinstance(surface, Barrel):
            r, z = np.full(hits, surface.radius), rng.uniform(-surface.half_length, surface.half_length, hits)
            normal = np.stack([np.cos(phi), np.sin(phi), np.zeros(hits)], axis=1)
        else:
            low, high = surface.rings[0][0], surface.rings[-1][1]
            r, z = np.sqrt(rng.uniform(low**2, high**2, hits)), np.full(hits, surface.z)
            normal = np.tile([0.0, 0.0, 1.0], (hits, 1))
        position = np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)
        direction = normal + 0.2 * rng.standard_normal((hits, 3))
        made.append(Crossings(surface, np.full(hits, -1), position, direction))
    return made


def _area(surface: Surface) -> float:
    if isinstance(surface, Barrel):
        return float(4 * np.pi * surface.radius * surface.half_length)
    return float(np.pi * (surface.rings[-1][1] ** 2 - surface.rings[0][0] ** 2))


def _modules(surface: Surface, position: Floats) -> Modules:
    return in_barrel(surface, position) if isinstance(surface, Barrel) else in_disc(surface, position)


def _hits_of(one: Crossings, detector: Detector, with_cells: bool, rng: np.random.Generator) -> Arrays:
    """Columns of the hits on one surface; cells as ragged columns with the number of their hit."""
    true = _modules(one.surface, one.position)
    smear = rng.standard_normal((2, len(one.particle)))
    # along the surface at the hit itself, not along the module's plane, so that the hit stays on the cylinder
    turn = detector.resolution_u * smear[0] / np.hypot(one.position[:, 0], one.position[:, 1])
    x, y, z = one.position.T
    measured = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn), z], axis=1)
    measured += (detector.resolution_v * smear[1])[:, None] * true.axis_v
    place = _modules(one.surface, measured)
    columns: Arrays = {
        "particle": one.particle,
        "measured": measured,
        "true": one.position,
        "momentum": np.where(one.particle[:, None] < 0, 0.0, one.momentum),
        "volume_id": np.full(len(x), one.surface.volume),
        "layer_id": np.full(len(x), one.surface.layer),
        "module_id": place.module,
    }
    if with_cells:
        along = {axis: (one.momentum * getattr(place, f"axis_{axis}")).sum(axis=1) for axis in "uvw"}
        depth = detector.depth(one.surface)
        w = np.where(np.abs(along["w"]) < 1e-6, 1e-6, along["w"])
        middles, spans = [], []
        sides = (("u", place.u, detector.pitch_u), ("v", place.v, detector.pitch_v))
        for (axis, at, pitch), half in zip(sides, _half_sizes(one.surface), strict=True):
            span = depth * along[axis] / w / pitch
            middle, span = _within(at + half, np.where(np.abs(span) < 1e-9, 1e-9, span), 2 * half, pitch)
            middles.append(middle)
            spans.append(span)
        path, ch0, ch1, value = pixels.traversed(
            (middles[0], middles[1]), (spans[0], spans[1]), depth / detector.pitch_u, rng
        )
        columns |= {"cell_hit": path, "ch0": ch0, "ch1": ch1, "value": value * detector.pitch_u * CHARGE_PER_MM}
    return columns


def _within(middle: Floats, span: Floats, size: float, pitch: float) -> tuple[Floats, Floats]:
    """Middle and span of paths, in pixels, pushed into a module of `size` mm: none has channels beyond its edges."""
    pixels_across = size / pitch
    span = np.clip(span, -pixels_across + 1, pixels_across - 1)
    half = np.abs(span) / 2
    return np.clip(middle / pitch, half, pixels_across - half), span


def _half_sizes(surface: Surface) -> tuple[float, float]:
    """Half the width and length of the largest module, mm: channels count from its corner."""
    if isinstance(surface, Barrel):
        return float(np.pi * surface.radius / surface.modules_phi), surface.half_length / surface.modules_z
    return max(np.pi * high / n for _, high, n in surface.rings), max((h - low) / 2 for low, h, _ in surface.rings)


def _tables(parts: list[Arrays], particles: Particles, index: int, rng: np.random.Generator) -> Tables:
    ids = (FIRST_EVENT + index) * PARTICLES_PER_EVENT + 1 + np.arange(len(particles))
    names = ("particle", "measured", "true", "momentum", "volume_id", "layer_id", "module_id")
    empty: Arrays = {name: np.zeros((0, 3) if name in names[1:4] else 0) for name in names}
    all_of = {name: np.concatenate([part[name] for part in parts] or [empty[name]]) for name in names}
    size = len(all_of["particle"])
    shuffled = rng.permutation(size)  # within a module, the order must not tell which hits belong together
    keys = [all_of[name][shuffled] for name in ("module_id", "layer_id", "volume_id")]
    order = shuffled[np.lexsort(keys)]
    owner = all_of["particle"].astype(np.int64)[order]
    hit_id = np.arange(1, size + 1)
    nhits = np.bincount(owner[owner >= 0], minlength=len(particles))
    weighs = (owner >= 0) & (nhits[np.maximum(owner, 0)] >= FEWEST_HITS) if len(particles) else owner >= 0
    hits: Arrays = {"hit_id": hit_id, **_xyz("", all_of["measured"][order])}
    hits |= {name: all_of[name][order].astype(np.int64) for name in ("volume_id", "layer_id", "module_id")}
    truth: Arrays = {
        "hit_id": hit_id,
        "particle_id": np.where(owner >= 0, ids[np.maximum(owner, 0)], 0),
        **_xyz("t", all_of["true"][order]),
        **_xyz("tp", all_of["momentum"][order]),
        "weight": weighs / max(int(weighs.sum()), 1),
    }
    known: Arrays = {"particle_id": ids, **_xyz("v", particles.position), **_xyz("p", particles.momentum)}
    known |= {"q": particles.charge.astype(np.int64), "nhits": nhits}
    tables = {"hits": hits, "truth": truth, "particles": known}
    tables["vertices"] = {"particle_id": ids, "vertex_id": particles.vertex}
    if parts and "cell_hit" in parts[0]:
        tables["cells"] = _cells(parts, order)
    return tables


def _cells(parts: list[Arrays], order: Ints) -> Arrays:
    """The cells of all hits, sorted by the number of the hit."""
    starts = np.cumsum([0, *(len(part["particle"]) for part in parts)])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    hit = np.concatenate([rank[part["cell_hit"] + start] for part, start in zip(parts, starts, strict=False)])
    sort = np.argsort(hit, kind="stable")
    rest = {name: np.concatenate([part[name] for part in parts])[sort] for name in ("ch0", "ch1", "value")}
    return {"hit_id": hit[sort], **rest}


def _xyz(prefix: str, vectors: Floats) -> Arrays:
    return {f"{prefix}{axis}": vectors[:, i] for i, axis in enumerate("xyz")}
