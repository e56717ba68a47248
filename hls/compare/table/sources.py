"""Columns of what each source says of resources and times: one group per source and stage, never two stages in one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial

from hls.backends import BACKENDS
from hls.compare.read.interval import rtl_of
from hls.compare.read.run import RTL_FILE, Run
from hls.compare.table.cells import Cell, Column, not_run
from hls.errors import HlsError
from hls.reports.devices import find_device, utilisation
from hls.reports.report import STAGES, Report
from hls.reports.yosys.run import YosysMissing

# sources that need no vendor tool, with stage and first column: shown wherever there is to be firmware, be it to say
# that they were not run
EXPECTED = {"alkaid": ("estimate", "lut"), "verilator": ("rtlsim", "latency_cycles"), "yosys": ("synthesis", "lut")}
# key of Report.resources -> heading; carry and SRL are parts of the LUTs and stay in reports/<source>.json
COUNTED = {
    "lut": "LUT",
    "lut_unfused": "LUT before fusing adders",
    "alm": "ALM",
    "ff": "FF",
    "dsp": "DSP",
    "bram18": "BRAM18",
    "m20k": "M20K",
    "uram": "URAM",
}
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
# the same of the worst path and the wires: no cost, so that plots leave it out
WORST = {
    "slack_ns": ("worst slack", "ns", 3),
    "logic_levels": ("logic levels", "", 0),
    "path_fanout": ("fan-out on the worst path", "", 0),
    "max_fanout": ("largest fan-out", "", 0),
    "congestion": ("congestion level", "", 0),
}
IN_WORDS = ("congestion",)
# stage or source -> the command that makes the report; {run} are the arguments that name it
_COMMANDS = {
    "alkaid": "qformers rtl {run}",
    "estimate": "qformers rtl {run}",
    "rtlsim": "qformers rtl {run}",
    "yosys": "qformers synth {run}",
    "yosys-nodsp": "qformers synth {run}",
}


def group_of(source: str, stage: str) -> str:
    """Heading of the columns of a source; the stage is part of it, so that no column ever holds two of them."""
    return f"{source} [{stage}]"


def reports_of(runs: Sequence[Run], source: str, stage: str) -> list[Report]:
    """What all runs have of a source at one stage."""
    reports = [run.reports[source] for run in runs if run.reports and source in run.reports]
    return [report for report in reports if report.stage == stage]


def source_columns(runs: Sequence[Run], device: str | None = None) -> dict[tuple[str, str], list[Column]]:
    """(source, stage) -> its columns, from the trained model towards the routed design; sources that say nothing of
    resources and times have none and are left out.

    Args:
        runs: the rows.
        device: that percentages are of; None = as `device_of` has it.
    """
    expected = EXPECTED if any(not run.float_only for run in runs) else {}
    keys = {(name, stage) for name, (stage, _) in expected.items()}
    keys |= {(name, report.stage) for run in runs for name, report in (run.reports or {}).items()}
    taken = {stage for name, stage in keys if name not in EXPECTED}
    for name, (stage, _) in expected.items():
        if stage in taken and not reports_of(runs, name, stage):
            keys.discard((name, stage))  # another source has it
    order = list(STAGES)
    ordered = sorted(keys, key=lambda key: (order.index(key[1]), key[0]))
    columns = {key: _columns(runs, *key, device) for key in ordered}
    return {key: some for key, some in columns.items() if some}


def _columns(runs: Sequence[Run], source: str, stage: str, device: str | None) -> list[Column]:
    reports, group = reports_of(runs, source, stage), group_of(source, stage)
    stages = {run.reports[source].stage for run in runs if run.reports and source in run.reports}
    prefix = f"{source}-{stage}" if stages - {stage} else source
    first = EXPECTED.get(source, ("", ""))[1] if not reports else ""
    columns = []
    for key, head in COUNTED.items():
        if key == first or any(_counts(report, key) for report in reports):
            cell = partial(_counted, source=source, stage=stage, key=key, device=device)
            columns.append(Column(f"{prefix}.{key}", group, head, cell, quantity=key, source=source))
    for key, (head, unit, digits) in STATED.items():
        if key == first or any(getattr(report, key) is not None for report in reports):
            cell = partial(_stated, source=source, stage=stage, key=key)
            columns.append(
                Column(f"{prefix}.{key}", group, head, cell, unit, digits=digits, quantity=key, source=source)
            )
    for key, (head, unit, digits) in WORST.items():
        if any(getattr(report, key) is not None for report in reports):
            cell = partial(_stated, source=source, stage=stage, key=key)
            number = key not in IN_WORDS
            columns.append(
                Column(f"{prefix}.{key}", group, head, cell, unit, number=number, digits=digits, source=source)
            )
    return columns


def _counts(report: Report, key: str) -> bool:
    return key in report.resources and (key not in RARE or report.resources[key] > 0)


def _counted(run: Run, source: str, stage: str, key: str, device: str | None) -> Cell:
    """A resource, with its share of the device."""
    report = _report(run, source, stage)
    if report is None:
        return _not_run(run, source, stage)
    value = report.resources.get(key)
    if value is None:
        return Cell(reason=f"not stated by {source}")
    shares, where = _shares(report, device_of(report, run.build.firmware.part, device))
    note = " · ".join(part for part in (_note(report), f"{'per cent of ' if key in shares else ''}{where}") if part)
    return Cell(value, percent=shares.get(key), flag=_flag(run, report), note=note)


def _stated(run: Run, source: str, stage: str, key: str) -> Cell:
    """A time, a power or what is known of the worst path."""
    report = _report(run, source, stage)
    if report is None:
        return _not_run(run, source, stage)
    value = getattr(report, key)
    if value is None:
        return Cell(reason=f"not stated by {source}")
    return Cell(value, flag=_flag(run, report), note=_note(report))


def _report(run: Run, source: str, stage: str) -> Report | None:
    return next(iter(reports_of([run], source, stage)), None)


def _not_run(run: Run, source: str, stage: str) -> Cell:
    command = how_to(source, stage, run.arguments)
    other = stage == "estimate" and source in BACKENDS and source != rtl_of(run)
    return not_run(run, f"{command} --backend {source}" if other else command)


def _note(report: Report) -> str:
    return " · ".join(part for part in (report.tool, report.part, report.error_bar) if part)


def _flag(run: Run, report: Report) -> str:
    """Why the report is out of date."""
    file = RTL_FILE if report.files == (RTL_FILE,) else f"reports/{report.source}.json"
    return (run.stale or {}).get(file, "")


def device_of(report: Report, part: str, device: str | None = None) -> str:
    """The device that percentages of a report are of.

    Args:
        report: its own part comes first, unless that is a family and no device.
        part: of the build's firmware section, for a report that states none.
        device: instead of both.
    """
    if device is None and report.part and _known(report.part):
        return report.part
    return device or part


def _shares(report: Report, device: str) -> tuple[dict[str, float], str]:
    """Percent by resource, and the device's name; ({}, why) where it is unknown or has none of a resource."""
    try:
        return utilisation(report, device), find_device(device).name
    except HlsError as error:
        return {}, str(error)


def _known(part: str) -> bool:
    try:
        find_device(part)
    except HlsError:
        return False
    return True


def how_to(source: str, stage: str, arguments: str) -> str:
    """The command that makes the report of a source, behind the one that installs its tool where that is missing.

    Args:
        source: of the report.
        stage: of the report.
        arguments: that name the run, see `naming`.
    """
    if source.startswith("yosys") and shutil.which("yosys") is None:
        return str(YosysMissing())
    command = _COMMANDS.get(source) or _COMMANDS.get(stage)
    return command.format(run=arguments) if command else f"the vendor's tool ({source}), then --vendor REPORTS"
