"""Vivado ``report_design_analysis -congestion``: the worst level of routing congestion.

A level n is a window of 2^n x 2^n tiles whose wires are nearly used up. By default only windows of a level above 5 are
listed (UG906); a report without one says so. Titles differ from version to version, "... Congestion Reporting" or
"Router Initial Congestion".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from hls.reports.tools.base import Reading, count, cut_off, load, missing, only_known, table
from hls.reports.tools.vivado import STAGE, header, source_in, tool

COMMAND = "report_design_analysis -congestion"
UNPLACED = "vivado-synth"  # alkaid's script asks for the report before placing, too
TITLE = r"\d+(?:\.\d+)*\.? (.*\bCongestion\b.*?)\s*"
NONE = r"\W*No .*congestion windows? (?:are|is) found(?: above level (\d+))?"


def read_congestion(path: Path) -> Reading:
    """Read the windows that the placer and the router list.

    Raises:
        ReportError: a section is missing or cut off, or it cannot be told whether the design is placed.
    """
    text = load(path)
    lines = text.splitlines()
    facts = header(path, lines, COMMAND)
    if not text.endswith("\n"):
        raise cut_off(path, "last line", COMMAND)
    source = source_in(path, facts, text)
    contents = [match.group(1) for line in lines if (match := re.fullmatch(TITLE, line))]
    found = {title: _section(path, lines, title) for title in dict.fromkeys(contents)}
    if not found and source != UNPLACED:
        raise missing(path, "Placer Final Level Congestion Reporting", COMMAND)
    levels = [one["level"] for one in found.values() if one["level"] is not None]
    above = [one["none_above"] for one in found.values() if one["none_above"] is not None]
    worst = str(max(levels)) if levels else f"none above {max(above)}" if above else None
    report = Report(
        source=source,
        stage=STAGE[source],
        tool=tool(facts),
        part=facts["Device"],
        congestion=worst,
        error_bar=error_bar(source),
        detail={"design": facts["Design"], "congestion": found},
        files=(str(path),),
    )
    return Reading("congestion", facts["Design"], facts.get("Date", ""), report)


def _section(path: Path, lines: list[str], title: str) -> dict[str, Any]:
    """Worst level and number of the windows of a section; it has to say that there are none where it lists none."""
    starts = [
        n
        for n, line in enumerate(lines[:-1])
        if re.fullmatch(rf"\d+(?:\.\d+)*\.? {re.escape(title)}\s*", line) and re.fullmatch(r"-+\s*", lines[n + 1])
    ]
    if not starts:
        raise missing(path, title, COMMAND)
    body = lines[starts[0] + 2 :]
    for n, line in enumerate(body):
        if none := re.match(NONE, line):
            return {"level": None, "none_above": int(none.group(1) or 0), "windows": 0}
        if line.startswith("+-"):
            rows = table(body, n)
            if rows is None:
                raise missing(path, title, COMMAND)
            only_known(path, rows[0], ("Level",), title, COMMAND)
            levels = [count(path, f"{title}: Level", row[rows[0].index("Level")]) for row in rows[1:]]
            return {"level": max(levels), "none_above": None, "windows": len(levels)}
        if line.strip():  # it says why there is none, or the next section follows
            return {"level": None, "none_above": None, "windows": 0}
    raise cut_off(path, f"section '{title}'", COMMAND)
