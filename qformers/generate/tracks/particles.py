"""Particles of one bunch crossing: a hard scatter, pile-up vertices, and pairs from displaced decays.

Minimum bias follows what CMS measured: a Tsallis spectrum with T = 0.145 GeV and n = 6.6 (7 TeV, arXiv:1005.3299) and
5.5 charged particles per unit of eta (13 TeV, arXiv:1507.05915), taken as flat. The hard scatter is an underlying event
and a few narrow jets; no matrix element, no fragmentation model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qformers.generate.record import Floats, Ints
from qformers.generate.tracks.propagate import PION_MASS_GEV

TSALLIS_T_GEV, TSALLIS_N = 0.145, 6.6
CHARGED_PER_ETA = 5.5  # of one inelastic collision, all pT
ETA_MAX, PT_MAX_GEV = 4.0, 50.0  # PT_MAX: of the soft spectrum
BEAM_SIGMA_MM = (0.015, 0.015, 50.0)
DISPERSION = 2.0  # k of the negative binomial multiplicity: variance = mean + mean^2 / k
JETS, JET_PT_GEV, JET_PT_INDEX = (2, 4), (30.0, 300.0), 4.0
JET_WIDTH, JET_PARTICLES = 0.12, 12.0  # sigma of eta and phi about the axis; mean charged particles
UNDERLYING = 2.0  # activity of the hard scatter beside its jets, in minimum-bias events
DECAY_MM = 20.0  # mean transverse flight of displaced parents
NEUTRAL_PER_CHARGED = 0.55


@dataclass(frozen=True)
class Particles:
    """n particles at birth."""

    position: Floats  # (n, 3), mm
    momentum: Floats  # (n, 3), GeV
    charge: Floats  # (n,), +-1, 0 = neutral
    vertex: Ints  # (n,), 0 = hard scatter, 1.. = pile-up

    def __len__(self) -> int:
        return len(self.charge)


def _spectrum(pt_min: float) -> tuple[Floats, Floats]:
    """Grid of pT in GeV and the integral of dN/(deta dpT) ~ pT (p / E) (1 + E_T / (n T))^-n from pt_min to it."""
    grid = np.geomspace(pt_min, PT_MAX_GEV, 2000)
    kinetic = np.hypot(grid, PION_MASS_GEV) - PION_MASS_GEV
    density = grid**2 / np.hypot(grid, PION_MASS_GEV) * (1 + kinetic / (TSALLIS_N * TSALLIS_T_GEV)) ** -TSALLIS_N
    steps = (density[1:] + density[:-1]) / 2 * np.diff(grid)
    return grid, np.concatenate([[0.0], np.cumsum(steps)])


def share_above(pt_min: float) -> float:
    """Share of soft particles with pT above `pt_min` (GeV, at least 0.001)."""
    return float(_spectrum(pt_min)[1][-1] / _spectrum(0.001)[1][-1])


def soft_pt(size: int, pt_min: float, rng: np.random.Generator) -> Floats:
    """Transverse momenta in [pt_min, 50] GeV of soft particles, by inversion of their spectrum."""
    grid, summed = _spectrum(pt_min)
    drawn: Floats = np.interp(rng.random(size) * summed[-1], summed, grid)
    return drawn


def _momenta(pt: Floats, eta: Floats, phi: Floats) -> Floats:
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)


def _jets(pt_min: float, rng: np.random.Generator) -> Floats:
    """Momenta (n, 3) of the charged particles of 2-4 jets of falling pT."""
    parts = []
    for _ in range(int(rng.integers(JETS[0], JETS[1] + 1))):
        low, high = (value ** (1 - JET_PT_INDEX) for value in JET_PT_GEV)
        jet_pt = (low + rng.random() * (high - low)) ** (1 / (1 - JET_PT_INDEX))
        eta, phi = rng.uniform(-2.5, 2.5), rng.uniform(-np.pi, np.pi)
        count = 2 + int(rng.poisson(JET_PARTICLES))
        share = rng.dirichlet(np.full(count, 0.7))
        pt = np.maximum(0.6 * jet_pt * share, pt_min)  # charged particles carry about 60 % of a jet
        spread = JET_WIDTH * rng.standard_normal((2, count)) / np.sqrt(1 + pt / 5)  # harder ones nearer the axis
        parts.append(_momenta(pt, np.clip(eta + spread[0], -ETA_MAX, ETA_MAX), phi + spread[1]))
    return np.concatenate(parts)


def _displace(particles: Particles, share: float, rng: np.random.Generator) -> Particles:
    """Move about `share` of the particles, as pairs of opposite charge of one vertex, away from the beam."""
    pairs = np.flatnonzero(rng.random(len(particles) // 2) < share)
    first = 2 * pairs
    first = first[particles.vertex[first] == particles.vertex[first + 1]]
    position, momentum, charge = (a.copy() for a in (particles.position, particles.momentum, particles.charge))
    parent, partner = momentum[first], momentum[first + 1]
    pt, partner_pt = (np.hypot(p[:, 0], p[:, 1]) for p in (parent, partner))
    # the partner keeps its pT and takes the direction of the first, but for an opening of half the K0 mass over pT
    opening = np.minimum(0.25 / (pt + partner_pt), 0.5) * rng.standard_normal((2, len(first)))
    eta = np.clip(np.arcsinh(parent[:, 2] / pt) + opening[0], -ETA_MAX, ETA_MAX)
    momentum[first + 1] = _momenta(partner_pt, eta, np.arctan2(parent[:, 1], parent[:, 0]) + opening[1])
    flight = rng.exponential(DECAY_MM, len(first)) / pt
    for i in (0, 1):
        position[first + i] += flight[:, None] * parent
    charge[first + 1] = -charge[first]
    return Particles(position, momentum, charge, particles.vertex)


def draw(pileup: float, pt_min: float, displaced: float, rng: np.random.Generator, neutrals: bool = False) -> Particles:
    """One bunch crossing.

    Args:
        pileup: mean number of pile-up vertices (Poisson).
        pt_min: lowest transverse momentum, GeV.
        displaced: share of particles from displaced decays.
        rng: all random numbers come from it.
        neutrals: also draw neutral particles (photons and neutral hadrons), 0.55 per charged one.
    """
    vertices = 1 + int(rng.poisson(pileup))
    places = rng.standard_normal((vertices, 3)) * BEAM_SIGMA_MM
    plateau = CHARGED_PER_ETA * 2 * ETA_MAX * share_above(pt_min)
    mean = np.maximum(plateau * np.where(np.arange(vertices) == 0, UNDERLYING, 1.0), 1.0 + 1e-9)
    counts = 1 + rng.negative_binomial(DISPERSION, DISPERSION / (DISPERSION + mean - 1))
    hard = _jets(pt_min, rng)
    owner = np.concatenate([np.zeros(len(hard), np.int64), np.repeat(np.arange(vertices), counts)])
    size = int(counts.sum())
    eta, phi = rng.uniform(-ETA_MAX, ETA_MAX, size), rng.uniform(-np.pi, np.pi, size)
    momentum = np.concatenate([hard, _momenta(soft_pt(size, pt_min, rng), eta, phi)])
    charge = rng.choice([-1.0, 1.0], len(momentum))
    charged = _displace(Particles(places[owner], momentum, charge, owner), displaced, rng)
    if not neutrals:
        return charged
    extra = rng.random(len(charged)) < NEUTRAL_PER_CHARGED  # each beside a charged one: jets keep their shape
    angle = rng.normal(0.0, 0.1, int(extra.sum()))
    px, py, pz = charged.momentum[extra].T * rng.uniform(0.3, 1.7, int(extra.sum()))
    turned = np.stack([px * np.cos(angle) - py * np.sin(angle), px * np.sin(angle) + py * np.cos(angle), pz], axis=1)
    return Particles(
        np.concatenate([charged.position, charged.position[extra]]),
        np.concatenate([charged.momentum, turned]),
        np.concatenate([charged.charge, np.zeros(len(turned))]),
        np.concatenate([charged.vertex, charged.vertex[extra]]),
    )
