"""The top landscape set in HDF5 (Zenodo 2603256, arXiv:1902.09914): top against QCD jets, 550 < pT < 650 GeV.

A pandas table with the key `table`, a row per jet: E_i, PX_i, PY_i, PZ_i of its leading 200 particles in GeV, zero
padded, and is_signal_new, 1 for a top jet. Jet axis and order in pT are made here.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig
from qformers.data.events import Events
from qformers.data.jets.hdf5_data import has_member, open_file
from qformers.data.jets.inputs import Inputs, sets_of
from qformers.data.jets.labels import refuse_labels
from qformers.data.jets.particles import cartesian, columns_of, padded
from qformers.data.jets.pytables import Frame
from qformers.data.jets.reader import ClassChoice, require_names
from qformers.data.jets.standardise import flag_to_index
from qformers.errors import DataError

KEY = "table"
CLASSES = ("top", "qcd")  # the signal first, as in the published configurations
SIGNAL = "is_signal_new"
COMPONENTS = ("PX", "PY", "PZ", "E")
FEATURES = sets_of("kin", "lnpt_eta_phi", "pt_eta_phi")
ROWS_AT_ONCE = 1 << 16  # jets whose labels are read at a time


def is_top_landscape(path: Path) -> bool:
    """Whether a file has the table of this set."""
    return has_member(path, KEY)


class TopLandscape:
    """Reader of the top landscape files."""

    def __init__(self, config: DataConfig) -> None:
        """Raises `DataError` for an unknown feature set or class, or labels of the build."""
        refuse_labels(config.labels, "top_landscape")
        self._inputs = Inputs(config, FEATURES, "top_landscape")
        self.feature_set = self._inputs.feature_set
        self._classes = ClassChoice(CLASSES, config.classes, "top_landscape")
        self.class_names = self._classes.names

    def kept(self, path: Path) -> NDArray[np.bool_]:
        """(jets in the file,), True where the jet is of a selected class."""
        with open_file(path) as file:
            frame = Frame.of(path, file, KEY)
            self._slots(frame)
            if self._classes.all:
                return np.ones(len(frame), bool)
            starts = range(0, len(frame), ROWS_AT_ONCE)
            parts = [self._labels(frame, at, min(at + ROWS_AT_ONCE, len(frame))) >= 0 for at in starts]
        return np.concatenate(parts) if parts else np.zeros(0, bool)

    def read(self, path: Path, start: int, stop: int) -> Events:
        """Kept jets among the file's jets [start, stop).

        Raises:
            DataError: unreadable file, missing column, fewer particles than asked, non-finite value, a flag that is
                neither 0 nor 1.
        """
        with open_file(path) as file:
            frame = Frame.of(path, file, KEY)
            slots = self._slots(frame)
            labels = self._labels(frame, start, stop)
            names = [f"{component}_{slot}" for slot in range(slots) for component in COMPONENTS]
            values = frame.read(names, start, stop).reshape(stop - start, slots, len(COMPONENTS))  # (n, S, 4)
        jet, slot, counts = padded(values)
        momenta = cartesian(*values[jet, slot].astype(np.float64).T)
        what = f"columns {', '.join(f'{name}_*' for name in COMPONENTS)}"
        columns = columns_of(momenta, counts, None, f"{path}, '{KEY}'", what, start)
        return self._inputs.events(columns, counts, labels, self.class_names)

    def _slots(self, frame: Frame) -> int:
        """Particles that a row has room for, S."""
        found = [int(match[1]) for name in frame.places if (match := re.fullmatch(r"E_(\d{1,4})", name))]
        slots = max(found, default=0) + 1
        wanted = (f"{component}_{slot}" for slot in range(slots) for component in COMPONENTS)
        require_names(f"{frame.path}, '{KEY}'", [*wanted, SIGNAL], frame.places, "column")
        if slots < self._inputs.num_particles:
            raise DataError(
                f"{frame.path}: data.num_particles asks for {self._inputs.num_particles} particles and '{KEY}' has "
                f"columns for {slots} per jet; lower num_particles or take the files with more"
            )
        return slots

    def _labels(self, frame: Frame, start: int, stop: int) -> NDArray[np.int64]:
        """(n,) index among the selected classes, -1 = dropped."""
        flags = frame.read([SIGNAL], start, stop)[:, 0]
        return self._classes.apply(flag_to_index(flags, f"{frame.path}, '{KEY}' column '{SIGNAL}'", start))
