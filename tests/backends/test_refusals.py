"""What has no exact firmware is refused by name, before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
from hgq.layers import QAdd, QEinsumDense, QMaximum, QMultiHeadAttention, QSoftmax
from hgq.quantizer import Quantizer
from support import hls_models as h

from hls.backends import BACKENDS, REFUSED, open_backend
from hls.backends.hls4ml.kinds import HANDLERS, Handler, full_name
from hls.backends.hls4ml.refusals import refusals
from hls.errors import ExportRefused, HlsError


def start() -> tuple[Any, Any]:
    x = keras.Input((3,), name="x")
    return x, h.dense(x, "first", h.SOURCE, h.MIX)


def words(model: keras.Model) -> str:
    return "\n".join(map(str, refusals(model)))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (
            keras.layers.Dense(2, name="plain"),
            r"plain \(Dense\): it has no fixed-point format; use hgq.layers.QDense",
        ),
        (keras.layers.LayerNormalization(name="norm"), r"norm \(LayerNormalization\).*build it by the verb norm"),
        (keras.layers.BatchNormalization(name="norm"), r"norm \(BatchNormalization\).*fold it"),
        (
            keras.layers.Activation("gelu", name="act"),
            r"act \(Activation\): it is another function than the larger of a value and 0; use QUnaryFunctionLUT",
        ),
        (keras.layers.ReLU(name="act"), r"act \(ReLU\): hls4ml writes C\+\+ for it that does not compile"),
        (
            keras.layers.Softmax(name="soft"),
            r"soft \(Softmax\): its tables are not those of Keras; use hgq.layers.QSoftmax",
        ),
        (keras.layers.Dropout(0.1, name="drop"), r"drop \(Dropout\)"),
        (
            keras.layers.UnitNormalization(name="unit"),
            r"unit \(UnitNormalization\): it has no exact handler; use one of",
        ),
    ],
)
def test_a_layer_without_exact_handler_is_refused_by_name(layer: Any, reason: str, tmp_path: Path) -> None:
    x, y = start()
    model = keras.Model(x, layer(y))
    with pytest.raises(ExportRefused, match=reason) as caught:
        open_backend("vitis").write(model, h.build_of("refused"), tmp_path / "project")
    assert [refusal.layer for refusal in caught.value.refusals] == [layer.name]
    assert not list(tmp_path.iterdir()), "nothing may be left behind"


def test_a_slice_is_refused() -> None:
    x, y = start()
    assert "(GetItem): hls4ml cannot slice" in words(keras.Model(x, y[:, :2]))


def test_every_refusal_is_told_at_once() -> None:
    x, y = start()
    y = keras.layers.Dense(3, name="one")(y)
    y = keras.layers.Dense(3, name="two")(y)
    assert [refusal.layer for refusal in refusals(keras.Model(x, y))] == ["one", "two"]


def test_an_input_without_format_is_refused() -> None:
    x = keras.Input((3,), name="x")
    y = QEinsumDense("bi,io->bo", (2,), enable_iq=False, kq_conf=h.form("fixed<8,4>", "weight"), name="bare")(x)
    assert "bare (QEinsumDense): it takes the model input 'x' without an input quantiser" in words(keras.Model(x, y))


@pytest.mark.parametrize("name", ["2nd", "b0-q", "int", "template", "input"])
def test_a_name_that_is_no_cpp_name_is_refused(name: str) -> None:
    x = keras.Input((3,), name="x")
    assert f"{name} (QEinsumDense): its name cannot stand in C++" in words(
        keras.Model(x, h.dense(x, name, h.SOURCE, h.MIX))
    )


def test_names_that_differ_in_capitals_alone_are_refused() -> None:
    x = keras.Input((3,), name="x")
    y = h.dense(h.dense(x, "proj", h.SOURCE, h.MIX), "Proj", h.SOURCE, h.MIX)
    assert "Proj (QEinsumDense): another layer has its name but for capitals" in words(keras.Model(x, y))


def test_a_model_that_computes_nothing_is_refused() -> None:
    x = keras.Input((3,), name="x")
    model = keras.Model(x, Quantizer(h.form(h.SOURCE), name="only")(x))
    assert "only (Quantizer): hls4ml writes no function for a model that only rounds and moves" in words(model)


def test_a_layer_used_twice_is_refused() -> None:
    x, y = start()
    layer = QEinsumDense(
        "bi,io->bo", (3,), iq_conf=h.form(h.SOURCE), kq_conf=h.form("fixed<8,4>", "weight"), name="twice"
    )
    assert "twice (QEinsumDense): it is used more than once" in words(keras.Model(x, layer(layer(y))))


def test_an_output_that_is_used_inside_is_refused() -> None:
    x, y = start()
    z = h.dense(y, "second", "fixed<4,2,RND,SAT>", h.MIX)
    assert "first (QEinsumDense): it is an output of the model and is used inside it too" in words(
        keras.Model(x, [y, z])
    )


def test_a_table_with_too_many_entries_is_refused() -> None:
    x, y = start()
    assert "wide (QUnaryFunctionLUT): its table would have 2^14 entries" in words(
        keras.Model(x, h.table(y, "wide", "fixed<14,4,RND,SAT>"))
    )


def test_random_rounding_is_refused() -> None:
    x, y = start()
    config = h.form(h.SOURCE)
    config.config["round_mode"] = "S_RND"
    layer = QEinsumDense("bi,io->bo", (3,), iq_conf=config, kq_conf=h.form("fixed<8,4>", "weight"), name="dice")
    assert "dice (QEinsumDense): its iq rounds at random (S_RND)" in words(keras.Model(x, layer(y)))


def test_a_softmax_that_does_not_subtract_the_maximum_is_refused() -> None:
    x, y = start()
    layer = QSoftmax(axis=-1, stable=False, enable_iq=True, iq_conf=h.form(h.SOURCE), name="soft")
    assert "soft (QSoftmax): it does not subtract the maximum" in words(keras.Model(x, layer(y)))


def test_a_softmax_within_attention_is_looked_at_too() -> None:
    x = keras.Input((4, 3), name="x")
    y = h.dense(x, "first", h.SOURCE, h.MIX, equation="bni,io->bno", shape=(4, 3))
    lost = QMultiHeadAttention(1, 3, softmax_exp_iq_conf=h.form("ufixed<1,0,RND,SAT>"), name="heads")
    model = keras.Model(x, lost(y, y))
    fraction = lost._softmax.exp_table.iq.quantizer._f
    fraction.assign(fraction - 1)
    assert "heads (QMultiHeadAttention): its exp_input has lost all its bits" in words(model)
    wide = QMultiHeadAttention(1, 3, softmax_exp_oq_conf=h.form("ufixed<24,1,RND_CONV,SAT>", "table"), name="wide")
    assert "entries of its exp_table, of 24 bits, are others in hls4ml's C++" in words(keras.Model(x, wide(y, y)))


def test_what_hls4ml_stops_at_names_the_layer(tmp_path: Path) -> None:
    x = keras.Input((4, 3), name="x")
    y = h.dense(x, "first", h.SOURCE, h.MIX, equation="bni,io->bno", shape=(4, 3))
    heterogeneous = h.softmax(y, "soft", allow_heterogeneous_table=True)
    with pytest.raises(HlsError, match=r"layer 'soft' \(QSoftmax\): hls4ml cannot convert it: Heterogeneous table"):
        open_backend("vitis").write(keras.Model(x, heterogeneous), h.build_of("stops"), tmp_path / "project")


def test_strategy_resource_is_refused(tmp_path: Path) -> None:
    x, y = start()
    build = h.build_of("resource", strategy="resource")
    with pytest.raises(
        ExportRefused, match=r"firmware.strategy.*latency only. Received: resource; set firmware.strategy"
    ):
        open_backend("vitis").write(keras.Model(x, y), build, tmp_path / "project")


@pytest.mark.parametrize("name", ["catapult", "quartus", "oneapi"])
def test_backends_without_multidimensional_softmax_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(
        HlsError, match=f"backend '{name}' is refused.*cannot be used on multidimensional.*vitis, vivado"
    ):
        open_backend(name)


def test_backend_tables() -> None:
    assert not set(BACKENDS) & set(REFUSED)
    with pytest.raises(HlsError, match="unknown backend 'vitiss'; did you mean 'vitis'"):
        open_backend("vitiss")
    assert {name: open_backend(name).name for name in BACKENDS} == {name: name for name in BACKENDS}


def test_a_backend_of_older_versions_is_named_with_what_there_is_in_its_place() -> None:
    words = r"no backend 'block_engine' any more: 'qformers block-engine' .* set firmware.backend: folded"
    with pytest.raises(HlsError, match=words):
        open_backend("block_engine")


def test_a_supported_model_has_no_refusals() -> None:
    assert refusals(h.operations_model()) == []
    assert open_backend("vitis").supports(h.part_model(3), h.build_of("fine")) == []


def test_the_registry_of_hls4ml_is_replaced_for_a_conversion_and_put_back() -> None:
    from hls4ml.converters.keras_v3 import layer_handlers

    from hls.backends.hls4ml.handlers import only_these

    before = dict(layer_handlers)

    def fail_inside() -> None:
        with only_these(lambda: None):
            converted = {full_name(kind) for kind, handler in HANDLERS.items() if isinstance(handler, Handler)}
            assert set(layer_handlers) == converted
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert layer_handlers == before


def test_sums_that_hls4ml_has_not_are_refused() -> None:
    x = keras.Input((3,), name="x")
    y = keras.Input((2, 3), name="y")
    first = h.dense(x, "first", h.SOURCE, h.MIX)
    flat = h.dense(y, "flat", h.SOURCE, h.MIX, equation="bni,io->bno", shape=(2, 3))
    three = QAdd(iq_confs=[h.form(h.SOURCE)] * 3, name="three")([first, first, first])
    wider = QMaximum(iq_confs=[h.form(h.SOURCE)] * 2, name="wider")(
        [flat, keras.layers.Reshape((1, 3), name="row")(first)]
    )
    text = words(keras.Model([x, y], [three, wider]))
    assert "three (QAdd): hls4ml adds two tensors at a time. Received: 3" in text
    assert "wider (QMaximum): hls4ml joins tensors of one shape only. Received: (2, 3), (1, 3)" in text


def test_ties_to_even_per_element_of_an_input_are_refused(tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    model = keras.Model(x, h.dense(x, "even", "fixed<6,3,RND_CONV,SAT>", h.MIX, per_element=True))
    with pytest.raises(HlsError, match=r"hls4ml cannot convert this model exactly: .*24 fractional bits"):
        open_backend("vitis").write(model, h.build_of("ties"), tmp_path / "project")
