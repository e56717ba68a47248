"""Vivado ``report_utilization`` (flat and hierarchical) and ``report_power``.

hls4ml 1.3.0 finds rows by the number of their section (hls4ml#639): of a placed or routed design, which has one more,
it returns no BRAM, URAM and DSP, and it calls 36-kbit tiles "BRAM_18K". alkaid 0.8.2 wants the column "Prohibited",
which 2020.2 does not write yet, and prints a warning where a row is missing. Layouts here were read off reports of
2020.1 to 2025.1, of 7-series, UltraScale+ and Zynq parts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from hls.reports.tools.base import (
    Reading,
    ReportError,
    count,
    cut_off,
    find_line,
    load,
    missing,
    number,
    only_known,
    positive,
    table,
)

UTILISATION = "report_utilization"
POWER = "report_power"
# word of "Design State" -> source, rank among files of one source; the first that fits, so the order matters
STATES = (
    ("place", "vivado-place"),
    ("rout", "vivado-route"),
    ("synthesized", "vivado-synth"),
    ("optimized", "vivado-synth"),
)
# the same for words of the name of a file that says nothing of the state itself
NAMED = (
    ("rout", "vivado-route"),
    ("place", "vivado-place"),
    ("synth", "vivado-synth"),
    ("post_opt", "vivado-synth"),
)
STAGE = {"vivado-synth": "synthesis", "vivado-place": "route", "vivado-route": "route"}
# what stands for one thing in UltraScale(+) and in 7-series reports
LOGIC, MEMORY, DSP = ("CLB Logic", "Slice Logic"), ("BLOCKRAM", "Memory"), ("ARITHMETIC", "DSP")


def header(path: Path, lines: list[str], command: str) -> dict[str, str]:
    """The ``| Key : value`` lines at the top.

    Raises:
        ReportError: no such header, or the file ends within it.
    """
    facts: dict[str, str] = {}
    first = find_line(lines, r"\| [A-Z]") or 0
    for line in lines[first:30]:
        if entry := re.match(r"\| ([A-Z][\w ]*?)\s*: (.*)", line):
            facts.setdefault(entry.group(1), entry.group(2).strip())
    if find_line(lines, r"-{20,}\s*$", first) is None:
        raise cut_off(path, "header", command)
    only_known(path, facts, ("Tool Version", "Command", "Design", "Device"), "header", command)
    return facts


def tool(facts: dict[str, str]) -> str:
    """``Vivado v.2025.1 (lin64) Build ...`` as ``Vivado 2025.1``."""
    return " ".join(facts["Tool Version"].split()[:2]).replace("v.", "")


def source_of(path: Path, state: str) -> str:
    """Source that a design state stands for.

    Raises:
        ReportError: unknown state.
    """
    for word, source in STATES:
        if word in state.lower():
            return source
    raise ReportError(f"{path}: Design State {state!r} is unknown; known are Synthesized, Optimized, Placed, Routed")


def source_in(path: Path, facts: dict[str, str], text: str) -> str:
    """Source of a report; where its header has no design state (2021.2 and before) its nets or its name tell it.

    Raises:
        ReportError: unknown state, or nothing tells it.
    """
    if "Design State" in facts:
        return source_of(path, facts["Design State"])
    nets = set(re.findall(r"net \(fo=\d+, (unplaced|estimated|routed)\)", text))
    for state, source in (("unplaced", "vivado-synth"), ("estimated", "vivado-place"), ("routed", "vivado-route")):
        if state in nets:  # a placed design has routed clock nets beside its estimated ones
            return source
    name = path.stem.lower()
    for word, source in (
        ("rout", "vivado-route"),
        ("place", "vivado-place"),
        ("synth", "vivado-synth"),
        ("post_opt", "vivado-synth"),
    ):
        if word in name:
            return source
    raise ReportError(
        f"{path}: states neither a Design State nor a path, so it cannot be told whether the design is routed; "
        f"name the file ..._synth.rpt, ..._placed.rpt or ..._routed.rpt"
    )


def section(path: Path, lines: list[str], names: tuple[str, ...], command: str) -> dict[str, list[str]]:
    """Table below a numbered title such as ``3. BLOCKRAM``, by its first column (a footnote star is dropped).

    Raises:
        ReportError: title not found, or its table is cut off.
    """
    for name in names:
        place = find_line(lines, rf"\d+(\.\d+)*\.? {re.escape(name)}\s*$")
        while place is not None:  # the first find is the table of contents: a title has a line of dashes below
            if place + 1 < len(lines) and re.fullmatch(r"-+\s*", lines[place + 1]):
                rows = table(lines, place + 2)
                if rows is None:
                    raise missing(path, name, command)
                named = {"": rows[0]}
                for row in rows[1:]:
                    named.setdefault(row[0].rstrip("*"), row)
                return named
            place = find_line(lines, rf"\d+(\.\d+)*\.? {re.escape(name)}\s*$", place + 1)
    raise missing(path, " or ".join(names), command)


def read_utilisation(path: Path) -> Reading:
    """Read ``report_utilization``; the design state tells whether it is of the synthesised or of the routed design.

    Raises:
        ReportError: a section is missing or cut off, or the state is unknown.
    """
    lines = load(path).splitlines()
    facts = header(path, lines, UTILISATION)
    only_known(path, facts, ("Design State",), "header", UTILISATION)
    by_hierarchy = find_line(lines, r"1\. Utilization by Hierarchy\s*$") is not None
    resources, detail = (_hierarchy if by_hierarchy else _flat)(path, lines)
    source = source_of(path, facts["Design State"])
    report = Report(
        source=source,
        stage=STAGE[source],
        tool=tool(facts),
        part=facts["Device"],
        resources=resources,
        error_bar=error_bar(source),
        detail={"design": facts["Design"], "utilisation": {"design_state": facts["Design State"], **detail}},
        files=(str(path),),
    )
    return Reading("utilisation", facts["Design"], facts.get("Date", ""), report, rank=0 if by_hierarchy else 1)


def _flat(path: Path, lines: list[str]) -> tuple[dict[str, int], dict[str, Any]]:
    logic = section(path, lines, LOGIC, UTILISATION)
    memory = section(path, lines, MEMORY, UTILISATION)
    dsp = section(path, lines, DSP, UTILISATION)
    rows = {**logic, **memory, **dsp}
    used = logic[""].index("Used") if "Used" in logic[""] else None
    free = logic[""].index("Available") if "Available" in logic[""] else None
    if used is None or free is None:
        raise missing(path, "column 'Used' or 'Available'", UTILISATION)

    def find(*names: str) -> str:
        name = next((name for name in names if name in rows), "")
        if not name:
            raise missing(path, names[0], UTILISATION)
        return name

    def cell(name: str) -> int:
        return count(path, name, rows[name][used])

    tiles = number(
        path, "Block RAM Tile", rows[find("Block RAM Tile")][used]
    )  # of 36 kbit; a lone RAMB18 is half a tile
    lut, ff, dsps = find("CLB LUTs", "Slice LUTs"), find("CLB Registers", "Slice Registers"), find("DSPs", "DSP Slices")
    resources = {"lut": cell(lut), "ff": cell(ff), "dsp": cell(dsps), "bram18": round(2 * tiles)}
    # rows that a family lacks, or that are left out where there is none of it
    resources |= {ours: cell(name) for ours, name in (("uram", "URAM"), ("carry", "CARRY8")) if name in rows}
    resources["srl"] = cell("LUT as Shift Register") if "LUT as Shift Register" in rows else 0
    available = {"lut": lut, "ff": ff, "dsp": dsps, "bram18": "Block RAM Tile"} | (
        {"uram": "URAM"} if "URAM" in rows else {}
    )
    detail: dict[str, Any] = {
        "available": {
            key: count(path, name, rows[name][free]) * (2 if key == "bram18" else 1) for key, name in available.items()
        },
        "lut_as_logic": cell(find("LUT as Logic")),
        "lut_as_memory": cell(find("LUT as Memory")),
    }
    return resources, detail


def _hierarchy(path: Path, lines: list[str]) -> tuple[dict[str, int], dict[str, Any]]:
    """``report_utilization -hierarchical``: the first row is the top with all below it.

    A second row "(top)" is what lies in no instance (hls4ml 1.3.0 takes that). A count may have a percentage behind it.
    """
    title = "Utilization by Hierarchy"
    rows = section(path, lines, (title,), UTILISATION)
    names = rows.pop("")
    top = next((row for row in rows.values() if row[1] == "(top)"), None)
    if top is None:
        raise missing(path, f"{title}: (top)", UTILISATION)
    row = dict(zip(names, top, strict=True))
    dsp = "DSP Blocks" if "DSP Blocks" in row else "DSP48 Blocks"
    only_known(path, row, ("Total LUTs", "SRLs", "FFs", "RAMB36", "RAMB18", dsp), title, UTILISATION)

    def cell(name: str) -> int:
        return count(path, name, row[name].split("(")[0])

    resources = {"lut": cell("Total LUTs"), "ff": cell("FFs"), "dsp": cell(dsp), "srl": cell("SRLs")}
    resources["bram18"] = 2 * cell("RAMB36") + cell("RAMB18")
    if "URAM" in row:
        resources["uram"] = cell("URAM")
    return resources, {"hierarchical": True}


def read_power(path: Path) -> Reading:
    """Read ``report_power``: total, dynamic and static on-chip power in W.

    Raises:
        ReportError: the summary is missing or cut off, or the state is unknown.
    """
    lines = load(path).splitlines()
    facts = header(path, lines, POWER)
    rows = section(path, lines, ("Summary",), POWER)
    total, dynamic, static = "Total On-Chip Power (W)", "Dynamic (W)", "Device Static (W)"
    rows[rows[""][0]] = rows[""]  # this table has no heading row
    only_known(path, rows, (total, dynamic, static), "Summary", POWER)
    only_known(path, facts, ("Design State",), "header", POWER)
    source = source_of(path, facts["Design State"])
    words = rows[total][1].partition("(")
    detail: dict[str, Any] = {
        "dynamic_w": number(path, dynamic, rows[dynamic][1]),
        "static_w": number(path, static, rows[static][1]),
        "confidence": rows.get("Confidence Level", ["", ""])[1],  # Low: no activity of the design was given
    }
    if words[1]:
        detail["note"] = words[2].rstrip(" )")  # "Junction temp exceeded!"
    report = Report(
        source=source,
        stage=STAGE[source],
        tool=tool(facts),
        part=facts["Device"],
        power_w=positive(path, total, words[0]),
        error_bar=error_bar(source),
        detail={"design": facts["Design"], "power": detail},
        files=(str(path),),
    )
    return Reading("power", facts["Design"], facts.get("Date", ""), report)
