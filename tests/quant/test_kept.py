"""The format in which the values of a layer are kept, whatever firmware makes of it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from hgq import layers as q
from support.hls_models import form

from qformers.precision.fixed import Fixed
from qformers.quant.kept import Kept, kept


def dense(name: str, text: str, **more: Any) -> q.QDense:
    """That reads its input in this format."""
    return q.QDense(2, name=name, iq_conf=form(text), **more)


def test_a_layer_has_the_format_of_what_reads_it_or_its_own() -> None:
    x = keras.Input((3, 4))
    a = dense("a", "fixed<8,4>")(x)
    moved = keras.layers.Flatten()(a)
    b = dense("b", "fixed<6,3>")(moved)
    c = dense("c", "fixed<9,3>", enable_oq=True, oq_conf=form("fixed<5,3>"))(b)
    d = dense("d", "fixed<7,3>")(b)
    e = dense("e", "fixed<4,2>")(c)
    found = kept(keras.Model(x, [d, e]))
    assert found["a"] == Kept(3, Fixed.parse("fixed<6,3>"))  # also behind a layer that only moves
    assert found["b"] == Kept(6, None)  # the finer of two; one rounds what the other does not
    assert found["c"] == Kept(2, None)  # its own
    assert found["d"] == found["e"] == Kept(None, None)
    assert found["e"].step(np.array([0.75, -2.0, 0.0])) == 0.25
    assert found["e"].step(np.zeros(3)) == 1.0
    assert found["a"].step(np.array([0.001])) == 0.125


def test_values_are_read_rounded_unless_they_leave_the_model_or_are_added_up_first() -> None:
    x = keras.Input((4,))
    a, b = (dense(name, "fixed<8,4>")(x) for name in "ab")
    total = q.QAdd(enable_iq=False, name="total")([a, b])
    outputs = {"c": dense("c", "fixed<6,3>")(total), "d": dense("d", "fixed<6,3>")(total)}
    inside, leaving = (kept(keras.Model(x, [*outputs.values(), *more])) for more in ([], [total]))
    assert inside["total"] == Kept(3, Fixed.parse("fixed<6,3>"))
    np.testing.assert_array_equal(inside["total"].read(np.array([0.0625, 100.0])), [0.125, 3.875])
    assert leaving["total"] == inside["a"] == Kept(3, None)


@pytest.mark.parametrize("bits", [[3, 3, 3, 3], [3, 5, 3, 3]])
def test_elements_with_formats_of_their_own_are_not_rounded_as_one(bits: list[int]) -> None:
    x = keras.Input((4,))
    layer = q.QDense(2, name="b", iq_conf=form("fixed<7,4>", per_element=True))
    model = keras.Model(x, layer(q.QDense(4, name="a", iq_conf=form("fixed<8,4>"))(x)))
    layer._iq.quantizer._f.assign(np.reshape(bits, layer._iq.quantizer._f.shape))
    found = kept(model)["a"]
    assert found.fraction_bits == max(bits)
    assert (found.as_read is None) == (max(bits) > 3)
