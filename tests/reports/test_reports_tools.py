"""Vendor reports: every number of files in the layouts of several tool versions, and what is said of broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.paths import DATA

from hls.reports.report import Report
from hls.reports.tools import ReportError, read_reports
from hls.reports.tools.readers import READERS, kind_of

REPORTS = DATA / "reports"
SOLUTION = "vitis_hls_2024_1/tagger_prj/solution1"
JETNET = "vivado_2025_1/output_jetnet/reports/jetnet_post"
IMPL = "vivado_2020_2/tagger.runs/impl_1/tagger"


def one(name: str) -> Report:
    """The only report of a file or folder of the test data."""
    reports = read_reports(REPORTS / name)
    assert len(reports) == 1
    return reports[0]


# file -> tool, part, resources, clock, achieved, latency in cycles and ns, II
CSYNTH = {
    "vivado_hls_2018_3/csynth.xml": (
        "Vivado HLS 2018.3", "xc7z020clg400-1",
        {"lut": 2571, "ff": 1248, "dsp": 7, "bram18": 5}, (8.0, 6.912), (140, 1120.0, 139),
    ),
    "vivado_hls_2018_3/jet_sum_csynth.rpt": (
        "Vivado HLS 2018.3", "xc7z020clg400-1",
        {"lut": 2571, "ff": 1248, "dsp": 7, "bram18": 5}, (8.0, 6.912), (140, 1120.0, 139),
    ),
    "vivado_hls_2020_1/tagger_csynth.rpt": (
        "Vivado HLS 2020.1", "xcvu13p-flga2577-2-e",
        {"lut": 70999, "ff": 11822, "dsp": 321, "bram18": 8, "uram": 0}, (4.0, 3.421), (27, 108.0, 1),
    ),
    "vitis_hls_2022_2/finder_csynth.xml": (
        "Vitis HLS 2022.2", "xczu7ev-ffvc1156-2-e",
        {"lut": 2199, "ff": 1541, "dsp": 2, "bram18": 20, "uram": 6}, (10.0, 6.508), (None, None, None),
    ),
    "vitis_hls_2022_2/finder_csynth.rpt": (
        "Vitis HLS 2022.2", "xczu7ev-ffvc1156-2-e",
        {"lut": 2199, "ff": 1541, "dsp": 2, "bram18": 20, "uram": 6}, (10.0, 6.508), (None, None, None),
    ),
    f"{SOLUTION}/syn/report/csynth.xml": (
        "Vitis HLS 2024.1", "xcu250-figd2104-2L-e",
        {"lut": 148803, "ff": 20318, "dsp": 96, "bram18": 12, "uram": 0}, (5.0, 3.602), (41, 205.0, 1),
    ),
    f"{SOLUTION}/syn/report/tagger_csynth.rpt": (
        "Vitis HLS 2024.1", "xcu250-figd2104-2L-e",
        {"lut": 148803, "ff": 20318, "dsp": 96, "bram18": 12, "uram": 0}, (5.0, 3.602), (41, 205.0, 1),
    ),
    f"{SOLUTION}/syn/report/csynth.rpt": (
        "Vitis HLS 2024.1", "xcu250-figd2104-2L-e",
        {"lut": 148803, "ff": 20318, "dsp": 96, "bram18": 12, "uram": 0}, (None, None), (41, 205.0, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CSYNTH)
def test_csynth(name: str) -> None:
    tool, part, resources, clock, latency = CSYNTH[name]
    report = one(name)
    assert (report.source, report.stage, report.tool, report.part) == ("csynth", "csynth", tool, part)
    assert report.resources == resources
    assert (report.clock_ns, report.achieved_ns) == clock
    assert (report.latency_cycles, report.latency_ns, report.ii_cycles) == latency
    assert "2.3 times" in report.error_bar
    assert report.files == (str(REPORTS / name),)


def test_csynth_says_why_there_is_no_latency_and_what_the_best_case_is() -> None:
    assert "depends on data" in one("vitis_hls_2022_2/finder_csynth.xml").detail["csynth"]["note"]
    detail = one("vivado_hls_2018_3/csynth.xml").detail["csynth"]
    assert (detail["latency_min_cycles"], detail["ii_min_cycles"]) == (12, 11)
    assert detail["available"] == {"lut": 53200, "ff": 106400, "dsp": 220, "bram18": 280}


def test_cosim_with_and_without_the_column_of_the_total() -> None:
    new = one(f"{SOLUTION}/sim/report/tagger_cosim.rpt")
    assert (new.stage, new.latency_cycles, new.ii_cycles, new.latency_ns) == ("cosim", 43, 2, None)
    assert new.detail["cosim"]["total_cycles"] == 1043
    assert new.detail["design"] == "tagger"
    old = one("vivado_hls_2018_3/jet_sum_cosim.rpt")  # VHDL was simulated, Verilog was not
    assert (old.latency_cycles, old.ii_cycles, old.detail["cosim"]["language"]) == (140, 139, "VHDL")
    assert old.detail["cosim"]["latency_mean_cycles"] == 74


def test_cosim_numbers_that_fill_their_columns(tmp_path: Path) -> None:
    text = (REPORTS / f"{SOLUTION}/sim/report/tagger_cosim.rpt").read_text()
    wide = tmp_path / "tagger_cosim.rpt"
    wide.write_text(text.replace("|             43|              1|", "|987654321012345|112233445566778|"))
    assert read_reports(wide)[0].latency_cycles == 987654321012345


def test_failed_cosim_is_no_pass() -> None:
    report = one("vitis_hls_2022_2/finder_cosim.rpt")
    assert report.latency_cycles is None
    assert report.error_bar == "co-simulation in Verilog ended with Fail: RTL not verified"


def test_cosim_that_was_not_run() -> None:
    with pytest.raises(
        ReportError, match=r"tagger_cosim.rpt: neither Verilog nor VHDL was simulated .*run cosim_design"
    ):
        read_reports(REPORTS / "vivado_hls_2020_1/tagger_cosim.rpt")


# file -> source, stage, tool, part, resources
UTILISATION = {
    "vivado_2020_1/vivado_synth.rpt": (
        "vivado-synth", "synthesis", "Vivado 2020.1", "7z020clg400-1",
        {"lut": 1387, "ff": 982, "dsp": 7, "bram18": 5, "srl": 29},
    ),
    f"{IMPL}_utilization_placed.rpt": (
        "vivado-place", "route", "Vivado 2020.2", "xcvu9pflga2104-2",
        {"lut": 61204, "ff": 33118, "dsp": 205, "bram18": 28, "uram": 3, "carry": 5406, "srl": 1013},
    ),
    f"{JETNET}_synth_util.rpt": (
        "vivado-synth", "synthesis", "Vivado 2025.1", "xcvu13p-flga2577-2-e",
        {"lut": 23310, "ff": 11208, "dsp": 64, "bram18": 9, "uram": 0, "carry": 2544, "srl": 420},
    ),
    f"{JETNET}_place_util.rpt": (
        "vivado-place", "route", "Vivado 2025.1", "xcvu13p-flga2577-2-e",
        {"lut": 24869, "ff": 11164, "dsp": 64, "bram18": 9, "uram": 0, "srl": 371},
    ),
    f"{JETNET}_route_util.rpt": (
        "vivado-route", "route", "Vivado 2025.1", "xcvu13p-flga2577-2-e",
        {"lut": 24871, "ff": 11164, "dsp": 64, "bram18": 9, "uram": 0, "carry": 2530, "srl": 371},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UTILISATION)
def test_utilisation(name: str) -> None:
    source, stage, tool, part, resources = UTILISATION[name]
    report = one(name)
    assert (report.source, report.stage, report.tool, report.part) == (source, stage, tool, part)
    assert report.resources == resources
    assert (report.error_bar == "") == (source == "vivado-route")


def test_utilisation_keeps_what_is_available() -> None:
    available = one(f"{JETNET}_route_util.rpt").detail["utilisation"]["available"]
    assert available == {"lut": 1728000, "ff": 3456000, "dsp": 12288, "bram18": 5376, "uram": 1280}
    hls = one("vivado_hls_2020_1/tagger_csynth.rpt").detail["csynth"]["available"]  # of the device, not of one SLR
    assert hls == available


def test_hierarchical_utilisation_takes_the_top_whatever_is_called_like_it(tmp_path: Path) -> None:
    text = (REPORTS / f"{JETNET}_place_util.rpt").read_text()
    path = tmp_path / "util.rpt"
    path.write_text(text.replace("|   stage0     |", "|   jetnet     |"))
    assert read_reports(path)[0].resources["lut"] == 24869


def test_timing_met() -> None:
    report = one(f"{JETNET}_route_timing.rpt")
    assert (report.source, report.clock_ns, report.achieved_ns) == (
        "vivado-route",
        5.0,
        4.863,
    )  # 5 - 0.137 of the design
    assert report.detail["timing"]["met"] is True


def test_timing_violated_with_several_clocks_and_no_design_state() -> None:
    report = one(f"{IMPL}_timing_summary_routed.rpt")  # nets "routed" tell the stage
    timing = report.detail["timing"]
    assert (report.source, report.clock_ns, report.achieved_ns) == ("vivado-route", 4.167, 4.469)
    assert (timing["met"], timing["wns_ns"], timing["tns_ns"], timing["whs_ns"]) == (False, -0.418, -52.306, 0.011)
    assert timing["clocks"]["clk_240"] == {"period_ns": 4.167, "wns_ns": -0.302}  # the design's slack is between clocks
    assert timing["clocks"]["dbg_clk"] == {"period_ns": 20.0, "wns_ns": 15.204}
    assert timing["clocks"]["clk_40"] == {"period_ns": 25.0, "wns_ns": None}


@pytest.mark.parametrize(
    ("net", "source"), [("unplaced", "vivado-synth"), ("estimated", "vivado-place"), ("routed", "vivado-route")]
)
def test_nets_tell_the_stage_whatever_the_file_is_called(net: str, source: str, tmp_path: Path) -> None:
    text = (REPORTS / f"{IMPL}_timing_summary_routed.rpt").read_text()
    path = tmp_path / "timing_routed.rpt"
    path.write_text(text.replace("fo=4, routed", f"fo=4, {net}"))
    assert read_reports(path)[0].source == source


def test_timing_whose_stage_cannot_be_told(tmp_path: Path) -> None:
    text = (REPORTS / f"{IMPL}_timing_summary_routed.rpt").read_text()
    path = tmp_path / "timing.rpt"
    path.write_text(text[: text.index("| Timing Details")])
    with pytest.raises(ReportError, match=r"timing.rpt: states neither a Design State nor a path.*_routed.rpt"):
        read_reports(path)


def test_timing_without_constraints_states_no_period() -> None:
    report = one(f"{JETNET}_synth_timing.rpt")
    assert (report.clock_ns, report.achieved_ns, report.detail["timing"]["met"]) == (None, None, None)
    assert "no timing constraints" in report.detail["timing"]["note"]


def test_power() -> None:
    report = one(f"{JETNET}_route_power.rpt")
    assert (report.source, report.power_w) == ("vivado-route", 5.871)
    assert report.detail["power"] == {"dynamic_w": 2.846, "static_w": 3.025, "confidence": "Medium"}


def test_power_that_melts_the_chip_says_so(tmp_path: Path) -> None:
    text = (REPORTS / f"{JETNET}_route_power.rpt").read_text()
    path = tmp_path / "power.rpt"
    path.write_text(text.replace("| 5.871        |", "| 132.871 (Junction temp exceeded!) |"))
    report = read_reports(path)[0]
    assert report.power_w == 132.871
    assert report.detail["power"]["note"] == "Junction temp exceeded!"


def test_quartus_pro() -> None:
    report = one("quartus_pro_25_1/output_jetnet")
    assert (report.source, report.stage, report.tool) == ("quartus-fit", "route", "Quartus 25.1.0 Pro")
    assert report.part == "AGFB014R24A2E2V"
    assert report.resources == {"alm": 14318, "ff": 12906, "dsp": 32, "m20k": 6}
    assert (report.clock_ns, report.achieved_ns) == (4.0, 4.32)  # 231.48 MHz
    assert report.detail["sta"]["met"] is False
    assert report.detail["sta"]["clocks"]["sys_clk"] == {
        "period_ns": 4.0, "setup_slack_ns": -0.32, "hold_slack_ns": 0.004, "fmax_mhz": 231.48,
    }  # fmt: skip
    assert report.detail["fit"]["aluts"] == 25604
    assert report.detail["fit"]["available"]["m20k"] == 7110
    assert len(report.files) == 2


def test_quartus_standard_takes_the_slowest_model_and_not_the_debug_clock() -> None:
    report = one("quartus_std_18_1/output_files")
    assert report.resources == {"alm": 3402, "ff": 5218, "dsp": 24}
    assert report.detail["fit"]["ram_blocks"] == 11  # M10K, no M20K
    assert (report.clock_ns, report.achieved_ns) == (10.0, 8.19)  # 122.1 MHz at 0 C; 125 MHz restricted at 85 C
    assert report.detail["sta"]["clocks"]["clk"]["setup_slack_ns"] == 2.2
    assert report.tool == "Quartus 18.1.0 Lite"


def test_quartus_timing_summary_has_slacks_only() -> None:
    report = one("quartus_std_18_1/output_files/filter.sta.summary")
    assert (report.clock_ns, report.achieved_ns) == (None, None)
    assert report.detail["sta"]["clocks"]["clk"] == {"period_ns": None, "setup_slack_ns": 2.2, "hold_slack_ns": 0.19}


def test_quartus_without_alms_and_without_clock() -> None:
    report = one("quartus_std_18_1/cyclone4")
    assert report.resources == {"ff": 4077}
    assert report.detail["fit"]["logic_elements"] == 8120
    assert report.detail["fit"]["multipliers_9bit"] == 48
    assert report.detail["fit"]["available"]["multipliers_9bit"] == 532
    timing = one("quartus_pro_25_1/no_clock")
    assert (timing.clock_ns, timing.achieved_ns, timing.detail["sta"]["met"]) == (None, None, None)
    assert "no clock" in timing.detail["sta"]["note"]


def test_failed_fit_counts_nothing(tmp_path: Path) -> None:
    text = (REPORTS / "quartus_std_18_1/output_files/filter.fit.summary").read_text()
    path = tmp_path / "filter.fit.summary"
    path.write_text(text.replace("Successful", "Failed"))
    with pytest.raises(ReportError, match=r"filter.fit.summary: Fitter Status is 'Failed .*see the fitter's messages"):
        read_reports(path)


def test_every_reader_has_a_file_to_read() -> None:
    kinds = {kind_of(path) for path in REPORTS.rglob("*") if path.is_file()}
    assert set(READERS) <= kinds
