"""Zero weights of a trained model, layer by layer, and what they save.

    qformers sparsity firmware_configs/part_demo.yaml
    qformers sparsity firmware_configs/part_demo.yaml --lut

Zeros come from pruning (train.<phase>.prune) and from widths that were learned to be none. EBOPs saved: had every zero
the mean bits of the other weights of its layer. --lut traces the model with alkaid as it is, and with every zero
replaced by a weight drawn from its layer. Written to sparsity.json beside the model.
"""

from __future__ import annotations

import argparse

from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    shared.add_build(parser)
    shared.add_run(parser)
    shared.add_model(parser)
    parser.add_argument("--lut", action="store_true", help="also estimate LUT with and without the zeros (minutes)")
    shared.add_set(parser, "name=other")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Print the table and write ``sparsity.json``."""
    build = shared.load_build(options)
    model = shared.model_path(build, options.model, options.run)
    from hls.stages.export import refuse_other_build
    from hls.stages.sparsity import zeros

    refuse_other_build(model, build)

    result = zeros(model, options.lut)
    out = result.save()
    result.show(shared.terminal(options))
    print(f"written: {out}")
    return status.DONE


COMMAND = Command("sparsity", __doc__ or "", add, run)
