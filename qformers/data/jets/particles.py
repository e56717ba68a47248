"""From the particles of jets to the columns of `qformers.data.jets.inputs`: the jet's axis, and what a PDG id says.

For data sets that have four-momenta and no more: what JetClass's files hold beside them is computed here, in double
precision, as its generator does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qformers.data.jets.inputs import FLAGS
from qformers.data.jets.standardise import (
    Numbering,
    check_counts,
    check_finite,
    check_momenta,
    check_positive,
    jet_number,
)
from qformers.errors import DataError

Floats = NDArray[np.float64]
Columns = dict[str, NDArray[np.float32]]


class Kind(NamedTuple):
    """What a particle is: its flag, and the charge of the positive PDG id in units of e."""

    flag: str
    charge: int


# Particles that live long enough to be one of a jet, by PDG id; of an antiparticle the charge is the opposite.
KINDS: dict[int, Kind] = {
    11: Kind("isElectron", -1), 13: Kind("isMuon", -1), 22: Kind("isPhoton", 0),
    211: Kind("isChargedHadron", 1), 321: Kind("isChargedHadron", 1), 2212: Kind("isChargedHadron", 1),
    130: Kind("isNeutralHadron", 0), 310: Kind("isNeutralHadron", 0),
    2112: Kind("isNeutralHadron", 0), 3122: Kind("isNeutralHadron", 0), 3322: Kind("isNeutralHadron", 0),
    3112: Kind("isChargedHadron", -1), 3222: Kind("isChargedHadron", 1), 3312: Kind("isChargedHadron", -1),
    3334: Kind("isChargedHadron", -1),
}  # fmt: skip
IDENTITY = ("part_charge", *(f"part_{flag}" for flag in FLAGS))  # columns that an id gives


class Momenta(NamedTuple):
    """Four-momenta (k,) of all particles of some jets, jet after jet, and their pT as the file has it, GeV."""

    px: Floats
    py: Floats
    pz: Floats
    energy: Floats
    pt: Floats


class Axis(NamedTuple):
    """The jet of each of n jets: pT and energy in GeV, pseudorapidity, azimuth in rad."""

    pt: Floats
    eta: Floats
    phi: Floats
    energy: Floats


def cartesian(px: Floats, py: Floats, pz: Floats, energy: Floats) -> Momenta:
    """Four-momenta of their components, GeV."""
    return Momenta(px, py, pz, energy, np.hypot(px, py))


def from_pt_eta_phi(pt: Floats, eta: Floats, phi: Floats, mass: Floats | float = 0.0) -> Momenta:
    """Four-momenta of pT (GeV), pseudorapidity, azimuth (rad) and mass (GeV); beyond double precision infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        momentum = pt * np.cosh(eta)
        return Momenta(pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), np.hypot(momentum, mass), pt)


def padded(values: NDArray[np.float32] | Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where the particles of zero-padded jets stand; a slot is padding where all of its numbers are 0.

    Args:
        values: (n, slots, C).

    Returns:
        jet (k,) and slot (k,) of each particle, in the order of the file; particles of each jet (n,).
    """
    filled = (values != 0).any(axis=2)
    jet, slot = np.nonzero(filled)
    return jet, slot, filled.sum(axis=1)


def summed(momenta: Momenta, jet_of: NDArray[np.int64], jets: int) -> Axis:
    """The jets as the sums of their particles.

    Args:
        momenta: of all particles (k,).
        jet_of: (k,), jet of each.
        jets: how many there are.
    """
    px, py, pz, energy = (np.bincount(jet_of, values, jets).astype(np.float64) for values in momenta[:4])
    pt = np.hypot(px, py)
    return Axis(pt, np.arcsinh(pz / np.maximum(pt, np.finfo(float).tiny)), np.arctan2(py, px), energy)


def columns_of(
    momenta: Momenta, counts: NDArray[np.int64], axis: Axis | None, where: str, what: str, first_jet: Numbering
) -> Columns:
    """Momenta, angles to the jet's axis, pT and energy of the jet, (k,) each; every number is checked.

    ``part_deta`` is sign(jet eta) * (eta - jet eta), so that the forward side of every jet looks the same way.

    Args:
        momenta: of all particles (k,), jet after jet.
        counts: (n,), particles of each jet.
        axis: of the jets; None = the sum of each jet's particles.
        where: file, for messages.
        what: columns or branches of the momenta, for messages.
        first_jet: numbers of the jets in the file, for messages.

    Raises:
        DataError: a jet without particles; a number that is not finite or beyond what is measured; pT or energy that
            is not positive, of a particle or of a jet.
    """
    check_counts(counts, where, first_jet)
    jet_of = np.repeat(np.arange(len(counts)), counts)
    said = f"{where}, {what}"
    check_finite(np.stack(momenta[:4], axis=1), said, jet_of, first_jet)
    check_momenta(momenta.pt, momenta.energy, said, jet_of, first_jet)
    axis = axis or summed(momenta, jet_of, len(counts))
    for name, values in (("pT", axis.pt), ("energy", axis.energy)):
        check_positive(values, f"{said}: {name} of the jet", first_jet)
    side = np.where(axis.eta < 0, -1.0, 1.0)[jet_of]
    turned = np.arctan2(momenta.py, momenta.px) - axis.phi[jet_of]
    made = {
        "part_px": momenta.px,
        "part_py": momenta.py,
        "part_pz": momenta.pz,
        "part_energy": momenta.energy,
        "part_pt": momenta.pt,
        "part_deta": side * (np.arcsinh(momenta.pz / momenta.pt) - axis.eta[jet_of]),
        "part_dphi": (turned + np.pi) % (2 * np.pi) - np.pi,
        "jet_pt": axis.pt[jet_of],
        "jet_energy": axis.energy[jet_of],
    }
    return {name: values.astype(np.float32) for name, values in made.items()}


def identity(
    ids: NDArray[np.int64], kinds: dict[int, Kind], where: str, jet_of: NDArray[np.int64], first_jet: Numbering
) -> Columns:
    """Charge and flags of particles, by their PDG ids.

    Args:
        ids: (k,).
        kinds: what is known, by the absolute value of the id.
        where: file and column, for messages.
        jet_of: (k,), jet of each.
        first_jet: numbers of the jets in the file, for messages.

    Raises:
        DataError: an id that is not known, with the jet.
    """
    known = np.array(sorted(kinds))
    place = np.searchsorted(known, np.abs(ids)).clip(max=len(known) - 1)
    unknown = known[place] != np.abs(ids)
    if unknown.any():
        first = int(np.argmax(unknown))
        raise DataError(
            f"{where}: unknown PDG id {ids[first]} in jet {jet_number(first, jet_of, first_jet)} ({unknown.sum()} such "
            f"particles among the jets read with it); known are {', '.join(map(str, known))} and their antiparticles: "
            "mend the file, or choose data.features that need no ids"
        )
    charges = np.array([kinds[int(number)].charge for number in known])
    columns = {"part_charge": (np.sign(ids) * charges[place]).astype(np.float32)}
    for flag in FLAGS:
        of = np.array([kinds[int(number)].flag == flag for number in known])
        columns[f"part_{flag}"] = of[place].astype(np.float32)
    return columns


def whole_numbers(values: Floats, where: str, jet_of: NDArray[np.int64], first_jet: Numbering) -> NDArray[np.int64]:
    """PDG ids that a file keeps as floating-point numbers.

    Raises:
        DataError: one with a fraction, or beyond 32 bits, with the jet.
    """
    bad = ~((np.abs(values) < 2**31) & (values == np.round(values)))  # True for NaN
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            f"{where}: a PDG id is a whole number. Received: {values[first]} in jet "
            f"{jet_number(first, jet_of, first_jet)}; mend or drop these jets"
        )
    return values.astype(np.int64)
