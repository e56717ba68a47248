"""Architecture and weights of a QKeras model in two files, and models that are not QKeras's."""

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

from qformers.cli.importing import COMMAND
from qformers.errors import ConfigError, QkerasError
from qformers.interop.qkeras.build import Options
from qformers.interop.qkeras.importer import load_qkeras
from qformers.interop.qkeras.reader import read

QKERAS = DATA / "qkeras"
PLAIN = Options("fixed<6,3>")


def split(name: str, folder: Path) -> tuple[Path, Path]:
    """The architecture and the weights of a golden file, as to_json and save_weights write them."""
    config, weights = folder / "arch.json", folder / "weights.h5"
    if name.endswith(".keras"):
        with zipfile.ZipFile(QKERAS / name) as archive:
            config.write_bytes(archive.read("config.json"))
            weights.write_bytes(archive.read("model.weights.h5"))
        return config, weights
    whole = folder / "whole.h5"
    whole.write_bytes(gzip.decompress((QKERAS / f"{name}.gz").read_bytes()))
    with h5py.File(whole) as old, h5py.File(weights, "w") as new:
        config.write_text(str(old.attrs["model_config"]))
        for layer in old["model_weights"]:
            old.copy(f"model_weights/{layer}", new)
        new.attrs["layer_names"] = [layer.encode() for layer in old["model_weights"]]
    return config, weights


@pytest.mark.parametrize("name", ["jet_mlp_v0.9.h5", "jet_mlp_v3.keras"])
def test_two_files_are_read_as_one(name: str, tmp_path: Path) -> None:
    config, weights = split(name, tmp_path)
    whole = read(golden.unpacked(name, tmp_path))
    pair = read(config, weights)
    assert (pair.name, pair.inputs, pair.outputs, list(pair.layers)) == (
        whole.name, whole.inputs, whole.outputs, list(whole.layers),
    )  # fmt: skip
    for layer, other in zip(pair.layers.values(), whole.layers.values(), strict=True):
        assert layer.config == other.config
        assert set(layer.arrays) == set(other.arrays)
        assert all(np.array_equal(array, other.arrays[key]) for key, array in layer.arrays.items())


def test_two_files_become_the_model_of_qkeras(tmp_path: Path) -> None:
    inputs, outputs = golden.events("jet_mlp_v3.keras")
    config, weights = split("jet_mlp_v3.keras", tmp_path)
    made = load_qkeras(config, golden.MODELS["jet_mlp_v3.keras"], weights).model
    plain = golden.imported("jet_mlp_v3.keras", tmp_path).model
    np.testing.assert_array_equal(golden.outputs(made, inputs)[0], golden.outputs(plain, inputs)[0])
    assert golden.outputs(made, inputs)[0].shape == outputs[0].shape


def test_a_whole_model_can_stand_for_its_weights(tmp_path: Path) -> None:
    config, _ = split("jet_mlp_v0.9.h5", tmp_path)
    assert set(read(config, tmp_path / "whole.h5").layers) == set(read(tmp_path / "whole.h5").layers)


def pair_of(folder: Path, one: keras.Model, other: keras.Model) -> tuple[Path, Path]:
    """The architecture of one model with the weights of another."""
    config, weights = folder / "arch.json", folder / "m.weights.h5"
    config.write_text(one.to_json())
    other.save_weights(weights)
    return config, weights


def chain(*layers: Any, size: int = 4) -> keras.Model:
    return keras.Sequential([keras.Input((size,), name="x"), *layers])


def dense(units: int, name: str) -> Any:
    return keras.layers.Dense(units, name=name, kernel_initializer="ones")


def test_layers_of_two_models_are_named(tmp_path: Path) -> None:
    files = pair_of(tmp_path, chain(dense(3, "fc1")), chain(dense(3, "fc1"), dense(2, "fc2")))
    with pytest.raises(QkerasError, match=r"m.weights.h5: has arrays of a layer 'fc2', which .*arch.json lacks; did"):
        read(*files)
    files = pair_of(tmp_path, chain(dense(3, "fc1"), dense(2, "fc2")), chain(dense(3, "fc1")))
    with pytest.raises(
        QkerasError, match=r"has no array of layer 'fc2' \(Dense\) of .*arch.json \(layers with arrays: fc1\); give the"
    ):
        read(*files)


def test_shapes_of_two_models_are_named(tmp_path: Path) -> None:
    files = pair_of(tmp_path, chain(dense(3, "fc")), chain(dense(5, "fc")))
    words = r"layer 'fc' \(Dense\): its kernel has the shape \(4, 5\), its settings and its input say \(4, 3\): arch"
    with pytest.raises(QkerasError, match=words):
        load_qkeras(files[0], PLAIN, files[1])
    files = pair_of(tmp_path, chain(dense(3, "fc"), size=4), chain(dense(3, "fc"), size=6))
    with pytest.raises(QkerasError, match=r"shape \(6, 3\), its settings and its input say \(4, 3\).*of two models"):
        load_qkeras(files[0], PLAIN, files[1])


def test_half_of_a_model_and_files_in_another_order_are_refused(tmp_path: Path) -> None:
    config, weights = pair_of(tmp_path, chain(dense(3, "fc")), chain(dense(3, "fc")))
    with pytest.raises(QkerasError, match=r"arch.json: is an architecture without its weights; give both: qformers"):
        read(config)
    with pytest.raises(QkerasError, match=r"two files are the architecture as .json, then the weights.*Received: .*h5"):
        read(weights, config)
    with pytest.raises(QkerasError, match=r"m.weights.h5: holds weights without the model.*or give its architecture"):
        read(weights)
    config.write_text("{")
    with pytest.raises(QkerasError, match=r"arch.json: is not a model saved by Keras: JSONDecodeError"):
        read(config, weights)
    config.write_text(chain(dense(3, "fc")).to_json())
    weights.write_bytes(b"no numbers")
    with pytest.raises(QkerasError, match=r"m.weights.h5: is not a model saved by Keras: OSError"):
        read(config, weights)
    with pytest.raises(QkerasError, match=r"gone.h5: no such file"):
        read(config, tmp_path / "gone.h5")


def run(*arguments: str | Path) -> int:
    """The command line."""
    import argparse

    parser = argparse.ArgumentParser()
    COMMAND.add(parser)
    return COMMAND.run(parser.parse_args(list(map(str, arguments))))


def test_the_command_takes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = pair_of(tmp_path, chain(dense(3, "fc")), chain(dense(3, "fc")))
    assert run("qkeras", *files, tmp_path / "out.keras", "--input", "fixed<6,3>") == 0
    assert "out.keras: " in capsys.readouterr().out
    with pytest.raises(
        ConfigError, match=r"'qkeras' is imported from one file or two, .*Received: .*arch.json, .*h5, "
    ):
        run("qkeras", *files, files[1], tmp_path / "out.keras")
    with pytest.raises(ConfigError, match=r"'part' is imported from one file. Received: .*arch.json, .*m.weights.h5"):
        run("part", *files, tmp_path / "out.keras")
    with pytest.raises(QkerasError, match=r"none.h5: no such file; give a model saved by model.save"):
        run("qkeras", files[0], tmp_path / "none.h5", tmp_path / "out.keras")


def registered(path: Path, name: str, kind: str, module: str) -> Path:
    """A saved model whose first layer says that it is of another package."""
    chain(dense(3, "fc")).save(path)
    with h5py.File(path, "a") as file:
        tree = json.loads(file.attrs["model_config"])
        tree["config"]["layers"][-1] |= {"registered_name": name, "class_name": kind, "module": module}
        file.attrs["model_config"] = json.dumps(tree)
    return path


@pytest.mark.parametrize(
    ("name", "kind", "module"),
    [("HGQ>HDense", "HDense", "HGQ.layers.dense"), ("", "HGQ>HDense", ""), ("HGQ>UnaryLUT", "HGQ>UnaryLUT", "")],
)
def test_a_model_of_hgq_1_is_named_with_the_way_out(name: str, kind: str, module: str, tmp_path: Path) -> None:
    path = registered(tmp_path / "m.h5", name, kind, module)
    with pytest.raises(
        QkerasError, match=r"m.h5: is no model of QKeras: layer 'fc' \((HDense|UnaryLUT)\) is of HGQ 1, of"
    ):
        read(path)
    with pytest.raises(
        QkerasError, match=r"of the layers of HGQ2 \(QDense for HDense, .*qformers quantise MODEL.keras"
    ):
        read(path)


def test_a_model_of_hgq2_goes_to_export(tmp_path: Path) -> None:
    path = registered(tmp_path / "m.h5", "hgq>QDense", "QDense", "hgq.layers.core.dense")
    with pytest.raises(QkerasError, match=r"layer 'fc' \(QDense\) is of HGQ2, .*qformers export MODEL.keras"):
        read(path)


def test_a_plain_model_of_keras_is_to_be_quantised(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    chain(keras.layers.Dense(2, name="fc")).save(path)
    words = (
        r"kernel of layer 'fc': has no quantiser.* No layer of this model has a quantiser: save it as .keras, and "
        r"qformers quantise MODEL.keras --calibrate DATA.npy$"
    )
    with pytest.raises(QkerasError, match=words):
        load_qkeras(path, PLAIN)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_quantizer": "quantized_bits(4, alpha='auto')"},
        {"bias_quantizer": {"class_name": "quantized_bits", "config": {"bits": 4}}},
        {"activation": "quantized_relu(4)"},
    ],
)
def test_a_model_with_one_quantiser_is_not_called_plain(settings: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    save_with(chain(keras.layers.Dense(2, name="fc")), path, {"fc": settings})
    with pytest.raises(QkerasError) as error:
        load_qkeras(path, PLAIN)
    assert "qformers quantise" not in str(error.value)
