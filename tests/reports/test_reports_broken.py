"""What is said of vendor reports that are cut off, of another kind or of a failed run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.paths import DATA

from hls.reports.tools import ReportError, base, read_reports

REPORTS = DATA / "reports"
SOLUTION = "vitis_hls_2024_1/tagger_prj/solution1"
JETNET = "vivado_2025_1/output_jetnet/reports/jetnet_post"
PATHS = "vivado_2025_1_paths/output_jetnet/reports/jetnet_post"
FIT = "quartus_pro_25_1/output_jetnet/reports/jetnet.fit.rpt"
STA = "quartus_pro_25_1/output_jetnet/reports/jetnet.sta.rpt"

# layouts, cut off within and after their first table: never a Report without numbers
WHOLE = [
    "vivado_hls_2018_3/csynth.xml",
    "vivado_hls_2018_3/jet_sum_csynth.rpt",
    f"{SOLUTION}/syn/report/csynth.xml",
    f"{SOLUTION}/syn/report/tagger_csynth.rpt",
    f"{SOLUTION}/syn/report/csynth.rpt",
    f"{SOLUTION}/sim/report/tagger_cosim.rpt",
    "vivado_2020_1/vivado_synth.rpt",
    f"{JETNET}_place_util.rpt",
    f"{JETNET}_route_util.rpt",
    f"{JETNET}_route_timing.rpt",
    f"{JETNET}_route_power.rpt",
    FIT,
    STA,
    "quartus_std_18_1/output_files/filter.sta.rpt",
    "quartus_std_18_1/output_files/filter.fit.summary",
    "quartus_std_18_1/output_files/filter.sta.summary",
    "vivado_2020_2_paths/tagger_worst_paths.rpt",
    "vivado_2020_2_paths/tagger_high_fanout_routed.rpt",
    f"{PATHS}_place_congestion_initial.rpt",
    "quartus_std_18_1/synthesis/filter.map.rpt",
    "quartus_std_18_1/flow/filter.flow.rpt",
    "quartus_pro_25_1/synthesis/jetnet.syn.rpt",
]

FIRST_TABLE = (
    r"\+-{4}.*|<PerformanceEst|    WNS|\n; (Fitter|Flow|Synthesis|Analysis & Synthesis) Sum|\n; Clocks|\nSlack "
)


@pytest.mark.parametrize("name", [name for name in WHOLE if not name.endswith(".summary")])
def test_cut_off_files_name_file_and_section(name: str, tmp_path: Path) -> None:
    text = (REPORTS / name).read_text()
    start = re.search(FIRST_TABLE, text)
    assert start is not None
    for end in (start.start() + 90, start.start() + 300):  # within the first table
        path = tmp_path / Path(name).name
        path.write_text(text[:end])
        with pytest.raises(ReportError, match=rf"{re.escape(path.name)}: (section '|is cut off)"):
            read_reports(path)


# file -> characters of its header that are left, and what is said of them
HEADERS = {
    "vivado_hls_2018_3/csynth.xml": (4, "header (HLS csynth), the file ends in line 1: '<pro'"),
    "vivado_hls_2018_3/jet_sum_csynth.rpt": (74, "header (HLS csynth), the file ends in line 4: '== Viva'"),
    f"{SOLUTION}/syn/report/csynth.rpt": (60, "header (HLS csynth), the file ends in line 3: '====="),
    f"{SOLUTION}/sim/report/tagger_cosim.rpt": (8, "header (HLS co-simulation), the file ends in line 1: 'Report t'"),
    "vivado_2020_1/vivado_synth.rpt": (300, "header (Vivado), the file ends in line 5: '| Host"),
    f"{JETNET}_route_util.rpt": (9, "header (Vivado), the file ends in line 1: 'Copyright'"),
    f"{JETNET}_route_timing.rpt": (700, "header, the file ends in line 9: '| Speed File"),
    f"{JETNET}_route_power.rpt": (690, "header, the file ends in line 9: '| Design State"),
    f"{PATHS}_place_congestion_final.rpt": (640, "header, the file ends in line"),
    "vivado_2020_2_paths/tagger_worst_paths.rpt": (430, "header, the file ends in line 7: '| Design"),
    FIT: (7, "header (Quartus), the file ends in line 1: 'Fitter'"),
    STA: (60, "header, before its first table, the file ends in line 3: 'Q'"),
    "quartus_std_18_1/synthesis/filter.map.rpt": (230, "header, before its first table, the file ends in line"),
    "quartus_std_18_1/flow/filter.flow.rpt": (200, "header, before its first table, the file ends in line"),
    "quartus_std_18_1/output_files/filter.fit.summary": (6, "header (Quartus), the file ends in line 1: 'Fitter'"),
    "quartus_std_18_1/output_files/filter.sta.summary": (70, "header (Quartus), the file ends in line 2: 'Timing"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_files_cut_off_in_their_header_say_so_and_where(name: str, tmp_path: Path) -> None:
    end, said = HEADERS[name]
    path = tmp_path / Path(name).name
    path.write_text((REPORTS / name).read_text()[:end])
    wanted = rf"{re.escape(path.name)}: is cut off in its {re.escape(said)}.*write the report again.* once the tool has"
    with pytest.raises(ReportError, match=wanted):
        read_reports(path)


@pytest.mark.parametrize("name", [name for name in WHOLE if not name.endswith(".summary")])
def test_no_cut_leaves_a_file_unknown(name: str, tmp_path: Path) -> None:
    text = (REPORTS / name).read_text()
    path = tmp_path / Path(name).name
    for end in range(1, 600, 7):
        if not text[:end].strip():
            continue
        path.write_text(text[:end])
        with pytest.raises(ReportError) as caught:
            read_reports(path)
        assert "is no report that is known" not in str(caught.value), f"cut off after {end} characters"


@pytest.mark.parametrize("name", WHOLE)
def test_wherever_a_file_is_cut_off_the_numbers_are_right_or_refused(name: str, tmp_path: Path) -> None:
    text = (REPORTS / name).read_text()
    path = tmp_path / Path(name).name
    path.write_text(text)
    whole = read_reports(path)
    refused = 0
    for end in range(0, len(text), 37):
        path.write_text(text[:end])
        try:
            assert read_reports(path) == whole, f"cut off after {end} characters"
        except ReportError:
            refused += 1
    assert refused > 5


@pytest.mark.parametrize(
    ("name", "line", "section"),
    [
        (f"{SOLUTION}/syn/report/csynth.xml", "<Interval-max>1</Interval-max>", "Interval-max"),
        (f"{SOLUTION}/syn/report/csynth.xml", "<LUT>148803</LUT>", "AreaEstimates/Resources: lut"),
        (f"{SOLUTION}/syn/report/tagger_csynth.rpt", "+ Latency: ", "Latency"),
        (f"{SOLUTION}/syn/report/csynth.rpt", "    |+ tagger                   |", "Performance & Resource Estimates"),
        (f"{JETNET}_route_util.rpt", "3. BLOCKRAM\n-", "BLOCKRAM or Memory"),
        (f"{JETNET}_route_util.rpt", "DSPs", "DSPs"),
        (f"{JETNET}_route_timing.rpt", "All user specified timing constraints are met.", "are the constraints met"),
        (f"{JETNET}_route_timing.rpt", "| Clock Summary", "Clock Summary"),
        (f"{JETNET}_route_power.rpt", "| Dynamic (W) ", "Summary: Dynamic"),
        (FIT, "; Fitter Resource Usage Summary  ", "Fitter Resource Usage"),
        (STA, "; Setup Summary  ", "Setup Summary"),
        ("quartus_std_18_1/output_files/filter.fit.summary", "Total registers : 5218", "Total dedicated logic reg"),
    ],
)  # fmt: skip
def test_a_missing_section_is_named(name: str, line: str, section: str, tmp_path: Path) -> None:
    text = (REPORTS / name).read_text()
    assert line in text
    path = tmp_path / Path(name).name
    path.write_text(text.replace(line, ""))
    with pytest.raises(ReportError, match=rf"{re.escape(path.name)}: section '.*{section}.*write the report again"):
        read_reports(path)


def test_numbers_that_are_none(tmp_path: Path) -> None:
    text = (REPORTS / f"{SOLUTION}/syn/report/csynth.xml").read_text()
    path = tmp_path / "csynth.xml"
    path.write_text(text.replace("<FF>20318</FF>", "<FF>many</FF>"))
    with pytest.raises(ReportError, match=r"csynth.xml: 'FF' must be a number. Received: 'many'"):
        read_reports(path)
    path.write_text(text.replace("<FF>20318</FF>", "<FF>20318.5</FF>"))
    with pytest.raises(ReportError, match=r"csynth.xml: 'FF' must be a whole number. Received: '20318.5'"):
        read_reports(path)


@pytest.mark.parametrize("value", ["9" * 400, "1e999", "-1e999", "1" + "0" * 17, "nan", "inf", "-5", "٣"])
def test_numbers_that_no_device_has(value: str, tmp_path: Path) -> None:
    text = (REPORTS / f"{SOLUTION}/syn/report/csynth.xml").read_text()
    path = tmp_path / "csynth.xml"
    path.write_text(text.replace("<FF>20318</FF>", f"<FF>{value}</FF>"))
    with pytest.raises(
        ReportError, match=r"csynth.xml: 'FF' (must be a (whole )?number|is .*which no device or clock)"
    ):
        read_reports(path)


CSYNTH = f"{SOLUTION}/syn/report/csynth.xml"


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (CSYNTH, r"<TargetClockPeriod>[^<]*", "<TargetClockPeriod>-5.00", "'TargetClockPeriod'"),
        (CSYNTH, r"<EstimatedClockPeriod>[^<]*", "<EstimatedClockPeriod>0", "'EstimatedClockPeriod'"),
        (f"{JETNET}_route_power.rpt", r"(Total On-Chip Power \(W\) *)\| [\d.]+", r"\1| -2", "'Total On-Chip"),
        (STA, r"; ([\d.]+) MHz", "; -1 MHz", "'Fmax of"),
    ],
)
def test_periods_frequencies_and_powers_are_positive(name: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    text, count = re.subn(old, new, (REPORTS / name).read_text())
    assert count
    path = tmp_path / Path(name).name
    path.write_text(text)
    with pytest.raises(ReportError, match=rf"{re.escape(path.name)}: {said}.* must be positive. Received: "):
        read_reports(path)


def test_entities_are_refused_wherever_they_stand(tmp_path: Path) -> None:
    text = (REPORTS / f"{SOLUTION}/syn/report/csynth.xml").read_text()
    path = tmp_path / "csynth.xml"
    laughs = '<!DOCTYPE p [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    for place in (0, 5000):
        path.write_text("<profile>" + " " * place + laughs + text.partition("<profile>")[2])
        with pytest.raises(ReportError, match=r"csynth.xml: has a DOCTYPE, which no HLS tool writes"):
            read_reports(path)


def test_reports_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "csynth.xml"
    path.write_bytes(b"<profile>" + bytes(range(256)) * 4)
    with pytest.raises(ReportError, match=r"csynth.xml: is cut off or not XML \(not well-formed"):
        read_reports(path)
    path.write_bytes((REPORTS / f"{JETNET}_route_util.rpt").read_text().encode("utf-16"))
    with pytest.raises(ReportError, match=r"csynth.xml: is UTF-16 text, the tools write UTF-8; give the file that"):
        read_reports(path)
    path.write_bytes(bytes(1000))
    with pytest.raises(ReportError, match=r"csynth.xml: is no report that is known here"):
        read_reports(path)
    path.unlink()
    path.symlink_to("gone.xml")
    with pytest.raises(ReportError, match=r"csynth.xml: cannot be read \(No such file"):
        read_reports(path)
    (tmp_path / "folder.rpt").mkdir()
    with pytest.raises(ReportError, match=r"holds no vendor report"):  # a link to nothing, or a folder, is none
        read_reports(tmp_path)
    monkeypatch.setattr(base, "LARGEST_BYTES", 100)
    with pytest.raises(ReportError, match=r"csynth.xml: is larger than 100 bytes"):
        read_reports(REPORTS / f"{SOLUTION}/syn/report/csynth.xml")


def test_a_huge_number_of_a_small_report(tmp_path: Path) -> None:
    path = REPORTS / "broken" / "xml_huge.xml"
    with pytest.raises(ReportError, match=r"xml_huge.xml: 'LUT' is '9{39}\.\.\., which no device or clock has; write"):
        read_reports(path)


def test_unknown_state_and_document_type(tmp_path: Path) -> None:
    text = (REPORTS / f"{JETNET}_route_util.rpt").read_text()
    path = tmp_path / "util.rpt"
    path.write_text(text.replace("Design State : Routed", "Design State : Baked"))
    with pytest.raises(ReportError, match=r"util.rpt: Design State 'Baked' is unknown; known are Synthesized"):
        read_reports(path)
    path = tmp_path / "csynth.xml"
    path.write_text("<profile>\n<!DOCTYPE x>\n</profile>\n")
    with pytest.raises(ReportError, match=r"csynth.xml: has a DOCTYPE, which no HLS tool writes"):
        read_reports(path)


def test_other_files_are_refused_with_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(
        ReportError, match=r"drc.rpt: is no report that is known here; known are HLS csynth.xml, .*Quartus"
    ):
        read_reports(REPORTS / f"{JETNET}_route_drc.rpt")
    with pytest.raises(ReportError, match=r"holds no vendor report; run synthesis first"):
        read_reports(tmp_path)
    with pytest.raises(ReportError, match=r"gone.rpt: cannot be read \(No such file"):
        read_reports(tmp_path / "gone.rpt")
    (tmp_path / "empty.rpt").write_text(" \n")
    with pytest.raises(ReportError, match=r"empty.rpt: is empty"):
        read_reports(tmp_path / "empty.rpt")
