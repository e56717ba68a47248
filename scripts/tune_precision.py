#!/usr/bin/env python3
"""Find bits per layer for a float model without training: fewest EBOPs for a loss of accuracy, or the other way round.

    python scripts/tune_precision.py runs/part_demo/float/model.keras firmware_configs/part_demo.yaml --max-loss 0.002
    python scripts/tune_precision.py runs/part_demo/float/model.keras firmware_configs/part_demo.yaml --ebops 150000

Integer bits follow from the ranges on calibration jets, the other bits from measurements on validation jets (filled up
with training jets, whose labels do not count): each slot alone at each number of bits, a path predicted from that, then
single steps and exchanges, all measured. The budget is kept there; the test split is looked at once, at the end.

Every evaluation is written down at once: after Ctrl-C or a file STOP in the run folder the same command goes on. The
run folder (default: runs/<name>_tuned) holds tuned.yaml, which scripts/quantise.py turns into the same model, and all
that scripts/quantise.py leaves.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hls import cli
from qformers.builds.build import Build

STOPPED = 3  # exit status after a stop on request


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.parser_of(__doc__)
    parser.add_argument("model", type=Path, help="float model, e.g. runs/part_demo/float/model.keras")
    cli.add_build(parser)
    parser.add_argument("--max-loss", type=float, help="accuracy that may be lost against float, e.g. 0.002 for 0.2 %%")
    parser.add_argument("--ebops", type=float, help="most EBOPs, instead of --max-loss")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/<name of the build>_tuned)")
    parser.add_argument("--widest", type=int, default=14, help="bits of weights and values at the start (default: 14)")
    parser.add_argument("--quantile", type=float, default=0.9999, help="share of values to fit (default: 0.9999)")
    parser.add_argument("--margin", type=float, default=1.0, help="factor on the largest of them (default: 1)")
    parser.add_argument("--no-clip", action="store_true", help="keep the integer bits of the ranges to the end")
    parser.add_argument("--calibration-jets", type=int, default=2048, help="of the training split (default: 2048)")
    parser.add_argument("--jets", type=int, default=20_000, help="validation, then training jets (default: 20000)")
    parser.add_argument("--steps", type=int, default=600, help="measured steps, at most (default: 600)")
    cli.add_set(parser, "data.max_jets=1000")
    return parser.parse_args(arguments)


def run(build: Build, options: argparse.Namespace) -> int:
    """Search, write and print; 0 when the run folder is written, 3 after a stop."""
    from rich.console import Console

    from qformers.progress import bars
    from qformers.quant.ptq.bench import Stopped
    from qformers.quant.ptq.budget import Budget
    from qformers.quant.ptq.ranges import Rule
    from qformers.quant.ptq.session import Settings, tune

    settings = Settings(
        budget=Budget(options.max_loss, options.ebops),
        rule=Rule(options.quantile, options.margin),
        widest=options.widest,
        clip=not options.no_clip,
        calibration_jets=options.calibration_jets,
        jets=options.jets,
        steps=options.steps,
        plain=not options.overrides,
    )
    out = options.out or Path("runs") / f"{build.name}_tuned"
    console = Console(soft_wrap=True, highlight=False)
    try:
        with bars(console=console) as reporter:
            lines = tune(options.model, options.build, build, out, settings, console, reporter)
    except Stopped as reason:
        print(f"{reason}: stopped; the same command goes on from there")
        return STOPPED
    print("\n".join(lines))
    return 0


def main() -> int:
    """Entry point. Returns 0 when the run folder is written, 1 on an error, 3 after a stop on request."""
    return cli.on_build(parse(), run)


if __name__ == "__main__":
    sys.exit(main())
