"""QKeras quantisers and models beside QKeras's own answers: equal, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support import qkeras as golden
from support import qkeras_cases as cases

from qformers.builds.models import load_model
from qformers.cli import importing
from qformers.errors import QkerasError
from qformers.interop.qkeras.apply import Context
from qformers.interop.qkeras.build import Options
from qformers.interop.qkeras.emit import TABLE_BITS, Wire
from qformers.interop.qkeras.importer import import_qkeras, load_qkeras
from qformers.interop.qkeras.values import frozen, quantise
from qformers.precision.fixed import Fixed
from qformers.precision.qkeras.rounding import Rounding, activation
from qformers.precision.qkeras.spelling import parse


@pytest.mark.parametrize("flavour", golden.FLAVOURS)
@pytest.mark.parametrize("where", ["flowing", *cases.kernels()])
def test_every_quantiser_gives_qkeras_s_bits(flavour: str, where: str) -> None:
    truth = golden.quantiser_truth(flavour)
    numbers = cases.numbers() if where == "flowing" else cases.kernels()[where]
    spellings = [str(text) for text in truth[f"{where}|spellings"]]
    assert len(spellings) > (150 if where == "flowing" else 15)
    for spelling, wanted in zip(spellings, truth[where], strict=True):
        read = parse(spelling)
        made = quantise(read if where == "flowing" else frozen(read), numbers)
        different = np.flatnonzero(made.single != wanted)
        if read.name in ("binary", "ternary") and read["alpha"] is None and where == "flowing":
            # x + (q - x) with x = tanh: two tanh of float32 differ in the last bit, and so do these sums
            assert np.abs(made.exact - wanted).max() <= 2**-23, spelling
        elif "quadratic" in spelling:  # exact ties of log(sqrt(x)): QKeras's answer depends on the place in the array
            assert len(different) <= made.close, spelling
        else:
            assert len(different) == 0, f"{spelling}: {numbers.ravel()[different[:3]]}"


def test_no_quantiser_of_the_grid_was_left_out() -> None:
    for flavour in golden.FLAVOURS:
        truth = golden.quantiser_truth(flavour)
        errors = [str(text) for text in truth["errors"]]
        assert all("-1" in text for text in errors), "QKeras 0.9 cannot do negative integer bits; all others it can"
        asked = cases.spellings("flowing", flavour == "v0.9")
        assert set(asked) <= {*map(str, truth["flowing|spellings"]), *(e.split("|")[1].split(":")[0] for e in errors)}


def test_roundings_are_the_quantisers_on_every_number() -> None:
    """`exact.activation` says in a format what `values.quantise` computes; ties and out-of-range numbers included."""
    x = cases.numbers().astype(np.float64)
    seen = 0
    for spelling in cases.spellings("flowing", old=False):
        try:
            made = activation(parse(spelling))
        except QkerasError:
            continue
        if not isinstance(made, Rounding):
            continue
        seen += 1
        ours = made.factor * made.form.quantise(made.before * x) + made.offset
        theirs = quantise(parse(spelling), x).exact
        tiny = (np.abs(x) < 1e-6) & (parse(spelling).name == "quantized_linear")  # its float32 takes -1e-8 for 0
        np.testing.assert_array_equal(ours[~tiny], theirs[~tiny], err_msg=spelling)
    assert seen > 100


def test_layers_compute_what_the_quantisers_do() -> None:
    """Each quantiser as an HGQ2 layer, tables included, on every value of a grid that overflows most of them."""
    context, form = Context(), Fixed.parse("fixed<10,5>")
    grid = np.arange(form.low, form.high + form.step, form.step).astype(np.float32)[:, None]
    tensor = keras.Input((1,), name="x")
    x = context.emit.round(Wire(tensor, None, None), form, "port")
    assert form.width <= TABLE_BITS
    made: dict[str, Any] = {}
    refused: list[str] = []
    for spelling in cases.spellings("flowing", old=False)[:: 1 if golden.WIDE else 5]:
        try:
            made[spelling] = context.activate(x, spelling, f"y{len(made)}").tensor
        except QkerasError as error:
            refused.append(str(error))
    assert all("fixed point" in text or "multiples of 2^-24" in text for text in refused)
    assert len(made) > 35
    model = keras.Model(tensor, list(made.values()))
    context.emit.finish(model)
    for spelling, ours in zip(made, golden.outputs(model, [grid]), strict=True):
        np.testing.assert_array_equal(ours, quantise(parse(spelling), grid).exact, err_msg=spelling)


@pytest.mark.parametrize("name", golden.MODELS)
def test_models_give_qkeras_s_bits(name: str, tmp_path: Path) -> None:
    made = golden.imported(name, tmp_path)
    inputs, wanted = golden.events(name)
    found = golden.outputs(made.model, inputs)
    assert made.notes == ()
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert np.unique(theirs).size > 10, "a constant output would show nothing"
        np.testing.assert_array_equal(ours, theirs)
    assert sum(float(layer.ebops) for layer in made.model.layers if hasattr(layer, "ebops")) > 500


def test_a_model_is_the_same_after_saving(tmp_path: Path) -> None:
    inputs, wanted = golden.events("sequence_v3.keras")
    options = golden.MODELS["sequence_v3.keras"]
    import_qkeras(golden.unpacked("sequence_v3.keras", tmp_path), tmp_path / "s.keras", options)
    for ours, theirs in zip(golden.outputs(load_model(tmp_path / "s.keras"), inputs), wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_weights_beside_their_grid_are_noted(tmp_path: Path) -> None:
    """A weight of 1e8 saturates, and x + (q - x) in float32 is 0, not 0.875."""
    path = tmp_path / "far.keras"
    inputs = keras.Input((2,), name="x")
    layer = keras.layers.Dense(1, name="fc")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([golden.single([[0.5], [1e8]]), np.zeros(1, np.float32)])
    golden.save_with(model, path, {"fc": {"kernel_quantizer": "quantized_bits(4, 0, alpha=1)"}})
    made = load_qkeras(path, Options("fixed<8,4>"))
    assert len(made.notes) == 1
    assert "kernel of layer 'fc': QKeras computes 1 of 2 values" in made.notes[0]
    np.testing.assert_array_equal(golden.outputs(made.model, [golden.single([[1, 2]])])[0], [[0.5 + 2 * 0.875]])


def shapes_model() -> keras.Model:
    """Every plain Keras layer that can be taken over, with weights of few bits."""
    layers = keras.layers
    a, b = keras.Input((7, 6, 2), name="a"), keras.Input((8, 3), name="b")
    x = layers.ZeroPadding2D(((1, 0), (2, 1)), name="zeros2")(a)  # (8, 9, 2)
    x = layers.Conv2D(3, (3, 2), strides=(2, 3), padding="same", name="conv2")(x)  # (4, 3, 3)
    x = layers.DepthwiseConv2D((2, 2), depth_multiplier=2, dilation_rate=(1, 2), padding="same", name="depth2")(x)
    x = layers.UpSampling2D((1, 2), name="up2")(x)  # (4, 6, 6)
    x = layers.MaxPooling2D((3, 2), strides=2, padding="same", name="max2")(x)  # (2, 3, 6)
    x = layers.Cropping2D(((0, 0), (1, 0)), name="crop2")(x)  # (2, 2, 6)
    p = layers.AveragePooling2D((2, 2), name="mean2")(x)
    g = layers.GlobalAveragePooling2D(name="means")(x)  # (6,)
    m = layers.GlobalMaxPooling2D(name="tops")(x)
    y = layers.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="relu", name="conv1")(b)  # (8, 4)
    y = layers.Dropout(0.5, name="drop")(y)
    y = layers.DepthwiseConv1D(2, name="depth1")(layers.Cropping1D((1, 0), name="crop1")(y))  # (6, 4)
    y = layers.MaxPooling1D(2, name="max1")(layers.UpSampling1D(2, name="up1")(y))  # (6, 4)
    y = layers.AveragePooling1D(2, name="mean1")(y)  # (3, 4)
    y = layers.Permute((2, 1), name="turn")(y)  # (4, 3)
    y = layers.Dense(2, name="rows")(y)  # (4, 2)
    y = layers.Activation("relu", name="positive")(layers.Reshape((2, -1), name="box")(y))  # (2, 4)
    flat = layers.Flatten(name="flat")(y)
    six = layers.Dense(6, name="six")(flat)
    some = [g, m, six, layers.Flatten(name="p")(p)]
    made = [
        layers.Add(name="sum3")(some[:3]), layers.Subtract(name="less")(some[:2]),
        layers.Multiply(name="times")(some[:2]), layers.Average(name="mean4")(some),
        layers.Maximum(name="most")(some[:3]), layers.Minimum(name="least")(some[:3]),
        layers.Concatenate(name="beside")(some), layers.Concatenate(axis=1, name="below")([y, y]),
        layers.ReLU(name="relu")(layers.ZeroPadding1D(1, name="zeros1")(y)),
    ]  # fmt: skip
    model = keras.Model([a, b], made)
    random = np.random.default_rng(3)
    model.set_weights([random.integers(-4, 5, weight.shape) / 4 for weight in model.get_weights()])
    return model


@pytest.mark.slow
def test_plain_layers_between_compute_what_keras_does(tmp_path: Path) -> None:
    model = shapes_model()
    model.save(tmp_path / "shapes.keras")
    made = load_qkeras(tmp_path / "shapes.keras", Options("fixed<5,3>"))
    random = np.random.default_rng(4)
    inputs = [(random.integers(-16, 16, (32, *tensor.shape[1:])) / 4).astype(np.float32) for tensor in model.inputs]
    for name, ours, theirs in zip(
        model.output_names, golden.outputs(made.model, inputs), golden.outputs(model, inputs), strict=True
    ):
        assert np.unique(theirs).size > 10
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_a_mean_over_three_values_is_keras_s_to_the_bits_that_anything_reads(tmp_path: Path) -> None:
    layers = keras.layers
    given = keras.Input((7, 6, 2), name="a")
    both = [layers.AveragePooling2D((2, 3), strides=(3, 1), name="mean")(given), layers.GlobalAveragePooling2D()(given)]
    model = keras.Model(given, both)
    model.save(tmp_path / "means.keras")
    made = load_qkeras(tmp_path / "means.keras", Options("fixed<8,3>"))
    assert "layer 'mean': a mean over 6 values has steps of 2^-" in made.notes[0]
    inputs = [(np.random.default_rng(4).integers(-128, 128, (64, 7, 6, 2)) / 32).astype(np.float32)]
    for ours, theirs in zip(golden.outputs(made.model, inputs), golden.outputs(model, inputs), strict=True):
        assert np.unique(theirs).size > 10
        for bits in (0, 4, 11, 18):
            np.testing.assert_array_equal(np.rint(ours * 2.0**bits), np.rint(theirs * 2.0**bits))
            np.testing.assert_array_equal(np.floor(ours * 2.0**bits), np.floor(theirs * 2.0**bits))


def test_the_script_writes_a_model_and_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def main(words: list[str]) -> int:
        return importing.COMMAND(["qkeras", *words])

    source, target = golden.unpacked("jet_mlp_v0.9.h5", tmp_path), tmp_path / "jets.keras"
    assert main([str(source), str(target), "--input", "jet=fixed<16,6>", "--logits"]) == 0
    said = capsys.readouterr().out
    assert "inputs {'jet': (16,)}" in said
    assert "bit for bit" in said
    assert load_model(target).output_names == ["scores"]
    assert main([str(source), str(target), "--input", "jett=fixed<16,6>", "--logits"]) == 2
    assert "has no input 'jett'; did you mean 'jet'?" in capsys.readouterr().err
