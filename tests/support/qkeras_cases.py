"""Quantisers and numbers on which QKeras and `qformers.interop.qkeras` are compared; needs NumPy only."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def numbers() -> Array:
    """Ties of every grid used here, ends of ranges, thresholds, tiny, huge and common numbers."""
    random = np.random.default_rng(11)
    parts: list[Any] = [
        np.arange(-72, 73) / 16,  # ties and values of steps 1/8 and coarser
        np.arange(-65, 66, 2) / 128,  # ties of step 1/64
        [0.0, -0.0, 0.33, -0.33, 0.3299999, 1e-8, -1e-8, 1e-7, 2e-7, -3e-7, 1e-3, 100.3, -100.3, 12345.678, -5e4, 1e6],
        2.0 ** np.arange(-9, 8) * 1.4142,
        2.0 ** np.arange(-9, 8) * -1.4143,
        random.normal(size=60),
        random.normal(size=40) * 8,
        random.normal(size=40) / 16,
    ]  # fmt: skip
    return np.concatenate(parts).astype(np.float32)


def kernels() -> dict[str, Array]:
    """Weights: a matrix whose columns differ in size, a convolution's, a vector, one with zeros, one on a grid."""
    random = np.random.default_rng(12)
    return {
        "matrix": (random.normal(size=(12, 6)) * 2.0 ** np.arange(-4, 2)).astype(np.float32),
        "filters": (random.normal(size=(3, 2, 2, 4)) * 0.4).astype(np.float32),
        "vector": (random.normal(size=9) * 0.5).astype(np.float32),
        "zeros": np.asarray([[0.0, 0.5], [0.0, -0.25], [0.0, 0.75]], np.float32),
        "grid": (random.integers(-31, 32, (6, 5)) / 32).astype(np.float32),
    }


def _widths(name: str, widths: list[tuple[int, int]], *more: str) -> list[str]:
    return [f"{name}({bits}, {integer}{extra})" for (bits, integer), extra in product(widths, more)]


FLOWING = [  # on values that flow
    *_widths("quantized_bits", [(8, 0), (6, 0), (6, 2), (4, 3), (3, -1), (16, 6), (1, 0), (2, 1), (4, 5)],
             ", alpha=1", "", ", 1, alpha=1.0", ", keep_negative=0", ", alpha=0.5", ", alpha=4"),
    "quantized_bits()", "quantized_bits(5, 1, use_stochastic_rounding=True, alpha=1)",
    "quantized_bits(4, 1, 1, 0, alpha=1)", "quantized_bits(12, 4, use_ste=False)",
    *_widths("quantized_relu", [(8, 0), (6, 0), (6, 2), (4, 4), (3, 1), (1, 1), (2, 0), (16, 6)],
             "", ", negative_slope=0.25", ", negative_slope=0.5", ", use_sigmoid=1"),
    "quantized_relu()", "quantized_relu(5, 2, use_stochastic_rounding=True)",
    "quantized_relu(5, 2, relu_upper_bound=3)",
    *[f"quantized_tanh({bits}{more})" for bits in (2, 4, 8) for more in
      ("", ", symmetric=True", ", use_real_tanh=True", ", use_stochastic_rounding=True")],
    *[f"quantized_sigmoid({bits}{more})" for bits in (1, 2, 4, 8) for more in
      ("", ", symmetric=True", ", use_real_sigmoid=True")],
    "binary()", "binary(alpha=1)", "binary(1, alpha=0.5)", "binary(use_01=True)",
    "ternary()", "ternary(alpha=1)", "ternary(threshold=0.5, alpha=2.0)", "ternary(alpha=1, threshold=0.25)",
    *[f"quantized_po2({bits}{more})" for bits in (3, 4, 5, 8) for more in
      ("", ", 1.0", ", max_value=4", ", quadratic_approximation=True", ", max_value=0.5")],
    *[f"quantized_relu_po2({bits}{more})" for bits in (3, 4, 6) for more in
      ("", ", 2048", ", max_value=1", ", quadratic_approximation=True", ", negative_slope=0.25")],
]  # fmt: skip

LINEAR = _widths("quantized_linear", [(8, 0), (6, 2), (4, 3), (1, 0), (1, 2), (2, 1)],
                 "", ", alpha=1", ", 0", ", keep_negative=0", ", alpha=0.5", ", alpha=2.0, symmetric=0")  # fmt: skip

WEIGHTS = [  # on weights, as a layer's kernel has them
    "quantized_bits(6, 0, alpha=1)", "quantized_bits(6, 0)", "quantized_bits(4, 0, alpha='auto_po2')",
    "quantized_bits(4, 1, alpha='auto_po2')", "quantized_bits(2, 0, alpha='auto_po2')",
    "quantized_bits(8, 2, alpha='auto_po2')", "quantized_bits(3, 0, 1, alpha=0.25)",
    "binary()", "binary(alpha=1)", "binary(alpha='auto_po2')", "binary(use_01=True)", "ternary()", "ternary(alpha=1)",
    "ternary(alpha='auto_po2')", "quantized_po2(4)", "quantized_po2(5, 1)", "quantized_po2(4, 2)",
    "quantized_relu_po2(6, 2048)", "quantized_relu_po2(6, quadratic_approximation=True)",
]  # fmt: skip

LINEAR_WEIGHTS = ["quantized_linear(6, 0)", "quantized_linear(4, 1, alpha='auto_po2')", "quantized_linear(1, 0)",
                  "quantized_linear(3, 0, alpha='auto_po2', keep_negative=False)"]  # fmt: skip


ALL_WIDTHS = [(bits, integer) for bits in range(1, 17) for integer in range(7)]

WIDE = [  # besides, where time does not count (`make test-qkeras`)
    *_widths("quantized_bits", ALL_WIDTHS, ", alpha=1", ", 1, alpha=1", ", keep_negative=0", ", alpha=0.125"),
    *_widths("quantized_relu", ALL_WIDTHS, "", ", negative_slope=0.125"),
    *[f"quantized_tanh({bits}{more})" for bits in range(1, 17) for more in ("", ", symmetric=1", ", use_real_tanh=1")],
    *[f"quantized_sigmoid({bits}{more})" for bits in range(1, 17) for more in ("", ", symmetric=1")],
    *[f"quantized_po2({bits}{top})" for bits in range(2, 8) for top in ("", ", 0.25", ", 1", ", 2", ", 16")],
]
WIDE_WEIGHTS = _widths("quantized_bits", ALL_WIDTHS[7:], "", ", alpha=1", ", 1, alpha=0.5")


def spellings(name: str, old: bool, wide: bool = False) -> list[str]:
    """What is applied to `numbers` (name "flowing") or to one of `kernels`; QKeras 0.9 has no quantized_linear."""
    if name == "flowing":
        return FLOWING + (LINEAR if not old else []) + (WIDE if wide else [])
    return WEIGHTS + (LINEAR_WEIGHTS if not old else []) + (WIDE_WEIGHTS if wide else [])


def on_grid(shape: tuple[int, ...], seed: int, fraction_bits: int = 10, spread: float = 2.0) -> Any:
    """Model inputs: multiples of 2^-fraction_bits, so that fixed<16,6> holds them."""
    drawn = np.random.default_rng(seed).normal(size=shape) * spread
    return (np.rint(np.clip(drawn, -31, 31) * 2**fraction_bits) / 2**fraction_bits).astype(np.float32)
