"""`Fixed` against exact rational arithmetic, against HGQ2's quantisers and against the backends' own C++ types."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hgq.quantizer import Quantizer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from quantizers import get_fixed_quantizer
from support.cxx_types import LIBRARIES, Library, build

from qformers.config.sections import QuantConfig
from qformers.nn.formats import Formats
from qformers.precision.fixed import OVERFLOW, ROUNDING, Fixed, Overflow

SAME = settings(deadline=None, database=None, derandomize=True, max_examples=200)
Array = NDArray[np.float64]
COUNT = 64  # values per format
MODES = [(rounding, overflow) for rounding in ROUNDING for overflow in OVERFLOW]


def is_format(form: Fixed) -> bool:
    """Whether the backends agree on it: one signed bit has no symmetric range."""
    return not (form.signed and form.width == 1 and form.overflow == "SAT_SYM")


@st.composite
def formats(draw: st.DrawFn) -> Fixed:
    """Formats of 1 to 24 bits, the binary point anywhere from 8 bits before them to 8 bits behind."""
    width, signed = draw(st.integers(1, 24)), draw(st.booleans())
    integer = draw(st.integers(-8, width + 8))
    form = Fixed(signed, integer - signed, width - integer, *draw(st.sampled_from(MODES)))
    return form if is_format(form) else Fixed(signed, form.integer_bits, form.fraction_bits, form.rounding, "SAT")


VALUES = st.one_of(
    st.integers(-(2**30), 2**30).map(lambda n: n / 2**12),
    st.floats(-1e9, 1e9, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-200),
)


def exact(form: Fixed, value: float) -> Fraction:
    """What the format makes of a value: integers, no rounding on the way."""
    scaled = Fraction(value) * Fraction(2) ** form.fraction_bits
    floor = math.floor(scaled)
    rest = scaled - floor
    up = {
        "TRN": False,
        "RND": rest >= Fraction(1, 2),
        "RND_CONV": rest > Fraction(1, 2) or (rest == Fraction(1, 2) and floor % 2 == 1),
    }[form.rounding]
    whole = floor + up
    top = 2 ** (form.width - form.signed) - 1
    bottom = -(top + 1) * form.signed
    if form.overflow == "WRAP":
        whole = (whole - bottom) % (2**form.width) + bottom
    else:
        whole = min(max(whole, -top * form.signed if form.overflow == "SAT_SYM" else bottom), top)
    return Fraction(whole) * Fraction(2) ** -form.fraction_bits


@SAME
@given(formats(), VALUES)
@example(Fixed(True, 3, 0), 0.49999999999999994)  # + 0.5 is 1.0 in float64
@example(Fixed(True, 3, 0, "RND", "WRAP"), 2.0**60 + 256)
@example(Fixed(True, 0, 0, "TRN", "WRAP"), -1.0)
def test_values_are_those_of_rational_arithmetic(form: Fixed, value: float) -> None:
    assert Fraction(float(form.quantise(value))) == exact(form, value)


@SAME
@given(formats())
def test_limits_are_reached_and_not_passed(form: Fixed) -> None:
    assert Fraction(form.high) == exact(Fixed(*parts(form), "TRN", "SAT"), 1e30)
    lowest: Overflow = "SAT_SYM" if form.overflow == "SAT_SYM" else "SAT"
    assert Fraction(form.low) == exact(Fixed(*parts(form), "TRN", lowest), -1e30)
    assert float(form.quantise(form.high)) == form.high
    assert float(form.quantise(form.low)) == form.low


def parts(form: Fixed) -> tuple[bool, int, int]:
    return form.signed, form.integer_bits, form.fraction_bits


@SAME
@given(formats(), st.lists(VALUES, min_size=2, max_size=5))
def test_quantising_twice_changes_nothing_and_keeps_the_order(form: Fixed, values: list[float]) -> None:
    once = form.quantise(np.sort(values))
    assert np.array_equal(form.quantise(once), once)
    if form.overflow != "WRAP":
        assert np.all(np.diff(once) >= 0)


@SAME
@given(formats(), st.sampled_from(["", "ap_"]))
def test_spelling_comes_back(form: Fixed, prefix: str) -> None:
    assert Fixed.parse(f"{prefix}{form}") == form


@SAME
@given(
    st.one_of(st.text(max_size=12), st.from_regex(r"u?fixed<-?\d{0,5},-?\d{0,5}(,[A-Z_]{1,8}){0,3}>", fullmatch=True))
)
def test_any_text_is_a_format_or_refused(text: str) -> None:
    try:
        form = Fixed.parse(text)
    except ValueError as error:
        words = str(error)
    else:
        assert Fixed.parse(str(form)) == form
        return
    assert "Received: " in words


def test_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fixed<8,3,RND,SAT> cannot hold a value that is not finite"):
        Fixed.parse("fixed<8,3>").quantise([0.0, np.nan])
    with pytest.raises(ValueError, match="cannot hold a value that is not finite"):
        Fixed.parse("fixed<8,3,TRN,WRAP>").quantise(np.inf)
    assert float(Fixed.parse("fixed<8,3>").quantise(-np.inf)) == -4.0


def grid(widths: Sequence[int], both_signs: bool) -> list[Fixed]:
    """Formats of these widths in all modes; the binary point lies left of, in and right of the bits in turn."""
    found: list[Fixed] = []
    for width in widths:
        for number, (rounding, overflow) in enumerate(MODES):
            for signed in (False, True) if both_signs else (bool((width + number) % 2),):
                integer = (-3, 0, width // 2, width, width + 3)[(width + len(found)) % 5]
                found.append(Fixed(signed, integer - signed, width - integer, rounding, overflow))
    return [form for form in found if is_format(form)]


def events(found: Sequence[Fixed], bits: int = 40) -> Array:
    """(formats, COUNT): quarters of a step around zero, around both ends and far beyond, of at most `bits` bits."""
    random = np.random.default_rng(7)
    rows = []
    for form in found:
        far = 2 ** min(form.width + 4, bits - 2)
        near = np.concatenate([np.round(np.array([form.low, form.high]) / form.step)[:, None] * 4 + np.arange(-6, 7)])
        quarters = np.concatenate([np.arange(-6, 7), near.ravel(), random.integers(-far, far, COUNT)])
        rows.append(quarters[:COUNT] * form.step / 4)
    return np.array(rows)


def hgq_values(found: Sequence[Fixed], values: Array) -> list[Any]:
    """What the arithmetic of HGQ2's quantisers makes of them, in float32 as in training."""
    made = []
    for form, row in zip(found, values, strict=True):
        k, i, f = (np.float32(part) for part in parts(form))
        quantise = get_fixed_quantizer(form.rounding, form.overflow)
        made.append(np.asarray(quantise(row.astype(np.float32), k, i, f, False, None), np.float64))
    return made


def test_hgq2_computes_the_same_where_float32_is_exact() -> None:
    found = grid(range(1, 21), both_signs=True)
    values = events(found, bits=22)
    for form, row, made in zip(found, values, hgq_values(found, values), strict=True):
        assert np.array_equal(row.astype(np.float32), row)
        np.testing.assert_array_equal(made, form.quantise(row), err_msg=str(form))


@pytest.mark.parametrize("text", ["fixed<8,3,RND,SAT>", "ufixed<5,-2,TRN,WRAP>", "fixed<4,6,RND_CONV,SAT_SYM>",
                                  "fixed<1,1,TRN,WRAP>", "ufixed<1,3,RND,SAT>"])  # fmt: skip
def test_the_quantiser_of_a_layer_is_the_format_of_the_build_file(text: str) -> None:
    form = Fixed.parse(text)
    values = events([form], bits=20)
    quantiser = Quantizer(Formats(QuantConfig(learn=False)).fixed(text))
    quantiser.build((None, COUNT))
    made = np.asarray(quantiser(values.astype(np.float32)), np.float64)
    np.testing.assert_array_equal(made, form.quantise(values))


ONE_BIT = Fixed(True, 0, 0, "TRN", "SAT_SYM")


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_the_types_of_the_backends_agree_on_some(library: Library, tmp_path: Path) -> None:
    found = grid((1, 2, 9), both_signs=False)
    odd = compare(library, found, [ONE_BIT], tmp_path)
    assert odd[0].min() == -1.0  # one signed bit saturates symmetrically nowhere but in HGQ2: `Fixed` refuses it
    assert hgq_values([ONE_BIT], np.array([[-1.0]]))[0][0] == 0.0
    with pytest.raises(ValueError, match=r"one signed bit is 0 or -1, which no symmetric range has; use SAT. Rec"):
        Fixed.parse(str(ONE_BIT))


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_the_types_of_the_backends_agree(library: Library, tmp_path: Path) -> None:
    compare(library, grid(range(1, 25), both_signs=False), [], tmp_path)


def compare(library: Library, found: Sequence[Fixed], more: Sequence[Fixed], folder: Path) -> Array:
    """Compile the formats and compare them with `Fixed`; returns what the types make of `more`."""
    every = [*found, *more]
    program = build(library, every, COUNT, folder)
    values = events(every)
    made = program.quantise(values)
    for form, row, own in zip(found, values, made, strict=False):
        np.testing.assert_array_equal(form.quantise(row), own, err_msg=f"{form}: {row}")
    return made[len(found) :]
