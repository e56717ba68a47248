"""AK8 jets of CMS NanoAOD with particle-flow candidates, as the PFNano tool makes it from MiniAOD.

TTree `Events`: FatJet_* are the jets, PFCands_* the candidates, and FatJetPFCands_* says which candidate (pFCandsIdx)
is of which jet (jetIdx), both counted within the event. Jets are numbered through the file. The axis of a jet is that
of FatJet_*; momenta are as stored, without PUPPI weights. Which jets are of which class, `data.labels` says; jets of
none are left out.

Displacements are brought to JetClass's convention: mm (CMS: cm), and d0 = x sin phi - y cos phi at the closest
approach, which is CMS's dxy, stored as PFCands_d0, with the other sign. Candidates without track details have -1 in
these branches, and 0 here, as neutral particles of JetClass.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig
from qformers.data.events import Events
from qformers.data.jets.inputs import FEATURES, Inputs
from qformers.data.jets.labels import LabelRules
from qformers.data.jets.particles import (
    IDENTITY,
    KINDS,
    Axis,
    Columns,
    Floats,
    Kind,
    columns_of,
    from_pt_eta_phi,
    identity,
    whole_numbers,
)
from qformers.data.jets.pieces import empty, join
from qformers.data.jets.reader import ClassChoice
from qformers.data.jets.root_tree import check_branches, flat_branches, has_tree, open_tree
from qformers.data.jets.standardise import (
    AZIMUTH,
    CM,
    GEV,
    PDG_ID,
    PLAIN,
    RAPIDITY,
    Numbering,
    check_among,
    check_finite,
    check_positive,
    jet_number,
)
from qformers.errors import DataError

TREE = "Events"
EVENTS_AT_ONCE = 1000  # decoded at a time, with up to some thousand candidates each
LABELS_AT_ONCE = 50_000  # events whose jets are counted or labelled at a time
KINEMATICS = ("pt", "eta", "phi", "mass")
JETS = tuple(f"FatJet_{name}" for name in KINEMATICS)
LINKS = ("FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx")
CANDIDATES = tuple(f"PFCands_{name}" for name in KINEMATICS)
IDENTITIES = ("PFCands_charge", "PFCands_pdgId")
MM_PER_CM = 10.0
DISPLACEMENTS = {  # column -> value and error, mm per cm with the sign of the convention
    "d0": ("PFCands_d0", "PFCands_d0Err", -MM_PER_CM),
    "dz": ("PFCands_dz", "PFCands_dzErr", MM_PER_CM),
}
QUANTITIES = {
    **dict(zip((*JETS, *CANDIDATES), 2 * (GEV, RAPIDITY, AZIMUTH, GEV), strict=True)),
    **{name: CM for value, error, _ in DISPLACEMENTS.values() for name in (value, error)},
    **dict(zip(IDENTITIES, (PLAIN, PDG_ID), strict=True)),
}
NO_TRACK = -1.0  # what stands in branches of tracks where there is none
HF_KINDS = {1: Kind("isNeutralHadron", 0), 2: Kind("isPhoton", 0)}  # CMS's ids of the forward calorimeter


def is_nanoaod(path: Path) -> bool:
    """Whether a file has the tree of NanoAOD, and jets in it; other trees have its name."""
    return has_tree(path, TREE, JETS[0])


class Links(NamedTuple):
    """Candidates (k,) of some jets, jet after jet: its jet and its place, and how many each jet has, (n,)."""

    jet: NDArray[np.int64]
    place: NDArray[np.int64]
    counts: NDArray[np.int64]


class NanoAod:
    """Reader of NanoAOD with candidates."""

    def __init__(self, config: DataConfig) -> None:
        """Raises `DataError` for an unknown feature set or class, or labels that do not say which jets they mean."""
        self._inputs = Inputs(config, FEATURES, "nanoaod")
        self.feature_set = self._inputs.feature_set
        self._rules = LabelRules(config.labels, "nanoaod")
        self._classes = ClassChoice(self._rules.names, config.classes, "nanoaod")
        self.class_names = self._classes.names
        wanted = set(self._inputs.per_particle)
        self._identity = bool(wanted & set(IDENTITY))
        self._tracks = [name for name in DISPLACEMENTS if wanted & {f"part_{name}val", f"part_{name}err"}]
        tracks = [branch for name in self._tracks for branch in DISPLACEMENTS[name][:2]]
        self._candidates = (*CANDIDATES, *(IDENTITIES if self._identity else ()), *tracks)
        self._jets = tuple(dict.fromkeys((*JETS, *self._rules.branches)))

    def kept(self, path: Path) -> NDArray[np.bool_]:
        """(jets in the file,), True where the jet is of a selected class."""
        parts = [np.zeros(0, bool)]
        with open_tree(path, TREE, "events") as tree:
            check_branches(path, tree, (*self._jets, *LINKS, *self._candidates), ())
            names, before = list(dict.fromkeys((JETS[0], *self._rules.branches))), 0
            for at in range(0, tree.num_entries, LABELS_AT_ONCE):
                arrays = tree.arrays(names, entry_start=at, entry_stop=at + LABELS_AT_ONCE, library="ak")
                jets, counts = _flat(path, arrays, names, at)
                parts.append(self._labels(path, jets, int(counts.sum()), before) >= 0)
                before += int(counts.sum())
        return np.concatenate(parts)

    def read(self, path: Path, start: int, stop: int) -> Events:
        """Kept jets among the file's jets [start, stop).

        Raises:
            DataError: unreadable file, missing branch, wrong type, an index that leads nowhere, a jet without
                candidates, non-finite value, unknown PDG id, a jet of several classes.
        """
        with open_tree(path, TREE, "events") as tree:
            check_branches(path, tree, (*self._jets, *LINKS, *self._candidates), ())
            ends = np.cumsum(_jets_per_event(tree))  # (events,), jets up to and with each event
            first, last = np.searchsorted(ends, [start, stop - 1], side="right")
            parts = []
            for at in range(int(first), int(last) + 1, EVENTS_AT_ONCE):
                until = min(at + EVENTS_AT_ONCE, int(last) + 1)
                before = int(ends[at - 1]) if at else 0
                parts.append(self._jets_of(path, tree, slice(at, until), before, range(start, stop)))
        return join(parts) if parts else self._nothing()

    def _nothing(self) -> Events:
        return empty(0, self._inputs.num_particles, self.class_names, self.feature_set)

    def _labels(self, path: Path, jets: dict[str, Floats], count: int, before: int) -> NDArray[np.int64]:
        """(n,) index among the selected classes, -1 = of none."""
        labels = self._rules.apply(path, jets, count, before)
        return np.where(labels < 0, -1, self._classes.apply(labels))

    def _jets_of(self, path: Path, tree: Any, events: slice, before: int, wanted: range) -> Events:
        """Kept jets of some events.

        Args:
            path: of the file, for messages.
            tree: of the file.
            events: which of its entries.
            before: jets of the file before these events.
            wanted: numbers of jets in the file; others are left out.
        """
        branches = [*self._jets, *LINKS, *self._candidates]
        arrays = tree.arrays(branches, entry_start=events.start, entry_stop=events.stop, library="ak")
        jets, jets_in = _flat(path, arrays, self._jets, events.start)
        candidates, candidates_in = _flat(path, arrays, self._candidates, events.start)
        numbers = before + np.arange(int(jets_in.sum()))
        labels = self._labels(path, jets, len(numbers), before)
        keep = (labels >= 0) & (numbers >= wanted.start) & (numbers < wanted.stop)
        if not keep.any():
            return self._nothing()
        links = _links(path, arrays, jets_in, candidates_in, keep, events.start)
        jets = {name: values[keep] for name, values in jets.items()}
        candidates = {name: values[links.place] for name, values in candidates.items()}
        columns = self._columns(path, jets, candidates, links, numbers[keep])
        return self._inputs.events(columns, links.counts, labels[keep], self.class_names)

    def _columns(
        self,
        path: Path,
        jets: dict[str, Floats],
        candidates: dict[str, Floats],
        links: Links,
        numbers: NDArray[np.int64],
    ) -> Columns:
        """The columns of the inputs, (k,) each; every number is checked."""
        for name in JETS:
            check_finite(jets[name], f"{path}, branch '{name}'", None, numbers, QUANTITIES[name])
        for name, values in candidates.items():
            check_finite(values, f"{path}, branch '{name}'", links.jet, numbers, QUANTITIES[name])
        check_positive(jets[JETS[0]], f"{path}: branch '{JETS[0]}'", numbers)
        pt, eta, phi, mass = (jets[name] for name in JETS)
        axis = Axis(pt, eta, phi, from_pt_eta_phi(pt, eta, phi, mass).energy)
        momenta = from_pt_eta_phi(*(candidates[name] for name in CANDIDATES))
        what = f"branches {', '.join(CANDIDATES)}"
        columns = columns_of(momenta, links.counts, axis, str(path), what, numbers)
        if self._identity:
            charge, ids = (candidates[name] for name in IDENTITIES)
            where = f"{path}, branch '{IDENTITIES[1]}'"
            known = whole_numbers(ids, where, links.jet, numbers)
            columns |= identity(known, {**KINDS, **HF_KINDS}, where, links.jet, numbers)
            check_among(charge, (-1, 0, 1), f"{path}: branch '{IDENTITIES[0]}'", links.jet, numbers)
            _refuse_contradictions(path, charge, known, columns["part_charge"], links.jet, numbers)
        for name in self._tracks:
            value, error, scale = DISPLACEMENTS[name]
            bad = (candidates[error] < 0) & (candidates[error] != NO_TRACK)
            if bad.any():
                first = int(np.argmax(bad))
                raise DataError(
                    f"{path}: branch '{error}' must not be negative, but for {NO_TRACK:g} of a candidate without a "
                    f"track. Received: {candidates[error][first]} in jet {jet_number(first, links.jet, numbers)}"
                )
            track = candidates[error] >= 0
            columns[f"part_{name}val"] = np.where(track, scale * candidates[value], 0.0).astype(np.float32)
            columns[f"part_{name}err"] = np.where(track, abs(scale) * candidates[error], 0.0).astype(np.float32)
        return columns


def _refuse_contradictions(
    path: Path,
    charge: Floats,
    ids: NDArray[np.int64],
    expected: NDArray[np.float32],
    jet_of: NDArray[np.int64],
    numbers: Numbering,
) -> None:
    """Raise where charge and PDG id of a candidate (k,) contradict each other.

    CMS makes the charge of a packed candidate from its id, so that they agree unless a file was put together wrongly:
    then neither the flags, which the id gives, nor the charge can be trusted.

    Args:
        path: for the message.
        charge, ids: as the file has them.
        expected: charges of the ids.
        jet_of: jet of each candidate.
        numbers: of the jets in the file.
    """
    wrong = charge != expected
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"{path}: branches '{IDENTITIES[0]}' and '{IDENTITIES[1]}' contradict each other. Received: charge "
            f"{charge[first]:g} of PDG id {ids[first]}, whose charge is {expected[first]:g}, in jet "
            f"{jet_number(first, jet_of, numbers)} ({int(wrong.sum())} such candidates among the jets read with it); "
            "fetch or produce the file again, or choose data.features that need neither"
        )


def _jets_per_event(tree: Any) -> NDArray[np.int64]:
    """(events of the file,)."""
    import awkward as ak

    parts = [np.zeros(0, np.int64)]
    for at in range(0, tree.num_entries, LABELS_AT_ONCE):
        arrays = tree.arrays([JETS[0]], entry_start=at, entry_stop=at + LABELS_AT_ONCE, library="ak")
        parts.append(np.asarray(ak.num(arrays[JETS[0]]), np.int64))
    return np.concatenate(parts)


def _flat(
    path: Path, arrays: Any, names: Sequence[str], first_event: int
) -> tuple[dict[str, Floats], NDArray[np.int64]]:
    """Branches of one collection in double precision, flat (k,), and how many it has in each event, (events,)."""
    flat, counts = flat_branches(path, arrays, names, "event", first_event)
    return {name: values.astype(np.float64) for name, values in flat.items()}, counts


def _links(
    path: Path,
    arrays: Any,
    jets_in: NDArray[np.int64],
    candidates_in: NDArray[np.int64],
    keep: NDArray[np.bool_],
    first_event: int,
) -> Links:
    """The candidates of the kept jets.

    Args:
        path: of the file, for messages.
        arrays: with the branches `LINKS`.
        jets_in: (events,), jets of each event.
        candidates_in: (events,), candidates of each event.
        keep: (jets,), which of them.
        first_event: number of the first event, for messages.

    Raises:
        DataError: an index that leads nowhere.
    """
    flat, links_in = _flat(path, arrays, LINKS, first_event)
    event = np.repeat(np.arange(len(links_in)), links_in)  # (links,)
    for name in LINKS:
        broken = ~(flat[name] == np.round(flat[name]))  # True for NaN
        if broken.any():
            first = int(np.argmax(broken))
            raise DataError(
                f"{path}: branch '{name}' must be a whole number. Received: {flat[name][first]} in event "
                f"{first_event + event[first]}; fetch or produce the file again"
            )
    jet, place = (flat[name].astype(np.int64) for name in LINKS)
    # NanoAOD's word for nothing is -1: a candidate may be of no jet, but not a jet's candidate nowhere
    for name, values, lowest, limit in ((LINKS[0], jet, -1, jets_in), (LINKS[1], place, 0, candidates_in)):
        bad = (values < lowest) | (values >= limit[event])
        if bad.any():
            first = int(np.argmax(bad))
            raise DataError(
                f"{path}: branch '{name}' must be a place in the same event. Received: {values[first]} in event "
                f"{first_event + event[first]}, where there are {limit[event[first]]}; fetch or produce the file again"
            )
    jet += np.where(jet < 0, 0, (np.cumsum(jets_in) - jets_in)[event])
    place += (np.cumsum(candidates_in) - candidates_in)[event]
    pairs, first_of, times = np.unique(np.stack([jet, place]), axis=1, return_index=True, return_counts=True)
    if (twice := (times > 1) & (pairs[0] >= 0)).any():
        first = int(first_of[np.argmax(twice)])
        raise DataError(
            f"{path}: branches '{LINKS[0]}' and '{LINKS[1]}' name a candidate of a jet {times[twice][0]} times, "
            f"in event {first_event + event[first]}; fetch or produce the file again"
        )
    chosen = (jet >= 0) & keep[jet]  # what keep says of jet -1 does not count
    jet, place = (np.cumsum(keep) - 1)[jet[chosen]], place[chosen]
    order = np.argsort(jet, kind="stable")
    return Links(jet[order], place[order], np.bincount(jet, minlength=int(keep.sum())))
