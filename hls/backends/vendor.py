"""A vendor's tool that is started in the folder of a project, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hls.errors import HlsError, VendorToolMissing
from hls.escaping import shell


@dataclass(frozen=True)
class Tool:
    """A way to run the script of a project."""

    program: str
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        """As typed in a shell."""
        return " ".join([self.program, *self.arguments])


def vitis_hls(script: str) -> tuple[Tool, ...]:
    """The tools that run a script of Vitis HLS, best first."""
    return (
        Tool("vitis-run", ("--mode", "hls", "--tcl", script)),  # since 2023.2
        Tool("vitis_hls", ("-f", script)),
    )


def find_tool(project: Path, tools: Sequence[Tool]) -> Tool:
    """The first of the tools that is on PATH.

    Raises:
        VendorToolMissing: none is; the message has the command to run elsewhere.
    """
    for tool in tools:
        if shutil.which(tool.program):
            return tool
    names = " or ".join(tool.program for tool in tools)
    raise VendorToolMissing(
        f"synthesis needs {names}, which is not on PATH. Copy {project} to a machine that has it and run there:\n"
        f"  {shell(['cd', project.name])} && {tools[0].command}"
    )


def run_tool(project: Path, tools: Sequence[Tool], reports: Path) -> Path:
    """Run the first of the tools that is on PATH in the project folder; its output goes to the terminal.

    Args:
        project: the folder.
        tools: best first.
        reports: folder that the tool leaves its reports in.

    Returns:
        `reports`.

    Raises:
        VendorToolMissing: no tool on PATH.
        HlsError: the tool failed, or left no report.
    """
    tool = find_tool(project, tools)
    program = str(shutil.which(tool.program))
    shutil.rmtree(reports, ignore_errors=True)  # what is there afterwards is of this run
    done = subprocess.run([program, *tool.arguments], cwd=project, check=False)  # noqa: S603  no shell
    if done.returncode:
        raise HlsError(f"{tool.command} in {project} failed with exit status {done.returncode}; see its output above")
    if not reports.is_dir():
        raise HlsError(f"{tool.command} in {project} ended without an error but left no reports in {reports}")
    return reports
