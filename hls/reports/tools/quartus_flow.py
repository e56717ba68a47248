"""Quartus Prime reports of the synthesis (``*.map.rpt``, ``*.syn.rpt`` of Pro) and of the flow (``*.flow.rpt``).

The synthesis counts registers and DSP blocks and estimates ALMs; its LUT depth is the only number of logic levels that
the Standard edition's reports have. The flow report repeats the fitter's summary and says how long each step took.
Layouts were read off public reports of 17.1 to 25.1 of the Standard edition; of the Pro edition's synthesis report only
the titles and rows that programs of others read from it were known.
"""

from __future__ import annotations

import re
from pathlib import Path

from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from hls.reports.tools.base import Reading, ReportError, count, load, missing, number
from hls.reports.tools.quartus import FANOUT, counted, sections, version, whole

SYN, FLOW = "quartus_map or quartus_syn", "quartus_sh --flow compile"
ALMS = ("Estimate of Logic utilization (ALMs needed)", "Estimated ALMs needed")
DEPTH = "Max LUT depth"
FITTER = ("Fitter", "Fitter (Finalize)")  # a step of the flow


def read_synthesis(path: Path) -> Reading:
    """Read the report of the synthesis: ALMs as it estimates them, registers, DSP blocks, LUT depth, fan-out.

    Raises:
        ReportError: the summary is missing or cut off, or the synthesis did not succeed.
    """
    text = load(path)
    tables = sections(text)
    whole(path, text, tables, ("Synthesis Summary",), SYN)
    title = next(name for name in tables if name.endswith("Synthesis Summary"))
    listed = _listed(text)
    summary = _rows(tables[title])
    status = next((summary[key] for key in summary if key.endswith("Synthesis Status")), "")
    if not status.startswith("Successful"):
        raise ReportError(
            f"{path}: Synthesis Status is {status or 'missing'!r}, so it counts nothing; see the messages of the "
            "synthesis"
        )
    usage = _of(path, tables, listed, "Resource Usage Summary")
    netlist = _of(path, tables, listed, "Netlist Statistics")
    resources, available, detail = counted(path, summary, title, SYN)
    alms = next((usage[name] for name in ALMS if name in usage), None)
    if alms is not None:
        resources["alm"] = count(path, ALMS[0], alms)
    design = summary.get("Top-level Entity Name", "")
    report = Report(
        source="quartus-synth",
        stage="synthesis",
        tool=version(text),
        part=summary.get("Device", ""),
        resources=resources,
        logic_levels=number(path, DEPTH, netlist[DEPTH]) if DEPTH in netlist else None,
        max_fanout=count(path, FANOUT, usage[FANOUT]) if FANOUT in usage else None,
        error_bar=error_bar("quartus-synth"),
        detail={
            "design": design,
            "synthesis": {"family": summary.get("Family", ""), "available": available, **detail},
        },
        files=(str(path),),
    )
    return Reading("synthesis", design, status.partition(" - ")[2], report)


def read_flow(path: Path) -> Reading:
    """Read the report of the flow: the fitter's counts where it was run, else the synthesis's, and the seconds of each.

    Raises:
        ReportError: a table is missing or cut off, or the flow did not succeed.
    """
    text = load(path)
    tables = sections(text)
    whole(path, text, tables, ("Flow Summary", "Flow Elapsed Time"), FLOW)
    summary = _rows(tables["Flow Summary"])
    status = summary.get("Flow Status", "")
    if not status.startswith("Successful"):
        raise ReportError(
            f"{path}: Flow Status is {status or 'missing'!r}, so it counts nothing; see the messages of the flow"
        )
    seconds = {row[0]: _seconds(path, row[0], row[1]) for row in tables["Flow Elapsed Time"][1:]}
    fitted = any(step in seconds for step in FITTER)
    resources, available, detail = counted(path, summary, "Flow Summary", FLOW)
    source = "quartus-fit" if fitted else "quartus-synth"
    design = summary.get("Top-level Entity Name", "")
    report = Report(
        source=source,
        stage="route" if fitted else "synthesis",
        tool=version(text),
        part=summary.get("Device", ""),
        resources=resources,
        error_bar=error_bar(source),
        detail={
            "design": design,
            "flow": {"family": summary.get("Family", ""), "available": available, "seconds": seconds, **detail},
        },
        files=(str(path),),
    )
    return Reading("flow", design, status.partition(" - ")[2], report)


def _listed(text: str) -> list[str]:
    """Titles of the table of contents."""
    return re.findall(r"^ *\d+\. (.*\S)\s*$", text.partition("; Legal Notice")[0], re.MULTILINE)


def _rows(table: list[list[str]]) -> dict[str, str]:
    return {row[0]: row[1] for row in table if len(row) > 1}


def _of(path: Path, tables: dict[str, list[list[str]]], listed: list[str], words: str) -> dict[str, str]:
    """Rows of the first table whose title has these words; {} where the report has none.

    Raises:
        ReportError: the table of contents lists it, and it is cut off.
    """
    title = next((name for name in listed if words in name), None)
    if title is not None and title not in tables:
        raise missing(path, title, SYN)
    found = title or next((name for name in tables if words in name), None)
    return _rows(tables[found]) if found is not None else {}


def _seconds(path: Path, step: str, text: str) -> int:
    parts = text.split(":")
    if len(parts) != 3:
        raise missing(path, f"Flow Elapsed Time: {step}", FLOW)
    hours, minutes, seconds = (count(path, f"Elapsed Time of {step}", part) for part in parts)
    return 3600 * hours + 60 * minutes + seconds
