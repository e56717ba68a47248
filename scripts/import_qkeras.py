"""Save a QKeras model as a Keras model of HGQ2 layers that computes the same bit for bit and goes to firmware.

    scripts/import_qkeras.py jets.h5 jets.keras --input 'fixed<16,6>' --logits

Reads QKeras 0.9's .h5 and qkeras-v3's .keras and .h5 without QKeras. What fixed point cannot hold exactly is refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from qformers.errors import WeightsError


def main(arguments: list[str]) -> int:
    """Parse, import, print what was written; 0 if it was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="model saved by QKeras, .h5 or .keras")
    parser.add_argument("target", type=Path, help="model to write, ends in .keras")
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="[NAME=]FORMAT",
        help="format in which inputs arrive, e.g. 'fixed<16,6>'; not needed where a QActivation reads them",
    )
    parser.add_argument("--logits", action="store_true", help="leave a last softmax or sigmoid away")
    parser.add_argument(
        "--sigmoid",
        choices=("hard", "smooth", "real"),
        default="hard",
        help="qkeras.set_internal_sigmoid of the training, which no file says (default hard)",
    )
    args = parser.parse_args(arguments)
    from qformers.interop.qkeras.build import Options, parse_inputs
    from qformers.interop.qkeras.importer import import_qkeras

    try:
        options = Options(parse_inputs(args.input), args.sigmoid, args.logits)
        imported = import_qkeras(args.source, args.target, options)
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    model = imported.model
    shapes = {tensor.name: tensor.shape[1:] for tensor in model.inputs}
    ebops = sum(float(layer.ebops) for layer in model.layers if hasattr(layer, "ebops"))
    print(f"{args.target}: {len(model.layers)} layers, inputs {shapes}, {ebops:,.0f} EBOPs")
    for note in imported.notes:
        print(f"note: {note}")
    if not imported.notes:
        print("every value is computed as QKeras computes it, bit for bit")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
