"""The two file layouts: schema, types, columns, atomic writing."""

import h5py
import numpy as np
import pytest
import uproot

from qformers.data.jets import hls4ml_lhc_writer as h5writer
from qformers.generate.jets import layout_jetclass, layout_lhc5
from qformers.generate.jets.candidates import Candidates
from qformers.generate.jets.clustering import Jets
from qformers.generate.jets.truth import Match

pytest.importorskip("fastjet", reason="clustering needs the datagen extra")

COUNTS = np.array([3, 5])


def two_jets():
    """Two jets with pT-ordered constituents about (eta, phi) = (0.5, 1) and (-0.5, 3.1)."""
    rng = np.random.default_rng(0)
    centre_eta, centre_phi = np.repeat([0.5, -0.5], COUNTS), np.repeat([1.0, 3.1], COUNTS)
    pt = np.concatenate([np.sort(rng.uniform(50, 300, n))[::-1] for n in COUNTS])
    eta, phi = centre_eta + rng.normal(0, 0.1, 8), centre_phi + rng.normal(0, 0.1, 8)
    p4 = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)])
    zero = np.zeros(8)
    parts = Candidates(
        np.repeat([0, 1], COUNTS), *p4, np.arange(8) % 5, np.array([1.0, 0, 0, -1, 1, 1, 0, 0]), zero, zero, zero, zero
    )
    total = np.stack([np.bincount(parts.event, weights=row) for row in p4])
    return Jets(np.array([0, 1]), *total, COUNTS, parts)


MATCH = Match(np.array([41, 41]), np.array([25, 25]), np.full(2, 600.0), np.zeros(2), np.ones(2))


def test_root_file_has_the_public_branches_and_types(tmp_path):
    arrays = layout_jetclass.arrays(two_jets(), MATCH, "Hbb", 0.8)
    layout_jetclass.write_root(tmp_path / "HToBB_000.root", arrays, "zlib")
    with uproot.open(tmp_path / "HToBB_000.root") as file:
        assert file.classnames()["tree;1"] == "TTree"  # an RNTuple would be unreadable
        tree = file["tree"]
        types = {name: branch.typename for name, branch in tree.items()}
        table = tree.arrays()
    floats = ["px", "py", "pz", "energy", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr", "charge"]
    assert {types[f"part_{name}"] for name in floats} == {"float[]"}
    flags = ["ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon"]
    assert {types[f"part_is{name}"] for name in flags} == {"int32_t[]"}
    assert [types[f"label_{x}"] for x in layout_jetclass.LABELS] == ["float"] + ["bool"] * 5 + ["int32_t"] * 4
    jet = ["pt", "eta", "phi", "energy", "nparticles", "sdmass", "tau1", "tau2", "tau3", "tau4"]
    aux = ["genpart_eta", "genpart_phi", "genpart_pid", "genpart_pt", "truth_match"]
    assert {types[f"jet_{x}"] for x in jet} | {types[f"aux_{x}"] for x in aux} == {"float"}
    assert len(types) == 11 + 5 + 10 + 10 + 5 + 1  # and the counter npart
    assert table.part_px.to_list() == [arrays["part_px"][:3].tolist(), arrays["part_px"][3:].tolist()]
    assert np.sum([np.asarray(table[f"label_{x}"], int) for x in layout_jetclass.LABELS], axis=0).tolist() == [1, 1]
    assert np.sum([np.asarray(arrays[f"part_is{x}"]) for x in flags], axis=0).tolist() == [1] * 8
    assert not list(tmp_path.glob(".*"))


def test_jetclass_angles_point_outwards_and_wrap():
    jets = two_jets()
    arrays = layout_jetclass.arrays(jets, MATCH, "Hbb", 0.8)
    parts = jets.constituents
    assert arrays["part_deta"][:3] == pytest.approx(parts.eta[:3] - jets.eta[0], abs=1e-6)
    assert arrays["part_deta"][3:] == pytest.approx(jets.eta[1] - parts.eta[3:], abs=1e-6)  # sign of the jet's eta
    assert np.abs(arrays["part_dphi"]).max() < 0.5
    assert (np.diff(arrays["jet_tau1"][:1]) <= 0).all()
    assert (arrays["jet_tau1"] >= arrays["jet_tau2"]).all()


def test_constituent_columns_mean_what_they_say():
    jets = two_jets()
    px, py, pz, e = layout_lhc5.pad(jets, 6)
    p4 = np.stack([jets.px, jets.py, jets.pz, jets.energy], axis=1)
    x = h5writer.constituent_columns(px, py, pz, e, p4)
    assert x.shape == (2, 6, 16)
    assert x.dtype == np.float32
    column = {name.removeprefix("j1_"): x[..., i] for i, name in enumerate(h5writer.PARTICLE_FEATURES)}
    assert (column["pt"][0, 3:] == 0).all()
    assert (x[0, 3:] == 0).all()
    assert column["erel"].sum(axis=1) == pytest.approx([1, 1], rel=1e-5)
    assert column["pt"] == pytest.approx(np.hypot(px, py), rel=1e-6)
    assert np.hypot(column["etarot"], column["phirot"]) == pytest.approx(column["deltaR"], abs=1e-6)
    assert column["deltaR"] == pytest.approx(np.hypot(column["etarel"], column["phirel"]), abs=1e-6)
    assert (column["etarot"][:, 0] >= 0).all()
    spread = [(column["pt"] * column[name] ** 2).sum() for name in ("etarot", "phirot")]
    assert spread[0] > spread[1]
    real = px != 0
    assert column["costheta"][real] == pytest.approx(np.tanh(column["eta"][real]), abs=1e-5)
    angle = np.arccos(np.clip(column["costhetarel"][real], -1, 1))
    assert angle.max() < 0.5
    assert np.abs(column["phirel"]).max() < 0.5  # the second jet sits at the seam


def test_padding_cuts_the_softest():
    px, *_ = layout_lhc5.pad(two_jets(), 2)
    assert px.shape == (2, 2)
    assert px[1].tolist() == two_jets().constituents.px[3:5].tolist()


def test_h5_file_has_the_public_layout(tmp_path):
    arrays = layout_lhc5.arrays(two_jets(), "t", 0.4, 30)
    h5writer.write(tmp_path / "a.h5", arrays["constituents"], arrays["jets"])
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["jetConstituentList"].shape == (2, 30, 16)
        assert file["jetConstituentList"].dtype == np.float32
        assert file["jets"].shape == (2, 59)
        assert file["jets"][:, -6:].tolist() == [[0, 0, 0, 0, 1, 0]] * 2
        assert file["jetFeatureNames"][-6:].tolist() == [b"j_g", b"j_q", b"j_w", b"j_z", b"j_t", b"j_undef"]
        assert file["particleFeatureNames"][5] == b"j1_pt"
        multiplicity = file["jets"][:, h5writer.JET_FEATURES.index("j_multiplicity")]
    assert multiplicity.tolist() == [3, 5]
    assert not list(tmp_path.glob(".*"))


def test_h5_writer_refuses_what_does_not_fit(tmp_path):
    good, jets = np.zeros((2, 30, 16)), np.zeros((2, 59))
    for constituents, table, names, message in [
        (np.zeros((2, 30, 15)), jets, h5writer.JET_FEATURES, r"shape \(n, P, 16\). Received: \(2, 30, 15\)"),
        (good, np.zeros((3, 59)), h5writer.JET_FEATURES, r"\(2, 59\).*Received: \(3, 59\)"),
        (good, jets, h5writer.JET_FEATURES[::-1], r"columns -6:-1 of jets must be"),
        (np.full_like(good, np.nan), jets, h5writer.JET_FEATURES, "must be finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            h5writer.write(tmp_path / "a.h5", constituents, table, names)
    with pytest.raises(ValueError, match=r"\(n, P\) and jet_p4.*Received: \(2, 3\) and \(2, 3\)"):
        h5writer.constituent_columns(*np.zeros((4, 2, 3)), np.zeros((2, 3)))
    assert not list(tmp_path.iterdir())


def test_an_unknown_label_is_refused():
    with pytest.raises(ValueError, match=r"no label j_b\. Received: label='b'"):
        layout_lhc5.jet_table(two_jets(), "b", 0.4)
