"""Sanity plots of the two samples in the repository, and the sizes of those samples."""

import json

import pytest
from support.paths import DATA

from qformers.generate.jets import manifest, plan, plots


@pytest.mark.parametrize(
    ("folder", "classes", "peak"),
    [
        ("jets", {"QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"}, ("Wqq", 70, 90)),
        ("lhc5", {"g", "q", "w", "z", "t"}, ("w", 70, 90)),
    ],
)
def test_plots_are_drawn_from_the_files(tmp_path, folder, classes, peak):
    written = plots.draw(DATA / folder, tmp_path / "plots")
    names = ["jet_mass", "jet_sdmass", "multiplicity", "jet_pt", "particle_dr", "particle_pt"]
    assert [path.name for path in written] == [f"{name}.png" for name in names] + ["summary.json"]
    assert all(path.read_bytes()[1:4] == b"PNG" for path in written[:-1])
    numbers = json.loads(written[-1].read_text())
    assert set(numbers) == classes
    label, low, high = peak
    assert low < numbers[label]["jet_sdmass_mode_gev"] < high


def test_a_folder_without_finished_files_is_refused(tmp_path):
    manifest.save(tmp_path, manifest.new(plan.JetSettings("lhc5", jets=60), "x"))
    with pytest.raises(ValueError, match="lists no finished file"):
        plots.draw(tmp_path)


def test_the_samples_are_small_and_say_how_they_were_made():
    for folder, limit in (("jets", 5_000_000), ("lhc5", 400_000)):
        files = [path for path in (DATA / folder).rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) <= limit
        made_by = manifest.load(DATA / folder)["command"]
        assert made_by.startswith(("python scripts/generate_data.py ", "qformers generate "))
