"""Which reader reads which file: by its content, because names of reports are the user's choice."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hls.reports.tools import (
    cosim,
    csynth,
    quartus,
    quartus_flow,
    vivado,
    vivado_congestion,
    vivado_fanout,
    vivado_paths,
    vivado_timing,
)
from hls.reports.tools.base import Reading, ReportError, cut_off, decode, head, load
from hls.reports.tools.openings import cut_in_opening
from qformers.errors import first_line

HEAD_BYTES = 8192  # what a file is known by


@dataclass(frozen=True)
class Format:
    """One kind of report.

    Attributes:
        mark: regular expression that its first 8 KiB match, in multi-line mode.
        title: what to call it.
        read: its reader.
    """

    mark: str
    title: str
    read: Callable[[Path], Reading]


# the first that matches; to read another format write its reader and add a line
READERS: dict[str, Format] = {
    "csynth-xml": Format(r"\A\s*(<\?xml[^>]*>\s*)?<profile>", "HLS csynth.xml", csynth.read_xml),
    "csynth-rpt": Format(r"^== (Vivado|Vitis) HLS Report for ", "HLS <top>_csynth.rpt", csynth.read_rpt),
    "csynth-summary": Format(r"^== Synthesis Summary Report of ", "Vitis HLS csynth.rpt", csynth.read_summary),
    "cosim": Format(r"^Report time\s+: |^\+\s+RTL\s+\+", "HLS <top>_cosim.rpt", cosim.read_rpt),
    "utilisation": Format(r"^\| Command\s*: report_utilization", "Vivado report_utilization", vivado.read_utilisation),
    "timing": Format(
        r"^\| Command\s*: report_timing_summary", "Vivado report_timing_summary", vivado_timing.read_timing
    ),
    "paths": Format(r"^\| Command\s*: report_timing\b", "Vivado report_timing", vivado_paths.read_paths),
    "power": Format(r"^\| Command\s*: report_power", "Vivado report_power", vivado.read_power),
    "congestion": Format(
        r"^\| Command\s*: report_design_analysis\b.* -congestion",
        "Vivado report_design_analysis -congestion",
        vivado_congestion.read_congestion,
    ),
    "fanout": Format(
        r"^\| Command\s*: report_high_fanout_nets", "Vivado report_high_fanout_nets", vivado_fanout.read_fanout
    ),
    "synthesis": Format(
        r"\A\s*(Analysis & )?Synthesis report for ", "Quartus .map.rpt and .syn.rpt", quartus_flow.read_synthesis
    ),
    "fit": Format(
        r"\A\s*Fitter report for |\A\s*Fitter Status :", "Quartus .fit.rpt and .fit.summary", quartus.read_fit
    ),
    "sta": Format(
        r"\A\s*(TimeQuest )?Timing Analyzer report for |\A-+\s+(TimeQuest )?Timing Analyzer Summary",
        "Quartus .sta.rpt and .sta.summary",
        quartus.read_sta,
    ),
    "flow": Format(r"\A\s*Flow report for ", "Quartus .flow.rpt", quartus_flow.read_flow),
}


# what a reader runs into where a table has other rows or columns than its heading says
ODD_LAYOUT = (LookupError, ValueError, OverflowError)


def kind_of(path: Path) -> str | None:
    """Key of `READERS`, or None where the file is none of them."""
    begun = decode(head(path, HEAD_BYTES))
    return next((key for key, known in READERS.items() if re.search(known.mark, begun, re.MULTILINE)), None)


def read_file(path: Path) -> Reading:
    """Read one report file.

    Raises:
        ReportError: none of the known kinds (the message lists them), or one that cannot be read.
    """
    kind = kind_of(path)
    if kind is None:
        if (opening := cut_in_opening(load(path))) is not None:  # an empty file says so when it is loaded
            raise cut_off(path, f"header ({opening.title})", opening.command)
        known = ", ".join(known.title for known in READERS.values())
        raise ReportError(f"{path}: is no report that is known here; known are {known}")
    try:
        return READERS[kind].read(path)
    except ODD_LAYOUT as error:
        raise ReportError(
            f"{path}: its tables are not laid out as {READERS[kind].title} is ({first_line(error)}); write the report "
            "again with the tool"
        ) from error
