"""Clusters of atoms in ``.npz`` files, as ``qformers generate clusters`` writes them.

`coords` (n, N, 3) places in sigma, `species` (n, N) 0 where there is no atom, else 1 + the index in `SPECIES`, and
`energy` (n,) the potential energy per atom in epsilon. Other arrays, such as `temperature`, are not read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig
from qformers.data.events import Events, FeatureSet, Target, no_vectors
from qformers.data.jets.labels import refuse_labels
from qformers.data.jets.npz_rows import Member, Rows, has_arrays, open_rows
from qformers.data.jets.reader import choose_features
from qformers.data.jets.standardise import RAW, Scaling, feature_set, standardise
from qformers.errors import DataError

__all__ = ["FEATURES", "SPECIES", "TARGETS", "ClusterRows", "is_cluster_rows"]

COORDS, KINDS, ENERGY = "coords", "species", "energy"  # arrays
SPECIES = ("A", "B")
AXES = 3
LARGEST = 1e4  # sigma, and epsilon per atom: no cluster is so wide, no energy that can be learned so high
_ONE_HOT = {f"species_{name.lower()}": RAW for name in SPECIES}
# what fills the range of -1 to 1 in a cluster of 32 atoms with the default settings, whose radius is 2 sigma; r2 is the
# squared distance from the middle of the sphere
_PLACES = {**dict.fromkeys("xyz", Scaling(scale=0.5)), "r2": Scaling(shift=2.0, scale=0.5)}
FEATURES: dict[str, FeatureSet] = {
    "place": feature_set(_PLACES),  # of atoms that are all alike
    "species": feature_set(_ONE_HOT),  # of a model that has places as its coordinates
    "species_place": feature_set({**_ONE_HOT, **_PLACES}),
}
TARGETS = (Target("energy", "epsilon per atom", shift=-2.75, scale=4.0),)  # of the default settings: about 0 and 1


def is_cluster_rows(path: Path) -> bool:
    """Whether a file has the arrays of such a set."""
    return has_arrays(path, (COORDS, KINDS, ENERGY))


class ClusterRows:
    """Reader of the files."""

    def __init__(self, config: DataConfig) -> None:
        """Raises `DataError` for an unknown feature set, another padding, classes or labels of the build."""
        refuse_labels(config.labels, "clusters")
        if config.classes:
            raise DataError(
                "data.classes: clusters have an energy and no classes; leave the key out. Received: "
                f"{', '.join(config.classes)}"
            )
        if config.padding != "zero":
            raise DataError(
                "data.padding: an atom that stood in a cluster twice would change its energy; leave the key out. "
                f"Received: {config.padding}"
            )
        self.feature_set = choose_features(config.features, FEATURES, "clusters")
        self.class_names = tuple(target.name for target in TARGETS)
        self._slots = config.num_particles

    def kept(self, path: Path) -> NDArray[np.bool_]:
        """(clusters in the file,), True."""
        with open_rows(path) as rows:
            return np.ones(len(_members(path, rows)[0]), bool)

    def read(self, path: Path, start: int, stop: int) -> Events:
        """Clusters [start, stop).

        Raises:
            DataError: unreadable file, missing array, wrong type or shape, a number that is not finite or too large, a
                species that is none, a cluster without an atom or with more than asked.
        """
        with open_rows(path) as rows:
            coords, kinds, energy = (rows.read(member, start, stop) for member in _members(path, rows))
        there = self._checked_kinds(path, kinds, start)
        where = there[..., None] & np.ones(AXES, bool)
        _refuse_numbers(path, COORDS, coords, where, start)
        _refuse_numbers(path, ENERGY, energy, np.ones(len(energy), bool), start)
        mask = np.zeros((len(kinds), self._slots), np.float32)
        places = np.zeros((*mask.shape, AXES), np.float32)
        columns = min(self._slots, kinds.shape[1])
        mask[:, :columns] = there[:, :columns]
        places[:, :columns] = np.where(where, coords, 0.0)[:, :columns]
        one_hot = np.zeros((*mask.shape, len(SPECIES)), np.float32)
        one_hot[:, :columns] = kinds[:, :columns, None] == 1 + np.arange(len(SPECIES))
        squares = (places * places).sum(axis=-1, keepdims=True)
        numbers = dict(
            zip((*_ONE_HOT, *_PLACES), np.moveaxis(np.concatenate([one_hot, places, squares], -1), -1, 0), strict=True)
        )
        raw = np.stack([numbers[name] for name in self.feature_set.names], axis=-1)
        return Events(
            standardise(raw, self.feature_set) * mask[..., None],
            no_vectors(*mask.shape),
            mask,
            energy[:, None].astype(np.float32),
            self.class_names,
            self.feature_set,
            places,
        )

    def _checked_kinds(self, path: Path, kinds: NDArray[np.integer[Any]], first: int) -> NDArray[np.bool_]:
        """(n, L), True where there is an atom."""
        if (bad := (kinds < 0) | (kinds > len(SPECIES))).any():
            row, place = (int(i) for i in np.argwhere(bad)[0])
            raise DataError(
                f"{path}: '{KINDS}' must be 0 (no atom) to {len(SPECIES)}. Received: {kinds[row, place]} in row "
                f"{first + row}, place {place} ({bad.sum()} such numbers among those read with it); mend the file"
            )
        there = kinds > 0
        if (behind := there[:, self._slots :].any(axis=1)).any():
            row = int(np.argmax(behind))
            last = int(np.flatnonzero(there[row])[-1]) + 1
            raise DataError(
                f"{path}: '{KINDS}' row {first + row} has {last} atoms and data.num_particles is {self._slots}: raise "
                f"it; cut, a cluster has another energy ({behind.sum()} such rows among those read with it)"
            )
        if (empty := ~there.any(axis=1)).any():
            raise DataError(
                f"{path}: '{KINDS}' row {first + int(np.argmax(empty))} has no atom, all are 0 ({empty.sum()} such "
                "rows among those read with it); drop them from the file"
            )
        return there


def _members(path: Path, rows: Rows) -> tuple[Member, Member, Member]:
    """Places, species and energies."""
    coords, kinds, energy = rows.member(COORDS, 3, "biuf"), rows.member(KINDS, 2, "iu"), rows.member(ENERGY, 1, "biuf")
    shape = coords.header.shape
    if shape[2] != AXES or kinds.header.shape != shape[:2] or len(energy) != len(coords):
        raise DataError(
            f"{path}: '{COORDS}' must be (n, N, {AXES}), '{KINDS}' (n, N) and '{ENERGY}' (n,); write the file again. "
            f"Received: {shape}, {kinds.header.shape} and {energy.header.shape}"
        )
    return coords, kinds, energy


def _refuse_numbers(path: Path, name: str, values: NDArray[Any], asked: NDArray[np.bool_], first: int) -> None:
    """Refuse what is not finite or beyond `LARGEST`, where it is asked for."""
    with np.errstate(invalid="ignore"):
        bad = asked & ~(np.abs(values) <= LARGEST)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        at = f"row {first + place[0]}" + (f", atom {place[1]}" if len(place) > 1 else "")
        raise DataError(
            f"{path}: '{name}' must be finite, and up to {LARGEST:g} either side of 0, in units of sigma and epsilon. "
            f"Received: {values[place]} in {at} ({bad.sum()} such numbers among those read with it); mend the file, or "
            "leave such clusters out"
        )
