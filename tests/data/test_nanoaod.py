"""NanoAOD with particle-flow candidates: which candidate is of which jet, labels by branch and file, conventions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from qformers.config.sections import DataConfig
from qformers.data import DataError, Events, open_split
from qformers.data.jets import nanoaod
from qformers.data.jets.toy import Branches, nanoaod_branches, write_tree

FLAVOUR = "FatJet_hadronFlavour"
LABELS = [{"name": name, "branch": FLAVOUR, "values": values} for name, values in (("b", [5]), ("other", [0, 4]))]


def load(path: Path | str, **changes: object) -> Events:
    base = {"dataset": "nanoaod", "train": (str(path),), "val": (), "test": (), "features": "full", "num_particles": 16}
    return open_split(DataConfig.model_validate({**base, "labels": LABELS, **changes}), "train").load()


def refused(path: Path, match: str, **changes: object) -> None:
    with pytest.raises(DataError, match=match) as caught:
        load(path, **changes)
    assert str(path) in str(caught.value)


def tree(folder: Path, branches: Branches, name: str = "nano.root", per_basket: int = 1000) -> Path:
    return write_tree(folder / name, branches, "Events", per_basket)


def changed(branches: Branches, name: str, place: int, value: float) -> Branches:
    """The branches with one number of one of them changed."""
    flat, counts = ak.to_numpy(ak.flatten(branches[name])).copy(), ak.num(branches[name])
    flat = flat.astype(np.result_type(flat, np.min_scalar_type(value)))
    flat[place] = value
    return branches | {name: ak.unflatten(flat, counts)}


def expected(branches: Branches, event: int, jet: int) -> list[list[float]]:
    """The full inputs of a jet, particle by particle in falling pT, written down independently."""
    of = {name: branches[name][event].tolist() for name in branches}
    links = zip(of["FatJetPFCands_jetIdx"], of["FatJetPFCands_pFCandsIdx"], strict=True)
    places = sorted((place for owner, place in links if owner == jet), key=lambda place: -of["PFCands_pt"][place])
    jet_pt, jet_eta, jet_phi, jet_mass = (of[f"FatJet_{name}"][jet] for name in ("pt", "eta", "phi", "mass"))
    jet_energy = math.hypot(jet_pt * math.cosh(jet_eta), jet_mass)
    rows = []
    for place in places:
        pt, eta, phi, mass, d0, d0err, dz, dzerr, charge, pdgid = (
            of[f"PFCands_{name}"][place]
            for name in ("pt", "eta", "phi", "mass", "d0", "d0Err", "dz", "dzErr", "charge", "pdgId")
        )
        energy = math.hypot(pt * math.cosh(eta), mass)
        deta = (eta - jet_eta) * (1 if jet_eta >= 0 else -1)
        dphi = (phi - jet_phi + math.pi) % (2 * math.pi) - math.pi
        kinds = ({211, 321, 2212}, {130, 2112}, {22}, {11}, {13})
        track = d0err >= 0
        scaled = (
            ((math.log(pt) - 1.7) * 0.7), ((math.log(energy) - 2) * 0.7), ((math.log(pt / jet_pt) + 4.7) * 0.7),
            ((math.log(energy / jet_energy) + 4.7) * 0.7), (math.hypot(deta, dphi) - 0.2) * 4,
        )  # fmt: skip
        rows.append(
            [
                *(min(max(value, -5.0), 5.0) for value in scaled),
                charge, *(float(abs(pdgid) in kind) for kind in kinds),
                math.tanh(-10 * d0) if track else 0.0, min(10 * d0err, 1.0) if track else 0.0,
                math.tanh(10 * dz) if track else 0.0, min(10 * dzerr, 1.0) if track else 0.0,
                deta, dphi,
            ]
        )  # fmt: skip
    return rows


def test_features_candidate_by_candidate(tmp_path: Path) -> None:
    branches = nanoaod_branches(40, seed=1)
    events = load(tree(tmp_path, branches), num_particles=20)
    jets = [(event, jet) for event in range(40) for jet in range(len(branches["FatJet_pt"][event]))]
    assert len(events) == len(jets) > 20
    for number, (event, jet) in enumerate(jets):
        rows = expected(branches, event, jet)
        np.testing.assert_allclose(events.features[number, : len(rows)], rows, rtol=2e-4, atol=5e-5)
        assert events.mask[number].sum() == len(rows)
        assert events.labels[number] == (0 if branches[FLAVOUR][event][jet] == 5 else 1)


def test_pieces_and_steps_are_the_same_jets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tree(tmp_path, nanoaod_branches(400, seed=2), per_basket=100)
    whole = load(path)
    monkeypatch.setattr(nanoaod, "EVENTS_AT_ONCE", 7)
    monkeypatch.setattr(nanoaod, "LABELS_AT_ONCE", 30)
    pieces = load(path, shuffle_jets=128)
    for name in ("features", "vectors", "mask", "labels"):
        np.testing.assert_array_equal(getattr(pieces, name), getattr(whole, name))


def test_jets_of_no_class_are_left_out_with_their_candidates(tmp_path: Path) -> None:
    branches = nanoaod_branches(60, seed=3)
    path = tree(tmp_path, branches)
    whole, chosen = load(path), load(path, labels=[LABELS[0], {"name": "c", "branch": FLAVOUR, "values": [4]}])
    flavours = ak.to_numpy(ak.flatten(branches[FLAVOUR]))
    keep = np.isin(flavours, (4, 5))
    assert 0 < keep.sum() < len(keep)
    np.testing.assert_array_equal(chosen.features, whole.features[keep])
    assert chosen.class_names == ("b", "c")
    np.testing.assert_array_equal(chosen.labels, np.where(flavours[keep] == 5, 0, 1))
    only = load(path, classes=("b",))
    np.testing.assert_array_equal(only.features, whole.features[flavours == 5])


def test_labels_by_the_name_of_the_file_and_by_both(tmp_path: Path) -> None:
    tops, others = nanoaod_branches(20, seed=4), nanoaod_branches(20, seed=5)
    tree(tmp_path, tops, "TTto4Q_1.root")
    tree(tmp_path, others, "QCD_1.root")
    by_file = [{"name": "top", "files": ["TTto*"]}, {"name": "qcd", "files": ["QCD*", "WJets*"]}]
    events = load(tmp_path / "*.root", labels=by_file)
    jets = [int(ak.sum(ak.num(one["FatJet_pt"]))) for one in (others, tops)]
    assert events.labels.tolist() == [1] * jets[0] + [0] * jets[1]
    both = [{"name": "top", "files": ["TTto*"], "branch": FLAVOUR, "values": [5]}, by_file[1]]
    with_b = int((ak.to_numpy(ak.flatten(tops[FLAVOUR])) == 5).sum())
    assert np.bincount(load(tmp_path / "*.root", labels=both).labels).tolist() == [with_b, jets[0]]


def test_candidates_of_the_forward_calorimeter_and_of_no_jet(tmp_path: Path) -> None:
    branches = nanoaod_branches(30, seed=6)
    events = load(tree(tmp_path, branches))
    ids = branches["PFCands_pdgId"]
    forward = branches | {"PFCands_pdgId": ak.where(ids == 130, 1, ak.where(ids == 22, 2, ids))}
    np.testing.assert_array_equal(load(tree(tmp_path, forward)).features, events.features)
    first = next(e for e in range(30) if len(branches["FatJetPFCands_jetIdx"][e]) > 3)
    place = int(ak.sum(ak.num(branches["FatJetPFCands_jetIdx"])[:first]))
    jet = int(ak.sum(ak.num(branches["FatJet_pt"])[:first]))
    assert branches["FatJetPFCands_jetIdx"][first][0] == 0
    lonely = load(tree(tmp_path, changed(branches, "FatJetPFCands_jetIdx", place, -1)))
    assert lonely.mask[jet].sum() == events.mask[jet].sum() - 1
    np.testing.assert_array_equal(lonely.features[jet + 1 :], events.features[jet + 1 :])


def test_kinematics_need_no_other_branches(tmp_path: Path) -> None:
    branches = nanoaod_branches(10, seed=1)
    few = {name: values for name, values in branches.items() if name.split("_")[1] in ("pt", "eta", "phi", "mass")}
    few |= {name: branches[name] for name in ("FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx", FLAVOUR)}
    assert len(load(tree(tmp_path, few), features="kin")) > 5
    refused(tmp_path / "nano.root", r"TTree 'Events': branch 'PFCands_(charge|pdgId)' is missing; ", features="kinpid")


# what cannot be used


@pytest.mark.parametrize("name", ["FatJet_mass", "FatJetPFCands_jetIdx", "PFCands_dzErr", FLAVOUR])
def test_a_missing_branch(tmp_path: Path, name: str) -> None:
    branches = nanoaod_branches(5)
    branches[f"{name}x"] = branches.pop(name)
    refused(tree(tmp_path, branches), rf"TTree 'Events': branch '{name}' is missing; did you mean '{name}x'\?")


def test_trees_and_branches_of_another_kind(tmp_path: Path) -> None:
    branches = nanoaod_branches(5)
    refused(write_tree(tmp_path / "a.root", branches), r"no TTree 'Events', found tree \(TTree\)")
    flat: dict[str, Any] = {**branches, "FatJet_mass": np.zeros(5)}
    refused(tree(tmp_path, flat), r"branch 'FatJet_mass' has the wrong type. Expected: numbers per .*Received: double")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "FatJetPFCands_jetIdx",
            9,
            r"'FatJetPFCands_jetIdx' must be a place in the same event. Received: 9 in event \d+",
        ),
        ("FatJetPFCands_jetIdx", -2, r"'FatJetPFCands_jetIdx' must be a place in the same event. Received: -2"),
        (
            "FatJetPFCands_pFCandsIdx",
            999,
            r"pFCandsIdx' must be a place .* Received: 999 in event \d+, where there are",
        ),
        ("FatJetPFCands_pFCandsIdx", -1, r"'FatJetPFCands_pFCandsIdx' must be a place in the same event. Received: -1"),
        ("FatJetPFCands_pFCandsIdx", 0.7, r"'FatJetPFCands_pFCandsIdx' must be a whole number. Received: 0.7 in event"),
        ("FatJetPFCands_jetIdx", np.nan, r"'FatJetPFCands_jetIdx' must be a whole number. Received: nan in event"),
        ("FatJet_pt", np.nan, r"branch 'FatJet_pt': non-finite value nan in jet 0"),
        ("FatJet_pt", -5.0, r"branch 'FatJet_pt' must be positive. Received: -5.0 in jet 0"),
    ],
)
def test_indices_and_jets_that_cannot_be(tmp_path: Path, name: str, value: float, said: str) -> None:
    refused(tree(tmp_path, changed(nanoaod_branches(20, seed=1), name, 0, value)), said)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("pt", 0.0, r"a particle's pT must be positive. Received: 0.0 in jet \d+"),
        ("pt", -3.0, r"a particle's pT must be positive. Received: -3.0 in jet \d+"),
        ("eta", np.inf, r"branch 'PFCands_eta': non-finite value inf in jet \d+"),
        (
            "d0Err",
            -0.5,
            r"'PFCands_d0Err' must not be negative, but for -1 of a candidate without a track. Received: -0.5",
        ),
        ("pdgId", 15, r"branch 'PFCands_pdgId': unknown PDG id 15 in jet \d+"),
        ("pdgId", 211.9, r"branch 'PFCands_pdgId': a PDG id is a whole number. Received: 211.9 in jet \d+"),
        ("pdgId", 1e300, r"branch 'PFCands_pdgId': value beyond 2.14748e\+09 \(a PDG id\), 1e\+300 in jet \d+"),
        ("phi", 180.0, r"branch 'PFCands_phi': value beyond 12.5664 \(an azimuth in rad\), 180.0 in jet \d+"),
        ("eta", -99.0, r"branch 'PFCands_eta': value beyond 50 \(a rapidity, .*\), -99.0 in jet \d+"),
        ("dz", 1e10, r"branch 'PFCands_dz': value beyond 1e\+09 \(units are cm\), 1.*0 in jet \d+"),
        ("charge", 77, r"branch 'PFCands_charge' must be -1, 0 or 1. Received: 77 in jet \d+"),
    ],
)
def test_candidates_that_cannot_be(tmp_path: Path, name: str, value: float, said: str) -> None:
    branches = nanoaod_branches(20, seed=1)
    event = next(e for e in range(20) if len(branches["FatJetPFCands_pFCandsIdx"][e]))
    place = int(ak.sum(ak.num(branches["PFCands_pt"])[:event])) + int(branches["FatJetPFCands_pFCandsIdx"][event][0])
    refused(tree(tmp_path, changed(branches, f"PFCands_{name}", place, value)), said)


@pytest.mark.parametrize(
    ("pdgid", "charge", "right"), [(211, -1, 1), (-11, -1, 1), (13, 0, -1), (22, 1, 0), (1, -1, 0)]
)
def test_a_charge_that_its_id_does_not_have(tmp_path: Path, pdgid: int, charge: int, right: int) -> None:
    branches = nanoaod_branches(20, seed=1)
    event = next(e for e in range(20) if len(branches["FatJetPFCands_pFCandsIdx"][e]))
    place = int(ak.sum(ak.num(branches["PFCands_pt"])[:event])) + int(branches["FatJetPFCands_pFCandsIdx"][event][0])
    wrong = changed(changed(branches, "PFCands_pdgId", place, pdgid), "PFCands_charge", place, charge)
    path = tree(tmp_path, wrong)
    refused(
        path,
        rf"branches 'PFCands_charge' and 'PFCands_pdgId' contradict each other. Received: charge {charge} of PDG id "
        rf"{pdgid}, whose charge is {right}, in jet \d+ \(1 such candidates .*choose data.features that need neither",
    )
    assert len(load(path, features="kin")) > 5
    mended = changed(wrong, "PFCands_charge", place, right)
    assert len(load(tree(tmp_path, mended))) > 5


def test_a_candidate_belongs_to_a_jet_once(tmp_path: Path) -> None:
    branches = nanoaod_branches(20, seed=1)
    place = branches["FatJetPFCands_pFCandsIdx"]
    jet = branches["FatJetPFCands_jetIdx"]
    at = next(i for i in range(len(ak.flatten(jet)) - 1) if (ak.flatten(jet)[i], 0) == (ak.flatten(jet)[i + 1], 0))
    twice = changed(branches, "FatJetPFCands_pFCandsIdx", at + 1, int(ak.flatten(place)[at]))
    refused(tree(tmp_path, twice), r"name a candidate of a jet 2 times, in event \d+; fetch or produce the file again")


def test_jets_without_candidates_only_where_they_are_of_a_class(tmp_path: Path) -> None:
    branches = nanoaod_branches(20, seed=1)
    owners = branches["FatJetPFCands_jetIdx"]
    event = next(e for e in range(20) if len(branches["FatJet_pt"][e]) > 1)
    number = int(ak.sum(ak.num(branches["FatJet_pt"])[:event]))
    lone = ak.where((ak.local_index(owners, axis=0) == event) & (owners == 0), -1, owners)
    branches["FatJetPFCands_jetIdx"] = ak.values_astype(lone, np.int32)
    refused(tree(tmp_path, branches), rf"jet {number} has no particle \(1 such jets")
    odd = changed(branches, FLAVOUR, number, 21)
    assert len(load(tree(tmp_path, odd))) == int(ak.sum(ak.num(branches["FatJet_pt"]))) - 1


def test_branches_of_unequal_lengths(tmp_path: Path) -> None:
    branches = nanoaod_branches(5, seed=1)
    branches["FatJetX_label"] = ak.values_astype(
        ak.concatenate([branches[FLAVOUR], branches[FLAVOUR]], axis=1), np.int32
    )
    labels = [{"name": "b", "branch": "FatJetX_label", "values": [5]}]
    refused(
        tree(tmp_path, branches),
        r"branch 'FatJetX_label' has \d numbers in event \d and 'FatJet_pt' has \d",
        labels=labels,
    )


def test_no_event_and_no_jet(tmp_path: Path) -> None:
    for branches in (nanoaod_branches(0), nanoaod_branches(5, most_jets=0)):
        with pytest.raises(DataError, match=r"data.train: no jet in 1 files"):
            load(tree(tmp_path, branches))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([], r"data.labels: nanoaod has no labels of its own; name the classes .*branch.*file.*Received: none"),
        (
            ["top"],
            r"data.labels: class 'top' needs a 'branch' \(with 'values'\) or 'files', globs of names. Received: va",
        ),
        ([LABELS[0], LABELS[0]], r"data.labels: each class may be named once. Received: b, b"),
    ],
)
def test_labels_that_do_not_say_which_jets_they_mean(labels: list[Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load("x.root", labels=labels)


def test_jets_of_several_classes(tmp_path: Path) -> None:
    labels = [*LABELS, {"name": "heavy", "branch": FLAVOUR, "values": [4]}]
    refused(
        tree(tmp_path, nanoaod_branches(20, seed=1)),
        r"data.labels: jet \d+ is of several classes \(\d+ such jets .* exclude one another. Received: other, heavy",
        labels=labels,
    )
