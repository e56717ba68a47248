"""The inputs published with Particle Transformer (arXiv:2202.03772), from columns of particles to jets of fixed size.

Scaling and order are the published ones: every logarithm and the distance to the jet axis are clipped to [-5, 5] after
scaling; charge, flags, deta and dphi are given as they are. Columns are called as the branches of JetClass, whatever
the file calls them; a reader of another set makes them (`qformers.data.jets.particles`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig
from qformers.data.events import Events, FeatureSet
from qformers.data.jets.reader import choose_features
from qformers.data.jets.standardise import RAW, Scaling, blank, feature_set, safe_log, slots, standardise

Columns = Mapping[str, NDArray[np.float32]]  # branch -> (k,), one number per particle; of jets repeated

MOMENTUM = ("part_px", "part_py", "part_pz", "part_energy")
FLAGS = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")

_KINEMATICS = {
    "part_pt_log": Scaling(1.7, 0.7, -5, 5),
    "part_e_log": Scaling(2.0, 0.7, -5, 5),
    "part_logptrel": Scaling(-4.7, 0.7, -5, 5),
    "part_logerel": Scaling(-4.7, 0.7, -5, 5),
    "part_deltaR": Scaling(0.2, 4.0, -5, 5),
}
_IDENTITY = {f"part_{name}": RAW for name in ("charge", *FLAGS)}
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
    # feature -> (columns it needs besides the momenta, its value); "part_pt" is derived first
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


def sets_of(*names: str) -> dict[str, FeatureSet]:
    """Some of `FEATURES`, of a data set that has no more to give."""
    return {name: FEATURES[name] for name in names}


class Inputs:
    """A feature set as jets of a fixed number of slots, and the columns that it takes.

    Attributes:
        feature_set: its numbers.
        per_particle: columns with a number per particle, the momenta first.
        per_jet: columns with a number per jet.
    """

    def __init__(self, config: DataConfig, sets: dict[str, FeatureSet], dataset: str) -> None:
        """Raises `DataError` for a feature set that is not among `sets`."""
        self.feature_set = choose_features(config.features, sets, dataset)
        self.num_particles = config.num_particles
        self._padding = config.padding
        needed = [column for name in self.feature_set.names for column in FORMULAS[name][0]]
        self.per_particle = (*MOMENTUM, *dict.fromkeys(name for name in needed if name.startswith("part_")))
        self.per_jet = tuple(dict.fromkeys(name for name in needed if name.startswith("jet_")))

    def events(
        self, columns: Columns, counts: NDArray[np.int64], labels: NDArray[np.int64], class_names: tuple[str, ...]
    ) -> Events:
        """Jets of N slots: stable pT order, cut at N, padded; those with label -1 are left out.

        Args:
            columns: ``part_pt`` and what `per_particle` and `per_jet` name, (k,) each, jet after jet.
            counts: (n,), particles of each jet.
            labels: (n,), index in `class_names`, or -1.
            class_names: in label order.
        """
        offsets = np.cumsum(counts) - counts
        jet_of = np.repeat(np.arange(len(counts)), counts)
        order = np.lexsort((-columns["part_pt"], jet_of))  # stable: equal pT stays in file order
        rank, mask = slots(counts, self.num_particles, self._padding)
        index = order[offsets[:, None] + rank]  # (n, N)
        raw = np.stack([FORMULAS[name][1](columns) for name in self.feature_set.names], axis=-1)  # (k, F)
        features = blank(standardise(raw, self.feature_set)[index], mask, self._padding)
        vectors = blank(np.stack([columns[name] for name in MOMENTUM], axis=-1)[index], mask, self._padding)
        events = Events(features, vectors, mask, labels, class_names, self.feature_set)
        keep = labels >= 0
        return events if keep.all() else events[keep]
