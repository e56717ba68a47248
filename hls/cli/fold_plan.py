"""What folded firmware takes for every number of points per clock (T) and, where attention has pairs of all points, of
their keys (K), without writing it: II, latency, LUT, registers.

    qformers fold-plan firmware_configs/part_demo.yaml
    qformers fold-plan firmware_configs/part_demo.yaml --max-ii 40 --max-lut 60000 --out runs/part_demo/fold_plan
    qformers fold-plan firmware_configs/part_jets32.yaml --untrained --set firmware.multipliers=dsp

The trained model of the run is planned with its own weights and formats. Where there is none yet, or with --untrained,
a model is made anew from the build file, without any data: its widths are those that the build starts with, so that
LUT are an upper estimate.

The smallest T are traced by alkaid as long as --seconds last, and with the smallest T the smallest K; the smallest of
both whatever it takes. What larger ones take is scaled from the largest one traced (marked ~): of LUT, products of two
variables, DSP and registers of each kernel the part per event stays, the part per point grows as T, and with K along a
line through the two largest traced; stages follow from its path, which grows as log2 T; stores hold an event, whatever
T is. II is exact, and so is the latency of traced rows.

The last line is what to write into the build file: of the rows that keep the limits the one with the fewest LUT, or
where no time is limited the one with the shortest II. Exit status 1 where none keeps them.

--out writes the table as CSV and JSON, LUT against II as a picture, and the kernels and stores of traced T as SVG.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from qformers.builds.build import Build
from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command
from qformers.errors import ConfigError


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    from hls.stages.fold_plan import SECONDS

    shared.add_build(parser)
    shared.add_run(parser)
    shared.add_model(parser)
    parser.add_argument("--untrained", action="store_true", help="plan a model made anew, even where one is trained")
    parser.add_argument(
        "--seconds",
        type=shared.above_zero,
        default=SECONDS,
        metavar="S",
        help=f"for tracing; the smallest T is traced whatever it takes (default: {SECONDS:g})",
    )
    parser.add_argument("--max-ii", type=shared.above_zero, metavar="NS", help="longest initiation interval, ns")
    parser.add_argument("--max-latency", type=shared.above_zero, metavar="NS", help="longest latency, ns")
    parser.add_argument("--max-lut", type=shared.above_zero, metavar="LUT", help="most LUT, as estimated")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for table and pictures (default: none written)")
    shared.add_set(parser, "firmware.clock_ns=4")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Plan and print; 1 where no choice keeps the limits."""
    build = shared.load_build(options)
    model = _model(options, build)
    from hls.stages.fold_plan import Limits, fold_plan, refuse_foreign

    if options.out is not None:
        refuse_foreign(options.out)  # before Keras is imported
    limits = Limits(options.max_ii, options.max_latency, options.max_lut)
    console = shared.terminal(options)
    with shared.reporting(options, console) as reporter:
        result = fold_plan(build, model, options.seconds, limits, reporter)
    result.show(console)
    if options.out is not None:
        result.save(options.out)
        for path in result.files(options.out):
            print(f"written: {path}")
    return status.FAILED if limits.asked and result.chosen is None else status.DONE


def _model(options: argparse.Namespace, build: Build) -> Path | None:
    """The trained model, where there is one or one is named; else None.

    Raises:
        ConfigError: a model or run is named and not there, or together with --untrained.
    """
    named = {"--model": options.model, "--run": options.run}
    said = [name for name, path in named.items() if path is not None]
    if options.untrained and said:
        raise ConfigError(f"--untrained makes a model anew and goes without {' and '.join(said)}; leave one out")
    if options.untrained:
        return None
    if not said and not (shared.run_folder(build) / "qat" / "model.keras").is_file():
        return None
    return shared.model_path(build, options.model, options.run)


COMMAND = Command("fold-plan", __doc__ or "", add, run)
