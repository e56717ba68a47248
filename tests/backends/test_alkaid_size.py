"""Models that alkaid would trace for hours are refused with an estimate, before any of it is spent."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hgq.layers import QConv2D, QDense, QEinsumDense
from support import hls_models as h

from hls.backends.alkaid import size
from hls.backends.alkaid.size import digits_of, layer_size, size_faults
from hls.backends.alkaid.writer import supports

IQ = {
    "iq_conf": h.form("fixed<6,2>"),
    "kq_conf": h.form("fixed<5,2>", "weight"),
    "bq_conf": h.form("fixed<5,2>", "bias"),
}


def cnn(filters: int = 4) -> keras.Model:
    """A convolution with 3 x 3 x 2 weights of 1 for each of 6 x 6 places, and a dense layer."""
    x = inputs = keras.Input((8, 8, 2), name="image")
    x = QConv2D(filters, 3, kernel_initializer="ones", name="conv", **IQ)(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, QDense(3, kernel_initializer="ones", name="scores", **IQ)(x))


def test_products_are_counted_at_all_places_and_zeros_are_not() -> None:
    model = cnn()
    conv, scores = model.get_layer("conv"), model.get_layer("scores")
    found = layer_size(conv)
    assert found is not None
    assert found.products == 36 * 18 * 4
    kernel = np.ones(conv.kernel.shape)
    kernel[0] = 0
    conv.kernel.assign(kernel)
    assert layer_size(conv).products == 36 * 12 * 4  # type: ignore[union-attr]
    assert layer_size(scores).products == 144 * 3  # type: ignore[union-attr]
    assert layer_size(model.get_layer("flat")) is None


def test_matrices_of_an_einsum_are_apart() -> None:
    x = keras.Input((5, 3), name="x")
    apart = QEinsumDense("bni,nio->bno", (5, 2), kernel_initializer="ones", name="apart", **IQ)
    keras.Model(x, apart(x))
    shared = QEinsumDense("bni,io->bno", (5, 2), kernel_initializer="ones", name="shared", **IQ)
    keras.Model(x, shared(x))
    assert layer_size(apart).products == layer_size(shared).products == 5 * 3 * 2  # type: ignore[union-attr]


def test_wires_are_no_products() -> None:
    x = keras.Input((4,), name="x")
    wires = QDense(4, kernel_initializer="identity", name="wires", **IQ)
    keras.Model(x, wires(x))
    assert layer_size(wires).products == 0  # type: ignore[union-attr]


def test_digits_are_those_of_the_shortest_spelling() -> None:
    assert digits_of(np.array([0.0])) == 0
    assert digits_of(np.array([1.0, -2.0, 0.25])) == 3
    assert digits_of(np.array([7.0])) == 2  # 8 - 1
    assert digits_of(np.array([0.6875])) == 3  # 11/16 = (8 + 4 - 1)/16


def test_a_model_of_minutes_is_taken_and_one_of_hours_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    model = cnn()
    assert list(size_faults(model)) == []
    monkeypatch.setattr(size, "SECONDS_PER_PRODUCT", 4.0)
    (refusal,) = size_faults(model)
    assert (refusal.layer, refusal.kind) == ("conv", "QConv2D")
    assert "the model has 3,024 products by constants" in refusal.reason
    assert "alkaid would trace them for about 3.4 hours" in refusal.reason
    assert "more than the 2 hours that are waited for; 86 % of that is this layer, with 2,592" in refusal.reason
    assert "prune it (train.qat.prune), take firmware.backend: vitis, which writes loops, or wait" in refusal.way_out
    assert [one.layer for one in supports(model)] == ["conv"]
    assert [one.layer for one in supports(model, h.build_of("one", backend="alkaid"))] == ["conv"]
    assert supports(model, h.build_of("one", backend="alkaid", trace_hours=4.0)) == []
