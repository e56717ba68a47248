"""Find bits per layer for a float model without training: fewest EBOPs for a loss of accuracy, or the other way round.

    qformers tune runs/part_demo/float/model.keras firmware_configs/part_demo.yaml --max-loss 0.002
    qformers tune runs/part_demo/float/model.keras firmware_configs/part_demo.yaml --ebops 150000

Integer bits follow from the ranges on calibration jets, the other bits from measurements on validation jets (filled up
with training jets, whose labels do not count): each slot alone at each number of bits, a path predicted from that, then
single steps and exchanges, all measured. The budget is kept there; the test split is looked at once, at the end.

Every evaluation is written down at once: after Ctrl-C or a file STOP in the run folder the same command goes on. The
run folder (default: runs/<name>_tuned) holds tuned.yaml, which `qformers quantise` turns into the same model, and all
that `qformers quantise` leaves.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from qformers.builds.run_place import refuse_foreign_run
from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command
from qformers.results import Result


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="float model, e.g. runs/part_demo/float/model.keras")
    parser.add_argument("build", type=Path, nargs="?", metavar="BUILD", help="build file; none for a model of your own")
    parser.add_argument(
        "--calibrate", metavar="DATA", help="of a model of your own: file of events, for ranges and measurements"
    )
    shared.add_own(parser, 0.2)
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument(
        "--max-loss", type=shared.part, help="accuracy or R^2 that may be lost against float, e.g. 0.002 for 0.2 %%"
    )
    budget.add_argument(
        "--ebops", type=shared.above_zero, help="most EBOPs, of the hardware of section firmware, instead of --max-loss"
    )
    shared.add_run(parser, out=True, default="runs/<name of the build>_tuned")
    parser.add_argument(
        "--widest", type=shared.at_least_one, default=14, help="bits of weights and values at the start (default: 14)"
    )
    parser.add_argument(
        "--quantile", type=shared.share, default=0.9999, help="share of values to fit (default: 0.9999)"
    )
    parser.add_argument(
        "--margin", type=shared.above_zero, default=1.0, help="factor on the largest of them (default: 1)"
    )
    parser.add_argument("--no-clip", action="store_true", help="keep the integer bits of the ranges to the end")
    shared.add_calibration_jets(parser)
    parser.add_argument(
        "--events",
        "--jets",
        dest="events",
        type=shared.at_least_one,
        default=20_000,
        metavar="N",
        help="jets of the validation, then of the training split (default: 20000)",
    )
    parser.add_argument(
        "--steps", type=shared.zero_or_more, default=600, metavar="N", help="measured steps, at most (default: 600)"
    )
    shared.add_set(parser, "data.max_jets=1000")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Search, write and print; 0 when the run folder is written, 3 after a stop."""
    given = shared.own_given(options) if options.build is None else None
    if given is None:
        shared.refuse_own(options)
        shared.need_file(options.model, "MODEL", "train the float phase first (qformers train --phase float)")
        build = shared.load_build(options)
        if options.run is not None:
            refuse_foreign_run(options.run)
        shared.need_data(build)
    from qformers.quant.ptq.bench import Stopped
    from qformers.quant.ptq.budget import Budget
    from qformers.quant.ptq.ranges import Rule
    from qformers.quant.ptq.session import Settings
    from qformers.quant.ptq.stage import tune

    settings = Settings(
        budget=Budget(options.max_loss, options.ebops),
        rule=Rule(options.quantile, options.margin),
        widest=options.widest,
        clip=not options.no_clip,
        calibration_jets=options.calibration_jets,
        jets=options.events,
        steps=options.steps,
    )
    config = None if options.overrides else options.build  # an overridden build cannot be extended by its file
    console = shared.terminal(options)
    try:
        with shared.reporting(options, console) as reporter:
            if given is None:
                result: Result = tune(build, options.model, settings, options.run, config, console, reporter)
            else:
                from qformers.interop.fixed_point.stage import tune as tune_own

                result = tune_own(given, settings, console, reporter)
    except Stopped as reason:
        print(f"{reason}: stopped; the same command goes on from there")
        return status.STOPPED
    result.save()
    result.show(console)
    if options.quiet:
        print(result)
    return status.DONE


COMMAND = Command("tune", __doc__ or "", add, run)
