"""Ranges of values and sums: sharp where they can be, safe everywhere, and what an accumulator lacks."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
from hgq.layers import QAdd, QEinsum
from hypothesis import given, settings
from hypothesis import strategies as st
from support import hls_models as h

from hls.backends.hls4ml.accumulators import shortage, shortages
from qformers.config.sections import QuantConfig
from qformers.nn.hgq import Hgq
from qformers.nn.vocabulary import Linear
from qformers.precision.fixed import Fixed
from qformers.precision.table import PrecisionTable, Row, Setting
from qformers.quant import intervals
from qformers.quant.audit import audit
from qformers.quant.fold import calibrate
from qformers.quant.formats import model_table
from qformers.quant.intervals import NO_BITS
from qformers.quant.quantisers import quantisers, walk
from qformers.quant.ranges import Sums, ranges_of, sums_of


@pytest.fixture(scope="module")
def operations() -> keras.Model:
    """Every layer that firmware has, untrained."""
    return h.operations_model()


def ends(text: str) -> tuple[float, float]:
    form = Fixed.parse(text)
    return form.low, form.high


def test_the_bounds_of_a_dense_layer_are_reached() -> None:
    x = keras.Input((3,), name="x")
    model = keras.Model(x, h.dense(x, "sum", "fixed<5,3,RND,SAT>", h.MIX))
    corners = np.array(list(itertools.product(ends("fixed<5,3>"), repeat=3)), np.float32)
    values = np.asarray(model(corners), np.float64)
    sums = sums_of(model)["sum"]
    assert (sums.low, sums.high, sums.terms) == (values.min(), values.max(), 3)
    assert sums.fraction_bits == 2 + 2  # inputs in steps of 1/4, weights of 1/4
    needed = sums.format()
    assert values.max() <= needed.high
    assert values.min() >= needed.low
    fewer = Fixed(True, needed.integer_bits - 1, needed.fraction_bits, "TRN", "WRAP")
    assert values.max() > fewer.high or values.min() < fewer.low
    assert np.any(values * 2 ** (needed.fraction_bits - 1) % 1)


def test_the_bounds_of_a_product_of_two_values_are_reached() -> None:
    x = keras.Input((2,), name="x")
    y = keras.Input((2,), name="y")
    sides = [h.form("fixed<3,2,RND,SAT>"), h.form("ufixed<4,2,RND,SAT>")]
    model = keras.Model([x, y], QEinsum("bi,bi->b", iq_confs=sides, name="dot")([x, y]))
    a = np.array(list(itertools.product(ends("fixed<3,2>"), repeat=2)), np.float32)
    b = np.array(list(itertools.product(ends("ufixed<4,2>"), repeat=2)), np.float32)
    values = np.array([[float(p @ q) for q in b] for p in a])
    sums = sums_of(model)["dot"]
    assert (sums.low, sums.high) == (values.min(), values.max())
    assert sums.fraction_bits == 1 + 2


def test_large_products_are_taken_in_slices_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    arrays = [(random.integers(-9, 0, (3, 4)) / 2.0, random.integers(0, 9, (3, 4)) / 2.0) for _ in range(2)]
    a, b = (intervals.Range(low, high, np.full((3, 4), 1)) for low, high in arrays)
    whole = intervals.einsum("bnd,md->bnm", a, b)
    monkeypatch.setattr(intervals, "MOST_PRODUCTS", 4)
    parts = intervals.einsum("bnd,md->bnm", a, b)
    for name in ("low", "high", "reach_low", "reach_high", "fraction_bits"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    assert whole.terms == parts.terms == 4


def test_no_value_leaves_its_range(operations: keras.Model) -> None:
    inputs = {"x": h.numbers(3, 600), "y": h.numbers(6, 600, 1).reshape(-1, 2, 3)}
    ranges = ranges_of(operations)
    seen: dict[str, Any] = {}
    for layer, arguments in walk(operations, inputs):
        seen[layer.name] = np.asarray(layer(arguments if len(arguments) > 1 else arguments[0]), np.float64)
    checked = 0
    for name, values in seen.items():
        known = ranges[name]
        if known is None:
            continue
        assert (values >= known.low - 1e-12).all(), name
        assert (values <= known.high + 1e-12).all(), name
        grid = np.where(known.fraction_bits == NO_BITS, 0, known.fraction_bits)
        assert not np.any(values * 2.0**grid % 1), name
        checked += 1
    assert checked >= 30


def test_ranges_follow_the_values_through_quantisers(operations: keras.Model) -> None:
    ranges = ranges_of(operations)
    softmax = ranges["softmax_plain"]
    assert softmax is not None
    assert softmax.high.max() == 1.0
    relu = ranges["dense_relu"]
    assert relu is not None
    assert relu.low.min() == 0.0
    rounded = ranges["d1"]  # fixed<6,4,RND,SAT> behind its sum
    assert rounded is not None
    assert (rounded.low.min(), rounded.high.max()) == (-8.0, 7.75)


def test_a_result_of_the_build_file_is_rounded_kept_and_seen_by_the_audit() -> None:
    layers = {"first": {"result": "fixed<4,3,TRN,SAT>"}, "both": {"result": "fixed<5,4>", "input": "fixed<6,4>"}}
    nn = Hgq(QuantConfig(layers=layers, types={"QAdd": {"input": "fixed<9,5>"}}))  # type: ignore[arg-type]
    nn.declare(channel="io")
    x = nn.input("x", (2,), "bi")
    first = nn.dense(x, "first", Linear("bi,io->bo", {"o": 3}, "o"))
    model = nn.model({"x": x}, nn.add(first, first, "bo", "both"), "sums")
    found = {quantiser.name: quantiser for quantiser in quantisers(model)}
    assert (found["first_oq"].place, found["first_oq"].learned) == ("result", False)
    events = {"x": np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32) * 4}
    calibrate(model, events, start=True)
    by_name = {row.name: row for row in audit(model, events)}
    assert by_name["first_oq"].widest == "fixed<4,3,TRN,SAT>"
    assert by_name["both_oq"].widest == "fixed<5,4,RND,SAT>"
    assert by_name["first_oq"].seen_high > 3.5 or by_name["first_oq"].seen_low < -4
    values = np.asarray(keras.Model(x, model.get_layer("first").output)(events["x"]), np.float64)
    assert np.array_equal(Fixed.parse("fixed<4,3,TRN,SAT>").quantise(values), values)
    asked = model.memory.asked
    assert asked["both"]["input0"] == Setting(Fixed.parse("fixed<6,4>"), "layer both")
    assert asked["first"]["input"].source == "default"


SUMS = Sums("a", "QEinsumDense", 4, -3.0, 5.75, -9.0, 11.0, 2)


@pytest.mark.parametrize(
    ("accumulator", "lacks"),
    [
        ("fixed<6,4,TRN,WRAP>", None),
        ("fixed<8,4,TRN,WRAP>", None),
        ("fixed<5,3,TRN,WRAP>", (1, 0)),
        ("fixed<5,4,TRN,WRAP>", (0, 1)),
        ("fixed<3,2,TRN,WRAP>", (2, 1)),
        ("ufixed<6,4,TRN,WRAP>", (1, 0)),  # no sign
        ("fixed<6,4,TRN,SAT>", (1, 0)),  # a part of the sum is beyond 8
        ("fixed<7,5,TRN,SAT>", None),
    ],
)
def test_what_an_accumulator_lacks(accumulator: str, lacks: tuple[int, int] | None) -> None:
    short = shortage("a", Fixed.parse(accumulator), SUMS)
    assert (None if short is None else (short.integer_bits, short.fraction_bits)) == lacks


def test_sums_that_are_always_zero_fit_every_accumulator() -> None:
    nothing = Sums("a", "QEinsumDense", 4, 0.0, 0.0, 0.0, 0.0, 0)
    assert shortage("a", Fixed.parse("ufixed<2,32,TRN,WRAP>"), nothing) is None
    assert shortage("a", Fixed.parse("ufixed<2,32,TRN,WRAP>"), SUMS) is not None


def test_a_symmetric_accumulator_has_no_lowest_value() -> None:
    lowest = Sums("a", "QAdd", 2, -8.0, 7.0, -8.0, 7.0, 0)
    assert shortage("a", Fixed.parse("fixed<4,4,TRN,SAT>"), lowest) is None
    short = shortage("a", Fixed.parse("fixed<4,4,TRN,SAT_SYM>"), lowest)
    assert short is not None
    assert short.integer_bits == 1


def test_a_shortage_says_layer_and_bits() -> None:
    setting = Setting(Fixed.parse("fixed<4,3,TRN,WRAP>"), "layer a")
    table = PrecisionTable((Row("a", "QEinsumDense", {"accumulator": setting}), Row("b", "QAdd", {})))
    (short,) = shortages(table, {"a": SUMS})
    assert str(short.refusal()) == (
        "a (QEinsumDense): its accumulator fixed<4,3,TRN,WRAP> lacks 1 integer bit and 1 fraction bit: sums reach -3 "
        "to 5.75 and need fixed<6,4,TRN,WRAP>; widen it, leave it out, or export with --allow-overflow"
    )


@settings(deadline=None, database=None, derandomize=True, max_examples=200)
@given(st.integers(-400, 400), st.integers(0, 400), st.integers(-3, 6))
def test_the_needed_format_holds_its_ends_and_is_the_smallest(low: int, size: int, fraction: int) -> None:
    bounds = (low * 2.0**-fraction, (low + size) * 2.0**-fraction)
    form = Sums("a", "QAdd", 2, *bounds, *bounds, fraction).format()
    assert form.low <= bounds[0] <= bounds[1] <= form.high
    assert np.array_equal(form.quantise(bounds), bounds)
    if form.width > 1:
        smaller = Fixed(form.signed, form.integer_bits - 1, fraction, "TRN", "WRAP")
        assert not smaller.low <= bounds[0] <= bounds[1] <= smaller.high


def test_the_table_of_a_model_has_its_formats(operations: keras.Model) -> None:
    table = model_table(operations)
    assert str(table["d1"]["result"].value) == "fixed<6,4,RND,SAT>"
    assert str(table["add_two"]["input1"].value) == "fixed<7,2,TRN,WRAP>"
    assert str(table["table_wraps"]["table"].value) == "fixed<4,1,TRN,WRAP>"
    assert str(table["softmax_plain"]["exp_table"].value) == "ufixed<9,1,RND_CONV,SAT>"
    assert table["dense_relu"]["weight"].source == "fixed"
    assert PrecisionTable.from_json(table.to_json()) == table


def test_a_sum_of_two_values_has_no_accumulator(operations: keras.Model) -> None:
    assert QAdd.__name__ in {row.kind for row in model_table(operations).rows}
    assert "add_two" not in sums_of(operations)
