"""Reports that vendors' tools left in the projects of a run are found by themselves, and shown where they say more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.compare_runs import complete, trained
from support.paths import DATA

from hls.compare.read.run import Run, read_run
from hls.compare.table.columns import tabulate
from hls.stages.compare import compare, with_vendor
from qformers.builds.build import load
from qformers.files import sha256
from qformers.records import write_record

REPORTS = DATA / "reports"
ALKAID = REPORTS / "vivado_2025_1_paths/output_jetnet"
HLS4ML = REPORTS / "vitis_hls_2024_1/tagger_prj"


def project(run: Path, backend: str) -> Path:
    """A firmware project of the run's model, as an export leaves its manifest."""
    folder = run / "firmware" / backend
    build = load(run / "build.yaml")
    facts = {"build_hash": build.hash, "backend": backend, "model_file_sha256": sha256(run / "qat" / "model.keras")}
    folder.mkdir(parents=True)
    write_record(folder / "manifest.json", {**facts, "model_sha256": f"weights of {run.name}"})
    return folder


def with_alkaid(root: Path, name: str = "one") -> Path:
    """A run whose Verilog was placed and routed where alkaid's script says."""
    run = trained(root, name)
    shutil.copytree(ALKAID, project(run, "alkaid") / "output_jetnet")
    return run


def shown(run: Run) -> dict[str, object]:
    """Key of every column -> value of the run."""
    return {key: cell.value for key, cell in tabulate([run]).cells[0].items()}


def test_alkaids_folder_is_found_and_states_path_and_congestion(tmp_path: Path) -> None:
    run = read_run(with_alkaid(tmp_path))
    assert run.reports is not None
    assert run.reports["vivado-route"].detail["backend"] == "alkaid"
    assert run.stale == {}
    row = shown(run)
    keys = ("lut", "achieved_ns", "slack_ns", "logic_levels", "path_fanout", "congestion")
    assert [row[f"vivado-route.{key}"] for key in keys] == [24871, 4.863, 0.137, 7, 38, "5"]
    assert "vivado-route.max_fanout" not in row  # nothing states it


def test_hls4mls_folder_is_found_and_its_stages_are_kept_apart(tmp_path: Path) -> None:
    run = trained(tmp_path, "one")
    folder = project(run, "vitis")
    shutil.copytree(HLS4ML, folder / "tagger_prj")
    shutil.copy(REPORTS / "vivado_2020_1/vivado_synth.rpt", folder)
    row = shown(read_run(run))
    assert (row["csynth.lut"], row["cosim.latency_cycles"], row["vivado-synth.lut"]) == (148803, 43, 1387)
    assert not any(key.endswith((".slack_ns", ".logic_levels", ".congestion")) for key in row)


def test_a_table_without_vendor_reports_has_none_of_these_columns(tmp_path: Path) -> None:
    run = read_run(complete(tmp_path, "one", 0.7, 90_000))
    assert not {"slack_ns", "logic_levels", "path_fanout", "max_fanout", "congestion"} & {
        key.partition(".")[2] for key in shown(run)
    }


def test_two_projects_with_one_source_show_that_of_the_build(tmp_path: Path) -> None:
    run = with_alkaid(tmp_path)
    other = project(run, "vitis")
    shutil.copytree(REPORTS / "vivado_2020_2/tagger.runs", other / "tagger.runs")
    found = read_run(run)
    assert found.reports is not None
    assert found.build.firmware.backend == "vitis"
    assert found.reports["vivado-route"].resources["lut"] == 61204
    assert found.left_out == {"firmware/alkaid": "vivado-route is there of firmware/vitis, too"}


def test_a_report_that_cannot_be_read_is_told_and_stops_nothing(tmp_path: Path) -> None:
    run = with_alkaid(tmp_path)
    path = run / "firmware/alkaid/output_jetnet/reports/jetnet_post_route_util.rpt"
    path.write_text(path.read_text()[:2200])
    result = compare([run])
    note = next(note for note in result.table.notes if "left out" in note)
    assert "one: reports of a vendor's tool in firmware/alkaid are left out: " in note
    assert "jetnet_post_route_util.rpt: section " in note
    assert note.endswith("give the right ones with --vendor.")


def test_a_report_that_is_given_comes_before_one_that_is_found(tmp_path: Path) -> None:
    run = read_run(with_alkaid(tmp_path))
    given = REPORTS / "vivado_2020_2/tagger.runs"
    other = with_vendor([run], [str(given)])[0]
    assert other.reports is not None
    assert other.reports["vivado-route"].resources["lut"] == 61204


def test_a_report_of_a_project_of_another_model_is_stale(tmp_path: Path) -> None:
    run = with_alkaid(tmp_path)
    manifest = run / "firmware/alkaid/manifest.json"
    write_record(manifest, {**json.loads(manifest.read_text()), "model_file_sha256": "0" * 64})
    assert "reports/vivado-route.json" in (read_run(run).stale or {})


def test_a_project_of_an_earlier_version_says_nothing_of_its_model(tmp_path: Path) -> None:
    run = with_alkaid(tmp_path)
    manifest = run / "firmware/alkaid/manifest.json"
    manifest.write_text(json.dumps({"backend": "alkaid"}))
    found = read_run(run)
    assert "vivado-route" not in (found.reports or {})
    assert "has no seal: an earlier version wrote it" in found.left_out["firmware/alkaid"]


@pytest.mark.parametrize("column", ["slack_ns", "logic_levels", "path_fanout", "congestion"])
def test_plots_do_not_offer_them_as_costs(column: str, tmp_path: Path) -> None:
    table = tabulate([read_run(with_alkaid(tmp_path))])
    found = next(one for one in table.columns if one.key == f"vivado-route.{column}")
    assert found.quantity == ""
    assert found.number == (column != "congestion")


def test_the_notes_say_what_the_columns_are(tmp_path: Path) -> None:
    notes = " ".join(compare([with_alkaid(tmp_path)]).table.notes)
    assert "logic levels and fan-out: of that path" in notes
    assert "Congestion level n: a window of 2^n x 2^n tiles" in notes
