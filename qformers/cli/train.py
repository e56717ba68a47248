"""Train a build: float phase, then quantisation-aware phase from its weights.

    qformers train firmware_configs/part_demo.yaml
    qformers train firmware_configs/part_demo.yaml --phase float --set train.float.epochs=3 --run runs/try
    qformers train firmware_configs/hept_cms_pileup.yaml --data /where/the/events/are

Started again after an interruption (Ctrl-C, a file STOP in the run folder, a crash, a power cut) it goes on from the
last checkpoint and ends with the same weights, bit for bit, as without the interruption. Ctrl-C and STOP write a
checkpoint where they are; anything harder loses the running epoch only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qformers.builds.run_place import refuse_foreign_run
from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command

if TYPE_CHECKING:
    from qformers.builds.build import Build


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    shared.add_build(parser)
    parser.add_argument("--phase", choices=("float", "qat", "all"), default="all", help="what to train (default: all)")
    shared.add_run(parser, out=True)
    shared.add_set(parser, "train.qat.epochs=5")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="take the files from DIR/train, DIR/val and DIR/test instead"
    )
    parser.add_argument("--fresh", action="store_true", help="throw away what the chosen phases left before")
    shared.add_quiet(parser)


def run(options: argparse.Namespace, refuse: Callable[[Build], None] | None = None) -> int:
    """Train; 0 when all is trained, 3 after a stop on request.

    Args:
        options: of the command line.
        refuse: see `qformers.train.stage.train`.
    """
    build = shared.load_build(options)
    if options.data is not None:
        from qformers.builds.data_folder import in_folder

        build = in_folder(build, options.data)
    folder = shared.run_folder(build, options.run)
    refuse_foreign_run(folder)
    if not (folder / "float" / "model.keras").is_file():  # what is finished needs no data to say so
        shared.need_data(build)
    from qformers.train.stage import train

    phases = None if options.phase == "all" else (options.phase,)
    console = shared.terminal(options)
    with shared.reporting(options, console) as reporter:
        trained = train(build, folder, phases, options.fresh, console, reporter, refuse)
    trained.save()
    print(trained, end="")
    return status.DONE if trained.complete else status.STOPPED


COMMAND = Command("train", __doc__ or "", add, run)
