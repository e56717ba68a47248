"""C simulation of a build's firmware: bit for bit against the quantised model, layer by layer against the float one.

    qformers csim firmware_configs/part_demo.yaml
    qformers csim firmware_configs/part_demo.yaml --events 50000 --run runs/try

Of a project of backend alkaid it is alkaid's C++ for Vitis HLS that is compiled and run, of one of backend folded its
C++ (firmware.flavour: vitis) or, in Verilog, its traced arithmetic. What a backend that is not the
build's gives (--backend) stands beside, as csim_<backend>.json, and `qformers compare` counts all of them. Exit status
1: some value differs from the quantised model.
"""

from __future__ import annotations

import argparse

from hls.cli.backend import backend_of
from qformers.builds.float_only import refuse_float_only
from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    shared.add_build(parser)
    shared.add_run(parser)
    shared.add_events(parser)
    shared.add_backend(parser)
    shared.add_set(parser, "data.max_jets=1000")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Simulate and print; 0 where all events are equal, else 1."""
    build = shared.load_build(options)
    folder, backend = shared.run_folder(build, options.run), backend_of(options, build)
    from hls.backends.written import check_project, refuse_other_settings

    project = folder / "firmware" / backend
    refuse_float_only(build, folder)
    refuse_other_settings(project, check_project(project), build)  # or it would come after TensorFlow
    from hls.stages.csim import simulate

    with shared.reporting(options) as reporter:
        result = simulate(build, folder, options.events, backend, reporter)
    result.show(shared.terminal(options))
    print(f"written: {result.save()}")
    return status.DONE if result.equal else status.FAILED


COMMAND = Command("csim", __doc__ or "", add, run)
