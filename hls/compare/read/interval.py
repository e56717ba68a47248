"""How many clocks lie between two events of a run's hardware: builds are compared fairly where these are equal."""

from __future__ import annotations

from dataclasses import dataclass

from hls.backends import BACKENDS, BY_RTL, RTL
from hls.compare.read.run import Run
from hls.reports.budgets import PREFERENCE
from hls.reports.report import Report

BELIEVED = PREFERENCE["ii_cycles"]  # stages, the first one most


@dataclass(frozen=True)
class Interval:
    """Initiation interval: the clocks from one event to the next.

    Attributes:
        cycles: of the clock.
        clock_ns: its period, as it was asked for.
        source, stage: of the report that states it.
    """

    cycles: int
    clock_ns: float
    source: str
    stage: str

    @property
    def ns(self) -> float:
        """The same in time."""
        return self.cycles * self.clock_ns


def interval_of(run: Run, source: str = "") -> Interval | None:
    """The initiation interval of a run's hardware, or of the hardware that a report is of; None where none states it.

    Args:
        run: with its reports.
        source: of the report; one that states no interval itself has that of the project that it is of. "" for the
            hardware of the build, as it was measured if it was.
    """
    reports = run.reports or {}
    report = reports.get(source)
    if report is not None and report.ii_cycles is not None:
        return _stated(run, report)
    backend = (_backend(report) if report is not None else "") or rtl_of(run)
    stating = [one for one in reports.values() if one.ii_cycles is not None and one.stage in BELIEVED]
    own = [one for one in stating if _backend(one) in ("", backend)]
    if own:
        return _stated(run, min(own, key=lambda one: BELIEVED.index(one.stage)))
    project = (run.firmware or {}).get(backend)
    if project is None or project.ii_cycles is None:
        return None
    return Interval(project.ii_cycles, run.build.firmware.clock_ns, f"firmware/{backend}", "estimate")


def rtl_of(run: Run) -> str:
    """The backend of a run's RTL: that of the build, or the one that writes RTL for builds whose own writes none."""
    name = run.build.firmware.backend
    return name if name in BACKENDS and BACKENDS[name].simulated_by == BY_RTL else RTL


def _backend(report: Report) -> str:
    """Whose project a report is of; "" where it does not say."""
    return str(report.detail.get("backend") or (report.source if report.source in BACKENDS else ""))


def _stated(run: Run, report: Report) -> Interval:
    clock = run.build.firmware.clock_ns if report.clock_ns is None else report.clock_ns
    return Interval(report.ii_cycles or 0, clock, report.source, report.stage)
