"""Reports that the tools of FPGA vendors write: Vivado HLS, Vitis HLS, Vivado, Quartus."""

from __future__ import annotations

from pathlib import Path

from hls.reports.report import Report
from hls.reports.tools.base import ReportError
from hls.reports.tools.folder import holds_reports, join, read_folder
from hls.reports.tools.readers import READERS, read_file

__all__ = ["READERS", "ReportError", "holds_reports", "read_reports"]


def read_reports(path: Path) -> list[Report]:
    """Read a report file, or all reports below a project folder.

    Known layouts are hls4ml's (``<name>_prj/solution1/{syn,sim}/report``, ``vivado_synth.rpt``), alkaid's
    (``output_<name>/reports``) and Vivado's and Quartus' own project folders; a file is known by its content.

    Args:
        path: file or folder.

    Returns:
        One `Report` per source ("csynth", "cosim", "vivado-synth", "vivado-place", "vivado-route",
        "quartus-synth", "quartus-fit").

    Raises:
        ReportError: nothing there, an unknown or cut-off report (naming file and section), or several designs.
    """
    path = Path(path)
    if path.is_dir():
        return read_folder(path)
    return join([read_file(path)])
