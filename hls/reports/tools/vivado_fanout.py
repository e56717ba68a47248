"""Vivado ``report_high_fanout_nets``: the net with most loads."""

from __future__ import annotations

from pathlib import Path

from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from hls.reports.tools.base import Reading, count, find_line, load, missing, only_known, table
from hls.reports.tools.vivado import STAGE, header, source_in, tool
from qformers.errors import shown

COMMAND = "report_high_fanout_nets"
SECTION = "table of nets"


def read_fanout(path: Path) -> Reading:
    """Read the table of nets, whatever its optional columns are.

    Raises:
        ReportError: the table is missing or cut off, or it cannot be told whether the design was routed.
    """
    text = load(path)
    lines = text.splitlines()
    facts = header(path, lines, COMMAND)
    start = find_line(lines, r"\+-+\+")
    rows = None if start is None else table(lines, start)
    if rows is None:
        raise missing(path, SECTION, COMMAND)
    only_known(path, rows[0], ("Net Name", "Fanout"), SECTION, COMMAND)
    name, loads = rows[0].index("Net Name"), rows[0].index("Fanout")
    most, net = max((count(path, "Fanout", row[loads]), row[name]) for row in rows[1:])
    source = source_in(path, facts, text)
    report = Report(
        source=source,
        stage=STAGE[source],
        tool=tool(facts),
        part=facts["Device"],
        max_fanout=most,
        error_bar=error_bar(source),
        detail={"design": facts["Design"], "fanout": {"net": shown(net).strip("'"), "nets_listed": len(rows) - 1}},
        files=(str(path),),
    )
    return Reading("fanout", facts["Design"], facts.get("Date", ""), report)
