"""A defect of alkaid 0.8.2 that trained attention models meet, and the solver option that avoids it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from support import hls_models as h

BITS = 6  # alkaid gathers so many one-bit inputs of a sum into one table


def _one_bit(signed: bool) -> keras.Model:
    """A sum over six values of one bit: 0 or 1, or, with a sign and no other bit, 0 or -1."""
    x = keras.Input((BITS,), name="x")
    kernel = np.arange(1, BITS + 1)[:, None] / 4 * np.array([[1, -1]])
    model = keras.Model(x, h.dense(x, "total", "ufixed<1,1,RND,SAT>", kernel))
    if signed:  # training comes to such widths, a build file cannot spell them
        core = model.get_layer("total").iq.quantizer
        for variable, value in ((core._k, 1), (core._i, 0), (core._f, 0)):
            variable.assign(np.full(variable.shape, value))
    return model


def _differing(model: keras.Model, options: dict[str, Any]) -> int:
    from alkaid.converter import trace_model
    from alkaid.trace import HWConfig, trace

    x = np.random.default_rng(0).integers(-8, 8, (500, BITS)) / 4
    comb = trace(*trace_model(model, HWConfig(1, 1, -1), {"hard_dc": 5, **options}, inputs_kif=((1, 2, 2),)))
    expected = keras.ops.convert_to_numpy(model(x.astype(np.float32)))
    assert np.unique(expected).size > 10
    return int((comb.predict(x).reshape(expected.shape) != expected).sum())


def test_sums_of_signed_one_bit_values_stop_alkaid() -> None:
    """It takes k + i + f = 1 for a bit that is 0 or 1. Once this fails, ``binary_lut: False`` can go."""
    assert _differing(_one_bit(signed=False), {}) == 0
    with pytest.raises(AssertionError, match="does not cover all values of the variable"):
        _differing(_one_bit(signed=True), {})


def test_without_tables_of_bits_they_are_exact() -> None:
    assert _differing(_one_bit(signed=True), {"binary_lut": False}) == 0
