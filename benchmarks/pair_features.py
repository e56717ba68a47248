#!/usr/bin/env python3
"""How well the two fixed-point forms of the pair features follow the exact ones, on real jets.

    python benchmarks/pair_features.py [--build firmware_configs/part_demo.yaml]

Exact: ln kT, ln z, ln dR, ln m^2 from four-momenta in float64 (arXiv:2202.03772). `input`: computed on the host,
standardised, clipped and rounded to 8 and 10 bits. `onchip`: from ln pT, eta and phi by the adders and tables of
`qformers.models.part.pairs`, first with exact arithmetic (what the log-domain formula itself costs: pseudorapidity
instead of rapidity, no particle masses, small angles), then with its fixed-point formats.
"""

from __future__ import annotations

import argparse
import datetime
import platform
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from qformers.builds.build import load
from qformers.data import open_split
from qformers.data.events import Events
from qformers.models.inputs import PAIR_NAMES, PAIR_RANGE, PAIR_SCALE, PAIR_SHIFT, pair_features
from qformers.models.part.pairs import onchip_features
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from qformers.precision.fixed import Fixed

Array = NDArray[np.float64]


def off_diagonal(values: Array, mask: NDArray[Any]) -> Array:
    """(n, N, N, 4) -> (pairs, 4): real pairs i > j."""
    rows, columns = np.tril_indices(mask.shape[1], -1)
    real = (mask[:, rows] * mask[:, columns]) > 0
    return values[:, rows, columns][real]


def from_chip(events: Events, vocabulary: Any) -> Array:
    """(pairs, 4): the four channels from what the chip computes."""
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
    z = np.clip((exact - PAIR_SHIFT) * PAIR_SCALE, -PAIR_RANGE, PAIR_RANGE)
    return np.asarray(form.quantise(z) / PAIR_SCALE + PAIR_SHIFT)


def main() -> None:
    """Print the quantiles and the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="firmware_configs/part_demo.yaml")
    parser.add_argument("--jets", type=int, default=2000)
    options = parser.parse_args()
    build = load(options.build, ["data.features=lnpt_eta_phi"])
    events = open_split(build.data, "train").load()
    events = events[slice(0, options.jets)]
    exact = off_diagonal(pair_features(events.vectors), events.mask)
    console = Console(width=140)
    console.print(
        f"{options.build}: {len(events)} jets, N = {events.mask.shape[1]}, {len(exact)} pairs; "
        f"{platform.processor() or platform.machine()}, {datetime.date.today()}"
    )
    quantiles = Table("channel", "1 %", "50 %", "99 %", title="Exact pair features")
    for name, column in zip(PAIR_NAMES, exact.T, strict=True):
        quantiles.add_row(name, *(f"{q:.2f}" for q in np.quantile(column, (0.01, 0.5, 0.99))))
    console.print(quantiles)

    quant = build.quant
    if quant is None:
        raise SystemExit(f"{options.build}: needs a section quant")
    forms = {
        "input, fixed<8,3>": from_host(exact, Fixed.parse("fixed<8,3>")),
        "input, fixed<10,3>": from_host(exact, Fixed.parse("fixed<10,3>")),
        "onchip, exact arithmetic": from_chip(events, Float32()),
        "onchip, fixed point": from_chip(events, Hgq(quant)),
    }
    errors = Table("form", *(f"{name}" for name in PAIR_NAMES), title="Error: median |e|, 99 % of |e|; correlation")
    for form, values in forms.items():
        cells = []
        for channel in range(4):
            size = np.abs(values[:, channel] - exact[:, channel])
            correlation = np.corrcoef(values[:, channel], exact[:, channel])[0, 1]
            cells.append(f"{np.median(size):.3f}, {np.quantile(size, 0.99):.2f}; {correlation:.4f}")
        errors.add_row(form, *cells)
    console.print(errors)


if __name__ == "__main__":
    main()
