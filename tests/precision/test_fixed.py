"""`Fixed`: spelling, limits, rounding."""

from __future__ import annotations

import numpy as np
import pytest

from qformers.precision.fixed import Fixed, exact_format


@pytest.mark.parametrize(
    ("text", "low", "high", "step"),
    [
        ("fixed<8,3>", -4.0, 4.0 - 2.0**-5, 2.0**-5),
        ("ufixed<8,3>", 0.0, 8.0 - 2.0**-5, 2.0**-5),
        ("ap_fixed<6,1,RND,SAT_SYM>", -(1 - 2.0**-5), 1 - 2.0**-5, 2.0**-5),
        ("ufixed<9,-5,RND,SAT>", 0.0, 2.0**-5 - 2.0**-14, 2.0**-14),
        ("ufixed<5,5>", 0.0, 31.0, 1.0),
    ],
)
def test_limits_follow_the_spelling(text: str, low: float, high: float, step: float) -> None:
    form = Fixed.parse(text)
    assert (form.low, form.high, form.step) == (low, high, step)
    assert Fixed.parse(str(form)) == form


@pytest.mark.parametrize(
    "text",
    [
        "fixed<8>",
        "float",
        "fixed<8,3,UP>",
        "fixed<0,1>",
        "fixed<8,3",
        "",
        "fixed<8,3,TRN,RND>",
        "fixed<129,1>",
        "fixed<8,999>",
        "fixed<8,3,RND,SAT,0>",
        "fixed<" + "9" * 5000 + ",1>",
    ],
)
def test_wrong_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Received: '"):
        Fixed.parse(text)


@pytest.mark.parametrize(
    ("modes", "values", "expected"),
    [
        ("RND,SAT", [0.25, -0.25, 3.9, -9.0], [0.5, 0.0, 1.5, -2.0]),
        ("TRN,SAT", [0.49, -0.01, 3.9, -9.0], [0.0, -0.5, 1.5, -2.0]),
        ("RND_CONV,SAT_SYM", [0.25, 0.75, 3.9, -9.0], [0.0, 1.0, 1.5, -1.5]),
        ("TRN,WRAP", [2.0, 2.5, -2.5, 1.5], [-2.0, -1.5, 1.5, 1.5]),
    ],
)
def test_quantise_rounds_and_overflows(modes: str, values: list[float], expected: list[float]) -> None:
    np.testing.assert_array_equal(Fixed.parse(f"fixed<3,2,{modes}>").quantise(values), expected)


def test_exact_format_holds_constants_and_no_more() -> None:
    values = np.array([0.0, 1.0, -1.0, 0.5, -0.75, 32.0, -8.0, 3.0])
    sign, integer, fraction = exact_format(values)
    for value, k, i, f in zip(values, sign, integer, fraction, strict=True):
        if value == 0:
            assert (k, i, f) == (0, 0, 0)
            continue
        assert -k * 2.0**i <= value <= 2.0**i - 2.0**-f
        assert value % 2.0**-f == 0
        assert not (-k * 2.0 ** (i - 1) <= value <= 2.0 ** (i - 1) - 2.0**-f), "one integer bit less would do"
        assert value % 2.0 ** -(f - 1) != 0, "one fraction bit less would do"


def test_exact_format_refuses_what_has_no_short_form() -> None:
    with pytest.raises(ValueError, match=r"multiples of 2\^-24 below 2\^24 in size. Received: 0.1"):
        exact_format([1.0, 0.1])
