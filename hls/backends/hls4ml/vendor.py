"""Synthesis with the vendor's tool, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hls.errors import HlsError, VendorToolMissing
from hls.escaping import shell
from hls.templates import fill


@dataclass(frozen=True)
class Tool:
    """A way to run ``build_prj.tcl``."""

    program: str
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        """As typed in a shell."""
        return " ".join([self.program, *self.arguments])


# backend -> tools that build its projects, best first
TOOLS: dict[str, tuple[Tool, ...]] = {
    "vitis": (
        Tool("vitis-run", ("--mode", "hls", "--tcl", "build_prj.tcl")),  # since 2023.2
        Tool("vitis_hls", ("-f", "build_prj.tcl")),
    ),
    "vivado": (Tool("vivado_hls", ("-f", "build_prj.tcl")),),
}
OPTIONS = Path(__file__).with_name("build_opt.tcl")


def find_tool(project: Path, backend: str) -> Tool:
    """The first of the backend's tools that is on PATH.

    Raises:
        VendorToolMissing: none is; the message has the command to run elsewhere.
    """
    for tool in TOOLS[backend]:
        if shutil.which(tool.program):
            return tool
    names = " or ".join(tool.program for tool in TOOLS[backend])
    raise VendorToolMissing(
        f"synthesis needs {names}, which is not on PATH. Copy {project} to a machine that has it and run there:\n"
        f"  {shell(['cd', project.name])} && {TOOLS[backend][0].command}"
    )


def write_options(project: Path) -> None:
    """Make ``build_prj.tcl`` simulate, synthesise and export, whoever starts it.

    Its own defaults run the RTL co-simulation, which for an unrolled transformer takes days.
    """
    text, options = fill(OPTIONS), project / "build_opt.tcl"
    if options.exists():
        options.write_text(text)
        return
    script = project / "build_prj.tcl"  # of Vivado HLS: the options stand in it
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
    tool = find_tool(project, backend)
    program = str(shutil.which(tool.program))
    reports = project / f"{top}_prj" / "solution1" / "syn" / "report"
    shutil.rmtree(reports, ignore_errors=True)  # what is there afterwards is of this run
    done = subprocess.run([program, *tool.arguments], cwd=project, check=False)  # noqa: S603  no shell
    if done.returncode:
        raise HlsError(f"{tool.command} in {project} failed with exit status {done.returncode}; see its output above")
    if not reports.is_dir():
        raise HlsError(f"{tool.command} in {project} ended without an error but left no reports in {reports}")
    return reports
