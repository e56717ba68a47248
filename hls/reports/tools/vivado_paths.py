"""Vivado ``report_timing``: the worst path, its logic levels and the fan-out of its nets.

The same blocks of paths stand in ``report_timing_summary``. Layouts were read off public reports of 2020.2 to 2024.2;
``-path_type summary``, which alkaid's script asks for, lists start, end and slack only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from hls.reports.tools.base import Reading, cut_off, find_line, load, missing, number
from hls.reports.tools.vivado import STAGE, header, source_in, tool
from qformers.errors import shown

COMMAND = "report_timing"
SLACK = r"Slack\s*(?:\((?:MET|VIOLATED)\)\s*)?:\s*(\S+)"
LIST_HEAD = r"Startpoint\s+Endpoint\s+Slack\(ns\)"
DASHES = r"\s+-{20,}(\s+-+)?\s*"
# options that leave paths out, so that the worst path listed need not be the design's
CHOSEN = r" -(from|to|through|rise_\w+|fall_\w+|cells?|of_objects|of|group|slack_greater_than|delay_type min|hold)\b"
BOTH = r" -delay_type min_max\b"  # a list does not say which of its paths are checks of hold


@dataclass(frozen=True)
class TimingPath:
    """One path.

    Attributes:
        slack_ns: None for a path without a requirement.
        setup: whether it is a check of the latest arrival; None where the report does not say.
        start, end: pins.
        levels: logic levels; None where they are not stated.
        fanout: of the net with most loads between start and end; None where the nets are not listed.
        delay_ns: of the data path.
    """

    slack_ns: float | None
    setup: bool | None
    start: str = ""
    end: str = ""
    levels: int | None = None
    fanout: int | None = None
    delay_ns: float | None = None


def worst(paths: Sequence[TimingPath]) -> TimingPath | None:
    """The path with the least slack among those that are not checks of hold; None where there is none."""
    timed = [path for path in paths if path.slack_ns is not None and path.setup is not False]
    return min(timed, key=lambda path: path.slack_ns or 0.0, default=None)


def blocks(path: Path, lines: Sequence[str]) -> list[TimingPath]:
    """All paths that are written out in full.

    Raises:
        ReportError: a number that is none.
    """
    starts = [n for n, line in enumerate(lines) if re.match(SLACK, line)]
    return [_block(path, lines[n:end]) for n, end in pairwise([*starts, len(lines)])]


def closed(lines: Sequence[str]) -> bool:
    """Whether the last path of a report has its last line: its slack, or of a path without requirement a border."""
    starts = [n for n, line in enumerate(lines) if re.match(SLACK, line)]
    last = lines[starts[-1] :] if starts else []
    return any(re.match(r"\s+slack\s+\S", line) for line in last) or (
        bool(last) and "inf" in last[0] and sum(bool(re.fullmatch(DASHES, line)) for line in last) > 1
    )


def _block(path: Path, lines: Sequence[str]) -> TimingPath:
    stated = re.match(SLACK, lines[0])
    slack = stated.group(1) if stated else ""
    facts: dict[str, str] = {}
    for line in lines[1:]:
        if re.match(r"\s+Location\b", line):
            break
        if entry := re.match(r"\s+([A-Z][A-Za-z ]+?)(?: \(\w+\))?:\s+(.*\S)", line):
            facts.setdefault(entry.group(1), entry.group(2))
    kind = facts.get("Path Type", "")
    levels, delay = facts.get("Logic Levels"), facts.get("Data Path Delay")
    return TimingPath(
        slack_ns=None if slack.startswith("inf") else number(path, "Slack", slack),
        setup="Max at" in kind if kind else None,
        start=facts.get("Source", ""),
        end=facts.get("Destination", ""),
        levels=None if levels is None else int(number(path, "Logic Levels", levels)),
        fanout=_fanout(lines),
        delay_ns=None if delay is None else number(path, "Data Path Delay", delay),
    )


def _fanout(lines: Sequence[str]) -> int | None:
    """Most loads of a net on the data path: the part between the clocks of the source and of the destination."""
    borders = [n for n, line in enumerate(lines) if re.fullmatch(DASHES, line)]
    if len(borders) < 3 or not any(re.match(r"\s+slack\s+\S", line) for line in lines):
        return None
    timed = any("(clock " in line for line in lines[borders[0] : borders[1]])
    first, last = (borders[1], borders[2]) if timed else (borders[0], borders[1])
    loads = [int(net.group(1)) for line in lines[first:last] if (net := re.search(r"\bnet \(fo=(\d+)", line))]
    return max(loads, default=None)


def _listed(path: Path, lines: Sequence[str], head: int) -> list[TimingPath]:
    """Rows of ``-path_type summary``; groups are lists of their own, each with its heading."""
    found = []
    for line in lines[head + 1 :]:
        cells = line.split()
        if len(cells) == 3 and cells[2] != "Slack(ns)":
            slack = None if cells[2].startswith("inf") else number(path, "Slack(ns)", cells[2])
            found.append(TimingPath(slack, None, cells[0], cells[1]))
    return found


def detail_of(found: TimingPath) -> dict[str, Any]:
    """What a record keeps of a path beside its numbers."""
    return {"start": shown(found.start).strip("'"), "end": shown(found.end).strip("'"), "delay_ns": found.delay_ns}


def read_paths(path: Path) -> Reading:
    """Read the worst of the listed paths.

    A report of chosen paths (``-from``, ``-to``, ``-hold``...) says nothing of the design's worst path, so its numbers
    stand in the detail only.

    Raises:
        ReportError: it is cut off, or it cannot be told whether the design was routed.
    """
    text = load(path)
    lines = text.splitlines()
    facts = header(path, lines, COMMAND)
    head = find_line(lines, LIST_HEAD)
    if head is not None:
        if not text.endswith("\n"):
            raise cut_off(path, "list of paths", COMMAND)
        found = worst(_listed(path, lines, head))
    elif any(re.match(SLACK, line) for line in lines):
        if not closed(lines):
            raise cut_off(path, "last path", COMMAND)
        found = worst(blocks(path, lines))
    elif find_line(lines, r"No timing paths found") is not None:
        found = None
    else:
        raise missing(path, "Timing Report", COMMAND)
    source = source_in(path, facts, text)
    chosen = bool(re.search(CHOSEN if head is None else f"{CHOSEN}|{BOTH}", f" {facts['Command']}"))
    detail: dict[str, Any] = {"note": "no path with a requirement"} if found is None else detail_of(found)
    if chosen and found is not None:
        detail |= {"note": "of chosen paths, not of all", "slack_ns": found.slack_ns, "logic_levels": found.levels}
    known = None if chosen else found
    report = Report(
        source=source,
        stage=STAGE[source],
        tool=tool(facts),
        part=facts["Device"],
        slack_ns=known.slack_ns if known else None,
        logic_levels=known.levels if known else None,
        path_fanout=known.fanout if known else None,
        error_bar=error_bar(source),
        detail={"design": facts["Design"], "paths": detail},
        files=(str(path),),
    )
    rank = 2 if known and known.levels is not None else 1 if known else 0
    return Reading("paths", facts["Design"], facts.get("Date", ""), report, rank)
