#!/usr/bin/env python3
"""Zero weights of a trained model, layer by layer, and what they save.

    python scripts/sparsity.py firmware_configs/part_demo.yaml
    python scripts/sparsity.py firmware_configs/part_demo.yaml --lut

Zeros come from pruning (train.<phase>.prune) and from widths that were learned to be none. EBOPs saved: had every zero
the mean bits of the other weights of its layer. --lut traces the model with alkaid as it is, and with every zero
replaced by a weight drawn from its layer. Written to sparsity.json beside the model.
"""

from __future__ import annotations

import argparse
import sys

from hls import cli
from qformers.builds.build import Build


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.parser_of(__doc__)
    cli.add_build(parser)
    cli.add_model(parser)
    parser.add_argument("--lut", action="store_true", help="also estimate LUT with and without the zeros (minutes)")
    cli.add_run(parser)
    cli.add_set(parser, "name=other")
    return parser.parse_args(arguments)


def run(build: Build, options: argparse.Namespace) -> int:
    """Print the table and write ``sparsity.json``."""
    from rich.console import Console

    from qformers.builds.models import load_model
    from qformers.files import write_json
    from qformers.quant.prune.sparsity import sparsity, table

    path = cli.model_path(build, options.model, options.run)
    found = sparsity(load_model(path))
    record, lut = found.to_json(), None
    if options.lut:
        from hls.stages.zeros import lut_without_zeros

        lut = lut_without_zeros(path)
        for row in record["layers"]:
            row["lut"], row["lut_filled"] = lut[row["layer"]]
        record["lut"], record["lut_filled"] = lut["total"]
    console = Console(width=150)
    console.print(table(found, lut))
    if lut:
        now, filled = lut["total"]
        console.print(f"LUT of the whole model (alkaid, estimate): {now:,.0f}; without zeros {filled:,.0f}")
    out = path.with_name("sparsity.json")
    write_json(out, record)
    print(f"written: {out}")
    return 0


def main() -> int:
    """Entry point. Returns 0, or 1 on an error."""
    return cli.on_build(parse(), run)


if __name__ == "__main__":
    sys.exit(main())
