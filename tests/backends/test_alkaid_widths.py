"""Wide formats in alkaid: exact to the last bit against whole numbers, or refused by layer."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.hls_models import EYE, build_of, dense

from hls.backends import open_backend
from hls.backends.alkaid.fixes import lowest_bit, mended
from hls.errors import ExportRefused
from qformers.precision.fixed import Fixed

EXACT = [
    f"{sign}fixed<{width + (sign == '')},{integer},RND,{overflow}>"
    for sign in ("", "u")
    for overflow in ("SAT", "SAT_SYM", "WRAP")
    for width, integer in ((23, 12), (24, 3), (25, 12), (26, 13), (31, 15), (31, 7))
] + ["fixed<40,20,RND,WRAP>", "fixed<51,28,RND,WRAP>", "ufixed<50,20,TRN,WRAP>"]


def model_of(text: str) -> keras.Model:
    x = keras.Input((3,), name="x")
    return keras.Model(x, {"y": dense(x, "same", text, EYE)})


def numbers(form: Fixed) -> Any:
    """Small ones, such of the size of the range, and beyond it."""
    random, top = np.random.default_rng(1), 2.0 ** (form.integer_bits - 1)
    parts = [random.normal(size=(100, 3)) * scale for scale in (8.0, top, 8 * top)]
    return np.concatenate([*parts, np.zeros((1, 3))]).astype(np.float32)


def exactly(form: Fixed, values: Any) -> Any:
    """In whole numbers of any length."""
    low, high = -(2 ** (form.width - 1)) if form.signed else 0, 2 ** (form.width - form.signed) - 1
    made = []
    for value in values.ravel():
        scaled = Fraction(float(value)) * 2**form.fraction_bits
        whole = math.floor(scaled + (Fraction(1, 2) if form.rounding == "RND" else 0))
        if form.overflow == "WRAP":
            whole = (whole - low) % (high - low + 1) + low
        else:
            whole = min(max(whole, -high if form.signed and form.overflow == "SAT_SYM" else low), high)
        made.append(float(Fraction(whole) / 2**form.fraction_bits))
    return np.array(made).reshape(values.shape)


@pytest.mark.parametrize("text", EXACT)
def test_every_bit_of_a_format_is_kept(text: str, tmp_path: Path) -> None:
    form = Fixed.parse(text)
    project = open_backend("alkaid").write(model_of(text), build_of("wide", backend="alkaid"), tmp_path / "project")
    values = numbers(form)
    found = project.outputs({"x": values}, "interpreter")["y"]
    wanted = exactly(form, values).astype(found.dtype)
    assert np.unique(wanted).size > 100
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fixed<33,17,RND,SAT>", r"same \(QEinsumDense\): its iq has 32 bits beside the sign, and alkaid holds"),
        ("ufixed<32,16,RND,SAT>", r"same \(QEinsumDense\): its iq has 32 bits beside the sign, and alkaid holds"),
        ("fixed<100,50,RND,SAT>", r"same \(QEinsumDense\): its iq has 99 bits beside the sign, 50 can be held"),
        ("fixed<66,30,TRN,WRAP>", r"same \(QEinsumDense\): its iq has 65 bits beside the sign, 50 can be held"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_layer(text: str, words: str, tmp_path: Path) -> None:
    backend, model = open_backend("alkaid"), model_of(text)
    with pytest.raises(ExportRefused, match=words):
        backend.write(model, build_of("wide", backend="alkaid"), tmp_path / "project")
    assert not (tmp_path / "project").exists()


def test_the_lowest_bit_of_a_constant() -> None:
    for value in (1.5, 8191.999755859375, 2.0**24 + 1, -8193.000244140625, 2.0**-50, 2.0**53 - 1, 0.0):
        found = lowest_bit(value)
        assert found == 127 if value == 0 else (value / 2.0**found) % 2 == 1


def test_alkaid_searches_lowest_bits_in_float32() -> None:
    """Fails on the day it is mended."""
    from alkaid.trace import fixed_variable

    assert fixed_variable.get_lsb_loc(8191.999755859375) == 13
    with mended():
        assert fixed_variable.get_lsb_loc(8191.999755859375) == -12
    assert fixed_variable.get_lsb_loc(8191.999755859375) == 13


def test_a_constant_that_would_be_cut_off_stops_the_trace() -> None:
    from alkaid.trace import FVariable, HWConfig

    with mended():
        value = FVariable(0.0, 7.0, 1.0, hwconf=HWConfig(1, 1, -1))
        assert (value + 2.0**20 + 2.0**-10).low == 2.0**20 + 2.0**-10
        with pytest.raises(ValueError, match="needs more than 32 bits"):
            value + (2.0**20 + 2.0**-20)
        with pytest.raises(ValueError, match="needs more than 32 bits"):
            (value + 2.0**20) + 2.0**-20
