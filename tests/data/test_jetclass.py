"""JetClass files: the published inputs, pT order, padding, labels and choice of classes."""

import math
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from support.paths import DATA

from qformers.config.sections import DataConfig
from qformers.data import Events, open_split
from qformers.data.jets.jetclass import CLASSES
from qformers.data.jets.toy import Branches, jetclass_branches, write_tree

FLAGS = ["charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon"]
KIN = ["part_pt_log", "part_e_log", "part_logptrel", "part_logerel", "part_deltaR"]
D0 = ["part_d0", "part_d0err", "part_dz", "part_dzerr"]
AXIS = ["part_deta", "part_dphi"]
NAMES = {
    "kin": KIN + AXIS,
    "kinpid": KIN + [f"part_{flag}" for flag in FLAGS] + AXIS,
    "full": KIN + [f"part_{flag}" for flag in FLAGS] + D0 + AXIS,
    "lnpt_eta_phi": ["part_pt_log", *AXIS],
    "pt_eta_phi": ["part_pt", *AXIS],
}


def load(path: Path, **changes: object) -> Events:
    base = {"dataset": "jetclass", "train": (str(path),), "val": (), "test": (), "features": "kin", "num_particles": 16}
    return open_split(DataConfig.model_validate(base | changes), "train").load()


def clip(x: float, shift: float, scale: float, low: float = -5.0) -> float:
    return min(max((x - shift) * scale, low), -low)


def by_hand(branches: Branches, jet: int, features: str) -> list[list[float]]:
    """The published inputs of one jet, particle by particle in falling pT, written down independently."""

    def value(name: str, i: int) -> float:
        return float(branches[name][jet][i])

    jet_pt, jet_energy = float(branches["jet_pt"][jet]), float(branches["jet_energy"][jet])
    rows = []
    for i in range(len(branches["part_px"][jet])):
        pt = math.sqrt(value("part_px", i) ** 2 + value("part_py", i) ** 2)
        energy, deta, dphi = value("part_energy", i), value("part_deta", i), value("part_dphi", i)
        kin = [
            clip(math.log(pt), 1.7, 0.7),
            clip(math.log(energy), 2.0, 0.7),
            clip(math.log(pt / jet_pt), -4.7, 0.7),
            clip(math.log(energy / jet_energy), -4.7, 0.7),
            clip(math.sqrt(deta**2 + dphi**2), 0.2, 4.0),
        ]
        flags = [value(f"part_{flag}", i) for flag in FLAGS]
        displaced = [
            math.tanh(value("part_d0val", i)),
            min(max(value("part_d0err", i), 0.0), 1.0),
            math.tanh(value("part_dzval", i)),
            min(max(value("part_dzerr", i), 0.0), 1.0),
        ]
        parts = {
            "kin": kin,
            "kinpid": kin + flags,
            "full": kin + flags + displaced,
            "lnpt_eta_phi": [math.log(pt)],
            "pt_eta_phi": [pt / 100],
        }
        rows.append([*parts[features], deta, dphi])
    return rows


@pytest.mark.parametrize("features", sorted(NAMES))
def test_features_are_the_published_ones(tmp_path: Path, features: str) -> None:
    branches = jetclass_branches(20, seed=3)
    events = load(write_tree(tmp_path / "a.root", branches), features=features)
    assert list(events.feature_set.names) == NAMES[features]
    for jet in range(20):
        rows = by_hand(branches, jet, features)[:16]
        np.testing.assert_allclose(events.features[jet, : len(rows)], rows, rtol=2e-5, atol=2e-6)
        assert events.mask[jet].tolist() == [1.0] * len(rows) + [0.0] * (16 - len(rows))
        assert not events.features[jet, len(rows) :].any()
        for i in range(len(rows)):
            expected = [branches[f"part_{c}"][jet][i] for c in ("px", "py", "pz", "energy")]
            assert events.vectors[jet, i].tolist() == expected


def test_clipping_is_reached_at_both_ends(tmp_path: Path) -> None:
    branches = jetclass_branches(2, seed=0)
    for name in ("part_px", "part_py", "part_pz", "part_energy"):
        branches[name] = branches[name] * ak.Array([1e-9, 1e6])
    events = load(write_tree(tmp_path / "a.root", branches), features="kin")
    real = events.mask > 0
    assert (events.features[0, real[0], :4] == -5).all()
    assert (events.features[1, real[1], :2] == 5).all()
    assert np.isfinite(events.features).all()


def test_labels_of_mixed_types_give_the_class_index(tmp_path: Path) -> None:
    branches = jetclass_branches(50, seed=1)
    events = load(write_tree(tmp_path / "a.root", branches))
    assert events.class_names == CLASSES == ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
    assert events.labels.dtype == np.int64
    for jet in range(50):
        assert [bool(branches[f"label_{c}"][jet]) for c in CLASSES].index(True) == events.labels[jet]


def test_classes_select_and_reorder(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", jetclass_branches(200, seed=1))
    everything, chosen = load(path), load(path, classes=("Tbqq", "QCD"))
    assert chosen.class_names == ("Tbqq", "QCD")
    of_all = [CLASSES[label] for label in everything.labels]
    keep = np.array([name in ("Tbqq", "QCD") for name in of_all])
    assert 0 < keep.sum() < 200
    assert [chosen.class_names[label] for label in chosen.labels] == [n for n in of_all if n in ("Tbqq", "QCD")]
    np.testing.assert_array_equal(chosen.features, everything.features[keep])


def test_all_classes_in_another_order_drop_nothing(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", jetclass_branches(50, seed=1))
    turned = load(path, classes=CLASSES[::-1])
    np.testing.assert_array_equal(turned.labels, 9 - load(path).labels)


def test_unsorted_particles_are_sorted_and_ties_keep_their_order(tmp_path: Path) -> None:
    branches = jetclass_branches(1, seed=0, most_particles=1)
    px = [1.0, 3.0, 2.0, 3.0, 1.0, 3.0]
    zeros = [0.0] * len(px)
    for name in [n for n in branches if n.startswith("part_")]:
        branches[name] = ak.values_astype(ak.Array([zeros]), np.float32)
    branches["part_px"] = ak.values_astype(ak.Array([px]), np.float32)
    branches["part_energy"] = ak.values_astype(ak.Array([[10.0, 11.0, 12.0, 13.0, 14.0, 15.0]]), np.float32)
    events = load(write_tree(tmp_path / "a.root", branches), num_particles=5)
    assert events.vectors[0, :, 0].tolist() == [3, 3, 3, 2, 1]
    assert events.vectors[0, :, 3].tolist() == [11, 13, 15, 12, 10]
    assert events.mask[0].tolist() == [1] * 5


def test_wrap_padding_repeats_the_own_particles(tmp_path: Path) -> None:
    branches = jetclass_branches(30, seed=5, most_particles=10)
    path = write_tree(tmp_path / "a.root", branches)
    zero, wrap = load(path), load(path, padding="wrap")
    np.testing.assert_array_equal(zero.mask, wrap.mask)
    for jet in range(30):
        count = int(zero.mask[jet].sum())
        for slot in range(16):
            np.testing.assert_array_equal(wrap.features[jet, slot], zero.features[jet, slot % count])
            np.testing.assert_array_equal(wrap.vectors[jet, slot], zero.vectors[jet, slot % count])
    assert not zero.vectors[zero.mask == 0].any()


def test_the_sample_of_the_repository() -> None:
    """Ten processes, one file and class each; the inputs of some jets are worked out by hand."""
    folder = DATA / "jets" / "test"
    events = load(folder / "*.root", features="full", num_particles=128)
    assert (np.bincount(events.labels, minlength=10) > 0).all()
    row = 0
    for path in sorted(folder.glob("*.root")):
        with uproot.open(path) as file:
            arrays = file["tree"].arrays()
        for jet in (0, len(arrays) - 1):
            rows = by_hand({name: arrays[name] for name in arrays.fields}, jet, "full")
            np.testing.assert_allclose(events.features[row + jet, : len(rows)], rows, rtol=2e-5, atol=2e-6)
            assert events.mask[row + jet].sum() == len(rows)
        row += len(arrays)
    assert row == len(events)


def test_no_heavy_package_is_imported_before_a_file_is_opened() -> None:
    code = "import sys, qformers.data; print([n for n in ('uproot', 'awkward', 'h5py', 'keras') if n in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
