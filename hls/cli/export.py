"""Write the firmware project of a build from its quantised model; synthesise it where the vendor's tool is installed.

    qformers export firmware_configs/part_demo.yaml
    qformers export firmware_configs/part_demo.yaml --backend vivado --set firmware.clock_ns=4 --synth

The table that is printed has the formats of every layer as the firmware computes them. A layer without exact firmware
is refused, with the way out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hls.cli.backend import backend_of
from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    shared.add_build(parser)
    shared.add_run(parser)
    shared.add_model(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the project (default: firmware/<backend> in the run folder)"
    )
    shared.add_backend(parser)
    shared.add_set(parser, "firmware.clock_ns=4")
    parser.add_argument(
        "--allow-overflow", action="store_true", help="write accumulators of the build that cannot hold their sums"
    )
    parser.add_argument("--synth", action="store_true", help="synthesise with the vendor's tool")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Export and, if asked for, synthesise; 0 when it is done."""
    build = shared.load_build(options)
    backend = backend_of(options, build)
    model = shared.model_path(build, options.model, options.run)
    from hls.stages.export import export

    out = options.out or shared.run_folder(build, options.run) / "firmware" / backend
    with shared.reporting(options) as reporter:
        result = export(build, model, out, backend, options.allow_overflow, reporter)
    result.show(shared.terminal(options))
    print(result)
    if options.synth:
        print(f"reports:   {result.project.build()}")
    return status.DONE


COMMAND = Command("export", __doc__ or "", add, run)
