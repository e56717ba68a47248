"""Parametric detector: particles to tracks, photons and neutral hadrons.

Cards: ``jetclass`` (what the public set was made with: track momenta unsmeared, but tracks of towers
without significant excess take the calorimeter's energy), ``cms`` (tracks smeared and weighted against
the calorimeter), ``gen`` (the particles themselves). Momenta in GeV, impact parameters in mm.
"""

import numpy as np

from qformers.generate.jets import candidates as cand
from qformers.generate.jets.calorimeter import ECAL, HCAL, Flow, energy_flow
from qformers.generate.jets.candidates import Candidates
from qformers.generate.jets.helix import Propagated, propagate
from qformers.generate.jets.tracking import efficiency, impact_resolution, log_normal, momentum_resolution
from qformers.generate.record import Bools, Floats, Ints, Record, pseudorapidity

GEN_PT_MIN = 0.1  # GeV
DROP_PT = 1e-4  # GeV, below it a scaled track is lost
_STRANGE_NEUTRALS = (310, 3122)  # undecayed K0S and Lambda shower in both layers
_STRANGE_ECAL_SHARE = 0.3


def deposit_shares(pid: Ints) -> tuple[Floats, Floats]:
    """Fractions of the energy that a particle leaves in ECAL and HCAL."""
    kind = np.abs(pid)
    electromagnetic, muon = np.isin(kind, (11, 22)), kind == 13
    strange = np.isin(kind, _STRANGE_NEUTRALS)
    ecal = np.where(electromagnetic, 1.0, np.where(strange, _STRANGE_ECAL_SHARE, 0.0))
    return ecal, np.where(muon, 0.0, 1.0 - ecal)


def _impact(
    propagated: Propagated, pt: Floats, abs_eta: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats, Floats]:
    """Measured d0, its error, dz, its error (mm); all 0 where they are not measured."""
    d0_error, dz_error = impact_resolution(pt, abs_eta)
    noise = rng.standard_normal((2, len(pt)))
    measured = d0_error > 0
    d0 = np.where(measured, propagated.d0 + d0_error * noise[0], 0.0)
    dz = np.where(measured, propagated.dz + dz_error * noise[1], 0.0)
    return d0, d0_error, dz, dz_error


def _neutrals(flow: Flow, species: int) -> Candidates:
    """Massless candidates of a layer's excesses."""
    pt, zero = flow.energy / np.cosh(flow.eta), np.zeros(len(flow.energy))
    return Candidates(
        event=flow.event,
        px=pt * np.cos(flow.phi),
        py=pt * np.sin(flow.phi),
        pz=pt * np.sinh(flow.eta),
        energy=flow.energy,
        species=np.full(len(flow.energy), species, dtype=np.int64),
        charge=zero,
        d0=zero,
        d0_error=zero,
        dz=zero,
        dz_error=zero,
    )


def _particle_level(record: Record, which: Ints, charge: Floats, entry: Propagated) -> Candidates:
    """Card ``gen``: pT above the cut, true impact parameters of charged particles, errors 0."""
    truth = cand.particle_level(record, which, charge)
    with_impact = Candidates(**{**vars(truth), "d0": entry.d0, "dz": entry.dz})
    return with_impact.take(truth.pt > GEN_PT_MIN)


def _calorimeters(
    deposit: tuple[Ints, Floats, Floats, Floats],
    pid: Ints,
    is_track: Bools,
    track: tuple[Floats, Floats],
    rng: np.random.Generator,
) -> tuple[Floats, list[Candidates]]:
    """Both layers: the factor on each particle's track momentum, and the neutrals.

    ``deposit`` = (event, entry eta, entry phi, true energy), ``track`` = (energy, its sigma), GeV.
    """
    event, eta, phi, energy = deposit
    electron = np.abs(pid) == 11
    ecal_share, hcal_share = deposit_shares(pid)
    scale, neutrals = np.ones(len(pid)), []
    for layer, share, pointing, made in (
        (ECAL, ecal_share, is_track & electron, cand.PHOTON),
        (HCAL, hcal_share, is_track & ~electron, cand.NEUTRAL_HADRON),
    ):
        here = np.flatnonzero(share > 0)  # muons are nowhere
        here_deposit = (event[here], eta[here], phi[here], share[here] * energy[here])
        flow = energy_flow(layer, here_deposit, pointing[here], track[0][here], track[1][here], rng)
        scale[here[pointing[here]]] = flow.track_scale
        neutrals.append(_neutrals(flow, made))
    return scale, neutrals


def respond(record: Record, which: Ints, charge: Floats, card: str, rng: np.random.Generator) -> Candidates:
    """Candidates of a batch; ``which``: indices of the detectable particles, ``charge``: theirs."""
    position = np.stack([record.vx, record.vy, record.vz], axis=1)[which]  # (n, 3) mm
    momentum = np.stack([record.px, record.py, record.pz], axis=1)[which]  # (n, 3) GeV
    entry = propagate(position, momentum, charge)
    if card == "gen":
        return _particle_level(record, which, charge, entry)

    pid, event, mass = record.pid[which], record.event[which], np.maximum(record.mass[which], 0.0)
    species = cand.species_of(pid, charge)
    true_pt, eta = np.hypot(momentum[:, 0], momentum[:, 1]), pseudorapidity(*momentum.T)
    tracked = rng.random(len(which)) < efficiency(true_pt, np.abs(entry.eta), species)
    is_track = (charge != 0) & tracked

    pt, sigma = true_pt, np.zeros(len(which))
    if card == "cms":
        resolution = momentum_resolution(true_pt, np.abs(eta), species)
        pt = log_normal(true_pt, resolution * true_pt, rng)
        sigma = resolution * pt * np.cosh(eta)
    d0, d0_error, dz, dz_error = _impact(entry, pt, np.abs(eta), rng)

    energy = np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2)
    deposit = (event, entry.eta, entry.phi, record.energy[which])
    scale, neutrals = _calorimeters(deposit, pid, is_track, (energy, sigma), rng)
    pt = pt * scale
    tracks = Candidates(
        event=event,
        px=pt * np.cos(entry.track_phi),
        py=pt * np.sin(entry.track_phi),
        pz=pt * np.sinh(eta),
        energy=np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2),
        species=species,
        charge=charge,
        d0=d0,
        d0_error=d0_error,
        dz=dz,
        dz_error=dz_error,
    ).take(is_track)
    everything = cand.join([tracks, *neutrals])
    return everything.take(everything.pt > DROP_PT)
