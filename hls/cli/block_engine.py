"""Block engine of a quantised HEPT: folded firmware for events of thousands of points, one block per clock, simulated.

    qformers block-engine firmware_configs/hept_tracking_demo.yaml --points 1000 4000
    qformers block-engine BUILD.yaml --run RUN --points 1000 --set firmware.clock_ns=4

For each size a folded project is written to RUN/block_engine, its rows in memory banks, and every output of every event
is compared with the quantised Keras model of that many points. Writes engine.json: latency in cycles as simulated,
resources as estimated. Exit status 1: some value differs, or is not on time.
"""

from __future__ import annotations

import argparse

from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    shared.add_build(parser)
    shared.add_run(parser)
    parser.add_argument(
        "--points",
        type=shared.at_least_one,
        nargs="+",
        default=[1000, 4000],
        metavar="N",
        help="points of an event (default: 1000 4000)",
    )
    shared.add_events(parser, 2, "events of each size; the smallest also has adversarial ones")
    shared.add_set(parser, "firmware.clock_ns=4")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Simulate and print; 0 where all events are equal and on time, else 1."""
    build = shared.load_build(options)
    from hls.stages.block_engine import simulate_engine

    folder = shared.run_folder(build, options.run)
    with shared.reporting(options) as reporter:
        result = simulate_engine(build, folder, options.points, options.events, reporter)
    result.show(shared.terminal(options))
    print(f"written: {result.save()}")
    return status.DONE if result.equal else status.FAILED


COMMAND = Command("block-engine", __doc__ or "", add, run)
