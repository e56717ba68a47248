"""All reports of a project folder, those of one build step joined."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from hls.reports.report import Report
from hls.reports.tools.base import Reading, ReportError, load
from hls.reports.tools.readers import READERS, kind_of, read_file
from qformers.files import sha256

Stated = TypeVar("Stated")
SUFFIXES = (".rpt", ".xml", ".summary")
CSYNTH = ("csynth-xml", "csynth-rpt", "csynth-summary")
OF_PLACEMENT = ("utilisation", "congestion", "fanout")  # kinds that are the same once the design is routed
ORDER = ("fit", "utilisation", "timing", "sta")  # kinds that are believed first where two state a number
PROJECT_FILES = ("vivado_hls.app", "hls.app")  # of Vivado HLS and Vitis HLS; they name the top function


def read_folder(folder: Path) -> list[Report]:
    """Find and read the reports below a folder.

    Raises:
        ReportError: none found, a file that cannot be read, or several designs or solutions.
    """
    recognised = _recognised(folder)
    kinds = {path: recognised[path] for path in _without_copies(list(recognised))}
    if not kinds:
        known = ", ".join(known.title for known in READERS.values())
        raise ReportError(f"{folder}: holds no vendor report; run synthesis first. Known reports are {known}")
    csynth = [path for path, kind in kinds.items() if kind in CSYNTH]
    parents = sorted({path.parent for path in csynth})
    if len(parents) > 1:
        raise ReportError(f"{folder}: holds several HLS solutions ({parents[0]}, {parents[1]}); give the folder of one")
    chosen = [path for path, kind in kinds.items() if kind not in CSYNTH]
    chosen += [_top(csynth, kinds)] if csynth else []
    return join([read_file(path) for path in sorted(chosen)])


def holds_reports(folder: Path) -> bool:
    """Whether a file below a folder is a report that is known here.

    Raises:
        ReportError: a file that cannot be read.
    """
    return bool(_recognised(folder))


def _recognised(folder: Path) -> dict[Path, str]:
    return {path: kind for path in _candidates(folder) if (kind := kind_of(path)) is not None}


def _candidates(folder: Path) -> list[Path]:
    """Files that may be reports; the tools keep scratch copies in hidden folders (.autopilot, .Xil)."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _without_copies(paths: Sequence[Path]) -> list[Path]:
    """Of equal files the one deepest in the project: alkaid's Quartus script copies reports into ``reports/``."""
    kept: dict[tuple[str, str], Path] = {}
    for path in sorted(paths, key=lambda path: len(path.parts)):
        kept[path.name, sha256(path)] = path
    return sorted(kept.values())


def _top(paths: Sequence[Path], kinds: dict[Path, str]) -> Path:
    """The report of the whole design among those of its modules; XML before text, since it has the units."""
    whole = next((path for path in paths if path.name == "csynth.xml"), None)
    if whole is not None:
        return whole
    name = _top_name(paths, kinds)
    if name is None and len({_stem(path) for path in paths}) == 1:
        name = _stem(paths[0])
    for kind in CSYNTH[:2]:
        for path in paths:
            if kinds[path] == kind and _stem(path) == name:
                return path
    summary = next((path for path in paths if kinds[path] == CSYNTH[2]), None)
    if summary is not None:
        return summary
    names = ", ".join(path.name for path in paths[:4])
    raise ReportError(f"{paths[0].parent}: cannot tell the top function's report among {names}; give that file itself")


def _stem(path: Path) -> str:
    return path.stem.removesuffix("_csynth")


def _top_name(paths: Sequence[Path], kinds: dict[Path, str]) -> str | None:
    for folder in list(paths[0].parents)[:4]:  # <project>/<solution>/syn/report
        for name in PROJECT_FILES:
            if (folder / name).is_file() and (top := re.search(r'\btop="(\w+)"', load(folder / name))):
                return top.group(1)
    for path in paths:
        if kinds[path] == CSYNTH[2] and (top := re.search(r"Synthesis Summary Report of '(\w+)'", load(path))):
            return top.group(1)
    return None


def join(readings: Iterable[Reading]) -> list[Report]:
    """One report per source: utilisation, timing and power of one step become one.

    A Vivado project writes its utilisation after placing only, alkaid's script its congestion. Routing moves no cell,
    so the routed report takes them over and names their files.

    Raises:
        ReportError: two designs or two builds in one source.
    """
    given = list(readings)
    telling = [one for one in given if one.kind != "congestion" or one.report.congestion is not None]
    sources: dict[str, dict[str, Reading]] = {}
    for reading in telling or given:  # of a design that is not placed Vivado knows no congestion
        kinds = sources.setdefault(reading.report.source, {})
        old = kinds.get(reading.kind)
        if old is None or _order(reading) > _order(old):
            kinds[reading.kind] = reading
        if old is not None:
            _same_build([old, reading])
    if "vivado-route" in sources and "vivado-place" in sources:
        placed = sources.pop("vivado-place")  # its delays are estimates that the routed ones replace
        for kind in set(OF_PLACEMENT) & set(placed):
            sources["vivado-route"].setdefault(kind, placed[kind])
    reports = {source: _merge(source, list(kinds.values())) for source, kinds in sources.items()}
    if "cosim" in reports and "csynth" in reports:  # a co-simulation states neither its clock nor its part
        clock, cycles = reports["csynth"].clock_ns, reports["cosim"].latency_cycles
        time = round(clock * cycles, 6) if clock is not None and cycles is not None else None
        part = reports["csynth"].part
        reports["cosim"] = replace(reports["cosim"], clock_ns=clock, part=part, latency_ns=time)
    return [reports[source] for source in sorted(reports)]


def _order(reading: Reading) -> tuple[int, str]:
    try:
        when = datetime.strptime(" ".join(reading.when.split()), "%a %b %d %H:%M:%S %Y").isoformat()
    except ValueError:
        when = ""
    return reading.rank, when


def _same_build(readings: Sequence[Reading]) -> None:
    """One source's files are of one design and lie in one folder (quartus_sta names the revision, not the design)."""
    names = sorted({reading.design for reading in readings if reading.design and reading.kind != "sta"})
    folders = sorted({str(Path(reading.report.files[0]).parent) for reading in readings})
    if len(names) > 1:
        files = " and ".join(reading.report.files[0] for reading in readings[:2])
        raise ReportError(f"{files} are of two designs ({', '.join(names)}); give the folder or the file of one")
    if len(folders) > 1:
        raise ReportError(
            f"{readings[0].report.source}: reports of two builds, in {' and '.join(folders)}; give one of them"
        )


def _merge(source: str, readings: list[Reading]) -> Report:
    _same_build(readings)
    believed = sorted(readings, key=lambda one: ORDER.index(one.kind) if one.kind in ORDER else len(ORDER))
    reports = [reading.report for reading in believed]
    first = reports[0]
    return Report(
        source=source,
        stage=readings[-1].report.stage,
        tool=max((report.tool for report in reports), key=len),
        part=max((report.part for report in reports), key=len),  # timing leaves the speed grade out
        resources={key: value for report in reversed(reports) for key, value in report.resources.items()},
        clock_ns=_said([report.clock_ns for report in reports]),
        achieved_ns=_said([report.achieved_ns for report in reports]),
        latency_cycles=first.latency_cycles,
        latency_ns=first.latency_ns,
        ii_cycles=first.ii_cycles,
        power_w=_said([report.power_w for report in reports]),
        slack_ns=_said([report.slack_ns for report in reports]),
        logic_levels=_said([report.logic_levels for report in reports]),
        path_fanout=_said([report.path_fanout for report in reports]),
        max_fanout=_said([report.max_fanout for report in reports]),
        congestion=_said([report.congestion for report in reports]),
        error_bar=readings[-1].report.error_bar if source != "vivado-route" else "",
        detail={key: value for report in reports for key, value in report.detail.items()},
        files=tuple(file for reading in readings for file in reading.report.files),
    )


def _said(values: Sequence[Stated | None]) -> Stated | None:
    return next((value for value in values if value is not None), None)
