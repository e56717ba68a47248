"""hls4ml's and alkaid's own parsers on the same files: the same numbers where they are right, and where they are not.

Each defect that `hls.reports.tools` works around has a test that fails once it is mended upstream.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.paths import DATA

from hls.reports.tools import read_reports

REPORTS = DATA / "reports"
JETNET = REPORTS / "vivado_2025_1/output_jetnet/reports"
QUARTUS = REPORTS / "quartus_pro_25_1/output_jetnet/reports"


def hls4ml_parse(folder: Path) -> dict[str, Any]:
    from hls4ml.report import parse_vivado_report

    (folder / "project.tcl").write_text('set project_name "tagger"\nset backend "vitis"\n')
    return dict(parse_vivado_report(str(folder)))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The solution of Vitis HLS 2024.1, as hls4ml lays it out; it looks for ``tagger_csynth.xml``."""
    folder = tmp_path / "build"
    shutil.copytree(REPORTS / "vitis_hls_2024_1", folder)
    reports = folder / "tagger_prj/solution1/syn/report"
    shutil.copy(reports / "csynth.xml", reports / "tagger_csynth.xml")
    return folder


def test_hls4ml_reads_csynth_alike(project: Path) -> None:
    theirs = hls4ml_parse(project)["CSynthesisReport"]
    ours = {report.source: report for report in read_reports(project)}["csynth"]
    numbers = {key: int(theirs[name]) for key, name in (("lut", "LUT"), ("ff", "FF"), ("dsp", "DSP"), ("uram", "URAM"))}
    assert numbers == {key: ours.resources[key] for key in numbers}
    assert int(theirs["BRAM_18K"]) == ours.resources["bram18"]
    assert (int(theirs["WorstLatency"]), int(theirs["IntervalMax"])) == (ours.latency_cycles, ours.ii_cycles)
    assert float(theirs["EstimatedClockPeriod"]) == ours.achieved_ns


def test_hls4ml_loses_dsp_and_ram_of_a_routed_design(project: Path) -> None:
    shutil.copy(JETNET / "jetnet_post_route_util.rpt", project / "vivado_synth.rpt")
    assert hls4ml_parse(project)["VivadoSynthReport"] == {"LUT": "24871", "FF": "11164"}
    shutil.copy(JETNET / "jetnet_post_synth_util.rpt", project / "vivado_synth.rpt")
    synthesised = hls4ml_parse(project)["VivadoSynthReport"]
    assert (synthesised["DSP48E"], synthesised["BRAM_18K"]) == ("64", "4.5")  # tiles of 36 kbit


def test_hls4ml_takes_undef_for_a_latency(project: Path) -> None:
    finder = REPORTS / "vitis_hls_2022_2/finder_csynth.xml"
    shutil.copy(finder, project / "tagger_prj/solution1/syn/report/tagger_csynth.xml")
    assert hls4ml_parse(project)["CSynthesisReport"]["WorstLatency"] == "undef"


def test_alkaid_reads_vivado_2025_and_quartus_pro_alike() -> None:
    from alkaid._cli import report as alkaid

    used = alkaid.parse_utilization_vivado((JETNET / "jetnet_post_route_util.rpt").read_text())
    slack = alkaid.parse_timing_summary_vivado((JETNET / "jetnet_post_route_timing.rpt").read_text())
    power = alkaid.parse_power_vivado((JETNET / "jetnet_post_route_power.rpt").read_text())
    ours = {report.source: report for report in read_reports(JETNET)}["vivado-route"]
    assert (used["LUT"], used["FF"], used["DSP"]) == tuple(ours.resources[key] for key in ("lut", "ff", "dsp"))
    assert 2 * used["Block RAM Tile"] == ours.resources["bram18"]
    assert slack["WNS(ns)"] == ours.detail["timing"]["wns_ns"]
    assert float(power["Total On-Chip Power (W)"]) == ours.power_w
    fit = alkaid.parse_utilization_quartus((QUARTUS / "jetnet.fit.rpt").read_text())
    intel = read_reports(QUARTUS)[0]
    assert {key: fit[name] for key, name in (("alm", "ALM"), ("ff", "FF"), ("dsp", "DSP"), ("m20k", "M20K"))} == dict(
        intel.resources
    )


def test_alkaid_needs_the_column_of_newer_vivado_versions() -> None:
    from alkaid._cli.report import parse_utilization_vivado

    with pytest.raises(KeyError):
        parse_utilization_vivado((REPORTS / "vivado_2020_1/vivado_synth.rpt").read_text())


def test_alkaid_finds_no_slack_and_of_quartus_standard_the_wrong_fmax() -> None:
    from alkaid._cli.report import parse_timing_quartus

    found = parse_timing_quartus((QUARTUS / "jetnet.sta.rpt").read_text())
    assert found == {"Fmax(MHz)": 231.48, "Restricted Fmax(MHz)": 231.48}
    found = parse_timing_quartus((REPORTS / "quartus_std_18_1/output_files/filter.sta.rpt").read_text())
    assert found == {"Fmax(MHz)": 61.02, "Restricted Fmax(MHz)": 61.02}  # of the JTAG clock


def test_alkaid_refuses_a_synthesis_report_with_modules() -> None:
    from alkaid._cli.report import parse_vitis_latency

    text = (REPORTS / "vitis_hls_2024_1/tagger_prj/solution1/syn/report/csynth.xml").read_text()
    with pytest.raises(AssertionError, match="Inconsistent latencies"):
        parse_vitis_latency(text)
