"""Quartus Prime reports: ``*.fit.rpt``, ``*.fit.summary``, ``*.sta.rpt``, ``*.sta.summary`` (Standard and Pro edition).

hls4ml 1.3.0 reads Intel HLS's ``quartus_data.js``, no Quartus report. alkaid 0.8.2 reads the Pro edition's resources
and Fmax right, but no slack (it stops at the border below the heading). Of the Standard edition, which writes "Total
registers" and one table per delay model, it finds no registers and takes the first Fmax, be it the debug port's.
Layouts here were read off reports of 18.1, 22.1 and 25.1.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from hls.reports.tools.base import Reading, ReportError, count, cut_off, load, missing, number, positive, table

FIT, STA = "quartus_fit", "quartus_sta"
M20K_FAMILIES = ("Agilex", "Stratix 10", "Arria 10", "Stratix V")  # others have blocks of another size
FANOUT = "Maximum fan-out"  # row of the usage summaries; often of the clock
JTAG = "altera_reserved_tck"  # clock of the debug port, never the design's


def sections(text: str) -> dict[str, list[list[str]]]:
    """All titled tables of a report; no rows = "No paths to report"; a table that is cut off is left out."""
    lines = text.splitlines()
    tables: dict[str, list[list[str]]] = {}
    for n in range(1, len(lines) - 1):
        title = re.fullmatch(r"; ([^;]+?)\s*;\s*", lines[n])
        if not title or not re.fullmatch(r"[-+]+\s*", lines[n - 1]):
            continue
        if re.fullmatch(r"-+\s*", lines[n + 1]):
            tables[title.group(1)] = []
        elif (rows := table(lines, n + 1, ";")) is not None:
            tables[title.group(1)] = rows
    return tables


def whole(path: Path, text: str, tables: dict[str, list[list[str]]], endings: tuple[str, ...], command: str) -> None:
    """Refuse a report that lacks a table which its table of contents lists, or one of `endings` altogether.

    Raises:
        ReportError: naming the section; of a file that ends before its first table that.
    """
    if not re.search(r"^\+-[-+]*\+\s*$", text, re.MULTILINE):
        raise cut_off(path, "header, before its first table", command)
    contents = re.findall(r"^ *\d+\. (.*\S)\s*$", text.partition("; Legal Notice")[0], re.MULTILINE)
    for ending in endings:
        listed = [title for title in contents if title.endswith(ending)]
        lacking = next((title for title in listed or [ending] if title not in tables), None)
        if lacking is not None:
            raise missing(path, lacking, command)


def version(text: str) -> str:
    """Name, version and edition of the tool, as far as a report states them."""
    stated = re.search(r"Quartus (?:Prime|II)[\w -]*Version\s*[:;]?\s*(?:Version )?([\w.]+)", text)
    edition = re.search(r"\b(Pro|Standard|Lite|Web|Full|Subscription) (?:Edition|Version)", text)
    return " ".join(["Quartus", *(match.group(1) for match in (stated, edition) if match)])


def read_fit(path: Path) -> Reading:
    """Read the fitter's report or its summary: ALMs, registers, DSP blocks, RAM blocks.

    ALUTs are not six-input LUTs and stand in the detail, as do logic elements of families without ALMs.

    Raises:
        ReportError: the summary is missing or cut off, or the fitter did not succeed.
    """
    text = load(path)
    if re.match(r"\s*Fitter Status :", text):
        summary = {key.strip(): value for key, _, value in (line.partition(" : ") for line in text.splitlines())}
        if not any(key.startswith("Total PLLs") for key in summary):  # among the last lines of every family's
            raise missing(path, "Fitter Summary: Total PLLs", FIT)
        usage: dict[str, str] = {}
    else:
        tables = sections(text)
        whole(path, text, tables, ("Fitter Summary", "Fitter Resource Usage Summary"), FIT)
        summary = {row[0]: row[1] for row in tables["Fitter Summary"]}
        usage = {row[0]: row[1] for row in tables["Fitter Resource Usage Summary"] if len(row) > 1}
    status = summary.get("Fitter Status", "")
    if not status.startswith("Successful"):
        raise ReportError(
            f"{path}: Fitter Status is {status or 'missing'!r}, so it counts nothing; see the fitter's messages"
        )
    family, part = summary.get("Family", ""), summary.get("Device", "")
    resources, available, detail = counted(path, summary, "Fitter Summary", FIT)
    aluts = next((usage[name] for name in ("Combinational ALUT usage for logic",) if name in usage), None)
    if aluts is not None:
        detail["aluts"] = count(path, "Combinational ALUT usage for logic", aluts)
    design = summary.get("Top-level Entity Name", "")
    report = Report(
        source="quartus-fit",
        stage="route",
        tool=version(text),
        part=part,
        resources=resources,
        max_fanout=count(path, FANOUT, usage[FANOUT]) if FANOUT in usage else None,
        error_bar=error_bar("quartus-fit"),
        detail={"design": design, "fit": {"family": family, "available": available, **detail}},
        files=(str(path),),
    )
    return Reading("fit", design, status.partition(" - ")[2], report, rank=1 if usage else 0)


def counted(
    path: Path, summary: dict[str, str], section: str, command: str
) -> tuple[dict[str, int], dict[str, int], dict[str, Any]]:
    """Used and available of each resource, and what has no column of its own.

    Args:
        path: of the report.
        summary: row of its summary -> cell; "N/A" is no number, which the synthesis writes where the fitter counts.
        section: title of the summary.
        command: that writes the report.

    Raises:
        ReportError: a number is none, or there are neither registers nor cells.
    """
    blocks = "m20k" if summary.get("Family", "").startswith(M20K_FAMILIES) else ""
    rows = {
        "alm": ("Logic utilization (in ALMs)",),
        "ff": ("Total dedicated logic registers", "Total registers"),  # Pro, Standard
        "dsp": ("Total DSP Blocks",),
        blocks or "ram_blocks": ("Total RAM Blocks",),
        "logic_elements": ("Total logic elements",),  # Cyclone IV, MAX 10
        "multipliers_9bit": ("Embedded Multiplier 9-bit elements",),  # of these; an 18 x 18 product takes two
        "memory_bits": ("Total block memory bits", "Total memory bits"),
    }
    used: dict[str, int] = {}
    available: dict[str, int] = {}
    for key, names in rows.items():
        name = next((name for name in names if name in summary), None)
        if name is None or (summary[name].startswith("N/A") and command != FIT):
            continue
        used[key] = count(path, name, summary[name])
        if "/" in summary[name]:
            available[key] = count(path, name, summary[name].split("/")[1])
    if (command == FIT and not {"alm", "logic_elements"} & set(used)) or "ff" not in used:
        lacking = rows["ff"][0] if "ff" not in used else rows["alm"][0]
        raise missing(path, f"{section}: {lacking}", command)
    other: dict[str, Any] = {
        key: used.pop(key) for key in ("ram_blocks", "logic_elements", "multipliers_9bit", "memory_bits") if key in used
    }
    return used, available, other


def read_sta(path: Path) -> Reading:
    """Read the timing analyser's report: Fmax, setup and hold slack, the least over all delay models.

    `achieved_ns` is of the restricted Fmax (which the least pulse width of RAM and DSP may limit) of the clock with the
    least setup slack; ``.sta.summary`` has slacks only.

    Raises:
        ReportError: a section is missing or cut off.
    """
    text = load(path)
    title = re.match(r"\s*(?:TimeQuest )?Timing Analyzer report for (.*)", text)
    periods: dict[str, float] = {}
    fmax: dict[str, float] = {}
    if title:
        tables = sections(text)
        whole(path, text, tables, ("Clocks", "Fmax Summary", "Setup Summary", "Hold Summary"), STA)
        periods = {row[0]: positive(path, f"Period of {row[0]}", row[2]) for row in tables["Clocks"][1:]}
        for name, rows in tables.items():
            if name.endswith("Fmax Summary"):
                for row in rows[1:]:
                    _least(fmax, row[2], positive(path, f"Fmax of {row[2]}", row[1]))
        setup, hold = (_slacks(path, tables, f"{which} Summary") for which in ("Setup", "Hold"))
    elif re.match(r"-+\s+(?:TimeQuest )?Timing Analyzer Summary", text):
        if len(re.findall(r"^-{20,}\s*$", text, re.MULTILINE)) < 3:  # it ends with the third line of dashes
            raise missing(path, "Timing Analyzer Summary", STA)
        setup, hold = _summary(path, text, "Setup"), _summary(path, text, "Hold")
    else:
        raise missing(path, "Timing Analyzer report for ...", STA)
    own = {name: slack for name, slack in setup.items() if name != JTAG and (name in fmax or not fmax)}
    critical = min(own, key=lambda name: own[name], default=None)
    detail: dict[str, Any] = {
        "clocks": {
            name: {"period_ns": periods.get(name), "setup_slack_ns": setup.get(name), "hold_slack_ns": hold.get(name)}
            | ({"fmax_mhz": fmax[name]} if name in fmax else {})
            for name in {**periods, **setup}
        },
        "met": all(slack >= 0 for slack in [*setup.values(), *hold.values()]) if setup else None,
    }
    if critical is None:
        detail["note"] = "no clock with a path: the timing analyser states no Fmax"
    speed = fmax.get(critical or "")
    design = title.group(1).strip() if title else path.name.removesuffix(".sta.summary")
    report = Report(
        source="quartus-fit",
        stage="route",
        tool=version(text) if title else "",
        clock_ns=periods.get(critical or ""),
        achieved_ns=round(1000 / speed, 3) if speed else None,
        slack_ns=own[critical] if critical is not None else None,
        error_bar=error_bar("quartus-fit"),
        detail={"design": design, "sta": detail},
        files=(str(path),),
    )
    return Reading("sta", design, text.splitlines()[1] if title else "", report, rank=1 if title else 0)


def _least(table_: dict[str, float], name: str, value: float) -> None:
    table_[name] = min(value, table_.get(name, value))


def _slacks(path: Path, tables: dict[str, list[list[str]]], ending: str) -> dict[str, float]:
    least: dict[str, float] = {}
    for name, rows in tables.items():
        if name.endswith(ending):
            for row in rows[1:]:
                _least(least, row[0], number(path, f"{name}: {row[0]}", row[1]))
    return least


def _summary(path: Path, text: str, which: str) -> dict[str, float]:
    least: dict[str, float] = {}
    for kind, clock, slack in re.findall(r"^Type\s*: (.*?) '(.*)'\s*\nSlack\s*: (\S+)", text, re.MULTILINE):
        if kind.endswith(f" {which}") or kind == which:
            _least(least, clock, number(path, f"Slack of {clock}", slack))
    return least
