"""Post-training quantisation: the weights of a float model in fixed-point formats, without training.

    qformers quantise runs/part_demo/float/model.keras my_build.yaml --run runs/part_ptq
    qformers quantise runs/part_demo/float/model.keras my_build.yaml --run runs/part_ptq --calibrate
    qformers quantise model.keras --calibrate events.npy
    qformers quantise model.keras --calibrate events.npz --types 'Dense.weight=fixed<6,1>' --labels labels.npy

Formats are taken as the section `quant` spells them; nothing is learned, whatever `quant.learn` says. With --calibrate
every format keeps its width, and its integer bits are those that the values on calibration jets need; build.yaml in the
run folder then spells the formats that were chosen. The run folder is that of a training: export, csim and the other
commands take it with its build.yaml.

A float model of Keras that was not trained here needs no build file: --calibrate names a file of its inputs, .npy for
one input, .npz or .h5 with an array for each by name, from whose ranges the integer bits follow. Widths are those of
the section `quant` (--set quant.activation=...), or what --types and --layers say.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from qformers.builds.run_place import refuse_foreign_run
from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command
from qformers.errors import ConfigError
from qformers.results import Result


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="float model, e.g. runs/part_demo/float/model.keras")
    parser.add_argument("build", type=Path, nargs="?", metavar="BUILD", help="build file; none for a model of your own")
    shared.add_run(parser, out=True)
    parser.add_argument(
        "--calibrate",
        nargs="?",
        const=True,
        metavar="DATA",
        help="set integer bits from the ranges seen, keep widths; of a model of your own on the events of this file",
    )
    shared.add_own(parser, 0.0)
    parser.add_argument(
        "--quantile",
        type=shared.share,
        help="share of the values of each layer that its integer bits must hold, the others saturate (default: 0.9999)",
    )
    parser.add_argument(
        "--margin", type=shared.above_zero, help="range to hold over the largest of those values (default: 1)"
    )
    shared.add_calibration_jets(parser)
    shared.add_set(parser, "quant.weight=fixed<8,2>")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Quantise and print; 0 when the run folder is written."""
    given = {"quantile": options.quantile, "margin": options.margin}
    said = {name: value for name, value in given.items() if value is not None}
    if said and not options.calibrate:
        raise ConfigError(f"--{' and --'.join(said)} go with --calibrate. Received: no --calibrate")
    if options.build is None:
        return _own(options, said)
    shared.refuse_own(options)
    shared.need_file(options.model, "MODEL", "train the float phase first (qformers train --phase float)")
    build = shared.load_build(options)
    folder = shared.run_folder(build, options.run)
    refuse_foreign_run(folder)
    shared.need_data(build)
    from qformers.quant.ptq.ranges import Rule
    from qformers.quant.ptq.stage import quantise

    rule = Rule(**said) if options.calibrate else None
    return _written(quantise(build, options.model, folder, rule, options.calibration_jets), folder, options)


def _own(options: argparse.Namespace, said: dict[str, float]) -> int:
    """A float model that was not trained here."""
    given = shared.own_given(options)
    from qformers.interop.fixed_point.stage import quantise
    from qformers.quant.ptq.ranges import Rule

    result = quantise(given, Rule(**said))
    return _written(result, result.run, options)


def _written(result: Result, folder: Path, options: argparse.Namespace) -> int:
    """Save a result and print it."""
    result.save()
    result.show(shared.terminal(options))
    if options.quiet:
        print(result)
    print(f"written: {folder}")
    return status.DONE


COMMAND = Command("quantise", __doc__ or "", add, run)
