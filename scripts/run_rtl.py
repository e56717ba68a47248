#!/usr/bin/env python3
"""RTL of a build (alkaid), simulated: bit for bit against the quantised model, one event per clock cycle.

python scripts/run_rtl.py firmware_configs/part_demo.yaml
python scripts/run_rtl.py firmware_configs/part_demo.yaml --events 50000 --set firmware.clock_ns=4

Three levels: alkaid's interpreter and Verilator take all events, Icarus Verilog (apt-get install iverilog) a hundred.
A fourth, csim (alkaid's C++, compiled), is what scripts/run_csim.py runs.
The project is written first where it is missing or was made from another model or firmware section.
"""

from __future__ import annotations

import argparse
import sys

from hls import cli
from hls.backends.simulators.levels import LEVELS, RTL_LEVELS
from qformers.builds.build import Build


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.parser_of(__doc__)
    cli.add_build(parser)
    cli.add_events(parser)
    parser.add_argument(
        "--levels",
        nargs="+",
        choices=LEVELS,
        default=RTL_LEVELS,
        help=f"simulators (default: {' '.join(RTL_LEVELS)}; Icarus takes minutes beyond 200,000 LUT)",
    )
    cli.add_run(parser)
    cli.add_set(parser, "firmware.clock_ns=4")
    return parser.parse_args(arguments)


def run(build: Build, options: argparse.Namespace) -> int:
    """Simulate and print; 0 where all events are equal at all levels and on time, else 1."""
    from rich.console import Console

    from hls.stages.rtl import simulate_rtl
    from qformers.progress import bars

    folder = cli.run_folder(build, options.run)
    with bars() as reporter:
        result = simulate_rtl(build, folder, options.events, reporter, Console(soft_wrap=True), options.levels)
    print(f"written: {result.path}")
    return 0 if result.equal else 1


def main() -> int:
    """Entry point. Returns 0 when RTL and quantised model are equal on all events, 1 on a difference or error."""
    return cli.on_build(parse(), run)


if __name__ == "__main__":
    sys.exit(main())
