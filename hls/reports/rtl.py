"""What the simulation of an RTL project showed of its timing."""

from __future__ import annotations

from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from qformers.manifest import versions


def simulated(simulator: str, clock_ns: float, latency_cycles: int, ii_cycles: int | None) -> Report:
    """Latency and initiation interval as the RTL showed them in a simulator (as a report is called, e.g. verilator)."""
    return Report(
        source=simulator,
        stage="rtlsim",
        tool=f"{simulator} {versions().get(simulator, '')}".strip(),
        clock_ns=clock_ns,
        latency_cycles=latency_cycles,
        latency_ns=latency_cycles * clock_ns,
        ii_cycles=ii_cycles,
        error_bar=error_bar("rtlsim"),
    )
