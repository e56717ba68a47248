#!/usr/bin/env python3
"""How well the two fixed-point forms of the pair features follow the exact ones, on real jets.

    python benchmarks/pair_features.py [--build firmware_configs/part_demo.yaml]
    python benchmarks/pair_features.py --show     # the table again

Exact: ln kT, ln z, ln dR, ln m^2 from four-momenta in float64 (arXiv:2202.03772). `input`: computed on the host,
standardised, clipped and rounded to 8 and 10 bits. `onchip`: from ln pT, eta and phi by the adders and tables of
`qformers.models.part.pairs`, first with exact arithmetic (what the log-domain formula itself costs: pseudorapidity
instead of rapidity, no particle masses, small angles), then with its fixed-point formats.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.markdown import machine_words, table  # noqa: E402
from qformers.builds.build import load  # noqa: E402
from qformers.data import open_split  # noqa: E402
from qformers.files import write_json  # noqa: E402
from qformers.manifest import machine  # noqa: E402
from qformers.precision.fixed import Fixed  # noqa: E402

if TYPE_CHECKING:
    from qformers.data.events import Events

RESULTS = ROOT / "benchmarks" / "results" / "pair_features.json"
QUANTILES = (0.01, 0.5, 0.99)
Array = NDArray[np.float64]


def off_diagonal(values: Array, mask: NDArray[Any]) -> Array:
    """(n, N, N, 4) -> (pairs, 4): real pairs i > j."""
    rows, columns = np.tril_indices(mask.shape[1], -1)
    real = (mask[:, rows] * mask[:, columns]) > 0
    return values[:, rows, columns][real]


def from_chip(events: Events, vocabulary: Any) -> Array:
    """(pairs, 4): the four channels from what the chip computes."""
    from qformers.models.part.pairs import onchip_features

    particles, features = events.features.shape[1:]
    vocabulary.declare(point="n", channel="f")
    x = vocabulary.input("features", (particles, features), "bnf")
    model = vocabulary.model({"features": x}, onchip_features(particles, events.feature_set, vocabulary, x), "pairs")
    high, low, ln_r, soft = np.moveaxis(
        model.predict({"features": events.features}, batch_size=512, verbose=0), -1, 0
    ).astype(float)
    channels = np.stack([low + ln_r / 2, low - high - soft, ln_r / 2, high + low + ln_r], axis=-1)  # (n, P, 4)
    rows, columns = np.tril_indices(particles, -1)
    return np.asarray(channels[(events.mask[:, rows] * events.mask[:, columns]) > 0])


def from_host(exact: Array, form: Fixed) -> Array:
    """Standardised, clipped and rounded, then back in natural units."""
    from qformers.models.inputs import PAIR_RANGE, PAIR_SCALE, PAIR_SHIFT

    z = np.clip((exact - PAIR_SHIFT) * PAIR_SCALE, -PAIR_RANGE, PAIR_RANGE)
    return np.asarray(form.quantise(z) / PAIR_SCALE + PAIR_SHIFT)


def measured(build_file: str, jets: int) -> dict[str, Any]:
    """Quantiles of the exact features, and the errors of each form.

    Args:
        build_file: with a section quant; its training jets are read with the features ln pT, eta, phi.
        jets: at most so many.
    """
    from qformers.models.inputs import PAIR_NAMES, pair_features
    from qformers.nn.float32 import Float32
    from qformers.nn.hgq import Hgq

    build = load(build_file, ["data.features=lnpt_eta_phi"])
    events = open_split(build.data, "train").load()
    events = events[slice(0, jets)]
    exact = off_diagonal(pair_features(events.vectors), events.mask)
    if build.quant is None:
        raise SystemExit(f"{build_file}: needs a section quant")
    forms = {
        "`pairs: input`, 8 bits": from_host(exact, Fixed.parse("fixed<8,3>")),
        "`pairs: input`, 10 bits": from_host(exact, Fixed.parse("fixed<10,3>")),
        "`pairs: onchip`, exact arithmetic": from_chip(events, Float32()),
        "`pairs: onchip`, fixed point": from_chip(events, Hgq(build.quant)),
    }
    return {
        "build": build.name,
        "jets": len(events),
        "particles": events.mask.shape[1],
        "pairs": len(exact),
        "seed": build.seed,
        "machine": machine_words(machine()),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "quantiles": {name: np.quantile(c, QUANTILES).tolist() for name, c in zip(PAIR_NAMES, exact.T, strict=True)},
        "errors": {form: errors_of(values, exact) for form, values in forms.items()},
    }


def errors_of(values: Array, exact: Array) -> dict[str, list[float]]:
    """Median and 99 % quantile of |error|, and the correlation, of each channel; values and exact are (pairs, 4)."""
    size = np.abs(values - exact)
    together = [float(np.corrcoef(values[:, i], exact[:, i])[0, 1]) for i in range(exact.shape[1])]
    return {
        "median": np.median(size, axis=0).tolist(),
        "most": np.quantile(size, 0.99, axis=0).tolist(),
        "correlation": together,
    }


def text(content: Mapping[str, Any]) -> str:
    """The table as Markdown: median |error|, 99 % of |error|, correlation."""
    lines = [["form", *content["quantiles"]]]
    for form, errors in content["errors"].items():
        columns = zip(errors["median"], errors["most"], errors["correlation"], strict=True)
        lines.append([form, *(f"{half:.3f}, {most:.2f}; {same:.4f}" for half, most, same in columns)])
    return table(lines)


def conditions(content: Mapping[str, Any]) -> str:
    """What it was measured on."""
    return (
        f"Median |error|, 99 % quantile of |error|; correlation. Training jets of {content['build']}: "
        f"{content['jets']:,} jets, N = {content['particles']}, {content['pairs']:,} pairs, seed {content['seed']}, "
        f"{content['machine']}, {content['date']}."
    )


def main() -> None:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="firmware_configs/part_demo.yaml", help="(default: %(default)s)")
    parser.add_argument("--jets", type=int, default=2000, help="at most (default: %(default)s)")
    parser.add_argument("--show", action="store_true", help="measure nothing, print what is known")
    options = parser.parse_args()
    if not options.show:
        write_json(RESULTS, measured(options.build, options.jets))
    content = json.loads(RESULTS.read_text())
    print(f"{text(content)}\n\n{conditions(content)}")


if __name__ == "__main__":
    main()
