"""C synthesis reports of Vivado HLS and Vitis HLS.

They are ``csynth.xml``, ``<top>_csynth.xml``, ``<top>_csynth.rpt`` and ``csynth.rpt``; tags and layouts were read off
reports of 2018.2 to 2025.1. hls4ml 1.3.0 (`parse_vivado_report`) reads the XML only, keeps every number as text, stops
with AttributeError at a cut-off file and passes the word ``undef`` of a data-dependent loop on as a latency. alkaid
0.8.2 (`parse_vitis_latency`) wants best, average and worst of *all* modules of the file to be one number, so it
refuses any design with a sub-function. So neither is used.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from hls.reports.tools.base import (
    Reading,
    ReportError,
    count,
    find_line,
    load,
    missing,
    number,
    only_known,
    positive,
    table,
)

COMMAND = "csynth_design"
# tag or column -> our name: DSP48E until Vivado HLS 2020.1, DSP since; the summary's BRAM counts 18-kbit halves as well
NAMES = {
    "BRAM_18K": "bram18",
    "BRAM": "bram18",
    "DSP48E": "dsp",
    "DSP": "dsp",
    "FF": "ff",
    "LUT": "lut",
    "URAM": "uram",
}
UNKNOWN = ("undef", "?", "-", "NA")  # how the tools write a latency that depends on data


def read_xml(path: Path) -> Reading:
    """Read ``csynth.xml`` (the whole design) or ``<module>_csynth.xml`` (one module, with what it calls).

    Raises:
        ReportError: not XML, cut off, or a section is missing.
    """
    text = load(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # no tool writes one; entities are the unsafe part of XML
        raise ReportError(f"{path}: has a DOCTYPE, which no HLS tool writes; give the file that the tool wrote")
    try:
        root = ET.fromstring(text)  # noqa: S314  without a DOCTYPE there are no entities to expand
    except (ET.ParseError, ValueError, LookupError, RecursionError) as error:  # the encoding it names, too
        raise ReportError(f"{path}: is cut off or not XML ({error}); write the report again with {COMMAND}") from error

    def value(place: str) -> str:
        node = root.find(place)
        if node is None or not (node.text or "").strip():
            raise missing(path, place, COMMAND)
        return str(node.text).strip()

    cycles = {
        short: value(f"PerformanceEstimates/SummaryOfOverallLatency/{tag}")
        for short, tag in (("best", "Best-caseLatency"), ("worst", "Worst-caseLatency"))
    }
    interval = {
        short: value(f"PerformanceEstimates/SummaryOfOverallLatency/Interval-{short}") for short in ("min", "max")
    }
    resources = _area(path, root, "Resources")
    only_known(path, resources, ("lut", "ff", "dsp"), "AreaEstimates/Resources", COMMAND)
    vitis = root.find("UserAssignments/FlowTarget") is not None  # Vivado HLS has no such tag
    return _reading(
        path,
        design=value("UserAssignments/TopModelName"),
        tool=f"{'Vitis' if vitis else 'Vivado'} HLS {value('ReportVersion/Version')}",
        part=value("UserAssignments/Part"),
        resources=resources,
        clock=(
            positive(path, "TargetClockPeriod", value("UserAssignments/TargetClockPeriod")),
            positive(
                path, "EstimatedClockPeriod", value("PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod")
            ),
            number(path, "ClockUncertainty", value("UserAssignments/ClockUncertainty")),
        ),
        latency=(cycles["best"], cycles["worst"]),
        interval=(interval["min"], interval["max"]),
        more={"available": _area(path, root, "AvailableResources")},
    )


def read_rpt(path: Path) -> Reading:
    """Read ``<top>_csynth.rpt``, the report of one module.

    Raises:
        ReportError: a section is missing or cut off.
    """
    lines = load(path).splitlines()
    head = find_line(lines, r"== (Vivado|Vitis) HLS Report for '.*'")
    if head is None:
        raise missing(path, "Vivado/Vitis HLS Report for ...", COMMAND)
    title = re.match(r"== (Vivado|Vitis) HLS Report for '(.*)'", lines[head])
    facts = _facts(lines)

    def rows(section: str, pattern: str) -> list[list[str]]:
        place = find_line(lines, pattern, head or 0)
        summary = None if place is None else find_line(lines, r"\s*\* Summary:", place)
        content = None if summary is None else table(lines, summary + 1)
        if content is None:
            raise missing(path, section, COMMAND)
        return content

    clocks = rows("Timing", r"\s*\+ Timing")[1:]
    latency = rows("Latency", r"\s*\+ Latency")[-1]
    area = rows("Utilization Estimates", r"== Utilization Estimates")
    # 2018.x: min max | min max | type; since 2019 the time stands between: min max | min max | min max | type
    if len(latency) not in (5, 7) or not clocks or len(clocks[0]) < 4:
        raise missing(path, "Latency" if clocks else "Timing", COMMAND)
    used = _columns(path, area, "Total")
    return _reading(
        path,
        design=title.group(2) if title else "",
        tool=f"{title.group(1) if title else ''} HLS {facts['Version'].split()[0]}",
        part=facts["Target device"],
        resources=used,
        clock=tuple(number(path, f"Timing {clocks[0][0]}", cell) for cell in clocks[0][1:4]),
        latency=(latency[0], latency[1]),
        interval=(latency[-3], latency[-2]),
        more={"available": _columns(path, area, "Available")},
        when=facts["Date"],
    )


def read_summary(path: Path) -> Reading:
    """Read ``csynth.rpt`` of Vitis HLS ("Synthesis Summary Report"), whose first row is the whole design.

    It states no clock period; the latency in ns stands beside the cycles.

    Raises:
        ReportError: a section is missing or cut off.
    """
    lines = load(path).splitlines()
    section = "Performance & Resource Estimates"
    place = find_line(lines, rf"\s*\+ {re.escape(section)}")
    rows = None if place is None else table(lines, place + 1)
    top = next((row for row in rows or [] if re.match(r"\+ \S", row[0])), None)
    if not rows or top is None:
        raise missing(path, section, COMMAND)
    # two heading rows name a column ("Latency" over "(cycles)"); a merged heading shifts the first one only
    names = {name: n for n, name in enumerate(rows[1]) if name}
    only_known(path, names, ("(cycles)", "(ns)", "Interval", "BRAM", "DSP", "FF", "LUT"), section, COMMAND)
    facts = _facts(lines)
    cycles, interval = top[names["(cycles)"]], top[names["Interval"]]
    time = top[names["(ns)"]]
    return _reading(
        path,
        design=top[0].removeprefix("+ ").rstrip("*"),
        tool=f"Vitis HLS {facts['Version'].split()[0]}",
        part=facts["Target device"],
        resources={NAMES[key]: count(path, key, top[names[key]]) for key in NAMES if key in names},
        clock=(),
        latency=(cycles, cycles),
        interval=(interval, interval),
        more={"slack_ns": top[names["Slack"]]} if "Slack" in names else {},
        when=facts["Date"],
        latency_ns=None if time in UNKNOWN else number(path, "Latency (ns)", time),
    )


def _facts(lines: list[str]) -> dict[str, str]:
    facts = {"Version": "?", "Target device": "", "Date": ""}
    for line in lines[:40]:
        if entry := re.match(r"\s*\* ([A-Z][a-z]+(?: [a-z]+)?):\s*(.*\S)", line):
            facts[entry.group(1)] = entry.group(2)
    return facts


def _area(path: Path, root: ET.Element, group: str) -> dict[str, int]:
    node = root.find(f"AreaEstimates/{group}")
    if node is None:
        raise missing(path, f"AreaEstimates/{group}", COMMAND)
    return {NAMES[child.tag]: count(path, child.tag, child.text or "") for child in node if child.tag in NAMES}


def _columns(path: Path, rows: list[list[str]], name: str) -> dict[str, int]:
    """One row of the utilisation table by column name."""
    row = next((row for row in rows if row[0] == name), None)
    only_known(path, rows[0], ("BRAM_18K", "FF", "LUT"), "Utilization Estimates", COMMAND)
    if row is None:
        raise missing(path, f"Utilization Estimates: {name}", COMMAND)
    return {NAMES[key]: count(path, key, cell) for key, cell in zip(rows[0], row, strict=True) if key in NAMES}


def _reading(
    path: Path,
    *,
    clock: tuple[float, ...],
    latency: tuple[str, str],
    interval: tuple[str, str],
    more: dict[str, Any],
    latency_ns: float | None = None,
    when: str = "",
    **known: Any,
) -> Reading:
    """The record; latency and interval are the worst of their range."""

    def cycles(what: str, text: str) -> int | None:
        return None if text in UNKNOWN else count(path, what, text)

    low, high = (cycles("Latency", text) for text in latency)
    shortest, longest = (cycles("Interval", text) for text in interval)
    detail = {**more, "latency_min_cycles": low, "ii_min_cycles": shortest}
    if high is None:
        detail["note"] = f"the tool states no latency ({latency[1]}): a loop bound depends on data"
    target, estimated, uncertainty = clock or (None, None, None)
    if uncertainty is not None:
        detail["clock_uncertainty_ns"] = uncertainty
    if latency_ns is None and high is not None and target is not None:
        latency_ns = round(high * target, 6)
    design = known.pop("design")
    report = Report(
        source="csynth",
        stage="csynth",
        clock_ns=target,
        achieved_ns=estimated,
        latency_cycles=high,
        latency_ns=latency_ns,
        ii_cycles=longest,
        error_bar=error_bar("csynth"),
        detail={"design": design, "csynth": detail},
        files=(str(path),),
        **known,
    )
    return Reading("csynth", design, when, report)
