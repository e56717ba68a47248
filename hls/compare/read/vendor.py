"""Reports that a vendor's tool left in the firmware projects of a run, found where the projects' scripts write them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hls.errors import HlsError
from hls.reports.report import Report
from hls.reports.tools import holds_reports, read_reports
from qformers.errors import DamagedError


def find_vendor(run: Path, backends: Iterable[str]) -> tuple[dict[str, Report], dict[str, str]]:
    """Read what lies below ``firmware/<backend>``.

    An export writes a project anew, so a report within one is of the project as it is; it gets its hashes.

    Args:
        run: the run folder.
        backends: of its projects; where two have a report of one source the first one's is taken.

    Returns:
        Source -> report, and project -> why reports in it were left out: they belong to no comparison that names them,
        so that one which cannot be read stops none.
    """
    found: dict[str, Report] = {}
    left_out: dict[str, str] = {}
    for backend in backends:
        project = run / "firmware" / backend
        try:
            reports = [one.of_project(project) for one in read_reports(project)] if holds_reports(project) else []
        except (HlsError, DamagedError) as error:
            left_out[f"firmware/{backend}"] = str(error)
            continue
        for report in reports:
            if report.source in found:
                taken = found[report.source].detail["backend"]
                left_out[f"firmware/{backend}"] = f"{report.source} is there of firmware/{taken}, too"
            else:
                found[report.source] = report
    return found, left_out
