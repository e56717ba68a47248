"""The Lennard-Jones potential of a mixture, and configurations drawn from it by Metropolis' Monte Carlo.

    u(r) = 4 epsilon ((sigma / r)^12 - (sigma / r)^6)

Reduced units: lengths in sigma and energies in epsilon of two atoms of the first species, temperatures in epsilon / kB.
Two species have the numbers of Kob and Andersen (Phys. Rev. E 51, 4626), which mix well; nothing is cut off.

A cluster is a chain of its own: each move displaces an atom evenly within a cube and is accepted with probability
min(1, exp(-(change of energy) / T)), or refused where the atom would leave a hard sphere around the origin. Whether it
is accepted is asked of an exponentially distributed number instead of an exponential, and sums run over the first axis,
so that all that decides is +, -, *, / and draws of NumPy: equal seeds give equal chains on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIGMA = np.array([[1.0, 0.8], [0.8, 0.88]])  # of a pair of species
EPSILON = np.array([[1.0, 1.5], [1.5, 0.5]])
SHARE_OF_B = 0.2  # of the atoms
FIRST_STEP, LARGEST_STEP = 0.1, 0.5  # half the edge of the cube of moves, sigma
ACCEPTED = 0.4  # share of the moves, for which the steps are set
TOO_NEAR = 1e-6  # squared distances are no smaller: two atoms at one place have a large finite energy


def composition(atoms: int, species: int) -> Ints:
    """Species (atoms,) of the atoms of every cluster, index in `SIGMA`; those of the first come first."""
    second = round(SHARE_OF_B * atoms) if species > 1 else 0
    return np.repeat([0, 1], [atoms - second, second])


def pair_energies(squares: Floats, sigma: Floats, epsilon: Floats) -> Floats:
    """u of squared distances; all three of one shape, or of shapes that fit."""
    ratio = sigma * sigma / np.maximum(squares, TOO_NEAR)
    sixth = ratio * ratio * ratio
    energies: Floats = 4.0 * epsilon * (sixth * sixth - sixth)
    return energies


def energies(coords: NDArray[np.floating], kinds: Ints) -> Floats:
    """Potential energy of each cluster, (n,).

    Args:
        coords: (n, N, 3).
        kinds: (N,), index in `SIGMA`.
    """
    places = np.moveaxis(np.asarray(coords, np.float64), 0, -1)  # (N, 3, n)
    total = np.zeros(len(coords))
    for atom in range(1, len(kinds)):
        apart = places[:atom] - places[atom]  # (atom, 3, n)
        squares = (apart * apart).sum(axis=1)
        of_pairs = pair_energies(
            squares, SIGMA[kinds[:atom], kinds[atom], None], EPSILON[kinds[:atom], kinds[atom], None]
        )
        total += of_pairs.sum(axis=0)
    return total


@dataclass(frozen=True)
class Sphere:
    """Where the atoms are: within `radius` sigma of the origin."""

    radius: float

    @classmethod
    def of(cls, atoms: int, density: float) -> Sphere:
        """For a number of atoms per sigma^3."""
        return cls((3.0 * atoms / (4.0 * np.pi * density)) ** (1.0 / 3.0))


class Chains:
    """Markov chains of clusters, moved together.

    Args:
        kinds: (N,), species of the atoms.
        temperatures: (n,), of each cluster.
        sphere: that holds it.
        rng: decides everything.
    """

    def __init__(self, kinds: Ints, temperatures: Floats, sphere: Sphere, rng: np.random.Generator) -> None:
        self._sigma = SIGMA[kinds[:, None], kinds[None, :], None]  # (N, N, 1)
        self._epsilon = EPSILON[kinds[:, None], kinds[None, :], None]
        self._temperatures, self._rng = temperatures, rng
        self._square = sphere.radius**2
        self._steps = np.full(len(temperatures), FIRST_STEP)
        self._places = _inside(sphere.radius, len(kinds), len(temperatures), rng)  # (N, 3, n)

    @property
    def coords(self) -> Floats:
        """(n, N, 3)."""
        return np.ascontiguousarray(np.moveaxis(self._places, -1, 0))

    def sweep(self, adapt: bool) -> Floats:
        """Move every atom once, in turn; the share accepted (n,).

        Args:
            adapt: set the length of the steps by what is accepted; the chain keeps to its distribution only without.
        """
        accepted = np.zeros(len(self._temperatures))
        for atom in range(len(self._places)):
            accepted += self._move(atom)
        accepted /= len(self._places)
        if adapt:
            self._steps = np.clip(self._steps * (1.0 + 0.5 * (accepted - ACCEPTED)), 1e-3, LARGEST_STEP)
        return accepted

    def _move(self, atom: int) -> NDArray[np.bool_]:
        here = self._places[atom]  # (3, n)
        there = here + self._steps * self._rng.uniform(-1.0, 1.0, here.shape)
        rise = self._energy(atom, there) - self._energy(atom, here)
        taken = rise <= self._temperatures * self._rng.standard_exponential(len(rise))
        taken &= (there * there).sum(axis=0) <= self._square
        self._places[atom] = np.where(taken, there, here)
        return taken

    def _energy(self, atom: int, place: Floats) -> Floats:
        """Of an atom at a place (3, n) with all others, (n,)."""
        others = np.delete(np.arange(len(self._places)), atom)
        apart = self._places[others] - place  # (N - 1, 3, n)
        squares = apart[:, 0] ** 2 + apart[:, 1] ** 2 + apart[:, 2] ** 2
        of_pairs: Floats = pair_energies(squares, self._sigma[atom, others], self._epsilon[atom, others]).sum(axis=0)
        return of_pairs


def _inside(radius: float, atoms: int, clusters: int, rng: np.random.Generator) -> Floats:
    """Places (atoms, 3, clusters) spread evenly over a sphere: drawn in a cube until they are in it."""
    places = np.empty((atoms, 3, clusters))
    missing = np.ones((atoms, clusters), bool)
    while missing.any():
        drawn = rng.uniform(-radius, radius, (atoms, 3, clusters))
        new = missing & ((drawn * drawn).sum(axis=1) <= radius**2)
        places = np.where(new[:, None], drawn, places)
        missing &= ~new
    return places


def draw(
    kinds: Ints,
    temperatures: Floats,
    sphere: Sphere,
    sweeps: int,
    rng: np.random.Generator,
    tick: Callable[[], object] = lambda: None,
) -> tuple[Floats, Floats]:
    """Clusters (n, N, 3), the last ones of their chains, and the share of moves accepted (n,) in the second half.

    Args:
        kinds: (N,), species of the atoms.
        temperatures: (n,).
        sphere: that holds them.
        sweeps: moves of every atom; in the first half the steps are set.
        rng: decides everything.
        tick: called after each sweep.
    """
    chains = Chains(kinds, temperatures, sphere, rng)
    accepted = []
    for number in range(sweeps):
        share = chains.sweep(adapt := number < sweeps // 2)
        if not adapt:
            accepted.append(share)
        tick()
    return chains.coords, np.mean(accepted, axis=0)
