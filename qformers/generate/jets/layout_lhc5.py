"""Jets to the arrays of the five-class set: constituents (n, P, 16) and jet features (n, 59)."""

import numpy as np
import numpy.typing as npt

from qformers.data.jets.hls4ml_lhc_writer import JET_FEATURES, LABELS, constituent_columns
from qformers.errors import DataError
from qformers.generate.jets.candidates import Candidates, particle_level
from qformers.generate.jets.clustering import Declustering, Jets
from qformers.generate.jets.processes import Preset
from qformers.generate.record import Floats, Ints, Record

COMPUTED = (
    *("j_pt", "j_eta", "j_mass", "j_tau1_b1", "j_tau2_b1", "j_tau3_b1", "j_tau1_b2", "j_tau2_b2", "j_tau3_b2"),
    *("j_tau32_b1", "j_tau32_b2", "j_zlogz", "j_mass_mmdt", "j_mass_sdb2", "j_multiplicity"),
)


def particles_of(record: Record, which: Ints, charge: Floats, preset: Preset, rng: np.random.Generator) -> Candidates:
    """The particles themselves, of the charged ones a share, pT above the preset's soft cut."""
    kept = np.hypot(record.px[which], record.py[which]) > preset.particle_pt_min
    if preset.track_efficiency < 1:
        kept &= (charge == 0) | (rng.random(len(which)) < preset.track_efficiency)
    return particle_level(record, which[kept], charge[kept])


def pad(jets: Jets, n_particles: int) -> tuple[Floats, Floats, Floats, Floats]:
    """px, py, pz, E of the leading constituents, (jets, n_particles) each, zero padded."""
    jet_of = np.repeat(np.arange(len(jets.counts)), jets.counts)
    slot = np.arange(len(jet_of)) - np.repeat(np.cumsum(jets.counts) - jets.counts, jets.counts)
    kept = slot < n_particles
    padded = []
    for values in (jets.constituents.px, jets.constituents.py, jets.constituents.pz, jets.constituents.energy):
        table = np.zeros((len(jets.counts), n_particles))
        table[jet_of[kept], slot[kept]] = values[kept]
        padded.append(table)
    return padded[0], padded[1], padded[2], padded[3]


def jet_table(jets: Jets, label: str, radius: float) -> Floats:
    """(jets, 59) jet features; those not in ``COMPUTED`` stay 0."""
    declustered = Declustering(jets, radius)
    jet_of = np.repeat(np.arange(len(jets.counts)), jets.counts)
    z = jets.constituents.pt / jets.pt[jet_of]
    columns: dict[str, Floats] = {
        "j_pt": jets.pt,
        "j_eta": jets.eta,
        "j_mass": jets.mass,
        "j_zlogz": np.bincount(jet_of, weights=z * np.log(z), minlength=len(jets.counts)).astype(np.float64),
        "j_mass_mmdt": declustered.soft_drop_mass(beta=0.0),
        "j_mass_sdb2": declustered.soft_drop_mass(beta=2.0),
        "j_multiplicity": jets.counts.astype(np.float64),
        f"j_{label}": np.ones(len(jets.counts)),
    }
    for beta in (1, 2):
        taus = declustered.subjettiness([1, 2, 3], float(beta))
        for order in (1, 2, 3):
            columns[f"j_tau{order}_b{beta}"] = taus[:, order - 1]
        columns[f"j_tau32_b{beta}"] = taus[:, 2] / np.maximum(taus[:, 1], 1e-12)
    if f"j_{label}" not in LABELS:
        raise DataError(f"the five-class set has no label j_{label}. Received: label={label!r}")
    table = np.zeros((len(jets.counts), len(JET_FEATURES)))
    for name, values in columns.items():
        table[:, JET_FEATURES.index(name)] = values
    return table


def arrays(jets: Jets, label: str, radius: float, n_particles: int) -> dict[str, npt.NDArray[np.float32]]:
    """The two float32 arrays of one class."""
    jet_p4 = np.stack([jets.px, jets.py, jets.pz, jets.energy], axis=1)
    return {
        "constituents": constituent_columns(*pad(jets, n_particles), jet_p4),
        "jets": jet_table(jets, label, radius).astype(np.float32),
    }
