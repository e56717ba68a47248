"""What cannot be taken over from QKeras is refused, with the layer, the value and the way out."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from support import qkeras as golden
from support.paths import DATA
from support.qkeras import save_with

from qformers.errors import QkerasError
from qformers.interop.qkeras.build import Options, parse_inputs
from qformers.interop.qkeras.importer import import_qkeras, load_qkeras
from qformers.interop.qkeras.reader import read
from qformers.interop.qkeras.values import quantise
from qformers.precision.fixed import Fixed
from qformers.precision.qkeras.rounding import Rounding, activation, fixed_of
from qformers.precision.qkeras.spelling import parse

SPELLINGS = {
    "quantized_bit(4)": "unknown quantiser 'quantized_bit'; did you mean 'quantized_bits'?",
    "quantized_bits(4, widt=3)": "quantized_bits has no argument 'widt'",
    "quantized_bits(4, bits=3)": "argument 'bits' is given twice",
    "quantized_tanh(1, 2, 3, 4, 5)": "quantized_tanh has 4 arguments at most. Received: 5",
    "quantized_bits(4.5)": "bits must be a whole number. Received: bits=4.5",
    "quantized_bits(0)": "bits must be between 1 and 32. Received: bits=0",
    "quantized_bits(4, 99)": "integer must be between -32 and 32. Received: integer=99",
    "quantized_bits(4, alpha='best')": "alpha must be a number, 'auto' or 'auto_po2'. Received: alpha='best'",
    "quantized_bits(4, qnoise_factor=0.5)": "with qnoise_factor=0.5 a share of the value stays unquantised",
    "quantized_bits(__import__('os').system('true'))": "a quantiser is spelt name(arguments)",
    "quantized_bits(4": "a quantiser is spelt name(arguments)",
    "bernoulli()": "bernoulli: it draws random numbers; use quantized_bits",
    "quantized_ulaw(4)": "its values are logarithms, which are on no grid of fixed point",
    "quantized_hswish(4)": "it divides by relu_upper_bound",
}
FLOWING = {
    "quantized_bits(4, alpha='auto')": "alpha='auto' makes the scale from the values of the batch",
    "quantized_bits(4, alpha=0.3)": "fixed point holds scales that are powers of two. Received: alpha=0.3; set alpha=1",
    "quantized_bits(4, alpha=[1.0, 0.5])": "a scale per channel on values that flow has no single format",
    "binary(use_stochastic_rounding=True)": "stochastic rounding has no firmware",
    "ternary(use_stochastic_rounding=True, alpha='auto')": "stochastic rounding has no firmware",
    "quantized_relu(4, 2, relu_upper_bound=3, is_quantized_clip=False)": "relu_upper_bound is on no grid",
}
WEIGHTS = {
    "quantized_bits(4, 0, alpha='auto')": "its scale is 0.07",
    "quantized_bits(4, 0, alpha=0.3)": "its scale is 0.3",
    "ternary(alpha='auto')": "train with alpha='auto_po2' or alpha=1",
    "ternary(alpha='auto', threshold=0.5)": "leave threshold out",
    "quantized_bits(1, 0, alpha='auto_po2')": "one bit has no scale of its own; set alpha=1, or use binary()",
    "quantized_bits(4, elements_per_scale=2, alpha='auto_po2')": "elements_per_scale is not supported; leave it out",
    "quantized_po2(4, -1)": "max_value must not be negative. Received: -1",
    "quantized_po2(1)": "has no bit for its exponent; give it more bits",
}


def assert_says(error: pytest.ExceptionInfo[Any], words: str) -> None:
    assert words in str(error.value)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_is_refused(spelling: str) -> None:
    with pytest.raises(QkerasError) as error:
        parse(spelling)
    assert_says(error, SPELLINGS[spelling])


@pytest.mark.parametrize("spelling", FLOWING)
def test_a_quantiser_of_values_is_refused(spelling: str) -> None:
    with pytest.raises(QkerasError) as error:
        activation(parse(spelling))
    assert_says(error, FLOWING[spelling])


@pytest.mark.parametrize("spelling", WEIGHTS)
def test_a_quantiser_of_weights_is_refused(spelling: str) -> None:
    with pytest.raises(QkerasError) as error:
        quantise(parse(spelling), golden.single([[0.5, 0.3], [-0.1, 0.2]]))
    assert_says(error, WEIGHTS[spelling])


def test_spellings_mean_the_same_however_they_are_written() -> None:
    wanted = parse("quantized_bits(8, 0, alpha=1)")
    assert parse("qkeras.quantized_bits(bits=8, integer=0, alpha=1)") == wanted
    assert parse({"class_name": "qkeras>quantized_bits", "config": {"bits": 8, "integer": 0, "alpha": 1}}) == wanted
    assert parse(str(wanted)) == wanted
    assert parse("quantized_bits(4, alpha=auto_po2)")["alpha"] == "auto_po2"
    array = {"class_name": "__numpy__", "config": {"value": [[1.0]], "dtype": "float32"}}
    assert parse({"class_name": "quantized_bits", "config": {"alpha": array}})["alpha"] == 1.0


def test_formats_of_quantisers() -> None:
    assert fixed_of(parse("quantized_bits(6, 0, alpha=1)")) == Fixed(True, 0, 5, "RND_CONV", "SAT")
    assert fixed_of(parse("quantized_relu(6, 2)")) == Fixed(False, 2, 4, "RND_CONV", "SAT")
    assert fixed_of(parse("quantized_linear(4, 1, alpha=4)")) == Fixed(True, 3, 0, "RND_CONV", "SAT_SYM")
    signs = activation(parse("binary(alpha=1)"))
    assert isinstance(signs, Rounding)
    assert (signs.factor, signs.offset) == (2.0, 1.0)
    with pytest.raises(QkerasError, match="is not a fixed-point format alone"):
        fixed_of(parse("binary(alpha=1)"))


def chain(path: Path, *layers: Any, shape: tuple[int, ...] = (4,), **changes: dict[str, Any]) -> Path:
    """Save a sequence of Keras layers that say of themselves what QKeras layers would."""
    x = inputs = keras.Input(shape, name="x")
    for layer in layers:
        x = layer(x)
    save_with(keras.Model(inputs, x), path, changes)
    return path


DENSE: dict[str, Any] = {"kernel_initializer": "ones"}
PLAIN = Options("fixed<6,3>")


def refused(path: Path, options: Options = PLAIN) -> str:
    with pytest.raises(QkerasError) as error:
        load_qkeras(path, options)
    assert str(path) in str(error.value)
    return str(error.value)


def test_layers_are_refused(tmp_path: Path) -> None:
    layers, path = keras.layers, tmp_path / "m.keras"
    fc = layers.Dense(2, name="fc")
    assert "kernel of layer 'fc': has no quantiser, and its float32 values have too many bits" in refused(
        chain(path, fc)
    )
    chain(path, layers.Dense(2, name="fc"), fc={"kernel_quantizer": "quantized_bits(4, alpha='auto')"})
    assert "kernel of layer 'fc': quantized_bits(bits=4, alpha='auto'): its scale is" in refused(path)
    ones = layers.Dense(2, name="fc", **DENSE)
    chain(path, ones, layers.Softmax(name="end"))
    assert "layer 'end': softmax has no exact fixed-point form" in refused(path)
    assert load_qkeras(path, Options("fixed<6,3>", logits=True)).model.output_names == ["fc"]
    chain(path, layers.Dense(2, name="fc", activation="sigmoid", **DENSE))
    assert "layer 'fc_activation': sigmoid has no exact" in refused(path)
    assert load_qkeras(path, Options("fixed<6,3>", logits=True)).model.output_names == ["fc"]
    chain(path, layers.Dense(2, name="fc", **DENSE), layers.Activation("softmax", name="end"))
    assert "layer 'end': softmax has no exact fixed-point form; at the end of a model leave it away" in refused(path)
    assert load_qkeras(path, Options("fixed<6,3>", logits=True)).model.output_names == ["fc"]
    chain(path, layers.Dense(2, name="fc", **DENSE), layers.LSTM(2, name="memory"), shape=(3, 4))
    assert "layer 'memory': LSTM cannot be taken over" in refused(path)
    chain(path, layers.AveragePooling1D(3, padding="same", name="mean"), shape=(7, 2))
    assert "layer 'mean': an average over 3 values, and another number at the edge, is on no grid" in refused(path)
    chain(path, layers.ReLU(max_value=6, name="six"))
    assert "layer 'six': max_value=6 is not supported" in refused(path)
    chain(path, layers.UpSampling2D(2, interpolation="bilinear", name="up"), shape=(2, 2, 1))
    assert "layer 'up': interpolation must be nearest. Received: bilinear" in refused(path)
    chain(path, layers.Conv2D(2, 1, groups=2, name="conv"), shape=(2, 2, 2))
    assert "layer 'conv': groups=2 is not supported" in refused(path)
    chain(path, layers.Conv1D(2, 1, name="conv", **DENSE), shape=(2, 2), conv={"data_format": "channels_first"})
    assert "layer 'conv': only channels_last is known. Received: channels_first" in refused(path)
    chain(path, layers.Activation("linear", name="wide"), wide={"activation": "quantized_po2(4)"})
    assert "layer 'wide' needs a table, for which its input may have 12 bits; it has 14" in refused(
        path, Options("fixed<14,3>")
    )


def test_a_batch_norm_is_folded_exactly_or_refused(tmp_path: Path) -> None:
    path, x = tmp_path / "m.keras", golden.single([[1, -2, 0.5, 3]])
    norm = keras.layers.BatchNormalization(name="norm", epsilon=1e-3)
    words = refused(chain(path, norm))
    assert "layer 'norm': its batch norm multiplies by or adds numbers that no fixed point of 16 bits holds" in words
    assert "epsilon=0.001" in words
    exact = keras.layers.BatchNormalization(
        name="norm", epsilon=1e-12, moving_variance_initializer=keras.initializers.Constant(4)
    )
    chain(path, exact)
    np.testing.assert_array_equal(golden.outputs(load_qkeras(path, PLAIN).model, [x])[0], x / 2)
    rounded = {"inverse_quantizer": "quantized_bits(4, 0, 1, alpha=1)"}
    chain(path, keras.layers.BatchNormalization(name="norm", epsilon=0.3), norm=rounded)
    np.testing.assert_array_equal(golden.outputs(load_qkeras(path, PLAIN).model, [x])[0], x * 0.875)


def test_inputs_need_a_format(tmp_path: Path) -> None:
    path = chain(tmp_path / "m.keras", keras.layers.Dense(2, name="fc", **DENSE))
    assert "layer 'fc' takes a model input, and QKeras does not say in which format it arrives" in refused(
        path, Options()
    )
    assert "input 'x': a format is spelt fixed<W,I>" in refused(path, Options("int8"))
    assert "the model has no input 'y'; choose one of x" in refused(path, Options({"y": "fixed<4,2>"}))
    with pytest.raises(QkerasError, match="one format for all inputs, or NAME=FORMAT for each"):
        parse_inputs(["fixed<4,2>", "x=fixed<4,2>"])
    assert "--logits leaves a last softmax or sigmoid away, and this model has none" in refused(
        path, Options("fixed<4,2>", logits=True)
    )


def test_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(QkerasError, match="no such file; give a model that QKeras saved"):
        read(tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("no model")
    with pytest.raises(QkerasError, match="is not a model saved by Keras"):
        read(text)
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["a"] = [1.0]
    with pytest.raises(QkerasError, match="holds weights without the model"):
        read(tmp_path / "weights.h5")
    shared = keras.layers.Dense(4, name="fc")
    with pytest.raises(QkerasError, match="layer 'fc' is used 2 times"):
        read(chain(tmp_path / "m.keras", shared, shared))
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="fc")], name="inner")
    with pytest.raises(QkerasError, match="layer 'inner' is a model inside the model"):
        read(chain(tmp_path / "m.keras", inner))
    with pytest.raises(QkerasError, match=r"must end in \.keras"):
        import_qkeras(text, tmp_path / "out.h5")


def test_damaged_files_of_both_kinds_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    whole = gzip.decompress((DATA / "qkeras" / "jet_mlp_v0.9.h5.gz").read_bytes())
    for content in (b"", whole[: len(whole) // 2], whole[:100]):
        path.write_bytes(content)
        with pytest.raises(
            QkerasError, match=r"m.h5: is not a model saved by Keras: OSError: .*; save or copy it again"
        ):
            read(path)
    archive = tmp_path / "m.keras"
    packed = bytearray((DATA / "qkeras" / "jet_mlp_v3.keras").read_bytes())
    packed[len(packed) // 2] ^= 8
    for content in (b"", bytes(packed), bytes(packed[:3000])):
        archive.write_bytes(content)
        with pytest.raises(
            QkerasError, match=r"m.keras: is not a model file that can be read: .*save or copy it again"
        ):
            read(archive)
    with pytest.raises(QkerasError, match=r"is a folder; name a file in it; give a model that QKeras saved"):
        read(tmp_path)


@pytest.mark.parametrize("config", ["{", "[" * 5000, "3", '{"class_name": "Functional", "config": {"layers": 3}}'])
def test_configurations_that_are_none_are_refused(tmp_path: Path, config: str) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = config
        file.create_group("model_weights")
    with pytest.raises(QkerasError, match=r"m.h5: is not a model saved by Keras: \w+Error: "):
        read(tmp_path / "m.h5")


def test_settings_that_do_not_go_together_are_said_of_the_layer(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    chain(path, keras.layers.ZeroPadding1D(1, name="pad"), shape=(4, 2), pad={"padding": "wide"})
    assert "layer 'pad': its settings and arrays do not go together (" in refused(path)
    chain(path, keras.layers.Dense(2, name="fc", **DENSE), x={"batch_shape": [None, "four"]})
    assert "input 'x': firmware needs a fixed shape. Received: [None, 'four']" in refused(path)


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    path.write_bytes(gzip.decompress((DATA / "qkeras" / "jet_mlp_v0.9.h5.gz").read_bytes()))
    with h5py.File(path, "a") as file:
        name = next(name for name, group in file["model_weights"].items() if len(group.attrs["weight_names"]))
        group = file["model_weights"][name]
        kernel = group[group.attrs["weight_names"][0]]
        kernel[(0,) * kernel.ndim] = np.nan
    with pytest.raises(
        QkerasError, match=rf"m.h5: array 'kernel' of layer '{name}' holds NaN or infinity; train it again"
    ):
        read(path)


def test_arrays_that_are_missing_are_named(tmp_path: Path) -> None:
    path = chain(tmp_path / "m.keras", keras.layers.Dense(2, name="fc"))
    with zipfile.ZipFile(path) as given:
        config = json.loads(given.read("config.json"))
        weights = given.read("model.weights.h5")
    for layer in config["config"]["layers"]:
        layer["config"]["name"] = layer["name"] = layer["name"].replace("fc", "other")
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("config.json", json.dumps(config).replace('"fc"', '"other"'))
        made.writestr("model.weights.h5", weights)
    assert "layer 'other' (Dense) has no array 'kernel' in the file (there are: none)" in refused(path)


def test_a_sequential_model_is_read(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="first", **DENSE)])
    model.save(tmp_path / "s.keras")
    model.save(tmp_path / "s.h5")
    x = golden.single([[1, 2, 0.5]])
    for name in ("s.keras", "s.h5"):
        np.testing.assert_array_equal(golden.outputs(load_qkeras(tmp_path / name, PLAIN).model, [x])[0], [[3.5, 3.5]])
