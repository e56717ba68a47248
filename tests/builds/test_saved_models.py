"""Model files that were saved before modules moved and models had a memory: they load, and compute what they did."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.paths import DATA
from support.quantised import JET, logits, quantised_part, small

from qformers.builds.archive import check_keras_archive
from qformers.builds.models import load_model
from qformers.builds.saved import content_sha256, save_model
from qformers.errors import ConfigError
from qformers.models.part.part import part
from qformers.nn.float32 import Float32
from qformers.nn.memory import Fold, Memory, memory_of
from qformers.quant.fidelity import axes_of, counterpart
from qformers.quant.fold import transfer

SAVED = DATA / "saved"


@pytest.mark.parametrize("vocabulary", ["float", "hgq"])
@pytest.mark.parametrize("name", ["part", "hept"])
def test_an_older_file_loads_and_computes_the_same(name: str, vocabulary: str) -> None:
    model = load_model(SAVED / f"{name}_{vocabulary}.keras")
    with np.load(SAVED / "outputs.npz") as saved:
        events = {key.removeprefix(f"{name}_"): saved[key] for key in saved.files if key.startswith(f"{name}_")}
    wanted = events[vocabulary]
    if vocabulary == "hgq":
        np.testing.assert_array_equal(logits(model, events), wanted)
    else:  # rounding of sums differs between processors
        np.testing.assert_allclose(logits(model, events), wanted, rtol=0, atol=1e-5)
    assert memory_of(model) is None
    assert axes_of(model) == {}
    assert counterpart(model, model, "logits") is None


def rewritten(path: Path, out: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of a model file whose memory is what `change` makes of it."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                tree = json.loads(content)
                tree["config"]["memory"] = change(tree["config"]["memory"])
                content = json.dumps(tree).encode()
            new.writestr(name, content)
    return out


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantised model of today."""
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    quantised_part(small("none")).save(path)
    return path


def test_a_memory_comes_back_as_it_was(saved: Path) -> None:
    assert memory_of(load_model(saved)) == memory_of(quantised_part(small("none")))


@pytest.mark.parametrize("key", [field.name for field in fields(Memory)])
@pytest.mark.parametrize("value", [None, 3, "xyz", [1], {"a": 1}])
def test_a_memory_with_something_else_in_it_is_refused_by_key(
    saved: Path, key: str, value: Any, tmp_path: Path
) -> None:
    if (key, value) == ("config", {"a": 1}):
        return  # plain values as any other
    path = rewritten(saved, tmp_path / "model.keras", lambda memory: {**memory, key: value})
    with pytest.raises(ConfigError, match=f"is not a model file.*memory of the model, key '{key}"):
        load_model(path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("vocabulary", "float64", r"did you mean 'float32'\?. Received: 'float64'"),
        ("folds", {"gone": asdict(Fold())}, "no layer is called so. Received: 'gone'"),
        ("derived", {"gone": ["class scores", "logits"]}, "no layer is called so. Received: 'gone'"),
        ("ends", {"gone": "logits"}, "no layer is called so. Received: 'gone'"),
        ("ends", {"logits": "gone"}, "no layer is called so. Received: 'gone'"),
        ("shifted", ["gone"], "no layer is called so. Received: 'gone'"),
        ("inputs", {"gone": ["event"]}, "no input is called so. Received: 'gone'"),
    ],
)
def test_a_memory_of_another_model_is_refused(key: str, value: Any, words: str, saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path / "model.keras", lambda memory: {**memory, key: value})
    with pytest.raises(ConfigError, match=f"is not a model file.*memory of the model, key '{key}': .*{words}"):
        load_model(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vocabulary": "float64"}, r"a vocabulary that does not exist; did you mean 'float32'\?. Received: 'float64'"),
        ({"config": {}, "derived": {"logits": ("class own", "x")}}, "of an unknown architecture 'None'"),
        (
            {"config": {"architecture": "part", "heads": 0}, "derived": {"logits": ("class own", "x")}},
            "a configuration that is none of part: 'heads': .*greater than 0. Received: 0",
        ),
        ({"derived": {"logits": ("class owl", "x")}}, "by a rule that does not exist; did you mean 'class own'"),
    ],
)
def test_a_memory_that_no_model_was_built_with_fills_no_weights(changes: dict[str, Any], words: str) -> None:
    model, source = quantised_part(small("none")), part(small("none"), JET, Float32())
    memory = memory_of(model)
    assert memory is not None
    model.memory = replace(memory, **changes)
    with pytest.raises(ConfigError, match=words):
        transfer(source, model)


def test_a_memory_that_lacks_a_key_is_refused(saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path / "model.keras", lambda memory: {"vocabulary": memory["vocabulary"]})
    with pytest.raises(ConfigError, match="memory of the model, key 'config': Field required"):
        load_model(path)


def test_a_flipped_bit_is_no_model_file(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    content = bytearray(saved.read_bytes())
    content[content.index(b"config.json") + 200] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"is not a model file that can be read: Bad CRC-32 for file 'config.json'"):
        load_model(path)


def test_a_copy_of_the_layers_alone_has_no_memory_and_can_be_saved(saved: Path, tmp_path: Path) -> None:
    copy = keras.models.clone_model(load_model(saved))
    copy.save(tmp_path / "copy.keras")
    assert memory_of(load_model(tmp_path / "copy.keras")) is None


def test_equal_models_make_equal_files_and_their_content_has_one_hash(saved: Path, tmp_path: Path) -> None:
    """Keras writes the time and addresses of memory into a file; neither is of the model."""
    paths = [tmp_path / f"{number}.keras" for number in range(2)]
    for path in paths:
        keras.backend.clear_session()  # quantisers are numbered in the order of their making
        save_model(load_model(saved), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert saved.read_bytes() != paths[0].read_bytes()
    assert content_sha256(saved) == content_sha256(paths[0])
    model = load_model(paths[0])
    kernel = model.get_layer("logits")._kernel
    kernel.assign(np.nextafter(np.asarray(kernel), np.float32(9)))
    save_model(model, paths[1])
    assert content_sha256(paths[1]) != content_sha256(paths[0])


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("how", ["flipped", "truncated", "zeroed"])
def test_a_damaged_file_is_one_line_before_keras_reads_it(saved: Path, tmp_path: Path, place: float, how: str) -> None:
    content, path = saved.read_bytes(), tmp_path / "model.keras"
    at = int(place * len(content))
    flipped = bytes([content[at] ^ 4]) + content[at + 1 :]
    tails = {"flipped": flipped, "truncated": b"", "zeroed": bytes(len(content) - at)}
    path.write_bytes(content[:at] + tails[how])
    with pytest.raises(ConfigError, match=r"model.keras: is not a model file that can be read: ") as caught:
        check_keras_archive(path, ConfigError)
    assert "\n" not in str(caught.value)
