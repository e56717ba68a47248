"""Files of the hls4ml LHC jet set: columns by name, standardisation, pT order, padding and labels."""

import math
from pathlib import Path

import numpy as np
import pytest

from qformers.config.sections import DataConfig
from qformers.data import Events, open_split
from qformers.data.jets.hls4ml_lhc import COLUMNS, MEAN_STD
from qformers.data.jets.toy import hls4ml_lhc_arrays, write_arrays


def load(path: Path, **changes: object) -> Events:
    base = {"dataset": "hls4ml_lhc", "train": (str(path),), "val": (), "test": ()}
    settings = {"features": "lnpt_eta_phi", "num_particles": 8}
    return open_split(DataConfig.model_validate(base | settings | changes), "train").load()


def standard(value: float, column: str) -> float:
    mean, std = MEAN_STD[column]
    return (value - mean) / std


@pytest.mark.parametrize("features", ["lnpt_eta_phi", "pt_eta_phi", "all16"])
def test_features_by_hand(tmp_path: Path, features: str) -> None:
    arrays = hls4ml_lhc_arrays(30, seed=1)
    events = load(write_arrays(tmp_path / "a.h5", arrays), features=features)
    at = {name: i for i, name in enumerate(COLUMNS)}
    for jet in range(30):
        for slot in range(8):
            row = arrays["jetConstituentList"][jet, slot]
            if row[at["j1_pt"]] == 0:
                assert events.mask[jet, slot] == 0
                assert not events.features[jet, slot].any()
                assert not events.vectors[jet, slot].any()
                continue
            expected = {
                "lnpt_eta_phi": [math.log(row[at["j1_pt"]]), row[at["j1_etarel"]], row[at["j1_phirel"]]],
                "pt_eta_phi": [standard(row[at[c]], c) for c in ("j1_pt", "j1_etarel", "j1_phirel")],
                "all16": [standard(row[i], c) for i, c in enumerate(COLUMNS)],
            }[features]
            np.testing.assert_allclose(events.features[jet, slot], expected, rtol=2e-5, atol=2e-5)
            np.testing.assert_allclose(events.vectors[jet, slot], row[:4], rtol=1e-6)
            assert events.mask[jet, slot] == 1
    assert events.mask.min() == 0


def test_names_that_the_on_chip_pair_features_look_for(tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "a.h5", hls4ml_lhc_arrays(5))
    assert load(path).feature_set.names == ("part_pt_log", "part_deta", "part_dphi")
    assert load(path, features="pt_eta_phi").feature_set.names == ("part_pt", "part_deta", "part_dphi")
    assert len(load(path, features="all16").feature_set) == 16


def test_columns_are_found_by_name_not_by_place(tmp_path: Path) -> None:
    arrays = hls4ml_lhc_arrays(20, seed=2)
    straight = load(write_arrays(tmp_path / "a.h5", arrays), features="all16")
    order = np.random.default_rng(0).permutation(16)
    arrays["jetConstituentList"] = arrays["jetConstituentList"][:, :, order]
    arrays["particleFeatureNames"] = np.array([COLUMNS[i] for i in order], dtype="S16")
    turned = load(write_arrays(tmp_path / "b.h5", arrays), features="all16")
    np.testing.assert_array_equal(straight.features, turned.features)


def test_particles_in_any_order_and_gaps(tmp_path: Path) -> None:
    arrays = hls4ml_lhc_arrays(20, seed=3)
    straight = load(write_arrays(tmp_path / "a.h5", arrays))
    slots = np.random.default_rng(1).permutation(30)
    arrays["jetConstituentList"] = arrays["jetConstituentList"][:, slots]
    turned = load(write_arrays(tmp_path / "b.h5", arrays))
    np.testing.assert_array_equal(straight.features, turned.features)
    np.testing.assert_array_equal(straight.mask, turned.mask)


def test_ties_keep_the_order_of_the_file(tmp_path: Path) -> None:
    arrays = hls4ml_lhc_arrays(1, seed=3, particles=6)
    arrays["jetConstituentList"][0, :, COLUMNS.index("j1_pt")] = [5, 7, 5, 7, 0, 5]
    arrays["jetConstituentList"][0, :, COLUMNS.index("j1_e")] = [6, 1, 2, 3, 0, 5]
    for name in ("j1_px", "j1_py", "j1_pz"):  # the slot without pT is padding
        arrays["jetConstituentList"][0, 4, COLUMNS.index(name)] = 0
    events = load(write_arrays(tmp_path / "a.h5", arrays), num_particles=6)
    assert events.vectors[0, :5, 3].tolist() == [1, 3, 6, 2, 5]
    assert events.mask[0].tolist() == [1, 1, 1, 1, 1, 0]


def test_wrap_padding(tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "a.h5", hls4ml_lhc_arrays(30, seed=4))
    zero, wrap = load(path, num_particles=30), load(path, num_particles=30, padding="wrap")
    for jet in range(30):
        count = int(zero.mask[jet].sum())
        np.testing.assert_array_equal(wrap.features[jet], zero.features[jet, np.arange(30) % count])
    np.testing.assert_array_equal(zero.mask, wrap.mask)


def test_labels_with_and_without_names_of_the_jet_columns(tmp_path: Path) -> None:
    arrays = hls4ml_lhc_arrays(40, seed=5)
    events = load(write_arrays(tmp_path / "a.h5", arrays))
    assert events.class_names == ("g", "q", "w", "z", "t")
    np.testing.assert_array_equal(events.labels, arrays["jets"][:, -6:-1].argmax(axis=1))
    names = [f"j_{i}" for i in range(53)] + ["j_g", "j_q", "j_w", "j_z", "j_t", "j_undef"]
    shuffled = np.random.default_rng(0).permutation(59)
    arrays["jets"] = arrays["jets"][:, shuffled]
    arrays["jetFeatureNames"] = np.array([names[i] for i in shuffled], dtype="S16")
    np.testing.assert_array_equal(load(write_arrays(tmp_path / "b.h5", arrays)).labels, events.labels)


def test_classes_select_and_reorder(tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "a.h5", hls4ml_lhc_arrays(60, seed=6))
    everything, chosen = load(path), load(path, classes=("t", "q"))
    keep = np.isin(everything.labels, [4, 1])
    np.testing.assert_array_equal(chosen.features, everything.features[keep])
    np.testing.assert_array_equal(chosen.labels, np.where(everything.labels[keep] == 4, 0, 1))
