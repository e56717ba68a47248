#!/usr/bin/env python3
"""RTL of a build (alkaid), simulated: bit for bit against the quantised model, one event per clock cycle.

python scripts/run_rtl.py firmware_configs/part_demo.yaml
python scripts/run_rtl.py firmware_configs/part_demo.yaml --events 50000 --set firmware.clock_ns=4

Three levels: alkaid's interpreter and Verilator take all events, Icarus Verilog (apt-get install iverilog) a hundred.
The project is written first where it is missing or was made from another model or firmware section.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from qformers.config import Build, ConfigError, load

LEVELS = ("interpreter", "verilator", "icarus")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="build file, e.g. firmware_configs/part_demo.yaml")
    parser.add_argument("--events", type=int, default=10_000, help="test jets (default: 10000)")
    parser.add_argument(
        "--levels",
        nargs="+",
        choices=LEVELS,
        default=LEVELS,
        help="simulators (default: all; Icarus takes minutes beyond 200,000 LUT)",
    )
    parser.add_argument("--run", type=Path, help="run folder (default: runs/<name of the build>)")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE", help="e.g. firmware.clock_ns=4"
    )
    return parser.parse_args(arguments)


def run(build: Build, options: argparse.Namespace) -> bool:
    """Simulate and print; whether all events are equal at all levels and on time."""
    from rich.console import Console

    from hls.progress import bars
    from hls.rtl import simulate_rtl

    folder = options.run or Path("runs") / build.name
    with bars() as reporter:
        result = simulate_rtl(build, folder, options.events, reporter, Console(soft_wrap=True), options.levels)
    print(f"written: {result.path}")
    return result.equal


def main() -> int:
    """Entry point. Returns 0 when RTL and quantised model are equal on all events, 1 on a difference or error."""
    options = parse()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from hls.errors import HlsError
    from qformers.data import DataError

    try:
        equal = run(load(options.build, options.overrides), options)
    except (ConfigError, DataError, HlsError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
