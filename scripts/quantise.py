#!/usr/bin/env python3
"""Post-training quantisation: the weights of a float model in the formats of a build file, without training.

    python scripts/quantise.py runs/part_demo/float/model.keras my_build.yaml --out runs/part_ptq
    python scripts/quantise.py runs/part_demo/float/model.keras my_build.yaml --out runs/part_ptq --calibrate

Formats are taken as the section `quant` spells them; nothing is learned, whatever `quant.learn` says. With --calibrate
every format keeps its width, and its integer bits are those that the values on calibration jets need; build.yaml in the
run folder then spells the formats that were found. The run folder is that of a training: export_hls.py, run_csim.py and
the others take it with its build.yaml.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hls import cli
from qformers.builds.build import Build
from qformers.errors import ConfigError


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.parser_of(__doc__)
    parser.add_argument("model", type=Path, help="float model, e.g. runs/part_demo/float/model.keras")
    cli.add_build(parser)
    parser.add_argument("--out", type=Path, help="run folder (default: runs/<name of the build>)")
    parser.add_argument("--calibrate", action="store_true", help="set integer bits from the ranges seen, keep widths")
    parser.add_argument("--quantile", type=float, help="share of the values that must fit (default: 0.9999)")
    parser.add_argument("--margin", type=float, help="factor on the largest of them (default: 1)")
    parser.add_argument("--calibration-jets", type=int, default=2048, help="of the training split (default: 2048)")
    cli.add_set(parser, "quant.weight=fixed<8,2>")
    return parser.parse_args(arguments)


def run(build: Build, options: argparse.Namespace) -> int:
    """Quantise and print; 0 when the run folder is written."""
    from rich.console import Console

    from qformers.quant.ptq import ranges, run_folder

    given = {"quantile": options.quantile, "margin": options.margin}
    said = {name: value for name, value in given.items() if value is not None}
    if said and not options.calibrate:
        raise ConfigError(f"--{' and --'.join(said)} go with --calibrate. Received: no --calibrate")
    out, rule = cli.run_folder(build, options.out), ranges.Rule(**said)
    run_folder.refuse_other(out)
    material = run_folder.gather(options.model, build, options.calibration_jets)
    facts: dict[str, object] = {"formats": "as given"}
    if options.calibrate:
        build = material.shop.said(ranges.calibrated(material.shop, rule))
        facts = {"formats": "calibrated", "quantile": rule.quantile, "margin": rule.margin}
    done = run_folder.write(material, build, out, facts)
    Console(soft_wrap=True).print(run_folder.error_table(done.errors))
    accuracy = f"{done.accuracy:.4f} +- {done.accuracy_error:.4f}"
    print(f"{done.folder / 'model.keras'}  test accuracy {accuracy}  EBOPs {done.ebops}")
    print(f"written: {out}")
    return 0


def main() -> int:
    """Entry point. Returns 0 when the run folder is written, 1 on an error."""
    return cli.on_build(parse(), run)


if __name__ == "__main__":
    sys.exit(main())
