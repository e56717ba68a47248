"""Columns and cells of what each source says: one group of columns per source and stage, never two stages in one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from hls.compare.read.own import RTL_FILE
from hls.compare.read.run import Run
from hls.compare.read.share import device_of, shares
from hls.compare.table.cells import Cell, Column
from hls.reports.report import STAGES, Report
from hls.reports.yosys.run import YosysMissing

# sources that need no vendor tool, with stage and first column: always shown, be it to say that they were not run
EXPECTED = {"alkaid": ("estimate", "lut"), "verilator": ("rtlsim", "latency_cycles"), "yosys": ("synthesis", "lut")}
# key of Report.resources -> heading; carry and SRL are parts of the LUTs and stay in reports/<source>.json
COUNTED = {"lut": "LUT", "alm": "ALM", "ff": "FF", "dsp": "DSP", "bram18": "BRAM18", "m20k": "M20K", "uram": "URAM"}
RARE = ("uram",)  # a column only where some build uses it
# field of Report -> (heading, unit, digits)
STATED = {
    "clock_ns": ("clock", "ns", 2),
    "achieved_ns": ("achieved", "ns", 2),
    "latency_cycles": ("latency", "cycles", 0),
    "latency_ns": ("latency", "ns", 1),
    "ii_cycles": ("II", "cycles", 0),
    "power_w": ("power", "W", 2),
}
# stage or source -> the script that makes the report; {yaml} is the build file
_SCRIPTS = {
    "alkaid": "scripts/run_rtl.py {yaml}",
    "estimate": "scripts/run_rtl.py {yaml}",
    "rtlsim": "scripts/run_rtl.py {yaml}",
    "yosys": "scripts/synthesise.py {yaml}",
    "yosys-nodsp": "scripts/synthesise.py {yaml}",
}


def group_of(source: str, stage: str) -> str:
    """Heading of the columns of a source; the stage is part of it, so that no column ever holds two of them."""
    return f"{source} [{stage}]"


def reports_of(runs: Sequence[Run], source: str, stage: str) -> list[Report]:
    """What all runs have of a source at one stage."""
    found = [run.reports[source] for run in runs if run.reports and source in run.reports]
    return [report for report in found if report.stage == stage]


def find_sources(runs: Sequence[Run]) -> dict[tuple[str, str], list[Column]]:
    """(source, stage) -> its columns, from the trained model towards the routed design; sources that say nothing of
    resources and times have none and are left out."""
    keys = {(name, stage) for name, (stage, _) in EXPECTED.items()}
    keys |= {(name, report.stage) for run in runs for name, report in (run.reports or {}).items()}
    taken = {stage for name, stage in keys if name not in EXPECTED}
    if "rtlsim" in taken and not reports_of(runs, "verilator", "rtlsim"):
        keys.discard(("verilator", "rtlsim"))  # another simulator measured it
    order = list(STAGES)
    found = {key: _columns(runs, *key) for key in sorted(keys, key=lambda key: (order.index(key[1]), key[0]))}
    return {key: columns for key, columns in found.items() if columns}


def _columns(runs: Sequence[Run], source: str, stage: str) -> list[Column]:
    reports, group = reports_of(runs, source, stage), group_of(source, stage)
    prefix = source if all(r.stage == stage for run in runs for r in _same(run, source)) else f"{source}-{stage}"
    first = EXPECTED.get(source, ("", ""))[1] if not reports else ""
    counted = {
        key: head for key, head in COUNTED.items() if key == first or any(_counts(report, key) for report in reports)
    }
    stated = {
        key: words
        for key, words in STATED.items()
        if key == first or any(getattr(report, key) is not None for report in reports)
    }
    columns = [Column(f"{prefix}.{key}", group, head, source=source, stage=stage) for key, head in counted.items()]
    return columns + [
        Column(f"{prefix}.{key}", group, head, unit, digits=digits, source=source, stage=stage)
        for key, (head, unit, digits) in stated.items()
    ]


def _counts(report: Report, key: str) -> bool:
    return key in report.resources and (key not in RARE or report.resources[key] > 0)


def _same(run: Run, source: str) -> list[Report]:
    return [report for name, report in (run.reports or {}).items() if name == source]


def cells_of(run: Run, columns: Sequence[Column], device: str | None) -> dict[str, Cell]:
    """Cells of the columns of one source."""
    source, stage = columns[0].source, columns[0].stage
    report = next((report for report in _same(run, source) if report.stage == stage), None)
    if report is None:
        missing = Cell(missing=f"not run: {how_to(source, stage, run.yaml)}")
        return dict.fromkeys((column.key for column in columns), missing)
    percent, where = shares(report, device_of(report, run.build.firmware.part, device))
    flag = (run.stale or {}).get(f"reports/{source}.json", "")
    if report.files == (RTL_FILE,):
        flag = (run.stale or {}).get(RTL_FILE, "")
    note = " · ".join(part for part in (report.tool, report.part, report.error_bar) if part)
    cells = {}
    for column in columns:
        key = column.key.rpartition(".")[2]
        value = report.resources.get(key) if key in COUNTED else getattr(report, key)
        used = percent.get(key)
        said = f"{note} · {'' if used is None else 'per cent of '}{where}" if key in COUNTED else note
        cells[column.key] = (
            Cell(missing=f"not stated by {source}")
            if value is None
            else Cell(value, percent=used, flag=flag, note=said.strip(" ·"))
        )
    return cells


def how_to(source: str, stage: str, yaml: str) -> str:
    """The command that makes the report of a source, behind the one that installs its tool where that is missing."""
    if source.startswith("yosys") and shutil.which("yosys") is None:
        return str(YosysMissing())
    command = _SCRIPTS.get(source) or _SCRIPTS.get(stage)
    return command.format(yaml=yaml) if command else f"the vendor's tool ({source}), then --vendor REPORTS"
