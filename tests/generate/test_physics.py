"""Real events: repeatability, windows, labels and masses. Needs pythia8mc and fastjet."""

import sys
from dataclasses import replace

import awkward as ak
import numpy as np
import pytest
import uproot
from support.paths import DATA

from benchmarks import generator_truth
from qformers.generate.jets import chunk, clustering, manifest, plan, run, truth
from qformers.generate.jets.plan import Chunk, JetSettings
from qformers.generate.jets.processes import JETCLASS, LHC5, Preset, Process
from qformers.generate.jets.pythia import Events
from qformers.progress import Silent

pytest.importorskip("pythia8mc", reason="needs the datagen extra")
pytest.importorskip("fastjet", reason="needs the datagen extra")

SAMPLE = DATA / "jets"

# Expected mean multiplicity and its rms, median mass and soft-drop mass (GeV), width factor of the medians.
EXPECTED = {
    "QCD": (31.8, 16, 59.0, 17.0, 4.5),
    "Hbb": (42.7, 12, 119.0, 115.0, 1.8),
    "Hcc": (38.5, 12, 121.8, 118.0, 1.8),
    "Hgg": (56.7, 13, 121.2, 115.0, 1.8),
    "H4q": (49.1, 11, 121.9, 112.3, 3.0),
    "Hqql": (28.8, 10, 96.0, 81.0, 4.5),
    "Zqq": (34.0, 11, 92.1, 85.8, 1.8),
    "Wqq": (32.5, 10, 83.6, 77.5, 1.8),
    "Tbqq": (50.7, 12, 168.5, 163.5, 3.0),
    "Tbl": (27.6, 12, 118.7, 110.7, 4.5),
}


def quiet(new_jets):
    """Report to nobody."""


def make(preset, process, jets=40, number=0, **options):
    settings = JetSettings(preset, jets=1000, **options)
    index = [p.name for p in settings.table.processes].index(process)
    return chunk.make(settings, Chunk("train", number, process, index, jets), quiet)


@pytest.fixture(scope="module")
def w_jets():
    return make("jetclass", "WToQQ")


def jet_mass(arrays):
    p = arrays["jet_pt"] * np.cosh(arrays["jet_eta"])
    return np.sqrt(np.maximum(arrays["jet_energy"] ** 2 - p**2, 0))


def test_equal_seeds_give_equal_arrays_and_others_do_not(w_jets):
    again, other = make("jetclass", "WToQQ"), make("jetclass", "WToQQ", number=1)
    assert manifest.content_sha256(again) == manifest.content_sha256(w_jets)
    assert not np.array_equal(other["jet_pt"], w_jets["jet_pt"])


def test_fewer_jets_are_the_first_of_more(w_jets):
    few = make("jetclass", "WToQQ", jets=7)
    n = few["counts"].sum()
    assert len(few["jet_pt"]) == 7
    assert np.array_equal(few["jet_pt"], w_jets["jet_pt"][:7])
    assert np.array_equal(few["part_px"], w_jets["part_px"][:n])


def test_w_jets_lie_in_the_window_and_weigh_as_a_w(w_jets):
    assert w_jets["jet_pt"].min() >= 500
    assert w_jets["jet_pt"].max() <= 1000
    assert np.abs(w_jets["jet_eta"]).max() < 2
    assert set(w_jets["aux_truth_match"]) <= {21, 22}
    assert set(np.abs(w_jets["aux_genpart_pid"])) == {24}
    assert 75 < np.median(jet_mass(w_jets)) < 95
    assert 65 < np.median(w_jets["jet_sdmass"]) < 85
    assert 20 < w_jets["counts"].mean() < 45
    assert w_jets["label_Wqq"].all()
    assert all(np.isfinite(values).all() for values in w_jets.values())


def test_jets_are_the_sum_of_their_pt_ordered_particles(w_jets):
    jet = np.repeat(np.arange(40), w_jets["counts"])
    assert np.array_equal(w_jets["jet_nparticles"], w_jets["counts"])
    energy = np.bincount(jet, weights=w_jets["part_energy"])
    px, py = (np.bincount(jet, weights=w_jets[f"part_{axis}"]) for axis in "xy" for axis in (f"p{axis}",))
    assert energy == pytest.approx(w_jets["jet_energy"], rel=1e-5)
    assert np.hypot(px, py) == pytest.approx(w_jets["jet_pt"], rel=1e-4)
    pt = np.hypot(w_jets["part_px"], w_jets["part_py"])
    assert (np.diff(pt)[np.diff(jet) == 0] <= 1e-4).all()


def test_impact_parameters_are_of_charged_particles_with_errors(w_jets):
    charged = w_jets["part_charge"] != 0
    assert (w_jets["part_d0err"][~charged] == 0).all()
    assert (w_jets["part_d0val"][~charged] == 0).all()
    prompt = np.abs(w_jets["part_d0val"][charged]) < 5 * w_jets["part_d0err"][charged]
    assert 0.7 < prompt.mean() < 0.98
    species = np.stack([w_jets[f"part_is{x}"] for x in ("ChargedHadron", "Electron", "Muon")])
    assert np.array_equal(species.any(axis=0), charged)


def test_lepton_charge_does_not_give_hqql_away():
    alternate = JETCLASS.process("HToWW2Q1L").alternate
    assert len(alternate) == 2
    arrays = make("jetclass", "HToWW2Q1L", jets=30)
    lepton = (arrays["part_isElectron"] + arrays["part_isMuon"] > 0) & (np.hypot(
        arrays["part_px"], arrays["part_py"]) > 30)  # fmt: skip
    assert {-1.0, 1.0} <= set(arrays["part_charge"][lepton])
    assert set(arrays["aux_truth_match"]) == {46}


def test_five_class_jets():
    arrays = make("lhc5", "WToQQ", jets=60, particles=30)
    pt, eta, mass, multiplicity = (arrays["jets"][:, i] for i in (1, 2, 3, 52))
    assert 1000 < pt.mean() < 1110
    assert pt.min() < 950  # no window
    assert np.abs(eta).max() < 2.5
    assert 70 < np.median(mass) < 88
    assert 32 < multiplicity.mean() < 46
    assert arrays["jets"][:, -6:].tolist() == [[0, 0, 1, 0, 0, 0]] * 60
    assert arrays["constituents"].shape == (60, 30, 16)


def first_batch(preset, process="WToQQ"):
    return next(chunk.jets_of(preset, preset.process(process), 5, "particles", np.random.default_rng(1)))[0]


def test_of_an_event_the_leading_jet_alone_is_taken():
    leading, all_of_them = first_batch(LHC5), first_batch(replace(LHC5, leading=False))
    assert len(np.unique(leading.event)) == len(leading.event) >= 95
    assert len(all_of_them.event) > 1.5 * len(leading.event)
    for event in leading.event[:20]:
        assert leading.pt[leading.event == event] == all_of_them.pt[all_of_them.event == event].max()


def decays_of_w(preset: Preset, batches: int):
    """|cos| of the angle between a W's first daughter in its rest frame and the W's flight; its mass, GeV."""
    events, cosines, masses = Events(preset, preset.process("WToQQ"), 5, "particles"), [], []
    for record in (events.batch() for _ in range(batches)):
        starts, event = record.starts, record.event
        for one in np.flatnonzero(np.abs(record.pid) == 24):
            start = int(starts[event[one]])
            if truth.last_copy(record, int(one), start) == one:
                first = truth.daughters(record, int(one), start)[0]
                momentum = np.sqrt(record.px[one] ** 2 + record.py[one] ** 2 + record.pz[one] ** 2)
                along = (
                    record.px[one] * record.px[first]
                    + record.py[one] * record.py[first]
                    + record.pz[one] * record.pz[first]
                ) / momentum
                boosted = (record.energy[one] * along - momentum * record.energy[first]) / record.mass[one]
                cosines.append(abs(2 * boosted / record.mass[one]))
                masses.append(record.mass[one])
    return np.array(cosines), np.array(masses)


def test_bosons_that_are_given_decay_evenly_and_lie_on_their_mass_shell():
    cosines, masses = decays_of_w(LHC5, 5)
    assert len(cosines) == 1000
    assert cosines.mean() == pytest.approx(0.5, abs=0.03)  # 0.29 / sqrt(1000) is one sigma
    assert np.quantile(cosines, [0.25, 0.75]) == pytest.approx([0.25, 0.75], abs=0.05)
    assert masses.std() < 1e-3
    assert decays_of_w(replace(LHC5, hard_settings=()), 1)[1].std() > 1  # GeV; the width is 2.1


def test_a_written_folder_reads_back(tmp_path):
    settings = JetSettings("jetclass", jets=12, classes=("ZToQQ",))
    made = run.generate(settings, tmp_path, 1, "x")
    assert sorted(made["files"]) == ["test/ZToQQ_950.root", "train/ZToQQ_000.root", "val/ZToQQ_900.root"]
    with uproot.open(tmp_path / "train" / "ZToQQ_000.root") as file:
        table = file["tree"].arrays()
    arrays = make("jetclass", "ZToQQ", jets=10)
    assert np.array_equal(np.asarray(ak.flatten(table.part_px)), arrays["part_px"])
    assert np.array_equal(np.asarray(table.jet_tau2), arrays["jet_tau2"])


@pytest.mark.slow
def test_the_number_of_processes_does_not_matter(tmp_path):
    settings = JetSettings("lhc5", jets=40, classes=("quark", "WToQQ"))
    one = run.generate(settings, tmp_path / "one", 1, "x")
    two = run.generate(settings, tmp_path / "two", 2, "x")
    assert one["files"] == two["files"]


@pytest.mark.slow
@pytest.mark.parametrize("process", JETCLASS.processes, ids=lambda p: p.label)
def test_jetclass_medians(process):
    arrays = make("jetclass", process.name, jets=300)
    n_mean, n_rms, mass, soft_drop_mass, width = EXPECTED[process.label]
    root = np.sqrt(300)
    assert arrays["counts"].mean() == pytest.approx(n_mean, abs=0.05 * n_mean + 3 * n_rms / root)
    assert np.median(jet_mass(arrays)) == pytest.approx(mass, abs=0.03 * mass + 40 * width / root)
    found = np.median(arrays["jet_sdmass"])
    assert found == pytest.approx(soft_drop_mass, abs=0.03 * soft_drop_mass + 40 * width / root)


def test_the_sample_in_the_repository_is_what_its_command_makes():
    stored = manifest.load(SAMPLE)
    settings = JetSettings(**{**stored["settings"], "classes": tuple(stored["settings"]["classes"])})
    fresh = manifest.new(settings, "x")
    if any(stored["versions"][name] != fresh["versions"][name] for name in manifest.DECISIVE_VERSIONS):
        pytest.skip("made with other versions of Pythia or FastJet")
    assert set(stored["files"]) == {file.name for file in run.output_files(settings)}
    for name, entry in stored["files"].items():
        assert manifest.file_sha256(SAMPLE / name) == entry["sha256"]
    planned = next(c for c in plan.chunks(settings) if (c.process, c.split) == ("ZToQQ", "val"))
    arrays = chunk.make(settings, planned, quiet)
    with uproot.open(SAMPLE / "val" / f"ZToQQ_{planned.number}.root") as file:
        table = file["tree"].arrays()
    # Not equality: another processor may round a logarithm differently.
    assert np.asarray(table.jet_pt) == pytest.approx(arrays["jet_pt"], rel=1e-4)
    assert np.asarray(ak.flatten(table.part_energy)) == pytest.approx(arrays["part_energy"], rel=1e-4)


def test_no_jets_at_all_is_an_error(monkeypatch):
    nothing = clustering.Jets(*[np.zeros(0)] * 5, np.zeros(0, int), None)
    monkeypatch.setattr(chunk, "MAX_EMPTY_BATCHES", 1)
    monkeypatch.setattr(chunk, "_matched", lambda *_: (nothing, truth.match_nothing(0)))
    with pytest.raises(RuntimeError, match="WToQQ: no jet in 100 events, seed"):
        make("lhc5", "WToQQ")


def test_pythia_errors_name_the_setting():
    wrong = Process("wrong", "x", ("HardQCD:gg2gg=on", "HardQCD:gg2gggg=on"))
    with pytest.raises(ValueError, match="Received: 'HardQCD:gg2gggg=on'"):
        Events(JETCLASS, wrong, 1, "gen")
    none = Process("nothing", "x", ("Beams:eCM=1",))
    with pytest.raises(RuntimeError, match=r"cannot start nothing.*Beams:eCM=1"):
        Events(JETCLASS, none, 1, "gen")
    with pytest.raises(ValueError, match="Received: seed=0"):
        Events(JETCLASS, none, 0, "gen")


def test_a_missing_generator_is_named_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(ImportError, match=r'needs the module \'pythia8mc\'.*pip install "qformers\[datagen\]"'):
        Events(JETCLASS, JETCLASS.process("QCD"), 1, "gen")


@pytest.mark.slow
def test_five_class_jets_are_as_public_ones_within_the_bounds():
    jets = generator_truth.samples_of(LHC5, 800, Silent(), "jets")
    assert generator_truth.outside("lhc5", generator_truth.measured("lhc5", jets)) == []


@pytest.mark.slow
def test_jetclass_jets_are_as_public_ones_within_the_bounds():
    jets = generator_truth.samples_of(JETCLASS, 200, Silent(), "jets")
    assert generator_truth.outside("jetclass", generator_truth.measured("jetclass", jets)) == []


def test_jets_of_the_former_generator_are_outside_of_the_bounds():
    former = generator_truth.FORMER
    jets = generator_truth.samples_of(former, 150, Silent(), "jets")
    words = " ".join(generator_truth.outside("lhc5", generator_truth.measured("lhc5", jets, ())))
    assert "jet pT, mean [GeV]: 9" in words
    assert "where public jets have 1042" in words
