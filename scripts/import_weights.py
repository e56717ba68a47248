"""Save a PyTorch checkpoint as a Keras model: ParT (weaver-core) or HEPT (Graph-COM/HEPT, HEPT-CMS).

    scripts/import_weights.py part best_epoch_state.pt part.keras --particles 128
    scripts/import_weights.py hept tracking-60k-model.pt hept.keras --task tracking60k --dtype float64

The sizes of a ParT are read from the checkpoint, those of a HEPT are the task's. What no weight shows is as published;
--set changes it.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from qformers.errors import ConfigError, WeightsError


def main(arguments: list[str]) -> int:
    """Parse, import, print what was written; 0 if it was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architecture", help="part or hept")
    parser.add_argument("source", type=Path, help="checkpoint written by torch.save(model.state_dict(), ...)")
    parser.add_argument("target", type=Path, help="model to write, ends in .keras")
    parser.add_argument("--particles", type=int, help="slots per event, N (part: 128; hept: events of any size)")
    parser.add_argument("--task", help="hept: tracking60k, tracking600, pileup10k, cms_pileup or cms_tracking")
    parser.add_argument("--dtype", default="float32", help="float32 (default) or float64")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. pre_activation_pair=true")
    args = parser.parse_args(arguments)
    from qformers.interop import importers

    try:
        sizes = importers.Sizes(args.particles, args.dtype, importers.parse_options(args.set), args.task)
        model, config = importers.import_weights(args.architecture, args.source, args.target, sizes)
    except (WeightsError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    shapes = {tensor.name: tensor.shape[1:] for tensor in model.inputs}
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    print(f"{args.target}: {parameters:,} parameters, inputs {shapes}, output {model.outputs[0].shape[1:]}")
    taken = importers.ASSUMED[args.architecture]
    print("not shown by the weights, taken: " + ", ".join(f"{k}={getattr(config, k)}" for k in taken))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
