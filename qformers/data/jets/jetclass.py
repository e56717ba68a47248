"""JetClass ROOT files (Zenodo 6619768): ten classes of jets, anti-kT R = 0.8, 500 < pT < 1000 GeV.

Scaling and order of the inputs are those published with Particle Transformer (arXiv:2202.03772): every logarithm and
the distance to the jet axis are clipped to [-5, 5] after scaling, charge, flags, deta and dphi are given as they are.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig
from qformers.data.events import Events, FeatureSet
from qformers.data.jets.reader import ClassChoice, choose_features, require_names
from qformers.data.jets.standardise import (
    RAW,
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
from qformers.errors import DataError, first_line
from qformers.files import unreadable

Columns = Mapping[str, NDArray[np.float32]]  # branch -> (k,), one number per particle; jet branches repeated

TREE = "tree"
MOST_PACKED = 1100  # jets per byte of a file: more than that no packing brings about
CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
MOMENTUM = ("part_px", "part_py", "part_pz", "part_energy")

_FLAGS = ("charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
_KINEMATICS = {
    "part_pt_log": Scaling(1.7, 0.7, -5, 5),
    "part_e_log": Scaling(2.0, 0.7, -5, 5),
    "part_logptrel": Scaling(-4.7, 0.7, -5, 5),
    "part_logerel": Scaling(-4.7, 0.7, -5, 5),
    "part_deltaR": Scaling(0.2, 4.0, -5, 5),
}
_IDENTITY = {f"part_{flag}": RAW for flag in _FLAGS}
_DISPLACEMENT = {
    "part_d0": RAW,
    "part_d0err": Scaling(0, 1, 0, 1),
    "part_dz": RAW,
    "part_dzerr": Scaling(0, 1, 0, 1),
}
_AXIS = {"part_deta": RAW, "part_dphi": RAW}

FEATURES: dict[str, FeatureSet] = {
    "kin": feature_set({**_KINEMATICS, **_AXIS}),
    "kinpid": feature_set({**_KINEMATICS, **_IDENTITY, **_AXIS}),
    "full": feature_set({**_KINEMATICS, **_IDENTITY, **_DISPLACEMENT, **_AXIS}),
    "lnpt_eta_phi": feature_set({"part_pt_log": RAW, **_AXIS}),
    "pt_eta_phi": feature_set({"part_pt": Scaling(0, 0.01), **_AXIS}),  # pT in units of 100 GeV
}

_PLAIN = ("part_deta", "part_dphi", "part_d0err", "part_dzerr", *_IDENTITY)
FORMULAS: dict[str, tuple[tuple[str, ...], Callable[[Columns], NDArray[np.float32]]]] = {
    # feature -> (branches it needs besides the momenta, its value); "part_pt" is derived first
    "part_pt": ((), lambda c: c["part_pt"]),
    "part_pt_log": ((), lambda c: safe_log(c["part_pt"])),
    "part_e_log": ((), lambda c: safe_log(c["part_energy"])),
    "part_logptrel": (("jet_pt",), lambda c: safe_log(c["part_pt"] / c["jet_pt"])),
    "part_logerel": (("jet_energy",), lambda c: safe_log(c["part_energy"] / c["jet_energy"])),
    "part_deltaR": (("part_deta", "part_dphi"), lambda c: np.hypot(c["part_deta"], c["part_dphi"])),
    "part_d0": (("part_d0val",), lambda c: np.tanh(c["part_d0val"])),
    "part_dz": (("part_dzval",), lambda c: np.tanh(c["part_dzval"])),
    **{name: ((name,), lambda c, name=name: c[name]) for name in _PLAIN},  # type: ignore[misc]
}


@contextmanager
def open_tree(path: Path) -> Iterator[Any]:
    """The file's TTree.

    Raises:
        DataError: not a ROOT file, truncated, no `tree` in it, or an RNTuple of that name; also whatever fails while
            the tree is being read inside the ``with``.
    """
    import uproot

    if reason := unreadable(path):
        raise DataError(f"{path}: cannot be read as ROOT: {reason}")
    try:
        # no caches: arrays are used once, and a stream must not grow with the number of files
        with uproot.open(path, array_cache=None, object_cache=None) as file:
            kinds = file.classnames(cycle=False, recursive=False)
            if kinds.get(TREE) != "TTree":
                there = ", ".join(f"{name} ({kind})" for name, kind in kinds.items()) or "nothing"
                raise DataError(
                    f"{path}: no TTree '{TREE}', found {there}; write it with uproot's mktree('{TREE}', ...)"
                )
            tree = file[TREE]
            if not 0 <= tree.num_entries <= path.stat().st_size * MOST_PACKED:
                raise DataError(
                    f"{path}: TTree '{TREE}' claims {tree.num_entries} jets, which the file cannot hold; fetch or "
                    f"generate it again"
                )
            yield tree
    except DataError:
        raise
    except broken_root() as error:
        raise DataError(
            f"{path}: cannot be read as ROOT, the file is damaged, truncated or something else "
            f"({type(error).__name__}: {first_line(error)}); fetch or generate it again"
        ) from error


def broken_root() -> tuple[type[Exception], ...]:
    """What a broken file raises inside uproot: it trusts offsets, and packed bytes go to four other packages."""
    import cramjam
    from uproot.deserialization import DeserializationError
    from uproot.interpretation.identify import NotNumerical, UnknownInterpretation
    from uproot.interpretation.objects import CannotBeAwkward, CannotBeForth, CannotBeStrided

    return (
        ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError, NameError,
        OSError, RuntimeError, SyntaxError, TypeError, ValueError, struct.error, zlib.error, lzma.LZMAError,
        cramjam.DecompressionError, DeserializationError, NotNumerical, UnknownInterpretation,
        CannotBeAwkward, CannotBeForth, CannotBeStrided,
    )  # fmt: skip


def _check_branches(path: Path, tree: Any, branches: tuple[str, ...]) -> None:
    """Every branch is there and holds numbers, per particle for ``part_``, per jet for the others."""
    require_names(f"{path}, TTree '{TREE}'", branches, tree.keys(), "branch")
    for name in branches:
        kind = tree[name].interpretation
        per_particle = name.startswith("part_")
        dtype = getattr(getattr(kind, "content", kind) if per_particle else kind, "to_dtype", None)
        jagged = type(kind).__name__ == "AsJagged"
        if jagged != per_particle or dtype is None or dtype.kind not in "biuf":
            wanted = "numbers per particle (float[] or int32_t[])" if per_particle else "one number per jet"
            raise DataError(
                f"{path}: branch '{name}' has the wrong type. Expected: {wanted}. Received: {tree[name].typename}"
            )


class JetClass:
    """Reader of JetClass files and of files with the same branches."""

    def __init__(self, config: DataConfig) -> None:
        """Raises `DataError` for an unknown feature set or class."""
        self.feature_set = choose_features(config.features, FEATURES, "jetclass")
        self._classes = ClassChoice(CLASSES, config.classes, "jetclass")
        self.class_names = self._classes.names
        self._num_particles = config.num_particles
        self._padding = config.padding
        self._labels = tuple(f"label_{name}" for name in CLASSES)
        needed = [branch for name in self.feature_set.names for branch in FORMULAS[name][0]]
        self._per_particle = (*MOMENTUM, *dict.fromkeys(b for b in needed if b.startswith("part_")))
        self._per_jet = tuple(dict.fromkeys(b for b in needed if b.startswith("jet_")))

    def kept(self, path: Path) -> NDArray[np.bool_]:
        """(jets in the file,), True where the jet is of a selected class."""
        with open_tree(path) as tree:
            if self._classes.all:
                return np.ones(tree.num_entries, bool)
            return self._read_labels(path, tree, 0, tree.num_entries) >= 0

    def read(self, path: Path, start: int, stop: int) -> Events:
        """Kept jets among the file's jets [start, stop).

        Raises:
            DataError: unreadable file, missing branch, wrong type, non-finite value, labels not one-hot.
        """
        with open_tree(path) as tree:
            labels = self._read_labels(path, tree, start, stop)
            _check_branches(path, tree, (*self._per_particle, *self._per_jet))
            arrays = tree.arrays(
                [*self._per_particle, *self._per_jet], entry_start=start, entry_stop=stop, library="ak"
            )
        columns, counts = self._flatten(path, arrays, start)
        keep = labels >= 0
        features, vectors, mask = self._arrange(columns, counts)
        events = Events(features, vectors, mask, labels, self.class_names, self.feature_set)
        return events if keep.all() else events[keep]

    def _read_labels(self, path: Path, tree: Any, start: int, stop: int) -> NDArray[np.int64]:
        """(n,) index among the selected classes, -1 = dropped. The label branches mix float, bool and int32."""
        _check_branches(path, tree, self._labels)
        arrays = tree.arrays(list(self._labels), entry_start=start, entry_stop=stop, library="np")
        one_hot = np.stack([np.asarray(arrays[name], np.float64) for name in self._labels], axis=1)  # (n, 10)
        return self._classes.apply(one_hot_to_index(one_hot, f"{path}, label_*", CLASSES, start))

    def _flatten(self, path: Path, arrays: Any, start: int) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]:
        """Branch -> (k,) over all particles of all jets, and (n,) particles per jet; every value is checked."""
        import awkward as ak

        counts = np.asarray(ak.num(arrays[MOMENTUM[0]]), np.int64)
        jet_of = np.repeat(np.arange(len(counts)), counts)  # (k,)
        columns: dict[str, NDArray[np.float32]] = {}
        for name in self._per_particle:
            others = np.asarray(ak.num(arrays[name]), np.int64)
            if (others != counts).any():
                bad = int(np.argmax(others != counts))
                raise DataError(
                    f"{path}: branch '{name}' has {others[bad]} particles in jet {start + bad} "
                    f"and '{MOMENTUM[0]}' has {counts[bad]}; all part_ branches must be equally long"
                )
            columns[name] = np.asarray(ak.flatten(arrays[name]), np.float32)
            check_finite(columns[name], f"{path}, branch '{name}'", jet_of, start)
        for name in self._per_jet:
            per_jet = np.asarray(arrays[name], np.float32)
            check_finite(per_jet, f"{path}, branch '{name}'", None, start)
            if (per_jet <= 0).any():
                bad = int(np.argmax(per_jet <= 0))
                raise DataError(
                    f"{path}: branch '{name}' must be positive. Received: {per_jet[bad]} in jet {start + bad}"
                )
            columns[name] = per_jet[jet_of]
        columns["part_pt"] = np.hypot(columns["part_px"], columns["part_py"])
        check_counts(counts, f"{path}, TTree '{TREE}'", start)
        where = f"{path}, branches 'part_px', 'part_py', 'part_energy'"
        check_momenta(columns["part_pt"], columns["part_energy"], where, jet_of, start)
        return columns, counts

    def _arrange(
        self, columns: Columns, counts: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Features (n, N, F), vectors (n, N, 4) and mask (n, N): stable pT order, cut at N, padded."""
        offsets = np.cumsum(counts) - counts
        jet_of = np.repeat(np.arange(len(counts)), counts)
        order = np.lexsort((-columns["part_pt"], jet_of))  # stable: equal pT stays in file order
        rank, mask = slots(counts, self._num_particles, self._padding)
        index = order[offsets[:, None] + rank]  # (n, N)
        raw = np.stack([FORMULAS[name][1](columns) for name in self.feature_set.names], axis=-1)  # (k, F)
        features = blank(standardise(raw, self.feature_set)[index], mask, self._padding)
        vectors = blank(np.stack([columns[name] for name in MOMENTUM], axis=-1)[index], mask, self._padding)
        return features, vectors, mask
