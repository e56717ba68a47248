"""A million events through the fastest simulation of a build's firmware, bit for bit beside the quantised model.

    qformers prove firmware_configs/part_demo.yaml
    qformers prove firmware_configs/part_demo.yaml --backend folded --events 5000000
    qformers prove firmware_configs/part_demo.yaml --backend alkaid --level csim --events 20000 --seed 7

Events of the build, as they are and changed at random, adversarial ones, and numbers spread evenly over the ranges of
the inputs; the same seed gives the same events. Every 4,096 events are written down (prove.jsonl, with --backend
prove_<backend>.jsonl): after Ctrl-C, a kill or a file STOP in the run folder the same command goes on with the next
ones, and more --events add to those that were compared. The result is prove.json; the first events that differ are
saved for `qformers audit --replay`. `qformers csim` and `qformers rtl` look at fewer events, and at layers and clocks.
Exit status 1: some value differs from the quantised model.
"""

from __future__ import annotations

import argparse

from hls.cli.backend import backend_of
from qformers.builds.float_only import refuse_float_only
from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command

EVENTS = 1_000_000  # as in `hls.stages.prove`, which imports Keras


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    from hls.backends.simulators.levels import FAST, LEVELS

    shared.add_build(parser)
    shared.add_run(parser)
    shared.add_events(parser, EVENTS, "events to compare, those of earlier calls among them")
    shared.add_backend(parser)
    parser.add_argument(
        "--level",
        choices=LEVELS,
        help=f"simulator (default: the first of {', '.join(FAST)} that the project has, else its first)",
    )
    parser.add_argument(
        "--seed", type=shared.zero_or_more, metavar="N", help="of the events (default: that of the build)"
    )
    parser.add_argument("--fresh", action="store_true", help="forget the events that were compared before")
    shared.add_set(parser, "data.max_jets=1000")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Compare and print; 0 where all events are equal, else 1; 3 after a stop."""
    build = shared.load_build(options)
    folder, backend = shared.run_folder(build, options.run), backend_of(options, build)
    from hls.backends.written import check_project, refuse_other_settings

    project = folder / "firmware" / backend
    refuse_float_only(build, folder)
    refuse_other_settings(project, check_project(project), build)  # or it would come after TensorFlow
    from hls.stages.prove import prove

    asked = (options.events, backend, options.level, options.seed, options.fresh)
    with shared.reporting(options) as reporter:
        result = prove(build, folder, *asked, reporter)
    result.show(shared.terminal(options))
    if not result.complete:
        print(f"stopped after {result.total('events'):,} of {result.wanted:,} events; the same command goes on")
        return status.STOPPED
    print(f"written: {result.save()}")
    return status.DONE if result.equal else status.FAILED


COMMAND = Command("prove", __doc__ or "", add, run)
