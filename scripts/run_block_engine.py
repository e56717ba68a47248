#!/usr/bin/env python3
"""Block engine of a quantised HEPT: RTL for events of thousands of points, one block per clock, simulated on events.

python scripts/run_block_engine.py firmware_configs/hept_tracking_demo.yaml --points 1000 4000
python scripts/run_block_engine.py BUILD.yaml --run RUN --points 1000 --set firmware.clock_ns=4

Every output of every event is compared with the quantised Keras model of that many points. Writes engine.json: latency
in cycles as simulated, resources as estimated.
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
    parser.add_argument(
        "--points", type=int, nargs="+", default=[1000, 4000], help="points of an event (default: 1000 4000)"
    )
    parser.add_argument(
        "--events", type=int, default=2, help="events of each size (default: 2); the smallest also has adversarial ones"
    )
    parser.add_argument(
        "--most", type=int, default=0, help="points that the engine's memories hold (default: the largest of --points)"
    )
    cli.add_run(parser)
    cli.add_set(parser, "firmware.clock_ns=4")
    return parser.parse_args(arguments)


def run(build: Build, options: argparse.Namespace) -> int:
    """Simulate and print; 0 where all events are equal and on time, else 1."""
    from rich.console import Console

    from hls.stages.block_engine import simulate_engine
    from qformers.progress import bars

    folder = cli.run_folder(build, options.run)
    with bars() as reporter:
        console = Console(soft_wrap=True)
        found = simulate_engine(build, folder, options.points, reporter, console, options.events, options.most)
    print(f"written: {found.path}")
    return 0 if found.equal else 1


def main() -> int:
    """Entry point. Returns 0 when engine and quantised model are equal on all events, 1 on a difference or error."""
    return cli.on_build(parse(), run)


if __name__ == "__main__":
    sys.exit(main())
