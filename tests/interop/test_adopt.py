"""Models that somebody else built, taken over: they compute the same, and go through the flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hgq.config import QuantizerConfigScope
from hgq.layers import QAveragePooling2D, QDense, QGlobalAveragePooling1D, QMultiHeadAttention
from keras import ops

from qformers.config.names import legal
from qformers.errors import ConfigError
from qformers.interop.adopt import adopt


def head(x: Any) -> Any:
    return QDense(2, name="head")(x)


def one(shape: tuple[int, ...], make: Callable[[Any], Any], name: str = "jets") -> keras.Model:
    given = keras.Input(shape, name=name)
    return keras.Model(given, make(given))


def shared() -> keras.Model:
    layer = QDense(3, activation="relu", name="twice")
    return one((3,), lambda x: head(layer(layer(x))))


def within() -> keras.Model:
    inner = keras.Sequential([keras.Input((3,)), QDense(4, activation="relu", name="deep")], name="inner")
    return one((5, 3), lambda x: head(inner(x[:, 0]) + inner(x[:, 1])))


def several() -> keras.Model:
    a, b = keras.Input((3,), name="_M1"), keras.Input((3,), name="output")
    both = keras.layers.Concatenate(name="n")([a, b])
    return keras.Model([a, b], {"class": QDense(2, name="input")(both), "mass": QDense(1, name="int")(both)})


def by_name() -> keras.Model:
    given = {name: keras.Input((3,), name=name) for name in ("x", "mask")}
    both = keras.layers.Concatenate()([given["x"], given["mask"]])
    outputs = {name: QDense(2, name=f"to_{name}")(both) for name in ("mean", "int", "class", "log_var")}
    return keras.Model(given, outputs)


def masked() -> keras.Model:
    given, mask = keras.Input((4, 3), name="x"), keras.Input((4,), name="mask")
    return keras.Model([given, mask], head(keras.layers.GlobalAveragePooling1D(name="pool")(given, mask=mask)))


MODELS: dict[str, Callable[[], keras.Model]] = {
    "sequential": lambda: keras.Sequential(
        [keras.Input((6,)), QDense(4, activation="relu"), keras.layers.Dropout(0.5), QDense(2)]
    ),
    "functional": lambda: one((6,), lambda x: head(QDense(4)(x))),
    "called_twice": shared,
    "models_within": within,
    "several_inputs_and_outputs": several,
    "inputs_and_outputs_by_name": by_name,
    "slices": lambda: one((4, 3), lambda x: head(x[:, 1:3, -1])),
    "slices_by_dots": lambda: one((4, 3), lambda x: head(x[..., 1])),
    "transposed": lambda: one((4, 3), lambda x: head(ops.transpose(x, (0, 2, 1)))),
    "reshaped": lambda: one((4, 3), lambda x: head(ops.reshape(x, (-1, 12)))),
    "expanded": lambda: one((4,), lambda x: head(ops.expand_dims(x, 1))),
    "squeezed": lambda: one((4, 1), lambda x: head(ops.squeeze(x, 2))),
    "relu_layer": lambda: one((6, 3), lambda x: head(keras.layers.ReLU()(QDense(4, enable_oq=True)(x)))),
    "mean_of_six": lambda: one((6, 3), lambda x: head(QGlobalAveragePooling1D()(x))),
    "mean_of_windows": lambda: one((5, 7, 2), lambda x: QAveragePooling2D((3, 2), strides=2, enable_oq=True)(x)),
    "added": lambda: one((4,), lambda x: head(QDense(3)(x) + QDense(3)(x))),
    "multiplied": lambda: one((4,), lambda x: head(QDense(3)(x) * QDense(3)(x))),
    "number_added": lambda: one((4,), lambda x: head(3 - (QDense(3)(x) + 229))),
    "number_multiplied": lambda: one((4,), lambda x: head(-(QDense(3)(x) * 0.75) / 8)),
    "relu": lambda: one((4,), lambda x: head(ops.relu(QDense(3)(x)))),
    "repeated": lambda: one((4, 3), lambda x: head(ops.repeat(QDense(3)(x), 2, axis=1))),
    "repeated_columns": lambda: one((4, 3, 2), lambda x: head(ops.repeat(QDense(3)(x), 2, axis=-2))),
    "pooled": lambda: one(
        (8, 8, 2), lambda x: head(keras.layers.GlobalAveragePooling2D()(keras.layers.MaxPooling2D(2)(QDense(3)(x))))
    ),
    "summed": lambda: one((4,), lambda x: head(keras.layers.Add()([QDense(3)(x), keras.layers.ReLU()(QDense(3)(x))]))),
    "matmul": lambda: one((4, 3), lambda x: head(ops.matmul(QDense(4)(x), QDense(3)(x)))),
    "attention": lambda: one((4, 6), lambda x: QMultiHeadAttention(2, 3)(x, x)),
    "attention_by_keyword": lambda: one((4, 6), lambda x: QMultiHeadAttention(2, 3)(x, value=QDense(6)(x), key=x)),
}


def test_layers_of_keras_that_hgq2_has_become_its_own() -> None:
    kinds = {type(layer).__name__ for name in ("pooled", "summed") for layer in adopt(MODELS[name]()).model.layers}
    assert kinds == {"InputLayer", "QDense", "QMaxPooling2D", "QGlobalAveragePooling2D", "QAdd", "Activation"}
    given = keras.Input((4, 3))
    plain = keras.Model(given, keras.layers.ReLU()(keras.layers.GlobalMaxPooling1D()(given)))
    assert [type(layer) for layer in adopt(plain, floats=True).model.layers] == [type(x) for x in plain.layers]


def answers(model: Any, given: list[Any]) -> list[Any]:
    whole = getattr(model, "_functional", model)  # of a Sequential
    return list(keras.tree.flatten(whole(keras.tree.pack_sequence_as(whole._inputs_struct, given))))


@pytest.mark.parametrize("name", MODELS)
def test_what_is_taken_over_computes_the_same(name: str) -> None:
    keras.utils.set_random_seed(4)
    with QuantizerConfigScope(place="all", overflow_mode="SAT"):
        model = MODELS[name]()
    adopted = adopt(model)
    random = np.random.default_rng(2)
    given = [random.normal(0, 1, (100, *t.shape[1:])).astype(np.float32) for t in model.inputs]
    wanted, found = (answers(one, given) for one in (model, adopted.model))
    assert len(wanted) == len(found)
    for left, right in zip(wanted, found, strict=True):
        assert np.array_equal(left, right)
        assert np.ptp(left) > 0
    layers = adopted.model.layers
    assert all(isinstance(operation, keras.layers.Layer) for operation in adopted.model.operations)
    assert all(len(layer._inbound_nodes) == 1 for layer in layers)
    assert not any(isinstance(layer, keras.Model | keras.layers.Dropout) for layer in layers)
    assert len({layer.name for layer in layers}) == len(layers)


def test_names_are_told() -> None:
    adopted = adopt(several())
    assert adopted.renamed["_M1"] == "M1"
    assert adopted.renamed["output"] == "output_input"
    assert adopted.renamed["n"] == "n_layer"
    assert adopted.renamed["class"] == "class_output"
    assert [tensor.name for tensor in adopted.model.inputs] == ["M1", "output_input"]
    assert set(adopted.model._outputs_struct) == {"class_output", "mass"}
    assert adopt(MODELS["sequential"]()).left_out


@pytest.mark.parametrize(
    ("old", "taken", "new"),
    [
        ("jets", (), "jets"),
        ("1st", (), "layer_1st"),
        ("a/b", (), "a_b"),
        ("µ", (), "layer"),
        ("q", ("q", "q_2"), "q_3"),
    ],
)
def test_legal_names(old: str, taken: tuple[str, ...], new: str) -> None:
    assert legal(old, "layer", taken) == new


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: one((None, 3), keras.layers.Dense(2)),
            r"input 'jets': firmware needs a fixed shape: .* Received: \(None, 3\)",
        ),
        (
            lambda: one((4, 3), lambda x: head(ops.sort(x, axis=1))),
            r"\(Sort\) has no layer here: it is not known; write",
        ),
        (lambda: one((4, 3), lambda x: head(x[0])), "it takes a part of the batch axis"),
        (lambda: one((4, 3), lambda x: head(ops.repeat(x, 2, axis=2))), r"it repeats each row.*repeats=2, axis=2 of"),
        (masked, r"layer 'pool' .GlobalAveragePooling1D.: firmware pools over all rows: .* Received: mask"),
        (lambda: keras.Sequential([QDense(3)]), "a model is a built keras.Sequential or a functional keras.Model"),
    ],
)
def test_what_cannot_be_taken_over_is_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        adopt(make())


def test_outputs_whose_names_become_the_same_are_told_apart() -> None:
    given = keras.Input((4,), name="jets")
    model = keras.Model(given, {"a b": QDense(2)(given), "a_b": QDense(3)(given)})
    assert set(adopt(model).model._outputs_struct) == {"a_b", "a_b_2"}
    long = keras.Model(given, QDense(2, name="x" * 100)(given))
    assert adopt(long).renamed == {"x" * 100: "x" * 48}
