"""Save a PyTorch checkpoint as a Keras model with inputs features, vectors, mask and output logits.

    scripts/import_weights.py part best_epoch_state.pt part.keras --particles 128

The sizes are read from the checkpoint. What no weight shows is as published; --set changes it.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from qformers.config import ConfigError
from qformers.interop.errors import WeightsError


def main(arguments: list[str]) -> int:
    """Parse, import, print what was written; 0 if it was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architecture", help="part")
    parser.add_argument("source", type=Path, help="checkpoint written by torch.save(model.state_dict(), ...)")
    parser.add_argument("target", type=Path, help="model to write, ends in .keras")
    parser.add_argument("--particles", type=int, default=128, help="slots per jet, N (default 128)")
    parser.add_argument("--dtype", default="float32", help="float32 (default) or float64")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. pre_activation_pair=true")
    args = parser.parse_args(arguments)
    from qformers.interop import importers

    try:
        sizes = importers.Sizes(args.particles, args.dtype, importers.parse_options(args.set))
        model, config = importers.import_weights(args.architecture, args.source, args.target, sizes)
    except (WeightsError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    shapes = {tensor.name: tensor.shape[1:] for tensor in model.inputs}
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    print(f"{args.target}: {parameters:,} parameters, inputs {shapes}, {model.outputs[0].shape[-1]} classes")
    print("not shown by the weights, taken: " + ", ".join(f"{k}={getattr(config, k)}" for k in importers.ASSUMED))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
