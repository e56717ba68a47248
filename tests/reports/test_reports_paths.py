"""Worst paths, congestion, fan-out, and Quartus's reports of synthesis and flow: the numbers a comparison shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.paths import DATA

from hls.reports.report import Report
from hls.reports.tools import ReportError, read_reports

REPORTS = DATA / "reports"
JETNET = "vivado_2025_1_paths/output_jetnet/reports/jetnet_post"
PATHS = "vivado_2020_2_paths/tagger_worst_paths.rpt"
FANOUT = "vivado_2020_2_paths/tagger_high_fanout_routed.rpt"
MAP = "quartus_std_18_1/synthesis/filter.map.rpt"
FLOW = "quartus_std_18_1/flow/filter.flow.rpt"


def one(path: Path) -> Report:
    """The only report of a file."""
    reports = read_reports(path)
    assert len(reports) == 1
    return reports[0]


def changed(name: str, tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """A report with other text."""
    text = (REPORTS / name).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / Path(name).name
    path.write_text(text)
    return path


def test_the_worst_path_of_a_list_of_paths() -> None:
    report = one(REPORTS / PATHS)
    assert (report.source, report.stage) == ("vivado-route", "route")  # its nets say so
    assert (report.slack_ns, report.logic_levels, report.path_fanout) == (-0.418, 9, 57)
    assert report.detail["paths"] == {"start": "sum_reg[3]/C", "end": "score_reg[9]/D", "delay_ns": 4.513}


def test_the_fanout_of_the_clock_is_not_that_of_the_path(tmp_path: Path) -> None:
    path = changed(PATHS, tmp_path, ("fo=57, routed", "fo=2, routed"))
    assert one(path).path_fanout == 4
    assert "fo=11537, routed" in path.read_text()


def test_a_path_without_a_requirement_has_no_slack(tmp_path: Path) -> None:
    path = changed(PATHS, tmp_path, ("-0.418ns", "inf"), ("-0.302ns", "inf"), ("Slack (VIOLATED) :", "Slack:"))
    report = one(path)
    assert (report.slack_ns, report.logic_levels) == (None, None)
    assert report.detail["paths"]["note"] == "no path with a requirement"


@pytest.mark.parametrize("options", ["-from [get_cells a]", "-hold", "-delay_type min", "-through net -max_paths 3"])
def test_chosen_paths_are_not_the_designs_worst(options: str, tmp_path: Path) -> None:
    path = changed(PATHS, tmp_path, ("report_timing -max_paths 2", f"report_timing {options}"))
    report = one(path)
    assert (report.slack_ns, report.logic_levels, report.path_fanout) == (None, None, None)
    assert report.detail["paths"]["note"] == "of chosen paths, not of all"
    assert report.detail["paths"]["slack_ns"] == -0.418


def test_checks_of_hold_are_left_out(tmp_path: Path) -> None:
    text = (REPORTS / PATHS).read_text()
    first, second = text.index("Slack ("), text.rindex("Slack (")
    hold = text[first:second].replace("Setup (Max at Slow", "Hold (Min at Fast")
    path = tmp_path / "both.rpt"
    path.write_text(text[:first].replace("-max_paths 2", "-delay_type min_max") + hold + text[second:])
    assert one(path).slack_ns == -0.302


def test_a_list_of_slacks_states_neither_levels_nor_fanout() -> None:
    report = one(REPORTS / f"{JETNET}_route_timing_paths.rpt")
    assert (report.slack_ns, report.logic_levels, report.path_fanout) == (0.137, None, None)
    assert report.detail["paths"]["end"] == "stage1/score_reg[9]/D"


def test_paths_that_were_not_found(tmp_path: Path) -> None:
    text = (REPORTS / f"{JETNET}_route_timing_paths.rpt").read_text()
    path = tmp_path / "paths.rpt"
    path.write_text(text[: text.index("Startpoint")] + "No timing paths found.\n")
    assert one(path).slack_ns is None


def test_paths_that_are_cut_off(tmp_path: Path) -> None:
    text = (REPORTS / PATHS).read_text()
    path = tmp_path / "worst.rpt"
    path.write_text(text[: text.rindex("required time   ")])
    with pytest.raises(
        ReportError, match=r"worst.rpt: is cut off in its last path, the file ends in line \d+: .*write"
    ):
        read_reports(path)
    listed = (REPORTS / f"{JETNET}_route_timing_paths.rpt").read_text()
    path.write_text(listed[: listed.index("0.152") + 3])
    with pytest.raises(ReportError, match=r"worst.rpt: is cut off in its list of paths, .* ends in line \d+: .*'"):
        read_reports(path)


def test_a_timing_summary_has_the_worst_path_of_its_details(tmp_path: Path) -> None:
    report = one(REPORTS / f"{JETNET}_route_timing.rpt")
    assert (report.slack_ns, report.logic_levels, report.path_fanout) == (0.137, 7, 38)
    path = changed(f"{JETNET}_route_timing.rpt", tmp_path, ("      0.137        0.000", "     -0.411        0.000"))
    other = one(path)  # the path of this slack is not among the details
    assert (other.slack_ns, other.logic_levels, other.path_fanout) == (-0.411, None, None)


def test_the_folder_that_alkaid_leaves_states_all_of_the_routed_design() -> None:
    found = {report.source: report for report in read_reports(REPORTS / "vivado_2025_1_paths")}
    assert list(found) == ["vivado-route"]  # of the design that is not placed there is no congestion
    route = found["vivado-route"]
    assert (route.slack_ns, route.logic_levels, route.path_fanout, route.congestion) == (0.137, 7, 38, "5")
    assert route.resources["lut"] == 24871
    assert route.detail["congestion"]["Initial Estimated Router Congestion Reporting"]["none_above"] == 5
    names = [Path(file).name for file in route.files]
    assert "jetnet_post_place_congestion_final.rpt" in names  # the last one, not the one before physical optimisation
    assert "jetnet_post_place_congestion_initial.rpt" not in names


def test_congestion_of_the_worst_window() -> None:
    report = one(REPORTS / f"{JETNET}_place_congestion_initial.rpt")
    assert (report.source, report.congestion) == ("vivado-place", "6")
    assert report.detail["congestion"]["Placer Final Level Congestion Reporting"]["windows"] == 2


def test_congestion_that_no_window_has(tmp_path: Path) -> None:
    text = (REPORTS / f"{JETNET}_place_congestion_final.rpt").read_text()
    first, last = text.index("+----"), text.index("2. Initial Estimated Router Congestion Reporting\n---")
    path = tmp_path / "congestion.rpt"
    path.write_text(f"{text[:first]}  * No congestion windows are found above level 5\n\n\n{text[last:]}")
    assert one(path).congestion == "none above 5"


def test_congestion_without_a_section_or_a_level(tmp_path: Path) -> None:
    name = f"{JETNET}_place_congestion_final.rpt"
    path = changed(name, tmp_path, ("| Level |", "| Lvl   |"))
    with pytest.raises(ReportError, match=r"section 'Placer Final Level Congestion Reporting: Level' is missing"):
        read_reports(path)
    text = (REPORTS / name).read_text()
    path.write_text(text[: text.index("Report Design Analysis")])
    with pytest.raises(ReportError, match=r"section 'Placer Final Level Congestion Reporting' is missing or cut off"):
        read_reports(path)


def test_the_net_with_most_loads() -> None:
    report = one(REPORTS / FANOUT)
    assert (report.source, report.max_fanout) == ("vivado-route", 2210)
    assert report.detail["fanout"] == {"net": "ap_enable_reg_pp0_iter3", "nets_listed": 3}


def test_fanout_of_a_design_whose_stage_nothing_tells(tmp_path: Path) -> None:
    path = tmp_path / "nets.rpt"
    path.write_text((REPORTS / FANOUT).read_text())
    with pytest.raises(ReportError, match=r"nets.rpt: states neither a Design State nor a path.*_routed.rpt"):
        read_reports(path)


def test_quartus_synthesis_estimates_alms_and_has_no_device_of_its_own() -> None:
    report = one(REPORTS / MAP)
    assert (report.source, report.stage, report.tool) == ("quartus-synth", "synthesis", "Quartus 18.1.0 Lite")
    assert report.resources == {"alm": 3216, "ff": 5102, "dsp": 24}
    assert (report.logic_levels, report.max_fanout) == (11.8, 5230)
    assert "synthesis's own estimate" in report.error_bar
    pro = one(REPORTS / "quartus_pro_25_1/synthesis/jetnet.syn.rpt")
    assert (pro.source, pro.resources) == ("quartus-synth", {"alm": 13022, "ff": 11872, "dsp": 32, "m20k": 6})
    assert (pro.logic_levels, pro.max_fanout) == (9.0, 11961)


def test_quartus_flow_is_of_the_fitter_where_it_was_run(tmp_path: Path) -> None:
    report = one(REPORTS / FLOW)
    assert (report.source, report.stage, report.part) == ("quartus-fit", "route", "5CSEBA6U23I7")
    assert report.resources == {"alm": 3402, "ff": 5218, "dsp": 24}
    assert report.detail["flow"]["seconds"]["Fitter"] == 205
    path = changed(
        FLOW, tmp_path, ("; Fitter               ;", "; Partition Merge      ;"), ("3,402 / 41,910", "N/A           ")
    )
    early = one(path)
    assert (early.source, early.stage, early.resources) == ("quartus-synth", "synthesis", {"ff": 5218, "dsp": 24})


def test_quartus_reports_of_all_steps_are_two_sources(tmp_path: Path) -> None:
    for name in (MAP, FLOW, "quartus_std_18_1/output_files/filter.sta.rpt"):
        (tmp_path / Path(name).name).write_text((REPORTS / name).read_text())
    found = {report.source: report for report in read_reports(tmp_path)}
    assert list(found) == ["quartus-fit", "quartus-synth"]
    assert (found["quartus-fit"].slack_ns, found["quartus-fit"].resources["alm"]) == (2.2, 3402)
    assert found["quartus-synth"].resources["alm"] == 3216


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (MAP, "Successful - Fri Oct", "Failed - Fri Oct    ", "Synthesis Status is 'Failed - .*see the mess"),
        (FLOW, "Successful - Fri Oct", "Flow Failed - Fri   ", "Flow Status is 'Flow Failed - .*see the messages of"),
        (FLOW, "; Total registers ", "; Totals ", "section 'Flow Summary: Total ded"),
        (FLOW, "00:03:25", "3 min   ", "section 'Flow Elapsed Time: Fitter' is missing"),
        (MAP, "; Analysis & Synthesis Resource Usage Summary    ", "; Usage", "section 'Analysis & Synthesis Resource"),
        (MAP, "11.80", "many ", "'Max LUT depth' must be a number. Received: 'many'"),
    ],
)  # fmt: skip
def test_quartus_reports_that_count_nothing(name: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    path = changed(name, tmp_path, (old, new))
    with pytest.raises(ReportError, match=said):
        read_reports(path)
