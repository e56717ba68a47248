"""Calorimeter response and energy flow: towers, energy smearing, what is charged and what is neutral.

One layer (ECAL or HCAL) at a time; energies in GeV. The rule is that of the energy-flow calorimeter of
the CMS card: a tower with significant excess over its tracks gets a neutral, any other gives its
tracks the best estimate of the energy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qformers.generate.jets.tracking import log_normal
from qformers.generate.record import Bools, Floats, Ints, wrap_phi

_FORWARD = np.append(3.125 + 0.175 * np.arange(10), 5.0)
_HCAL_POSITIVE = np.concatenate(
    [0.087 * np.arange(20), [1.74, 1.83, 1.93, 2.043, 2.172, 2.322, 2.5, 2.65, 2.868, 2.95], _FORWARD]
)
_ECAL_POSITIVE = np.concatenate([0.0174 * np.arange(171), _FORWARD])


def _mirror(edges: Floats) -> Floats:
    return np.concatenate([-edges[:0:-1], edges])


def ecal_sigma(energy: Floats, abs_eta: Floats) -> Floats:
    """ECAL energy resolution."""
    core = np.sqrt((0.008 * energy) ** 2 + 0.11**2 * energy + 0.4**2)
    factor = np.where(abs_eta <= 1.5, 1 + 0.64 * abs_eta**2, 2.16 + 5.6 * (abs_eta - 2) ** 2)
    return np.where(abs_eta <= 2.5, factor * core, np.sqrt((0.107 * energy) ** 2 + 2.08**2 * energy))


def hcal_sigma(energy: Floats, abs_eta: Floats) -> Floats:
    """HCAL energy resolution."""
    central = np.sqrt((0.05 * energy) ** 2 + 1.5**2 * energy)
    return np.where(abs_eta <= 3.0, central, np.sqrt((0.13 * energy) ** 2 + 2.7**2 * energy))


@dataclass(frozen=True)
class Layer:
    """One calorimeter layer."""

    eta_edges: Floats
    fine_phi_degrees: float  # tower width in phi for |eta| below fine_abs_eta
    fine_abs_eta: float
    energy_min: float  # GeV
    significance_min: float
    sigma: Callable[[Floats, Floats], Floats]

    coarse_phi_degrees: float = 10.0

    def towers(self, eta: Floats, phi: Floats) -> tuple[Ints, Ints, Floats]:
        """Tower indices in eta and phi, and the tower's width in phi (rad)."""
        ring = np.clip(np.searchsorted(self.eta_edges, eta, side="right") - 1, 0, len(self.eta_edges) - 2)
        fine = np.abs(self.ring_centre(ring)) < self.fine_abs_eta
        width = np.radians(np.where(fine, self.fine_phi_degrees, self.coarse_phi_degrees))
        cell = np.floor((wrap_phi(phi) + np.pi) / width).astype(np.int64)
        return ring.astype(np.int64), cell, width

    def ring_centre(self, ring: Ints) -> Floats:
        """eta of the middle of a ring of towers."""
        centre: Floats = (self.eta_edges[ring] + self.eta_edges[ring + 1]) / 2
        return centre


ECAL = Layer(_mirror(_ECAL_POSITIVE), 1.0, 2.958, 0.5, 2.0, ecal_sigma)
HCAL = Layer(_mirror(_HCAL_POSITIVE), 5.0, 1.74, 1.0, 1.0, hcal_sigma)


@dataclass(frozen=True)
class Flow:
    """Neutrals made in one layer, and the factor on each track's momentum."""

    event: Ints  # (neutrals,)
    energy: Floats
    eta: Floats
    phi: Floats
    track_scale: Floats  # (tracks,)


def _best_energy(tracks: Floats, track_sigma: Floats, calo: Floats, calo_sigma: Floats) -> Floats:
    """Mean of track and calorimeter energy weighted by 1/sigma^2; a sigma of 0 is a weight of 0."""
    track_weight = np.where(track_sigma > 0, 1 / np.maximum(track_sigma, 1e-12) ** 2, 0.0)
    calo_weight = np.where(calo_sigma > 0, 1 / np.maximum(calo_sigma, 1e-12) ** 2, 0.0)
    total = track_weight + calo_weight
    best: Floats = np.where(
        total > 0, (tracks * track_weight + calo * calo_weight) / np.where(total > 0, total, 1.0), 0.0
    )
    return best


def _per_tower(tower: Ints, values: Floats, n_towers: int) -> Floats:
    """Sum of values in each tower."""
    return np.bincount(tower, weights=values, minlength=n_towers).astype(np.float64)


def energy_flow(
    layer: Layer,
    deposit: tuple[Ints, Floats, Floats, Floats],
    is_track: Bools,
    track_energy: Floats,
    track_sigma: Floats,
    rng: np.random.Generator,
) -> Flow:
    """Run one layer.

    ``deposit`` = (event, eta, phi, energy) of every particle that deposits here; ``is_track`` marks those
    whose track points here, with ``track_energy`` and its ``track_sigma`` (0: taken as unknown).
    """
    event, eta, phi, energy = deposit
    ring, cell, width = layer.towers(eta, phi)
    key = (event * len(layer.eta_edges) + ring) * 360 + cell
    _, first, tower = np.unique(key, return_index=True, return_inverse=True)
    n_towers = len(first)
    abs_eta = np.abs(layer.ring_centre(ring[first]))

    true_energy = _per_tower(tower, energy, n_towers)
    calo = log_normal(true_energy, layer.sigma(true_energy, abs_eta), rng)
    sigma = layer.sigma(calo, abs_eta)
    calo = np.where((calo < layer.energy_min) | (calo < layer.significance_min * sigma), 0.0, calo)
    sigma = layer.sigma(calo, abs_eta)

    tracks = _per_tower(tower[is_track], track_energy[is_track], n_towers)
    variance = _per_tower(tower[is_track], track_sigma[is_track] ** 2, n_towers)
    excess = np.maximum(calo - tracks, 0.0)
    combined = np.sqrt(sigma**2 + variance)
    neutral = (excess > layer.energy_min) & (excess > layer.significance_min * combined)

    best = _best_energy(tracks, np.sqrt(variance), calo, sigma)
    scale = np.where(neutral, 1.0, best / np.where(tracks > 0, tracks, 1.0))
    place = rng.random((2, n_towers))  # drawn for every tower, so that one jet's draws do not move another's
    low, high = layer.eta_edges[ring[first]], layer.eta_edges[ring[first] + 1]
    spread_eta = low + place[0] * (high - low)
    spread_phi = wrap_phi((cell[first] + place[1]) * width[first] - np.pi)
    return Flow(
        event=event[first][neutral],
        energy=excess[neutral],
        eta=spread_eta[neutral],
        phi=spread_phi[neutral],
        track_scale=scale[tower[is_track]],
    )
