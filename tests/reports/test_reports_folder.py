"""Project folders of hls4ml, alkaid, Vivado and Quartus: one report per source, never two builds in one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.paths import DATA

from hls.reports.report import Report, load_reports
from hls.reports.tools import ReportError, read_reports

REPORTS = DATA / "reports"
SOLUTION = "vitis_hls_2024_1/tagger_prj/solution1"
JETNET = "vivado_2025_1/output_jetnet/reports/jetnet_post"


def by_source(path: Path) -> dict[str, Report]:
    return {report.source: report for report in read_reports(path)}


def test_hls4ml_project_folder(tmp_path: Path) -> None:
    shutil.copytree(REPORTS / "vitis_hls_2024_1", tmp_path / "build")
    synth = (REPORTS / "vivado_2020_1/vivado_synth.rpt").read_text()
    (tmp_path / "build/vivado_synth.rpt").write_text(synth)
    found = by_source(tmp_path / "build")
    assert list(found) == ["cosim", "csynth", "vivado-synth"]
    assert found["csynth"].files == (str(tmp_path / "build/tagger_prj/solution1/syn/report/csynth.xml"),)
    cosim = found["cosim"]  # clock and part are those of the synthesis
    assert (cosim.clock_ns, cosim.latency_ns, cosim.part) == (5.0, 215.0, "xcu250-figd2104-2L-e")
    for report in found.values():
        report.save(tmp_path)
    assert load_reports(tmp_path) == found


@pytest.mark.parametrize("gone", [("csynth.xml",), ("csynth.xml", "csynth.rpt"), ("csynth.xml", "tagger_csynth.rpt")])
def test_the_top_function_is_found_among_its_modules(gone: tuple[str, ...], tmp_path: Path) -> None:
    shutil.copytree(REPORTS / "vitis_hls_2024_1", tmp_path / "build")
    for name in gone:
        (tmp_path / "build/tagger_prj/solution1/syn/report" / name).unlink()
    assert by_source(tmp_path / "build")["csynth"].resources["lut"] == 148803


def test_modules_without_their_top_are_refused(tmp_path: Path) -> None:
    reports = REPORTS / SOLUTION / "syn/report"
    shutil.copy(reports / "softmax_latency_csynth.xml", tmp_path)
    shutil.copy(reports / "tagger_csynth.rpt", tmp_path)
    with pytest.raises(
        ReportError, match=r"cannot tell the top function's report among softmax_latency_csynth.xml, tag"
    ):
        read_reports(tmp_path)


def test_alkaid_project_folder_joins_the_reports_of_each_step() -> None:
    found = by_source(REPORTS / "vivado_2025_1")
    assert list(found) == ["vivado-route", "vivado-synth"]
    route = found["vivado-route"]
    assert (route.resources["lut"], route.achieved_ns, route.power_w) == (24871, 4.863, 5.871)
    assert route.part == "xcvu13p-flga2577-2-e"
    assert len(route.files) == 3
    assert found["vivado-synth"].power_w is None


def test_vivado_project_counts_after_placing_and_times_after_routing() -> None:
    report = by_source(REPORTS / "vivado_2020_2")["vivado-route"]
    assert (report.source, report.resources["lut"], report.achieved_ns, report.power_w) == (
        "vivado-route",
        61204,
        4.469,
        7.264,
    )
    assert report.error_bar == ""
    assert [Path(file).name for file in report.files] == [
        "tagger_power_routed.rpt", "tagger_timing_summary_routed.rpt", "tagger_utilization_placed.rpt",
    ]  # fmt: skip


def test_a_copy_beside_the_report_is_not_a_second_build(tmp_path: Path) -> None:
    shutil.copytree(REPORTS / "quartus_pro_25_1/output_jetnet", tmp_path / "out")
    shutil.copy(tmp_path / "out/reports/jetnet.fit.rpt", tmp_path / "out/jetnet.fit.rpt")
    assert by_source(tmp_path)["quartus-fit"].resources["alm"] == 14318


def test_two_builds_or_designs_are_not_mixed(tmp_path: Path) -> None:
    text = (REPORTS / f"{JETNET}_route_util.rpt").read_text()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "util.rpt").write_text(f"{text}{folder}\n")  # equal files would be copies
    with pytest.raises(ReportError, match=r"vivado-route: reports of two builds, in .*a and .*b; give one of them"):
        read_reports(tmp_path)
    (tmp_path / "b/util.rpt").write_text(text.replace(": jetnet\n", ": other\n"))
    with pytest.raises(ReportError, match=r"are of two designs \(jetnet, other\)"):
        read_reports(tmp_path)
    for name in ("one", "two"):
        shutil.copytree(REPORTS / "vitis_hls_2024_1", tmp_path / "hls" / name)
    (tmp_path / "hls/two/tagger_prj/solution1/syn/report/csynth.xml").write_text("<profile>\n</profile>\n")
    with pytest.raises(ReportError, match="holds several HLS solutions"):
        read_reports(tmp_path / "hls")
