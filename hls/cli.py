"""What the scripts of the stages share: arguments, the run folder, errors that become one message and exit status 1.

Nothing heavy is imported before the command line is read, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from qformers.builds.build import Build, load
from qformers.errors import ConfigError


def parser_of(text: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the text (docstring) of the script, as it stands there."""
    return argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_build(parser: argparse.ArgumentParser) -> None:
    """BUILD, as ``options.build``."""
    parser.add_argument("build", type=Path, help="build file, e.g. firmware_configs/part_demo.yaml")


def add_events(parser: argparse.ArgumentParser) -> None:
    """``--events``: jets to simulate."""
    parser.add_argument("--events", type=int, default=10_000, help="test jets (default: 10000)")


def add_run(parser: argparse.ArgumentParser) -> None:
    """``--run``; what it stands for if it is not given says `run_folder`."""
    parser.add_argument("--run", type=Path, help="run folder (default: runs/<name of the build>)")


def add_model(parser: argparse.ArgumentParser) -> None:
    """``--model``; what it stands for if it is not given says `model_path`."""
    parser.add_argument("--model", type=Path, help="quantised model (default: runs/<name>/qat/model.keras)")


def add_set(parser: argparse.ArgumentParser, example: str) -> None:
    """``--set KEY=VALUE``, as often as one likes, as ``options.overrides``."""
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE", help=f"e.g. {example}"
    )


def run_folder(build: Build, chosen: Path | None = None) -> Path:
    """The run folder `chosen`, else ``runs/<name of the build>``."""
    return chosen or Path("runs") / build.name


def model_path(build: Build, chosen: Path | None = None, run: Path | None = None) -> Path:
    """The model file `chosen`, else the quantised model in the run folder `run`, else in that of the build."""
    return chosen or run_folder(build, run) / "qat" / "model.keras"


def on_build(options: argparse.Namespace, work: Callable[[Build, argparse.Namespace], int]) -> int:
    """Load the build that `options` names, with its overrides, and work on it; returns the exit status."""
    return exit_status(lambda: work(load(options.build, options.overrides), options))


def exit_status(work: Callable[[], int]) -> int:
    """What `work` returns; 1 with the message on stderr where it meets an error that a user can mend."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before anything imports TensorFlow
    from hls.errors import HlsError
    from qformers.data import DataError
    from qformers.errors import TrainingError

    try:
        return work()
    except (ConfigError, DataError, HlsError, TrainingError) as error:
        print(error, file=sys.stderr)
        return 1
