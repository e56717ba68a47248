"""JetClass ROOT files (Zenodo 6619768): ten classes of jets, anti-kT R = 0.8, 500 < pT < 1000 GeV.

Files with the same branches and other classes are read as well: `data.labels` names their label branches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig
from qformers.data.events import Events
from qformers.data.jets.inputs import FEATURES, FLAGS, MOMENTUM, Inputs
from qformers.data.jets.labels import LABEL_PREFIX, one_branch_each
from qformers.data.jets.reader import ClassChoice
from qformers.data.jets.root_tree import check_branches, flat_branches, has_tree, open_tree
from qformers.data.jets.standardise import (
    AZIMUTH,
    GEV,
    MM,
    PLAIN,
    RAPIDITY,
    check_among,
    check_counts,
    check_finite,
    check_momenta,
    check_positive,
    one_hot_to_index,
)

TREE = "tree"
CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
QUANTITIES = {
    **dict.fromkeys(MOMENTUM, GEV),
    **dict.fromkeys(("part_d0val", "part_d0err", "part_dzval", "part_dzerr"), MM),
    "part_deta": RAPIDITY,
    "part_dphi": AZIMUTH,
}
FEW = {"part_charge": (-1, 0, 1), **{f"part_{flag}": (0, 1) for flag in FLAGS}}  # branch -> what it may hold


def is_jetclass(path: Path) -> bool:
    """Whether a file has the tree of JetClass, and its particles in it; other trees have its name."""
    return has_tree(path, TREE, MOMENTUM[0])


class JetClass:
    """Reader of JetClass files and of files with the same branches."""

    def __init__(self, config: DataConfig) -> None:
        """Raises `DataError` for an unknown feature set or class, or labels that are no branches."""
        self._inputs = Inputs(config, FEATURES, "jetclass")
        self.feature_set = self._inputs.feature_set
        branches = one_branch_each(config.labels, "jetclass") or {name: f"{LABEL_PREFIX}{name}" for name in CLASSES}
        self._known, self._labels = tuple(branches), tuple(branches.values())
        self._classes = ClassChoice(self._known, config.classes, "jetclass")
        self.class_names = self._classes.names

    def kept(self, path: Path) -> NDArray[np.bool_]:
        """(jets in the file,), True where the jet is of a selected class."""
        with open_tree(path, TREE, "jets") as tree:
            if self._classes.all:
                return np.ones(tree.num_entries, bool)
            return self._read_labels(path, tree, 0, tree.num_entries) >= 0

    def read(self, path: Path, start: int, stop: int) -> Events:
        """Kept jets among the file's jets [start, stop).

        Raises:
            DataError: unreadable file, missing branch, wrong type, non-finite value, labels not one-hot.
        """
        per_particle, per_jet = self._inputs.per_particle, self._inputs.per_jet
        with open_tree(path, TREE, "jets") as tree:
            labels = self._read_labels(path, tree, start, stop)
            check_branches(path, tree, per_particle, per_jet)
            arrays = tree.arrays([*per_particle, *per_jet], entry_start=start, entry_stop=stop, library="ak")
        columns, counts = self._flatten(path, arrays, start)
        return self._inputs.events(columns, counts, labels, self.class_names)

    def _read_labels(self, path: Path, tree: Any, start: int, stop: int) -> NDArray[np.int64]:
        """(n,) index among the selected classes, -1 = dropped. The label branches mix float, bool and int32."""
        check_branches(path, tree, (), self._labels)
        arrays = tree.arrays(list(self._labels), entry_start=start, entry_stop=stop, library="np")
        one_hot = np.stack([np.asarray(arrays[name], np.float64) for name in self._labels], axis=1)  # (n, classes)
        return self._classes.apply(one_hot_to_index(one_hot, f"{path}, label_*", self._known, start))

    def _flatten(self, path: Path, arrays: Any, start: int) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]:
        """Branch -> (k,) over all particles of all jets, and (n,) particles per jet; every value is checked."""
        read, counts = flat_branches(path, arrays, self._inputs.per_particle, "jet", start)
        jet_of = np.repeat(np.arange(len(counts)), counts)  # (k,)
        for name, values in read.items():
            where = f"{path}, branch '{name}'"
            check_finite(values, where, jet_of, start, QUANTITIES.get(name, PLAIN))
            if name in FEW:
                check_among(values, FEW[name], where, jet_of, start)
        columns = {name: values.astype(np.float32) for name, values in read.items()}
        for name in self._inputs.per_jet:
            per_jet = np.asarray(arrays[name], np.float64)
            check_finite(per_jet, f"{path}, branch '{name}'", None, start)
            check_positive(per_jet, f"{path}: branch '{name}'", start)
            columns[name] = per_jet.astype(np.float32)[jet_of]
        columns["part_pt"] = np.hypot(columns["part_px"], columns["part_py"])
        check_counts(counts, f"{path}, TTree '{TREE}'", start)
        where = f"{path}, branches 'part_px', 'part_py', 'part_energy'"
        check_momenta(np.hypot(read["part_px"], read["part_py"]), read["part_energy"], where, jet_of, start)
        return columns, counts
