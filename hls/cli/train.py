"""`qformers train`, which asks the firmware backend of a build before hours of training are spent on it."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from qformers.cli import options as shared
from qformers.cli import train

if TYPE_CHECKING:
    from qformers.builds.build import Build


def run(options: argparse.Namespace) -> int:
    """See `qformers.cli.train.run`."""
    from hls.backends import open_backend

    open_backend(shared.load_build(options).firmware.backend)  # also where nothing is trained any more
    return train.run(options, _refuse)


def _refuse(build: Build) -> None:
    from hls.stages.refusals import refuse_before_training

    refuse_before_training(build)


COMMAND = dataclasses.replace(train.COMMAND, run=run)
