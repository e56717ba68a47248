"""RTL of a build, simulated: bit for bit against the quantised model, and on time in clock cycles.

    qformers rtl firmware_configs/part_demo.yaml
    qformers rtl firmware_configs/part_demo.yaml --events 50000 --set firmware.clock_ns=4

Levels: alkaid's interpreter and Verilator take all events, Icarus Verilog (apt-get install iverilog) a hundred. Of
firmware that takes some points per clock there is also an emulator of the machine, clock by clock, and all of these
levels but the interpreter simulate the events once more with pauses at both ends and resets. A further one, csim
(alkaid's C++, compiled), is what `qformers csim` runs.
The project is written first where it is missing or was made from another model or firmware section. Exit status 1: some
value differs from the quantised model, or comes in another clock cycle than reported.
"""

from __future__ import annotations

import argparse

from hls.backends import BY_RTL, open_backend
from hls.cli.backend import backend_of
from hls.errors import HlsError
from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command


def add_levels(parser: argparse.ArgumentParser) -> None:
    """``--levels``."""
    from hls.backends.simulators.levels import LEVELS, RTL_LEVELS

    parser.add_argument(
        "--levels",
        nargs="+",
        choices=LEVELS,
        help=f"simulators (default: those of {' '.join(RTL_LEVELS)} that the project has; Icarus takes minutes beyond "
        "200,000 LUT)",
    )


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    shared.add_build(parser)
    shared.add_run(parser)
    parser.add_argument(
        "--events",
        type=shared.at_least_one,
        metavar="N",
        help="events, of the test split first and then of the others (default: 10000; of more than 32 points 2000)",
    )
    add_levels(parser)
    shared.add_backend(parser, rtl=True)
    shared.add_set(parser, "firmware.clock_ns=4")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Simulate and print; 0 where all events are equal at all levels and on time, else 1."""
    build = shared.load_build(options)
    backend = backend_of(options, build, rtl=True)
    if (command := open_backend(backend).simulated_by) != BY_RTL:
        raise HlsError(
            f"backend '{backend}' writes no RTL of a whole event that is simulated here; use --backend alkaid, or "
            f"{command}"
        )
    from hls.stages.rtl import simulate_rtl

    folder = shared.run_folder(build, options.run)
    with shared.reporting(options) as reporter:
        result = simulate_rtl(build, folder, options.events, options.levels, backend, reporter)
    result.show(shared.terminal(options))
    print(f"written: {result.save()}")
    return status.DONE if result.equal else status.FAILED


COMMAND = Command("rtl", __doc__ or "", add, run)
