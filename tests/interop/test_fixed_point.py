"""Float Keras models in the quantised layers that firmware has: what is folded, what is kept, what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L
from rich.table import Table
from support.float_keras import MODELS, made, seq
from support.ptq import tiny

from qformers.builds.models import load_model
from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError, DataError
from qformers.interop.adopt import adopt
from qformers.interop.fixed_point import stage
from qformers.interop.fixed_point.convert import absorbed_in, converted, float_twin
from qformers.interop.fixed_point.stage import Given, quantise
from qformers.interop.windows import slide
from qformers.nn.elementwise import Elementwise
from qformers.quant.ptq.ranges import Rule, calibrated
from qformers.quant.ptq.workshop import Workshop
from qformers.quant.quantisers import quantisers

FINE = {"weight": "fixed<18,4,RND,SAT_SYM>", "bias": "fixed<18,6>", "activation": "fixed<18,6>", "norm_bits": 16,
        "smooth_fraction_bits": 9, "exp_input_fraction_bits": 8, "exp_fraction_bits": 10, "inverse_fraction_bits": 12,
        "inverse_input_fraction_bits": 8}  # fmt: skip
IN_EVERY_RUN = ("mlp", "merges")
NAMES = [pytest.param(name, marks=() if name in IN_EVERY_RUN else pytest.mark.slow) for name in MODELS]


@pytest.mark.parametrize("name", NAMES)
def test_with_many_bits_it_is_the_float_model(name: str) -> None:
    """The softmax reaches down to exp(-8), and its tables have 10 to 12 bits: what it changes is below 1%."""
    model, events = made(name)
    adopted = adopt(model, floats=True).model
    build = tiny().model_copy(update={"quant": QuantConfig(learn=False, **FINE)})
    inputs = dict(zip([tensor.name for tensor in adopted.inputs], events.values(), strict=True))
    shop = Workshop(build, float_twin(adopted), lambda one: converted(adopted, one), inputs)
    quantised = shop.model(calibrated(shop, Rule(quantile=1.0)))
    assert len(quantisers(quantised)) >= 1
    # rows whose channels hardly differ are beyond the range of the root (`qformers.nn.norms`)
    normed = any(isinstance(layer, L.LayerNormalization | L.RMSNormalization) for layer in adopted.layers)
    found, wanted = (keras.tree.flatten(one(inputs, training=False)) for one in (quantised, shop.float_model))
    for ours, ideal in zip(found, wanted, strict=True):
        ours, ideal = np.asarray(ours), np.asarray(ideal)
        assert ours.shape == ideal.shape
        assert np.abs(ours - ideal).mean() < 0.01 * np.abs(ideal).max()
        assert np.abs(ours - ideal).max() < (0.2 if normed else 0.02) * np.abs(ideal).max()
        assert ours.std() > 0


def test_every_float_layer_is_tried() -> None:
    from qformers.interop.fixed_point.convert import CONVERSIONS

    tried = {type(layer) for name in MODELS for layer in adopt(MODELS[name](), floats=True).model.layers}
    three = (L.Conv3D, L.MaxPooling3D, L.AveragePooling3D, L.GlobalMaxPooling3D, L.GlobalAveragePooling3D)
    alike = (L.SeparableConv2D, L.DepthwiseConv1D, L.GlobalMaxPooling1D, L.ZeroPadding2D, L.Cropping2D, L.UpSampling2D)
    left = set(CONVERSIONS) - tried - {*three, *alike, L.Normalization, L.RepeatVector}
    assert {one.__name__ for one in left} <= {"Part"}


def test_norms_and_a_relu_become_part_of_the_layer_in_front() -> None:
    model, _ = made("conv_normed")
    adopted = adopt(model, floats=True).model
    (one,) = absorbed_in(adopted).values()
    assert (len(one.norms), one.relu, one.last) == (1, True, adopted.layers[-1].name)
    kinds = [type(layer).__name__ for layer in converted(adopted, tiny()).layers]
    assert kinds == ["InputLayer", "Quantizer", "QConv1D"]  # the norm in front is in it too


def test_a_norm_in_front_of_padding_is_a_layer() -> None:
    adopted = adopt(made("conv_padded")[0], floats=True).model
    kinds = [type(layer).__name__ for layer in converted(adopted, tiny()).layers]
    assert kinds == ["InputLayer", "Quantizer", "QEinsumDense", "QConv1D"]


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((L.LSTM(3),), "layer 'lstm': LSTM has no form in fixed point; write QGRU or QSimpleRNN of HGQ2"),
        ((L.GroupNormalization(1),), "layer 'group_normalization': GroupNormalization has no form .* convolutions"),
        ((L.PReLU(),), "PReLU has no form in fixed point; write LeakyReLU"),
        ((L.Softmax(axis=1),), r"\(Softmax\): a softmax is over the last axis: put a Permute in front. .*axis=1"),
        ((L.BatchNormalization(axis=1),), r"a norm is along the last axis: put a Permute in front. Received: axis=1"),
        ((L.Dense(3, activation="log_softmax"),), "its activation is no function of one number .*: log_softmax"),
        ((L.Conv1D(2, 2, data_format="channels_first"),), "channels come last: put a Permute .*: channels_first"),
    ],
)  # fmt: skip
def test_what_has_no_form_is_refused_by_name(layers: tuple[Any, ...], words: str) -> None:
    model = adopt(seq(*layers), floats=True).model
    with pytest.raises(ConfigError, match=words):
        converted(model, tiny())


def test_a_mask_is_refused() -> None:
    x = keras.Input((6, 4))
    model = keras.Model(x, L.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True))
    with pytest.raises(ConfigError, match=r"its argument use_causal_mask has no form here.*Received: True"):
        converted(adopt(model, floats=True).model, tiny())


def same_as_float(model: keras.Model) -> None:
    """With many bits, on events of its own."""
    adopted = adopt(model, floats=True).model
    random = np.random.default_rng(3)
    inputs = {t.name: random.normal(0, 1, (100, *t.shape[1:])).astype(np.float32) for t in adopted.inputs}
    build = tiny().model_copy(update={"quant": QuantConfig(learn=False, **FINE)})
    shop = Workshop(build, float_twin(adopted), lambda one: converted(adopted, one), inputs)
    quantised = shop.model(calibrated(shop, Rule(quantile=1.0)))
    for ours, ideal in zip(
        *(keras.tree.flatten(one(inputs, training=False)) for one in (quantised, shop.float_model)), strict=True
    ):
        assert np.corrcoef(np.ravel(ours), np.ravel(ideal))[0, 1] > 0.999


def by_keywords() -> keras.Model:
    x = [keras.Input((4, 6), name=f"i{place}") for place in range(3)]
    return keras.Model(x, L.MultiHeadAttention(2, 3)(query=x[0], value=x[2], key=x[1]))


def colliding() -> keras.Model:
    x = keras.Input((6,))
    y = L.Dense(5, activation="gelu", name="first")(x)
    y = L.Dense(4, name="first_gelu_table")(L.Dense(4, name="first_gelu")(y))
    y = L.Dense(4, name="ln_mean")(L.LayerNormalization(name="ln")(y))
    return keras.Model(x, {"b": L.Dense(3)(y), "a": L.Dense(2)(-y / 4.0)})


def by_dictionary() -> keras.Model:
    a, b = keras.Input((5, 4), name="a"), keras.Input((5, 4), name="b")
    return keras.Model({"b": b, "a": a}, L.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d")(a - b))


@pytest.mark.parametrize("make", [by_keywords, colliding, by_dictionary])
def test_arguments_names_and_structures_are_those_of_the_model(make: Callable[[], keras.Model]) -> None:
    keras.utils.set_random_seed(2)
    same_as_float(make())


def test_a_mask_of_an_attention_is_refused() -> None:
    x, mask = keras.Input((5, 5)), keras.Input((5, 5))
    y = L.MultiHeadAttention(2, 3)(x, x, attention_mask=mask)
    with pytest.raises(ConfigError, match=r"a mask changes from event to event.*Received: attention_mask"):
        converted(adopt(keras.Model([x, mask], y), floats=True).model, tiny())


def test_a_mask_of_rows_is_refused() -> None:
    x, mask = keras.Input((6, 4)), keras.Input((6,))
    model = keras.Model([x, mask], L.GlobalAveragePooling1D()(x, mask=mask))
    with pytest.raises(ConfigError, match=r"a mask changes from event to event: multiply its input.*Received: mask"):
        converted(adopt(model, floats=True).model, tiny())


def test_a_mean_over_windows_counts_no_padding() -> None:
    for size, window, stride, padding in ((7, 3, 2, "same"), (7, 3, 2, "valid"), (6, 4, 1, "same")):
        x = np.random.default_rng(0).normal(size=(2, size, 3)).astype(np.float32)
        wanted = L.AveragePooling1D(window, stride, padding)(x)
        assert np.allclose(
            np.einsum("bnc,np->bpc", x, slide(size, window, stride, padding=padding).shares()), wanted, atol=1e-6
        )


def test_functions_with_settings_are_saved() -> None:
    function = Elementwise("leaky_relu", negative_slope=0.25)
    again = Elementwise.from_config(function.get_config())
    x = np.array([-2.0, 3.0], np.float32)
    assert np.array_equal(np.asarray(again(x)), np.array([-0.5, 3.0], np.float32))
    with pytest.raises(ConfigError, match=r"no function of one number.*elu.*Received: 'elus'"):
        Elementwise("elus")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    folder = tmp_path_factory.mktemp("own")
    model, events = made("mlp")
    model.save(folder / "model.keras")
    (array,) = events.values()
    np.save(folder / "events.npy", array)
    np.save(folder / "labels.npy", model.predict(array, verbose=0).argmax(axis=1))
    return Given(folder / "model.keras", folder / "events.npy", folder / "run", labels=folder / "labels.npy")


def test_a_model_is_calibrated_and_compared(given: Given) -> None:
    from dataclasses import replace

    said = replace(given, types=["Dense.weight=fixed<6,1,RND,SAT_SYM>"], layers=["first.input=fixed<12,4>"])
    result = quantise(said, Rule())
    result.save()
    model = load_model(result.model)
    forms = {quantiser.name: quantiser.widths().max() for quantiser in quantisers(model)}
    assert (forms["first_kq"], forms["first_iq"]) == (6, 12)  # widths as said, integer bits from the data
    assert forms["second_kq"] == 6
    assert [row.layer for row in result.errors] == ["first", "second_gelu", "output_layer_softmax"]
    assert all(row.correlation > 0.98 for row in result.errors)
    assert result.measured is not None
    assert result.measured.lost < 0.1
    assert result.adopted.renamed == {"_first": "first", "output": "output_layer"}
    assert "EBOPs" in str(result)
    lines = list(result.pieces())
    assert "renamed:   _first is first now" in lines
    table = next(piece for piece in lines if isinstance(piece, Table))
    behind, *named = table.columns[1].cells
    assert str(behind).startswith("re_lu")  # Keras counts them
    assert named == ["second", "output"]  # as the file of the user calls them
    assert "on 200 events: accuracy " in str(result)


def test_what_was_measured_without_labels_does_not_speak_of_them(given: Given) -> None:
    from dataclasses import replace

    result = quantise(replace(given, metric="mse", labels=None), Rule())
    assert re.search(r"on 200 events: mean squared difference from float \S+, R² lost \S+% by that$", str(result))


def test_only_the_first_events_are_followed_through_the_layers(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "COMPARED", 50)
    result = quantise(given, Rule())
    ranges, table, *_ = result.pieces()
    assert ranges == f"ranges:    of 200 events of {given.data}"
    assert isinstance(table, Table)
    assert table.title == "Quantised against float, on the first 50 of 200 events"


def change(key: str, value: Any) -> Callable[[Given], Given]:
    from dataclasses import replace

    return lambda given: replace(given, **{key: value})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (change("types", ["Dens.weight=fixed<6,1>"]), r"--types: the model has no layer of class 'Dens'.*'Dense'"),
        (change("layers", ["firt.weight=fixed<6,1>"]), r"quant.layers: no layer is called 'firt'.*'first'"),
        (change("types", ["Dense.weight=fixed<6"]), r"^--types: 'Dense.weight': a format is spelt [^\n]*'fixed<6'$"),
        (change("types", ["Dense.weight=3"]), r"^--types: 'Dense.weight': expected a text: quote .*Received: '3'$"),
        (change("types", ["weight=fixed<6,1>"]), r"a format is given as NAME.SLOT=FORMAT, .* Received: weight=fixed"),
        (change("layers", ["first.weigth=fixed<6,1>"]), r"--layers: 'first.weigth': unknown slot 'weigth'.*'weight'"),
        (change("layers", ["first=fixed<6,1>"]), r"a format is given as NAME.SLOT=FORMAT, .* Received: first=fixed"),
        (change("metric", "mse"), r"--labels hold what the outputs should be, \(200, 3\). Received: \(200, 1\)"),
        (change("logits", True), ""),
    ],
)  # fmt: skip
def test_what_was_given_is_checked(given: Given, changed: Callable[[Given], Given], words: str, tmp_path: Path) -> None:
    from dataclasses import replace

    one = replace(changed(given), run=tmp_path / "run")
    if not words:
        assert [type(layer).__name__ for layer in load_model(quantise(one, Rule()).model).layers][-1] == "QEinsumDense"
        return
    with pytest.raises((ConfigError, DataError), match=words):
        quantise(one, Rule())
    assert not (tmp_path / "run" / "qat").exists()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full(200, 7), r"--labels hold the number of a class, 0 to 2, .* Received: \(200,\), 7 to 7"),
        (np.zeros(10), r"holds a number or a row for each of the 200 events. Received: float64 \(10,\)"),
        (np.full(200, np.nan), r"labels are finite numbers, within float32. Received: another one in event 0"),
        (np.array(["a"] * 200), r"holds a number or a row for each of the 200 events. Received: <U1"),
    ],
)  # fmt: skip
def test_labels_are_checked(given: Given, array: Any, words: str, tmp_path: Path) -> None:
    from dataclasses import replace

    np.save(tmp_path / "labels.npy", array)
    with pytest.raises(DataError, match=words):
        quantise(replace(given, labels=tmp_path / "labels.npy", run=tmp_path / "run"), Rule())


def test_a_quantised_model_is_not_quantised_again(given: Given, tmp_path: Path) -> None:
    from dataclasses import replace

    first = quantise(replace(given, run=tmp_path / "run", labels=None), Rule())
    with pytest.raises(ConfigError, match=re.escape(f"is a quantised model already: qformers export {first.model}")):
        quantise(replace(given, model=first.model, run=tmp_path / "again"), Rule())
