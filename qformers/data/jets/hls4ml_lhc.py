"""The hls4ml LHC jet set in HDF5 (Zenodo 3602260, arXiv:1709.08705): five classes, pT around 1 TeV.

`jetConstituentList` (jets, 30|50|100|150, 16) holds the particles, zero padded; `particleFeatureNames` names its
columns, with a 17th name (j1_pdgid) that has no column. `jets` holds the one-hot labels in its columns -6 to -2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig
from qformers.data.events import Events, FeatureSet
from qformers.data.jets.hdf5_data import has_member, open_file, refuse_missing_filters, within
from qformers.data.jets.labels import refuse_labels
from qformers.data.jets.reader import ClassChoice, choose_features, require_names
from qformers.data.jets.standardise import (
    AZIMUTH,
    GEV,
    PLAIN,
    RAPIDITY,
    RAW,
    Numbers,
    Scaling,
    blank,
    check_counts,
    check_finite,
    check_momenta,
    feature_set,
    one_hot_to_index,
    safe_log,
    slots,
    standardise,
)
from qformers.errors import DataError

PARTICLES, NAMES, JETS, JET_NAMES = "jetConstituentList", "particleFeatureNames", "jets", "jetFeatureNames"
CLASSES = ("g", "q", "w", "z", "t")
MOMENTUM = ("j1_px", "j1_py", "j1_pz", "j1_e")

# Mean and standard deviation over the real ones among the first 16 particles by pT of 65,000 jets made by
# `qformers generate lhc5 --out data/lhc5 --jets 130000 --jobs 1 --seed 1` (train/jets_000 to _012),
# rounded to two digits; means that are zero by symmetry are zero. z = (x - mean) / std. GeV, rad. Fixed in code, so
# that the inputs of a model never depend on the sample at hand.
MEAN_STD: dict[str, tuple[float, float]] = {
    "j1_px": (0.0, 55.0),
    "j1_py": (0.0, 55.0),
    "j1_pz": (0.0, 81.0),
    "j1_e": (67.0, 89.0),
    "j1_erel": (0.053, 0.062),
    "j1_pt": (50.0, 60.0),
    "j1_ptrel": (0.053, 0.062),
    "j1_eta": (0.0, 0.78),
    "j1_etarel": (0.0, 0.077),
    "j1_etarot": (-0.014, 0.10),
    "j1_phi": (0.0, 1.8),
    "j1_phirel": (0.0, 0.077),
    "j1_phirot": (0.0, 0.039),
    "j1_deltaR": (0.079, 0.074),
    "j1_costheta": (0.0, 0.57),
    "j1_costhetarel": (0.996, 0.0080),
}
COLUMNS = tuple(MEAN_STD)
QUANTITIES = {
    **dict.fromkeys((*MOMENTUM, "j1_pt"), GEV),
    **dict.fromkeys(("j1_eta", "j1_etarel", "j1_etarot", "j1_phirot", "j1_deltaR"), RAPIDITY),
    **dict.fromkeys(("j1_phi", "j1_phirel"), AZIMUTH),
}
_OUR_NAMES = {"j1_pt": "part_pt", "j1_etarel": "part_deta", "j1_phirel": "part_dphi"}


def _scaled(column: str) -> Scaling:
    mean, std = MEAN_STD[column]
    return Scaling(mean, 1.0 / std)


def _name(column: str) -> str:
    return _OUR_NAMES.get(column, column.replace("j1_", "part_"))


FEATURES: dict[str, FeatureSet] = {
    "pt_eta_phi": feature_set({_name(c): _scaled(c) for c in ("j1_pt", "j1_etarel", "j1_phirel")}),
    "lnpt_eta_phi": feature_set({"part_pt_log": RAW, "part_deta": RAW, "part_dphi": RAW}),
    "all16": feature_set({_name(c): _scaled(c) for c in COLUMNS}),
}
_SOURCE: dict[str, str] = {**{_name(c): c for c in COLUMNS}, "part_pt_log": "j1_pt"}  # feature -> column it comes from


MOST_NAMES = 10_000  # columns


def is_hls4ml_lhc(path: Path) -> bool:
    """Whether a file has the particles of the hls4ml set."""
    return has_member(path, PARTICLES)


def _member(path: Path, file: Any, name: str) -> Any:
    """The data set of a name, in the file itself.

    Raises:
        DataError: missing, a group, kept in another file, or larger than all that the file can hold.
    """
    import h5py

    data = within(path, file, name)
    if not isinstance(data, h5py.Dataset) or data.shape is None:
        kind = "nothing" if isinstance(data, h5py.Dataset) else f"a {type(data).__name__.lower()}"
        raise DataError(
            f"{path}: '{name}' must be a data set of numbers. Received: {kind}; generate or fetch the file again"
        )
    refuse_missing_filters(path, data)
    return data


def _dataset(path: Path, file: Any, name: str, axes: int) -> Any:
    data = _member(path, file, name)
    if data.ndim != axes or data.dtype.kind not in "biuf":
        raise DataError(
            f"{path}: dataset '{name}' has the wrong type. Expected: numbers with {axes} axes. "
            f"Received: {data.dtype} of shape {data.shape}"
        )
    return data


def _names(path: Path, file: Any, name: str) -> list[str]:
    data = _member(path, file, name)
    if data.dtype.kind not in "SO" or data.size > MOST_NAMES:
        raise DataError(
            f"{path}: dataset '{name}' has the wrong type. Expected: names of columns. Received: {data.dtype} of shape "
            f"{data.shape}"
        )
    names = []
    for item in data[()].ravel().tolist():
        try:
            names.append(item.decode() if isinstance(item, bytes) else str(item))
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: dataset '{name}': the name {item!r} is not UTF-8; write the names of columns in ASCII"
            ) from error
    return names


class Hls4mlLhc:
    """Reader of the hls4ml LHC jet files."""

    def __init__(self, config: DataConfig) -> None:
        """Raises `DataError` for an unknown feature set or class, or labels of the build."""
        refuse_labels(config.labels, "hls4ml_lhc")
        self.feature_set = choose_features(config.features, FEATURES, "hls4ml_lhc")
        self._classes = ClassChoice(CLASSES, config.classes, "hls4ml_lhc")
        self.class_names = self._classes.names
        self._num_particles = config.num_particles
        self._padding = config.padding
        self._wanted = tuple(dict.fromkeys((*MOMENTUM, "j1_pt", *(_SOURCE[n] for n in self.feature_set.names))))

    def kept(self, path: Path) -> NDArray[np.bool_]:
        """(jets in the file,), True where the jet is of a selected class."""
        with open_file(path) as file:
            jets = len(self._particles(path, file)[0])
            return np.ones(jets, bool) if self._classes.all else self._read_labels(path, file, 0, jets) >= 0

    def read(self, path: Path, start: int, stop: int) -> Events:
        """Kept jets among the file's jets [start, stop).

        Raises:
            DataError: unreadable file, missing dataset or column, wrong type, fewer particles than asked, non-finite
                value, labels not one-hot.
        """
        with open_file(path) as file:
            data, column = self._particles(path, file)
            labels = self._read_labels(path, file, start, stop)
            everything = data[start:stop]  # (n, S, 16), of the type of the file
        read: dict[str, Numbers] = {}
        for name in self._wanted:
            values = everything[:, :, column[name]]
            read[name] = values if values.dtype.kind == "f" else values.astype(np.float64)
            where = f"{path}, '{PARTICLES}' column '{name}'"
            check_finite(read[name], where, None, start, QUANTITIES.get(name, PLAIN))
        self._check_jets(read, path, start)
        features, vectors, mask = self._arrange({name: values.astype(np.float32) for name, values in read.items()})
        events = Events(features, vectors, mask, labels, self.class_names, self.feature_set)
        keep = labels >= 0
        return events if keep.all() else events[keep]

    def _particles(self, path: Path, file: Any) -> tuple[Any, dict[str, int]]:
        """The particle list, not yet read, and column name -> index."""
        data = _dataset(path, file, PARTICLES, 3)
        names = _names(path, file, NAMES)
        width = data.shape[2]
        if len(names) == width + 1 and "j1_pdgid" in names:
            names.remove("j1_pdgid")  # named in the public files, but not written
        if len(names) != width:
            raise DataError(f"{path}: '{NAMES}' lists {len(names)} names and '{PARTICLES}' has {width} columns")
        require_names(f"{path}, '{NAMES}'", self._wanted, names, "column")
        if data.shape[1] < self._num_particles:
            raise DataError(
                f"{path}: data.num_particles asks for {self._num_particles} particles and '{PARTICLES}' has "
                f"{data.shape[1]} per jet; lower num_particles or take the files with more"
            )
        return data, {name: i for i, name in enumerate(names)}

    def _read_labels(self, path: Path, file: Any, start: int, stop: int) -> NDArray[np.int64]:
        """(n,) index among the selected classes, -1 = dropped."""
        jets = _dataset(path, file, JETS, 2)
        particles = file[PARTICLES].shape[0]
        if jets.shape[0] != particles:
            raise DataError(f"{path}: '{JETS}' has {jets.shape[0]} jets and '{PARTICLES}' has {particles}")
        wanted = [f"j_{name}" for name in CLASSES]
        if JET_NAMES in file:
            names = _names(path, file, JET_NAMES)
            require_names(f"{path}, '{JET_NAMES}'", wanted, names, "column")
            index = [names.index(name) for name in wanted]
        else:
            index = list(range(jets.shape[1] - 6, jets.shape[1] - 1))  # Zenodo 3602260: labels, then j_undef
        if min(index) < 0 or max(index) >= jets.shape[1]:
            raise DataError(f"{path}: '{JETS}' has {jets.shape[1]} columns, too few for five labels and j_undef")
        one_hot = np.asarray(jets[start:stop], np.float64)[:, index]  # (n, 5)
        return self._classes.apply(one_hot_to_index(one_hot, f"{path}, '{JETS}'", CLASSES, start))

    def _check_jets(self, columns: dict[str, Numbers], path: Path, start: int) -> None:
        """Refuse jets without particles, and slots that are neither padding (all zero) nor a particle."""
        filled = np.any([columns[name] != 0 for name in ("j1_pt", *MOMENTUM)], axis=0)  # (n, S)
        jet, slot = np.nonzero(filled)
        pt, energy = (columns[name][jet, slot] for name in ("j1_pt", "j1_e"))
        check_momenta(pt, energy, f"{path}, '{PARTICLES}' columns 'j1_pt', 'j1_e'", jet, start)
        check_counts(filled.sum(axis=1), f"{path}, '{PARTICLES}'", start)

    def _arrange(
        self, columns: dict[str, NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Features (n, N, F), vectors (n, N, 4) and mask (n, N): stable pT order, cut at N, padded. Real = pT > 0."""
        pt = columns["j1_pt"]  # (n, S)
        order = np.argsort(-pt, axis=1, kind="stable")  # equal pT stays in file order
        rank, mask = slots((pt > 0).sum(axis=1), self._num_particles, self._padding)
        index = np.take_along_axis(order, rank, axis=1)  # (n, N)
        picked = {name: np.take_along_axis(values, index, axis=1) for name, values in columns.items()}
        raw = [
            safe_log(picked["j1_pt"]) if name == "part_pt_log" else picked[_SOURCE[name]]
            for name in self.feature_set.names
        ]
        features = blank(standardise(np.stack(raw, axis=-1), self.feature_set), mask, self._padding)
        vectors = blank(np.stack([picked[name] for name in MOMENTUM], axis=-1), mask, self._padding)
        return features, vectors, mask
