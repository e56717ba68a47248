#!/usr/bin/env python3
"""Train a build: float phase, then quantisation-aware phase from its weights.

    python scripts/train.py firmware_configs/part_demo.yaml
    python scripts/train.py firmware_configs/part_demo.yaml --phase float --set train.float.epochs=3 --out runs/try
    python scripts/train.py firmware_configs/hept_cms_pileup.yaml --data /where/the/events/are

Started again after an interruption (Ctrl-C, a file STOP in the run folder, a crash, a power cut) it goes on from the
last checkpoint and ends with the same weights, bit for bit, as without the interruption. Ctrl-C and STOP write a
checkpoint where they are; anything harder loses the running epoch only.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qformers.builds.build import Build, load
from qformers.errors import ConfigError

if TYPE_CHECKING:
    from qformers.train.phases import PhaseName

STOPPED = 3  # exit status after a stop on request


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="build file, e.g. firmware_configs/part_demo.yaml")
    parser.add_argument("--phase", choices=("float", "qat", "all"), default="all", help="what to train (default: all)")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/<name of the build>)")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE", help="e.g. train.qat.epochs=5"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="take the files from DIR/train, DIR/val and DIR/test instead"
    )
    parser.add_argument("--fresh", action="store_true", help="throw away what the chosen phases left before")
    return parser.parse_args(arguments)


def chosen_phases(build: Build, phase: PhaseName | Literal["all"]) -> list[PhaseName]:
    """The phases to train; `all` leaves out the quantised one where the build has none."""
    if phase != "all":
        return [phase]
    return ["float", "qat"] if build.train.qat is not None and build.quant is not None else ["float"]


def main() -> int:
    """Entry point. Returns 0 when all is trained, 1 on an error, 3 after a stop on request."""
    options = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        build = load(options.build, options.overrides)
        if options.data is not None:
            from qformers.builds.data_folder import in_folder

            build = in_folder(build, options.data)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    from rich.console import Console

    from qformers.data import DataError
    from qformers.errors import TrainingError
    from qformers.progress import bars
    from qformers.train.phases import train_build

    out, console = options.out or Path("runs") / build.name, Console(highlight=False, soft_wrap=True)
    phases = chosen_phases(build, options.phase)
    try:
        with bars(console=console) as reporter:
            results = train_build(build, out, phases, options.fresh, console, reporter)
    except (ConfigError, DataError, TrainingError) as error:
        print(error, file=sys.stderr)
        return 1
    for result in results:
        bits = f"  EBOPs {result.ebops}" if result.ebops else ""
        print(f"{result.model}  test {result.score} {result.value:.4f} +- {result.error:.4f}{bits}")
    return 0 if len(results) == len(phases) else STOPPED


if __name__ == "__main__":
    sys.exit(main())
