"""What the project's own stages measured, as reports beside those of the tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hls.compare.read.records import Rtl, RtlLevel
from hls.reports.report import Report

if TYPE_CHECKING:
    from hls.compare.read.run import Run

RTL_FILE = "rtl.json"
SIMULATORS = ("verilator", "icarus", "interpreter")  # whose latency is taken, first that measured one


def with_own(run: Run) -> dict[str, Report]:
    """The run's reports, with latency and II as the RTL simulation measured them and the EBOPs of the trained model.

    A report of the same stage that lies in the run already is kept instead.
    """
    found: dict[str, Report] = dict(run.reports or {})
    stages = {report.stage for report in found.values()}
    if "model" not in stages and run.manifest and run.manifest.ebops:
        found["ebops"] = Report("ebops", "model", "HGQ2", detail={"ebops": run.manifest.ebops})
    name, level = timed(run.rtl) if run.rtl else ("", None)
    if "rtlsim" not in stages and level is not None:
        found[name] = _simulated(run, name, level, found)
    return found


def timed(rtl: Rtl) -> tuple[str, RtlLevel | None]:
    """The simulator whose latency counts, and what it found; ("", None) if none measured it."""
    names = sorted(rtl.levels, key=lambda name: SIMULATORS.index(name) if name in SIMULATORS else len(SIMULATORS))
    return next(((name, rtl.levels[name]) for name in names if rtl.levels[name].latency_cycles is not None), ("", None))


def _simulated(run: Run, name: str, level: RtlLevel, reports: Mapping[str, Report]) -> Report:
    """Cycles are measured; their period is what the backend was asked for."""
    asked = [r.clock_ns for r in reports.values() if r.stage == "estimate" and r.clock_ns is not None]
    clock = asked[0] if asked else run.build.firmware.clock_ns
    cycles = level.latency_cycles or 0
    return Report(
        source=name,
        stage="rtlsim",
        clock_ns=clock,
        latency_cycles=cycles,
        latency_ns=cycles * clock,
        ii_cycles=level.ii_cycles,
        files=(RTL_FILE,),
    )
