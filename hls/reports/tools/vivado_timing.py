"""Vivado ``report_timing_summary``.

alkaid 0.8.2 (`parse_timing_summary_vivado`) reads the line of worst slacks right, but neither the verdict below it nor
the clock period, which it takes from its own XDC. Layouts here were read off reports of 2020.2 to 2025.1.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from hls.reports.tools.base import Reading, find_line, load, missing, number, positive
from hls.reports.tools.vivado import STAGE, header, source_in, tool
from hls.reports.tools.vivado_paths import blocks, detail_of, worst

COMMAND = "report_timing_summary"
# sentence below the worst slacks -> are the constraints met? None = there are none
VERDICTS = {
    "All user specified timing constraints are met.": True,
    "Timing constraints are not met.": False,
    "There are no user specified timing constraints.": None,
}


def read_timing(path: Path) -> Reading:
    """Read worst slacks, verdict and clocks, and of the worst path what the report has of it.

    `clock_ns` is the period of the clock with the least setup slack; `achieved_ns` is that period less the slack (the
    design's where there is one clock, so that constraints on ports count).

    Raises:
        ReportError: a section is missing or cut off, or it cannot be told whether the design was routed.
    """
    text = load(path)
    lines = text.splitlines()
    facts = header(path, lines, COMMAND)
    slacks = _design(path, lines)
    verdict = next((line.strip() for line in lines if line.strip() in VERDICTS), None)
    if verdict is None:
        raise missing(path, "Design Timing Summary: are the constraints met?", COMMAND)
    periods, setup = _periods(path, lines), _intra(path, lines)
    source = source_in(path, facts, text)
    detail: dict[str, Any] = {"met": VERDICTS[verdict], **slacks}
    detail["clocks"] = {name: {"period_ns": period, "wns_ns": setup.get(name)} for name, period in periods.items()}
    critical = min(setup, key=lambda name: setup[name], default=None)
    if critical is None and len(periods) == 1:
        critical = next(iter(periods))
    clock = periods.get(critical) if critical is not None else None
    slack = slacks["wns_ns"] if len(periods) == 1 else setup.get(critical or "")
    path_of_it = worst(blocks(path, lines))
    if path_of_it is not None and path_of_it.slack_ns != slacks["wns_ns"]:
        path_of_it = None  # of a cut-off list
    if path_of_it is not None:
        detail["worst_path"] = detail_of(path_of_it)
    if VERDICTS[verdict] is None:
        detail["note"] = "no timing constraints: Vivado states no slack"
    report = Report(
        source=source,
        stage=STAGE[source],
        tool=tool(facts),
        part=facts["Device"],
        clock_ns=clock,
        achieved_ns=None if clock is None or slack is None else round(clock - slack, 3),
        slack_ns=slacks["wns_ns"],
        logic_levels=path_of_it.levels if path_of_it else None,
        path_fanout=path_of_it.fanout if path_of_it else None,
        error_bar=error_bar(source),
        detail={"design": facts["Design"], "timing": detail},
        files=(str(path),),
    )
    return Reading("timing", facts["Design"], facts.get("Date", ""), report)


def _design(path: Path, lines: list[str]) -> dict[str, float | None]:
    """The one line of "Design Timing Summary"."""
    title = "Design Timing Summary"
    place = find_line(lines, rf"\| {title}")
    head = None if place is None else find_line(lines, r"\s+WNS\(ns\)\s+TNS\(ns\)", place)
    if head is None or head + 2 >= len(lines):
        raise missing(path, title, COMMAND)
    names, cells = re.split(r"\s{2,}", lines[head].strip()), lines[head + 2].split()
    if len(names) != len(cells) or len(names) < 8:
        raise missing(path, title, COMMAND)
    row = dict(zip(names, cells, strict=True))
    wanted = {"WNS(ns)": "wns_ns", "TNS(ns)": "tns_ns", "WHS(ns)": "whs_ns", "THS(ns)": "ths_ns"}
    return {ours: None if row[name] == "NA" else number(path, name, row[name]) for name, ours in wanted.items()}


def _body(path: Path, lines: list[str], title: str) -> tuple[str, list[str]]:
    """Line of dashes and rows of a table of the summary; a design without clocks has none.

    The title of the next section has to follow, or the file is cut off.
    """
    place = find_line(lines, rf"\| {title}\s*$")
    end = None if place is None else find_line(lines, r"\| \w", place + 1)
    if place is None or end is None:
        raise missing(path, title, COMMAND)
    body = [line for line in lines[place + 2 : end] if line.strip() and not re.fullmatch(r"-+\s*", line)]
    return (body[1], body[2:]) if body else ("", [])


def _periods(path: Path, lines: list[str]) -> dict[str, float]:
    """ "Clock Summary": period in ns of every clock; a generated clock is indented."""
    _, rows = _body(path, lines, "Clock Summary")
    matches = (re.match(r"\s*(\S+)\s+\{[^}]*\}\s+(-?[\d.]+)\s+[\d.]+", row) for row in rows)
    return {match[1]: positive(path, f"Period of {match[1]}", match[2]) for match in matches if match}


def _intra(path: Path, lines: list[str]) -> dict[str, float]:
    """ "Intra Clock Table": worst setup slack in ns of every clock that has one; numbers end where the dashes end."""
    dashes, rows = _body(path, lines, "Intra Clock Table")
    ends = [match.end() for match in re.finditer(r"-+", dashes)]
    slacks = {}
    for row in rows:
        cells = {match.end(): match.group() for match in re.finditer(r"\S+", row)}
        name = row.split()[0]
        if len(ends) > 1 and ends[1] in cells and cells[ends[1]] != "NA":
            slacks[name] = number(path, f"WNS of {name}", cells[ends[1]])
    return slacks
