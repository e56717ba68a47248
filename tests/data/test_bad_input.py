"""Files and configurations that cannot be used: the message names file and branch, what was found, what to do."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot

from qformers.config.sections import DataConfig
from qformers.data import DATASETS, DataError, Events, open_split, split_files
from qformers.data.jets.hls4ml_lhc import MEAN_STD
from qformers.data.jets.split import JetDataset
from qformers.data.jets.toy import (
    Branches,
    hls4ml_lhc_arrays,
    jetclass_branches,
    nanoaod_branches,
    write_arrays,
    write_quark_gluon_jets,
    write_top_jets,
    write_tree,
)
from qformers.data.points.dataset import PointDataset
from qformers.data.split import MADE_EVENTS, MADE_JETS, MADE_OTHERS
from qformers.generate.jets.processes import PRESETS


def load(dataset: str, path: Path | str, **changes: object) -> Events:
    base = {"dataset": dataset, "train": (str(path),), "val": (), "test": (), "features": "pt_eta_phi"}
    return open_split(DataConfig.model_validate(base | {"num_particles": 8} | changes), "train").load()


def refused(path: Path, match: str, **changes: object) -> None:
    """Loading fails with a message that names the file and matches."""
    with pytest.raises(DataError, match=match) as caught:
        load("jetclass" if path.suffix == ".root" else "hls4ml_lhc", path, **changes)
    assert str(path) in str(caught.value)


def tree(path: Path, branches: Branches) -> Path:
    return write_tree(path / "bad.root", branches)


# configuration


def test_unknown_data_set() -> None:
    with pytest.raises(DataError, match=r"unknown data set 'jetclas'; did you mean 'jetclass'\?"):
        load("jetclas", "x")
    with pytest.raises(DataError, match=r"unknown data set 'zzz'; choose one of acts_generic, acts_odd, candidates"):
        load("zzz", "x")


def test_unknown_split() -> None:
    with pytest.raises(DataError, match=r"unknown split 'vall'; did you mean 'val'\?"):
        open_split(None, "vall")  # type: ignore[arg-type]  # before anything is read of the configuration


@pytest.mark.parametrize(
    "dataset", [name for name, one in DATASETS.items() if isinstance(one, JetDataset) and one.momenta]
)
def test_unknown_features_and_classes(dataset: str) -> None:
    with pytest.raises(DataError, match=rf"data.features: {dataset} has no feature set 'pt_eta_ph'; did you mean 'pt_"):
        load(dataset, "x", features="pt_eta_ph")
    labels = [{"name": "b", "branch": "FatJet_hadronFlavour", "values": [5]}] if dataset == "nanoaod" else []
    with pytest.raises(DataError, match=rf"data.classes: {dataset} has no class 'xyz'; choose one of "):
        load(dataset, "x", classes=("xyz",), labels=labels)


def test_a_class_named_twice() -> None:
    with pytest.raises(DataError, match=r"each class may be named once. Received: QCD, QCD"):
        load("jetclass", "x", classes=("QCD", "QCD"))


def test_globs_without_files(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"data.train: no file matches '.*nothing\*.root' \(looked from .*\); correct the"
    ):
        load("jetclass", tmp_path / "nothing*.root")
    with pytest.raises(DataError, match=r"data.train: no glob is given"):
        load("jetclass", "x", train=())


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_where_files_come_from_is_said_of_each_data_set(dataset: str, tmp_path: Path) -> None:
    """Only what writes files of a layout is named for it."""
    points = {"task": "pileup"} if isinstance(DATASETS[dataset], PointDataset) else None
    config = {"dataset": dataset, "train": (str(tmp_path / "*.x"),), "val": (), "test": (), "points": points}
    section = DataConfig.model_validate(config | {"num_particles": 8, "features": "x"})
    with pytest.raises(DataError, match=r"no file matches '.*'.*; correct the glob, or ") as caught:
        split_files(section, "train")
    told = str(caught.value)
    assert "docs/data.md says where" in told
    made = {**MADE_JETS, **MADE_EVENTS, **MADE_OTHERS}.get(dataset)
    if made is None:
        others = "trackml or line_segments or candidates" if points else "jetclass or hls4ml_lhc"
        assert f"those of '{dataset}' are, and qformers generate makes none; what it makes is read with data." in told
        assert told.endswith(f"data.dataset: {others}")
    else:
        assert f"make {made}" in told


def test_what_is_said_to_be_generated_can_be() -> None:
    assert set(MADE_JETS) | set(MADE_EVENTS) <= set(DATASETS)
    assert {words.rpartition(" ")[2] for words in MADE_JETS.values()} == set(PRESETS)


def test_one_of_several_globs_without_files(tmp_path: Path) -> None:
    good = write_tree(tmp_path / "a.root", jetclass_branches(5))
    with pytest.raises(DataError, match=r"no file matches '.*b\*.root'"):
        load("jetclass", "x", train=(str(good), str(tmp_path / "b*.root")))


def test_overlapping_globs_take_a_file_once(tmp_path: Path) -> None:
    good = write_tree(tmp_path / "a.root", jetclass_branches(5))
    assert len(load("jetclass", "x", train=(str(good), str(tmp_path / "*.root")))) == 5


# files of other data sets


@pytest.mark.parametrize("dataset", ["jetclass", "top_landscape", "nanoaod", "quark_gluon"])
def test_a_whole_file_of_the_five_classes_is_not_called_damaged(dataset: str, tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "jets_000.h5", hls4ml_lhc_arrays(5))
    labels = [{"name": "a", "files": ["*"]}] if dataset == "nanoaod" else []
    with pytest.raises(DataError) as caught:
        load(dataset, path, labels=labels)
    assert str(caught.value) == (
        f"data.train: {path}: is no file of data set '{dataset}' but one of hls4ml_lhc: set data.dataset: hls4ml_lhc. "
        f"Received: data.dataset={dataset}"
    )


def test_features_that_the_other_data_set_has_not_are_said_too(tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "jets_000.h5", hls4ml_lhc_arrays(5))
    words = (
        r"set data.dataset: hls4ml_lhc and data.features: pt_eta_phi or lnpt_eta_phi or all16. Received: data.dataset="
    )
    with pytest.raises(DataError, match=words):
        load("jetclass", path, features="kin")


@pytest.mark.parametrize(
    ("write", "name", "dataset"),
    [
        (lambda path: write_top_jets(path, 5), "a.h5", "top_landscape"),
        (lambda path: write_quark_gluon_jets(path, 5), "QG_jets.npz", "quark_gluon"),
        (lambda path: write_tree(path, nanoaod_branches(5), "Events"), "a.root", "nanoaod"),
    ],
)
def test_files_of_other_sets_name_theirs(
    write: Callable[[Path], Path], name: str, dataset: str, tmp_path: Path
) -> None:
    good = write_tree(tmp_path / "good.root", jetclass_branches(5))
    with pytest.raises(DataError, match=rf"{name}: is no file of data set 'jetclass' but one of {dataset}: set data."):
        load("jetclass", "x", train=(str(good), str(write(tmp_path / name))))


# ROOT


def test_not_root_and_empty_files(tmp_path: Path) -> None:
    for text in (b"", b"no ROOT file at all" * 100):
        (tmp_path / "bad.root").write_bytes(text)
        refused(tmp_path / "bad.root", r"bad.root: cannot be read as ROOT, the file is damaged, truncated or something")


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 0.99])
def test_truncated_root(tmp_path: Path, share: float) -> None:
    path = tree(tmp_path, jetclass_branches(300))
    text = path.read_bytes()
    path.write_bytes(text[: int(len(text) * share)])
    refused(path, r"cannot be read as ROOT.*fetch or generate it again")


def test_damaged_baskets(tmp_path: Path) -> None:
    path = tree(tmp_path, jetclass_branches(2000))
    text = bytearray(path.read_bytes())
    text[len(text) // 4 : len(text) // 2] = bytes(len(text) // 2 - len(text) // 4)
    path.write_bytes(text)
    refused(path, r"cannot be read as ROOT|non-finite|value beyond|numbers in jet|not one-hot|must be ")


def test_a_missing_tree(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "bad.root", jetclass_branches(5), tree="Events")
    refused(path, r"no TTree 'tree', found Events \(TTree\); write it with uproot's mktree\('tree'")


def test_an_rntuple_in_place_of_the_tree(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "bad.root") as file:
        file["tree"] = {"part_px": np.zeros(3)}
    refused(tmp_path / "bad.root", r"no TTree 'tree', found tree \(ROOT::RNTuple\); write it with uproot's mktree")


@pytest.mark.parametrize("branch", ["part_pz", "part_deta", "label_Tbl"])
def test_a_missing_branch(tmp_path: Path, branch: str) -> None:
    branches = jetclass_branches(5)
    branches[branch + "x"] = branches.pop(branch)
    refused(tree(tmp_path, branches), rf"TTree 'tree': branch '{branch}' is missing; did you mean '{branch}x'\?")


def test_branches_of_the_wrong_type(tmp_path: Path) -> None:
    branches = jetclass_branches(5)
    refused(
        tree(tmp_path, branches | {"part_px": np.zeros(5)}),
        r"branch 'part_px' has the wrong type. Expected: numbers per particle .*. Received: double",
    )
    jagged = ak.values_astype(branches["part_px"], np.int32)
    branches["label_QCD"] = jagged
    with uproot.recreate(tmp_path / "bad.root") as file:
        file.mktree("tree", {n: b.type.content if isinstance(b, ak.Array) else b.dtype for n, b in branches.items()})
        file["tree"].extend(branches)
    refused(
        tmp_path / "bad.root", r"branch 'label_QCD' has the wrong type. Expected: one number per jet. Received: int"
    )


def test_a_string_branch(tmp_path: Path) -> None:
    branches: dict[str, Any] = jetclass_branches(3)
    branches["jet_pt"] = ak.Array(["a", "bc", "d"])
    with uproot.recreate(tmp_path / "bad.root") as file:
        types = {n: b.type.content if isinstance(b, ak.Array) else b.dtype for n, b in branches.items()}
        file.mktree("tree", types)
        file["tree"].extend(branches)
    refused(
        tmp_path / "bad.root",
        r"branch 'jet_pt' has the wrong type. Expected: one number per jet. Received: char\*",
        features="kin",
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_particles(tmp_path: Path, value: float) -> None:
    branches = jetclass_branches(20, seed=1)
    flat, counts = ak.to_numpy(ak.flatten(branches["part_dphi"])).copy(), ak.num(branches["part_dphi"])
    flat[int(counts[:13].to_numpy().sum())] = value  # first particle of jet 13
    branches["part_dphi"] = ak.unflatten(flat, counts)
    refused(
        tree(tmp_path, branches), rf"branch 'part_dphi': non-finite value {value} in jet 13 .*mend or drop these jets"
    )


def test_non_finite_jets_in_a_later_piece(tmp_path: Path) -> None:
    branches = jetclass_branches(600, seed=1)
    branches["jet_energy"][555] = np.nan
    refused(
        tree(tmp_path, branches), r"'jet_energy': non-finite value nan in jet 555 ", features="kin", shuffle_jets=256
    )


def test_jets_without_momentum(tmp_path: Path) -> None:
    branches = jetclass_branches(20, seed=1)
    branches["jet_pt"][3] = 0
    refused(tree(tmp_path, branches), r"'jet_pt' must be positive. Received: 0.0 in jet 3", features="kin")


@pytest.mark.parametrize("value", [0, 1])
def test_labels_not_one_hot(tmp_path: Path, value: int) -> None:
    branches = jetclass_branches(20, seed=1, label=1)
    branches["label_Hbb"][4] = False
    branches["label_Tbl"][4] = value
    branches["label_QCD"][4] = value
    refused(tree(tmp_path, branches), rf"labels are not one-hot in jet 4. Received: QCD={value}, Hbb=0, .*Tbl={value};")


def test_branches_of_unequal_length(tmp_path: Path) -> None:
    branches = jetclass_branches(5, seed=1)
    with uproot.recreate(tmp_path / "bad.root") as file:
        branches["part_py"] = ak.concatenate(
            [branches["part_py"][:2], branches["part_py"][2:3][:, :0], branches["part_py"][3:]]
        )
        file.mktree("tree", {n: b.type.content if isinstance(b, ak.Array) else b.dtype for n, b in branches.items()})
        file["tree"].extend(branches)
    refused(
        tmp_path / "bad.root",
        r"branch 'part_py' has 0 numbers in jet 2 and 'part_px' has \d+; both must have one for each of the same",
    )


def test_no_jet_of_the_chosen_class(tmp_path: Path) -> None:
    path = tree(tmp_path, jetclass_branches(20, label=0))
    refused(path, r"data.train: no jet of the classes Tbl in 1 files", classes=("Tbl",))


def test_no_jet_at_all(tmp_path: Path) -> None:
    refused(tree(tmp_path, jetclass_branches(0)), r"data.train: no jet in 1 files")


# HDF5


def five(tmp_path: Path, **changes: Any) -> Path:
    """A file of ten good jets with some data sets changed; None leaves one out."""
    arrays = hls4ml_lhc_arrays(10, seed=2) | changes
    return write_arrays(tmp_path / "bad.h5", {name: value for name, value in arrays.items() if value is not None})


def test_not_hdf5(tmp_path: Path) -> None:
    for text in (b"", b"no HDF5 file at all" * 100):
        (tmp_path / "bad.h5").write_bytes(text)
        refused(
            tmp_path / "bad.h5", r"bad.h5: cannot be read as HDF5, the file is damaged, truncated or something else"
        )


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_hdf5(tmp_path: Path, share: float) -> None:
    path = five(tmp_path)
    text = path.read_bytes()
    path.write_bytes(text[: int(len(text) * share)])
    refused(path, r"cannot be read as HDF5.*fetch or generate it again")


@pytest.mark.parametrize("name", ["jetConstituentList", "jets", "particleFeatureNames"])
def test_a_missing_data_set(tmp_path: Path, name: str) -> None:
    refused(five(tmp_path, **{name: None}), rf"dataset '{name}' is missing; ")


def test_data_sets_of_the_wrong_type(tmp_path: Path) -> None:
    refused(
        five(tmp_path, jetConstituentList=np.full((10, 30, 16), b"x")),
        r"dataset 'jetConstituentList' has the wrong type. Expected: numbers with 3 axes. Received: \|S1 of shape",
    )
    refused(
        five(tmp_path, jets=np.zeros(10)), r"'jets' has the wrong type. Expected: numbers with 2 axes. Received: flo"
    )


def test_fewer_particles_than_asked(tmp_path: Path) -> None:
    refused(
        five(tmp_path),
        r"data.num_particles asks for 31 particles and 'jetConstituentList' has 30 per jet; lower num_particles",
        num_particles=31,
    )


def test_columns_that_do_not_fit_their_names(tmp_path: Path) -> None:
    names = hls4ml_lhc_arrays(1)["particleFeatureNames"]
    refused(
        five(tmp_path, particleFeatureNames=names[:5]), r"'particleFeatureNames' lists 5 names and .* has 16 columns"
    )
    renamed = np.where(names[:16] == b"j1_pt", b"j1_pT", names[:16])
    refused(five(tmp_path, particleFeatureNames=renamed), r"column 'j1_pt' is missing; did you mean 'j1_")


def test_unequal_numbers_of_jets(tmp_path: Path) -> None:
    refused(five(tmp_path, jets=hls4ml_lhc_arrays(9)["jets"]), r"'jets' has 9 jets and 'jetConstituentList' has 10")


def test_too_few_columns_for_labels(tmp_path: Path) -> None:
    refused(five(tmp_path, jets=np.zeros((10, 4))), r"'jets' has 4 columns, too few for five labels and j_undef")


def test_label_columns_missing_by_name(tmp_path: Path) -> None:
    names = np.array([f"x{i}" for i in range(59)], dtype="S16")
    refused(five(tmp_path, jetFeatureNames=names), r"'jetFeatureNames': column 'j_g' is missing")


def test_hdf5_labels_not_one_hot(tmp_path: Path) -> None:
    jets = hls4ml_lhc_arrays(10, seed=2)["jets"]
    jets[6, -6:] = [0, 0, 0, 0, 0, 1]  # j_undef
    refused(five(tmp_path, jets=jets), r"'jets': labels are not one-hot in jet 6. Received: g=0, q=0, w=0, z=0, t=0;")


def test_hdf5_non_finite(tmp_path: Path) -> None:
    particles = hls4ml_lhc_arrays(10, seed=2)["jetConstituentList"]
    particles[7, 2, 8] = np.nan
    refused(
        five(tmp_path, jetConstituentList=particles),
        r"'jetConstituentList' column 'j1_etarel': non-finite value nan in jet 7",
    )


# numbers that are finite, and no particle's


def changed(name: str, jet: int, value: float) -> Branches:
    """Good jets with the first particle of one of them changed."""
    branches = jetclass_branches(20, seed=1)
    flat, counts = ak.to_numpy(ak.flatten(branches[name])).copy(), ak.num(branches[name])
    flat[int(counts[:jet].to_numpy().sum())] = value
    return branches | {name: ak.unflatten(flat, counts)}


@pytest.mark.parametrize(("value", "said"), [(-3.0, "-3.0"), (0.0, "0.0")])
def test_energies_that_are_not_positive(tmp_path: Path, value: float, said: str) -> None:
    branches = changed("part_energy", 4, value)
    refused(tree(tmp_path, branches), rf"a particle's energy must be positive. Received: {said} in jet 4 .*drop these")


def test_particles_without_transverse_momentum(tmp_path: Path) -> None:
    branches = changed("part_px", 7, 0.0)
    flat, counts = ak.to_numpy(ak.flatten(branches["part_py"])).copy(), ak.num(branches["part_py"])
    flat[int(counts[:7].to_numpy().sum())] = 0.0
    branches["part_py"] = ak.unflatten(flat, counts)
    refused(tree(tmp_path, branches), r"a particle's pT must be positive. Received: 0.0 in jet 7 \(1 such particles")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("part_px", 1e35, r"value beyond 1e\+09 \(units are GeV\), .*e\+3[45] in jet 2 "),
        ("part_energy", 1e35, r"value beyond 1e\+09 \(units are GeV\), .*e\+3[45] in jet 2 "),
        ("part_d0val", 1e10, r"value beyond 1e\+09 \(units are mm\), 1e\+10|units are mm\), 10000000000.0 in jet 2 "),
        ("part_deta", 51.0, r"value beyond 50 \(a rapidity, pseudorapidity or distance in them\), 51.0 in jet 2 "),
        ("part_dphi", -180.0, r"value beyond 12.5664 \(an azimuth in rad\), -180.0 in jet 2 "),
        ("part_charge", 77.0, r"must be -1, 0 or 1. Received: 77 in jet 2; fetch or produce the file again"),
        ("part_isPhoton", 2, r"must be 0 or 1. Received: 2 in jet 2; fetch or produce the file again"),
    ],
)
def test_values_beyond_all_that_is_measured(tmp_path: Path, name: str, value: float, said: str) -> None:
    refused(tree(tmp_path, changed(name, 2, value)), rf"branch '{name}':? {said}", features="full")


def doubles(name: str, value: float) -> Branches:
    """Good jets whose momenta are doubles, one number of the first of jet 2 changed."""
    branches = jetclass_branches(10, seed=2)
    for column in ("part_px", "part_py", "part_pz", "part_energy", "jet_energy"):
        branches[column] = (
            ak.values_astype(branches[column], np.float64) if column != "jet_energy" else branches[column].astype(float)
        )
    if name == "jet_energy":
        branches[name][2] = value
        return branches
    flat, counts = ak.to_numpy(ak.flatten(branches[name])).copy(), ak.num(branches[name])
    flat[int(counts[:2].to_numpy().sum())] = value
    return branches | {name: ak.unflatten(flat, counts)}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("part_px", 1e300, r"branch 'part_px': value beyond 1e\+09 \(units are GeV\), 1e\+300 in jet 2"),
        (
            "part_energy",
            1e-50,
            r"a particle's energy must be at least 1.2e-38 GeV to be told from 0. Rec.*: 1e-50 in jet 2",
        ),
        ("jet_energy", 1e-50, r"branch 'jet_energy' must be at least 1.2e-38 GeV to be told .*: 1e-50 in jet 2"),
    ],
)
def test_doubles_are_looked_at_as_they_are(tmp_path: Path, name: str, value: float, said: str) -> None:
    refused(tree(tmp_path, doubles(name, value)), said, features="kin")


@pytest.mark.parametrize("padding", ["zero", "wrap"])
def test_a_jet_without_particles(tmp_path: Path, padding: str) -> None:
    branches = jetclass_branches(3, seed=2)
    for name in [n for n in branches if n.startswith("part_")]:
        branches[name] = ak.concatenate([branches[name][:1], branches[name][1:2][:, :0], branches[name][2:]])
    refused(tree(tmp_path, branches), r"jet 1 has no particle \(1 such jets.*drop them from the file", padding=padding)


def test_jets_without_any_particle(tmp_path: Path) -> None:
    branches = jetclass_branches(3, seed=2)
    for name in [n for n in branches if n.startswith("part_")]:
        branches[name] = branches[name][:, :0]
    refused(tree(tmp_path, branches), r"jet 0 has no particle \(3 such jets")


def particles(column: str, value: float, jet: int = 5) -> np.ndarray[Any, Any]:
    """The particles of ten good jets, one number of the first of a jet changed; "all" = of all of its particles."""
    array = hls4ml_lhc_arrays(10, seed=2)["jetConstituentList"]
    if column == "all":
        array[jet] = value
    else:
        array[jet, 0, list(MEAN_STD).index(column)] = value
    return np.asarray(array)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("j1_e", -2.0, r"a particle's energy must be positive. Received: -2.0 in jet 5"),
        ("j1_pt", 0.0, r"a particle's pT must be positive. Received: 0.0 in jet 5"),
        ("j1_pt", -1.0, r"a particle's pT must be positive. Received: -1.0 in jet 5"),
        ("j1_pt", 1e35, r"column 'j1_pt': value beyond 1e\+09 .* in jet 5"),
        ("j1_px", 1e300, r"column 'j1_px': value beyond 1e\+09 \(units are GeV\), 1e\+300 in jet 5"),
        ("j1_pt", 1e-50, r"a particle's pT must be at least 1.2e-38 GeV to be told from 0. Received: 1e-50 in jet 5"),
        ("j1_phirel", 1e8, r"column 'j1_phirel': value beyond 12.5664 \(an azimuth in rad\), 100000000.0 in jet 5"),
        ("j1_etarel", 60.0, r"column 'j1_etarel': value beyond 50 \(a rapidity, .*\), 60.0 in jet 5"),
        ("j1_costheta", 1e10, r"column 'j1_costheta': value beyond 1e\+09 \(a number without a unit\)"),
        ("all", 1e-50, r"a particle's pT must be at least 1.2e-38 GeV .* in jet 5"),  # and not padding
        ("all", 0.0, r"'jetConstituentList': jet 5 has no particle \(1 such jets"),
    ],
)
def test_hdf5_particles_that_cannot_be(tmp_path: Path, column: str, value: float, said: str) -> None:
    features = {"features": "all16"} if column == "j1_costheta" else {}
    refused(five(tmp_path, jetConstituentList=particles(column, value)), said, **features)


# HDF5 that is none of numbers, or of more than there are


def test_groups_in_place_of_data_sets(tmp_path: Path) -> None:
    path = five(tmp_path, jetConstituentList=None)
    with h5py.File(path, "a") as file:
        file.create_group("jetConstituentList")
    refused(path, r"data.train: .*'jetConstituentList' must be a data set of numbers. Received: a group; generate or")


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    names = hls4ml_lhc_arrays(1)["particleFeatureNames"].copy()
    names[3] = b"\xff\xfe"
    refused(
        five(tmp_path, particleFeatureNames=names),
        r"'particleFeatureNames': the name b'\\xff\\xfe' is not UTF-8; write the names of columns in ASCII",
    )


@pytest.mark.parametrize(
    ("dtype", "said"),
    [(np.complex64, "complex64"), ([("a", "f4"), ("b", "f4")], r"\[\('a'"), ("S4", r"\|S4"), (object, "object")],
)
def test_hdf5_types_that_are_no_numbers(tmp_path: Path, dtype: Any, said: str) -> None:
    array: Any = np.zeros((10, 30, 16), dtype) if dtype is not object else np.full((10, 30, 16), "text", object)
    path = five(tmp_path, jetConstituentList=None)
    with h5py.File(path, "a") as file:
        kind = h5py.string_dtype() if dtype is object else None
        file.create_dataset("jetConstituentList", data=array, dtype=kind)
    refused(path, rf"'jetConstituentList' has the wrong type. Expected: numbers with 3 axes. Received: {said}")


def test_numbers_in_place_of_names(tmp_path: Path) -> None:
    refused(
        five(tmp_path, particleFeatureNames=np.arange(17)),
        r"'particleFeatureNames' has the wrong type. Expected: names of columns. Received: int64 of shape \(17,\)",
    )


def test_a_data_set_that_claims_more_than_the_file_holds(tmp_path: Path) -> None:
    path = five(tmp_path, jetConstituentList=None)
    with h5py.File(path, "a") as file:  # nothing is written: HDF5 gives zeros for chunks that are not there
        file.create_dataset("jetConstituentList", (10**12, 30, 16), "f4", chunks=(1000, 30, 16))
    refused(path, r"'jetConstituentList' has the shape \(1000000000000, 30, 16\), more than a file of [\d,]+ bytes can")


def test_numbers_of_another_file_are_not_followed(tmp_path: Path) -> None:
    path = five(tmp_path, jetConstituentList=None)
    write_arrays(tmp_path / "other.h5", hls4ml_lhc_arrays(10))
    with h5py.File(path, "a") as file:
        file["jetConstituentList"] = h5py.ExternalLink("other.h5", "jetConstituentList")
    refused(path, r"'jetConstituentList' is a link to another place, which is not followed")


def test_no_jet_in_hdf5(tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "bad.h5", hls4ml_lhc_arrays(0))
    with pytest.raises(DataError, match=r"data.train: no jet in 1 files, the first is .*bad.h5"):
        load("hls4ml_lhc", path)


# what stands in the place of a file


@pytest.mark.parametrize("ending", ["root", "h5"])
def test_things_that_are_no_files(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"bad.{ending}"
    path.mkdir()
    refused(path, r"data.train: .*is a folder; name a file in it")
    path.rmdir()
    path.symlink_to(tmp_path / "gone")
    refused(path, r"is a link to .*gone, which is not there; mend the link")
    path.unlink()
    os.mkfifo(path)  # reading it would never end
    refused(path, r"is no regular file; name one")


def test_a_file_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = five(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for anybody but root
    refused(path, r"may not be read by this user; change its permissions \(chmod u\+r\)")


def test_globs_of_events_speak_of_events(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"correct the glob, or make events with qformers generate tracks"):
        load("trackml", tmp_path / "*-hits.csv", features="place", points={"task": "tracking"})
