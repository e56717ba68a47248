"""Co-simulation report of Vivado HLS and Vitis HLS, ``<top>_cosim.rpt``.

hls4ml 1.3.0 splits the row at white space, so that a number that fills its column joins the next one; it takes no
notice of a Fail, and stops with KeyError 'RTL' when no simulation was run.
"""

from __future__ import annotations

from pathlib import Path

from hls.reports.error_bars import error_bar
from hls.reports.report import Report
from hls.reports.tools.base import Reading, ReportError, count, find_line, load, missing, number, table

COMMAND = "cosim_design"
SECTION = "Latency/Interval of Verilog and VHDL"


def read_rpt(path: Path) -> Reading:
    """Read the table of Verilog and VHDL outcomes; the language that was simulated counts.

    A failed simulation is an outcome: a `Report` without numbers whose `error_bar` says so.

    Raises:
        ReportError: table missing or cut off, or neither language was simulated.
    """
    lines = load(path).splitlines()
    start = find_line(lines, r"\+-+\+")
    rows = None if start is None else table(lines, start)
    if rows is None or len(rows) < 4 or "Latency" not in "".join(rows[0]):
        raise missing(path, SECTION, COMMAND)
    outcomes = [row for row in rows if row[0] in ("VHDL", "Verilog", "SystemC") and len(row) >= 8]
    if not outcomes:
        raise missing(path, SECTION, COMMAND)
    run = next((row for row in outcomes if row[1] != "NA"), None)
    if run is None:
        raise ReportError(f"{path}: neither Verilog nor VHDL was simulated (both NA); run {COMMAND}")

    def cycles(cell: str) -> int | None:
        return None if cell in ("NA", "x", "-") else count(path, SECTION, cell)

    def average(cell: str) -> float | None:
        return None if cell in ("NA", "x", "-") else number(path, SECTION, cell)

    passed = run[1].lower() == "pass"
    detail = {
        "language": run[0],
        "status": run[1],
        "latency_min_cycles": cycles(run[2]),
        "latency_mean_cycles": average(run[3]),
        "ii_min_cycles": cycles(run[5]),
        "total_cycles": cycles(run[8]) if len(run) > 8 else None,  # a column since Vitis HLS 2020.2
    }
    facts = {key.strip(): value.strip(" .") for key, _, value in (line.partition(" : ") for line in lines) if value}
    simulator = facts.get("Simulation tool")
    design = path.name.removesuffix("_cosim.rpt") if path.name.endswith("_cosim.rpt") else ""
    report = Report(
        source="cosim",
        stage="cosim",
        tool=f"HLS co-simulation ({simulator})" if simulator else "HLS co-simulation",
        latency_cycles=cycles(run[4]),
        ii_cycles=cycles(run[7]),  # NA after a single transaction
        error_bar=error_bar("cosim") if passed else f"co-simulation in {run[0]} ended with {run[1]}: RTL not verified",
        detail={"design": design, "cosim": detail},
        files=(str(path),),
    )
    return Reading("cosim", design, facts.get("Report time", ""), report)
