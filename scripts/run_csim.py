#!/usr/bin/env python3
"""C simulation of a build's firmware: bit for bit against the quantised model, layer by layer against the float one.

python scripts/run_csim.py firmware_configs/part_demo.yaml
python scripts/run_csim.py firmware_configs/part_demo.yaml --events 50000 --run runs/try

Of a project of backend alkaid it is alkaid's C++ for Vitis HLS that is compiled and run.
"""

from __future__ import annotations

import argparse
import sys

from hls import cli
from qformers.builds.build import Build


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.parser_of(__doc__)
    cli.add_build(parser)
    cli.add_events(parser)
    cli.add_run(parser)
    parser.add_argument("--backend", help="instead of firmware.backend of the build: vitis, vivado or alkaid")
    cli.add_set(parser, "data.max_jets=1000")
    return parser.parse_args(arguments)


def run(build: Build, options: argparse.Namespace) -> int:
    """Simulate and print; 0 where all events are equal, else 1."""
    from rich.console import Console

    from hls.stages.csim import simulate
    from qformers.progress import bars

    folder = cli.run_folder(build, options.run)
    with bars() as reporter:
        result = simulate(build, folder, options.events, reporter, Console(soft_wrap=True), options.backend)
    print(f"written: {result.path}")
    return 0 if result.equal else 1


def main() -> int:
    """Entry point. Returns 0 when firmware and quantised model are equal on all events, 1 on a difference or error."""
    return cli.on_build(parse(), run)


if __name__ == "__main__":
    sys.exit(main())
