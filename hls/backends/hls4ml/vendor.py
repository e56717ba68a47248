"""Synthesis of hls4ml's projects with the vendor's tool, where it is installed."""

from __future__ import annotations

from pathlib import Path

from hls.backends.vendor import Tool, run_tool, vitis_hls
from hls.templates import fill

SCRIPT = "build_prj.tcl"
# backend -> tools that build its projects, best first
TOOLS: dict[str, tuple[Tool, ...]] = {
    "vitis": vitis_hls(SCRIPT),
    "vivado": (Tool("vivado_hls", ("-f", SCRIPT)),),
}
OPTIONS = Path(__file__).with_name("build_opt.tcl")


def write_options(project: Path) -> None:
    """Make ``build_prj.tcl`` simulate, synthesise and export, whoever starts it.

    Its own defaults run the RTL co-simulation, which for an unrolled transformer takes days.
    """
    text, options = fill(OPTIONS), project / "build_opt.tcl"
    if options.exists():
        options.write_text(text)
        return
    script = project / SCRIPT  # of Vivado HLS: the options stand in it
    head, _, rest = script.read_text().partition("array set opt {\n")
    script.write_text(f"{head}{text}{rest.partition('}' + chr(10))[2]}")


def synthesise(project: Path, backend: str, top: str) -> Path:
    """Run the vendor's tool in the project folder; its output goes to the terminal.

    Returns:
        Folder of the reports.

    Raises:
        VendorToolMissing: no tool on PATH.
        HlsError: the tool failed, or left no report.
    """
    return run_tool(project, TOOLS[backend], project / f"{top}_prj" / "solution1" / "syn" / "report")
