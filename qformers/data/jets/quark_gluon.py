"""The quark/gluon set of EnergyFlow in .npz (Zenodo 3164691, arXiv:1810.05165): R = 0.4 jets, 500 < pT < 550 GeV.

`X` (jets, most particles, 4) holds pT in GeV, rapidity, azimuth in rad and PDG id of the particles, zero padded; `y` is
1 for a quark and 0 for a gluon. Jet axis and order in pT are made here.

Particles count as massless, with the rapidity as pseudorapidity. So it was done for the published taggers (ParticleNet,
Particle Transformer), with whose numbers and weights a training is compared; the ids would give masses.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig
from qformers.data.events import Events
from qformers.data.jets.inputs import Inputs, sets_of
from qformers.data.jets.labels import refuse_labels
from qformers.data.jets.npz_rows import Member, Rows, has_arrays, open_rows
from qformers.data.jets.particles import IDENTITY, KINDS, columns_of, from_pt_eta_phi, identity, padded, whole_numbers
from qformers.data.jets.reader import ClassChoice
from qformers.data.jets.standardise import AZIMUTH, GEV, PDG_ID, RAPIDITY, check_finite, flag_to_index
from qformers.errors import DataError

PARTICLES, LABELS = "X", "y"
COLUMNS = {"pt": GEV, "rapidity": RAPIDITY, "phi": AZIMUTH, "pdgid": PDG_ID}
CLASSES = ("quark", "gluon")  # the signal first, as in the published configurations
FEATURES = sets_of("kin", "kinpid", "lnpt_eta_phi", "pt_eta_phi")


def is_quark_gluon(path: Path) -> bool:
    """Whether a file has the arrays of this set."""
    return has_arrays(path, (PARTICLES, LABELS))


class QuarkGluon:
    """Reader of the quark/gluon files."""

    def __init__(self, config: DataConfig) -> None:
        """Raises `DataError` for an unknown feature set or class, or labels of the build."""
        refuse_labels(config.labels, "quark_gluon")
        self._inputs = Inputs(config, FEATURES, "quark_gluon")
        self.feature_set = self._inputs.feature_set
        self._classes = ClassChoice(CLASSES, config.classes, "quark_gluon")
        self.class_names = self._classes.names

    def kept(self, path: Path) -> NDArray[np.bool_]:
        """(jets in the file,), True where the jet is of a selected class."""
        with open_rows(path) as rows:
            _, labels = _members(path, rows)
            if self._classes.all:
                return np.ones(len(labels), bool)
            return self._labels(path, rows, labels, 0, len(labels)) >= 0

    def read(self, path: Path, start: int, stop: int) -> Events:
        """Kept jets among the file's jets [start, stop).

        Raises:
            DataError: unreadable file, missing array, wrong type or shape, non-finite value, unknown PDG id, a label
                that is neither 0 nor 1.
        """
        with open_rows(path) as rows:
            particles, members = _members(path, rows)
            labels = self._labels(path, rows, members, start, stop)
            values = rows.read(particles, start, stop).astype(np.float64)  # (n, S, 4)
        for place, (name, quantity) in enumerate(COLUMNS.items()):
            where = f"{path}, '{PARTICLES}' column {place} ({name})"
            check_finite(values[:, :, place], where, None, start, quantity)
        jet, slot, counts = padded(values)
        pt, eta, phi, ids = values[jet, slot].T  # massless: the rapidity is the pseudorapidity
        what = f"'{PARTICLES}' columns 0 (pt), 1 (rapidity)"
        columns = columns_of(from_pt_eta_phi(pt, eta, phi), counts, None, str(path), what, start)
        if set(IDENTITY) & set(self._inputs.per_particle):
            where = f"{path}, '{PARTICLES}' column 3 (pdgid)"
            columns |= identity(whole_numbers(ids, where, jet, start), KINDS, where, jet, start)
        return self._inputs.events(columns, counts, labels, self.class_names)

    def _labels(self, path: Path, rows: Rows, labels: Member, start: int, stop: int) -> NDArray[np.int64]:
        """(n,) index among the selected classes, -1 = dropped."""
        flags = rows.read(labels, start, stop)
        return self._classes.apply(flag_to_index(flags, f"{path}, '{LABELS}'", start))


def _members(path: Path, rows: Rows) -> tuple[Member, Member]:
    """Particles and labels."""
    particles, labels = rows.member(PARTICLES, 3), rows.member(LABELS, 1)
    if len(particles) != len(labels):
        raise DataError(f"{path}: '{LABELS}' has {len(labels)} jets and '{PARTICLES}' has {len(particles)}")
    if particles.header.shape[2] != len(COLUMNS):
        raise DataError(
            f"{path}: '{PARTICLES}' must have {len(COLUMNS)} numbers per particle, {', '.join(COLUMNS)}. "
            f"Received: {particles.header.shape[2]}, shape {particles.header.shape}"
        )
    return particles, labels
