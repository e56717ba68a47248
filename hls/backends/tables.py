"""Tables of functions of one variable, addressed by the bit pattern of a fixed-point number."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

MAX_ADDRESS_BITS = 12  # 4096 entries of one table

Array = NDArray[np.float64]


def all_values(signed: bool, width: int, fraction_bits: int) -> Array:
    """The 2^width numbers of a format in the order of their bit patterns: from 0 up, then the negative ones."""
    pattern = np.arange(2 ** max(width, 0))
    signed_pattern = (
        np.where(pattern >= 2 ** (width - 1), pattern - 2**width, pattern) if signed and width > 0 else pattern
    )
    return np.asarray(signed_pattern * 2.0**-fraction_bits)


def table_values(layer: Any, values: Array) -> Array:
    """What a one-variable Keras layer answers to `values` (n,), whatever the rank that it was built for."""
    rank = len(layer.input.shape)
    answer = layer(keras.ops.convert_to_tensor(values.astype(np.float32).reshape(-1, *[1] * (rank - 1))))
    return np.asarray(keras.ops.convert_to_numpy(answer), np.float64).reshape(-1)
