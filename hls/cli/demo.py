"""Try the whole flow on the tiny build and the jets that the package ships; needs neither data nor a repository.

    qformers demo
    qformers demo my_folder --no-synth
    qformers demo --files-only

Writes part_tiny.yaml and 650 jets into a folder (default: qformers_demo) and runs all stages there, as `qformers run`
does: some minutes, of which the synthesis takes a third. What it learns from so few jets is not worth much; that
firmware and model agree is.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from hls.cli import run as whole
from hls.escaping import shell
from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("qformers_demo"), help="new or old one (default: qformers_demo)"
    )
    parser.add_argument("--files-only", action="store_true", help="write the build file and the jets, run nothing")
    parser.add_argument("--no-synth", action="store_true", help="leave the synthesis by Yosys out")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Write the files and run the stages; the exit status of the first stage that fails, else 0."""
    from qformers.demo import write

    build = write(options.folder)
    if options.files_only:
        where = shell(["cd", options.folder])
        print(f"written: {build} and its jets; to run it: {where} && qformers run {build.name}")
        return status.DONE
    print(f"written: {build} and its jets; all stages run in {options.folder}, and names of files start there")
    words = [build.name, *(["--no-synth"] if options.no_synth else []), *(["--quiet"] if options.quiet else [])]
    with contextlib.chdir(options.folder):
        return whole.COMMAND(words)


COMMAND = Command("demo", __doc__ or "", add, run)
