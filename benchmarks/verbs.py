#!/usr/bin/env python3
"""How far norms, activations and factors in fixed point are from float, by the bits of the values that they read.

    python benchmarks/verbs.py            # measures, keeps and prints the table
    python benchmarks/verbs.py --show     # the table again

Each verb of `qformers.nn.hgq` alone, its ranges set by calibration as before a training, on points of 16 channels:
normal numbers, each point times a size of its own that spreads by a factor of 1.5 (log-normal). Given is the root mean
square of the difference to float64, over that of the float64 values; firmware has the values of the fixed-point verb to
the bit.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.markdown import machine_words, table  # noqa: E402
from qformers.config.sections import QuantConfig  # noqa: E402
from qformers.files import write_json  # noqa: E402
from qformers.manifest import machine  # noqa: E402
from qformers.nn.vocabulary import Linear, Norm  # noqa: E402

if TYPE_CHECKING:
    from qformers.nn.hgq import Hgq

RESULTS = ROOT / "benchmarks" / "results" / "verbs.json"
BITS = (6, 8, 10, 12, 14)
EVENTS, POINTS, CHANNELS, SEED = 2000, 8, 16, 1
SPREAD = np.log(1.5)  # standard deviation of the logarithm of a point's size
Array = NDArray[np.float64]
Say = Callable[["Hgq", Any], Any]


def _norm(kind: Any) -> Say:
    """A dense step of one-hot weights has to read it: the product in front of that step is the normed value."""
    return lambda nn, x: nn.dense(nn.norm(x, Norm("norm", kind)), "read", Linear("bnd,de->bne", {"e": CHANNELS}, "e"))


def _activation(name: Any) -> Say:
    return lambda nn, x: nn.dense(x, "step", Linear("bnd,de->bne", {"e": CHANNELS}, None, activation=name))


VERBS: dict[str, tuple[Say, str]] = {  # how it is said, and the layer whose values are compared
    "layer norm": (_norm("layer"), "norm_normed"),
    "RMS norm": (_norm("rms"), "norm_normed"),
    "GELU": (_activation("gelu"), "step_gelu"),
    "SiLU": (_activation("silu"), "step_silu"),
    "tanh": (_activation("tanh"), "step_tanh"),
    "SwiGLU": (
        lambda nn, x: nn.swiglu(x, "step", Linear("bnd,de->bne", {"e": CHANNELS}, None)),
        "step_gated",
    ),
    "factors of a residual": (lambda nn, x: nn.residual_factors(x, "factors"), "factors"),
}


def truth(x: Array, factors: Array) -> dict[str, Array]:
    """What each verb is, in float64: x and the results are (events, points, channels)."""
    from scipy.special import erf

    def silu(values: Array) -> Array:
        return np.asarray(values / (1.0 + np.exp(-values)))

    def rms(values: Array) -> Array:
        return np.asarray(values / np.sqrt((values**2).mean(-1, keepdims=True)))

    return {
        "layer norm": rms(x - x.mean(-1, keepdims=True)),
        "RMS norm": rms(x),
        "GELU": np.asarray(x / 2 * (1.0 + erf(x / np.sqrt(2.0)))),
        "SiLU": silu(x),
        "tanh": np.tanh(x),
        "SwiGLU": x * silu(x),
        "factors of a residual": x * factors,
    }


def formats(bits: int) -> QuantConfig:
    """Values of so many bits everywhere; weights wide enough to be no part of the error."""
    return QuantConfig(
        weight="fixed<16,3,RND,SAT_SYM>",
        activation=f"fixed<{bits},4,RND,SAT>",
        norm_bits=bits,
        smooth_fraction_bits=bits - 4,
        granularity="tensor",
        max_bits=16,
    )


def error_of(verb: str, bits: int, x: Array, factors: Array) -> float:
    """Relative error of a verb."""
    import keras

    from qformers.nn.hgq import Hgq
    from qformers.quant.fold import calibrate

    say, layer = VERBS[verb]
    nn = Hgq(formats(bits))
    nn.declare(point="n", channel="de")
    given = nn.input("x", (POINTS, CHANNELS), "bnd")
    model = nn.model({"x": given}, say(nn, given), "verb")
    for weighted in model.layers:
        if weighted.trainable and hasattr(weighted, "_kernel"):
            shape = weighted._kernel.shape
            weighted._kernel.assign(np.eye(*shape) if len(shape) == 2 else factors)
    inputs = {"x": x.astype(np.float32)}
    calibrate(model, inputs, start=True)
    made = keras.Model(model.inputs, model.get_layer(layer).output)(inputs, training=False)
    wanted = truth(x, factors)[verb]
    error = np.asarray(made, np.float64) - wanted
    return float(np.sqrt((error**2).mean() / (wanted**2).mean()))


def measured() -> dict[str, Any]:
    """All verbs with all bits."""
    random = np.random.default_rng(SEED)
    size = np.exp(random.normal(0.0, SPREAD, (EVENTS, POINTS, 1)))
    x = (random.normal(0.0, 1.0, (EVENTS, POINTS, CHANNELS)) * size).astype(np.float32).astype(np.float64)
    factors = random.uniform(0.5, 2.0, CHANNELS).astype(np.float32).astype(np.float64)
    return {
        "seed": SEED,
        "points": EVENTS * POINTS,
        "channels": CHANNELS,
        "machine": machine_words(machine()),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "errors": {verb: {str(bits): error_of(verb, bits, x, factors) for bits in BITS} for verb in VERBS},
    }


def text(content: Mapping[str, Any]) -> str:
    """The table as Markdown."""
    rows = [["verb", *(f"{bits} bits" for bits in BITS)]]
    for verb, errors in content["errors"].items():
        rows.append([verb, *(f"{errors[str(bits)]:.2%}" for bits in BITS)])
    return table(rows)


def conditions(content: Mapping[str, Any]) -> str:
    """What it was measured on."""
    return (
        f"Root mean square of the error over that of the values; {content['points']:,} points of {content['channels']} "
        f"channels, seed {content['seed']}, {content['machine']}, {content['date']}."
    )


def main() -> None:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="measure nothing, print what is known")
    options = parser.parse_args()
    if not options.show:
        write_json(RESULTS, measured())
    content = json.loads(RESULTS.read_text())
    print(f"{text(content)}\n\n{conditions(content)}")


if __name__ == "__main__":
    main()
