"""Model files that are damaged, cut, bombs or somebody else's: said by name before Keras takes them apart."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import pytest
from support.paths import DATA

from qformers.builds import archive
from qformers.builds.archive import check_keras_archive, parse_json
from qformers.builds.models import load_model
from qformers.errors import ConfigError, QkerasError
from qformers.hdf5_files import refuse_broken_heaps
from qformers.interop.qkeras import reader

SAVED = DATA / "saved" / "part_float.keras"


def written(path: Path, changes: Mapping[str, bytes | None], method: int = zipfile.ZIP_STORED) -> Path:
    """A copy of a model file with other members; None leaves one out."""
    with zipfile.ZipFile(SAVED) as old, zipfile.ZipFile(path, "w", method) as new:
        for name in dict.fromkeys((*old.namelist(), *changes)):
            content = changes.get(name, b"") if name in changes else old.read(name)
            if content is not None:
                new.writestr(name, content)
    return path


def refused(path: Path, said: str) -> None:
    """Both the check and the loading refuse in one line, which never speaks of a missing file."""
    for read in (lambda: check_keras_archive(path, ConfigError), lambda: load_model(path)):
        with pytest.raises(ConfigError, match=rf"{re.escape(str(path))}: .*{said}") as caught:
            read()
        assert "\n" not in str(caught.value)
        assert "not found" not in str(caught.value)
        assert str(caught.value).count("is not a model file") <= 1


def weights(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, settings in arrays.items():
            file.create_dataset(name, **settings)
    return stream.getvalue()


def test_a_good_file_is_whole() -> None:
    found = check_keras_archive(SAVED, ConfigError)
    assert found.config["class_name"] == "Functional"
    assert found.weights.startswith(b"\x89HDF")


@pytest.mark.parametrize("content", [b"", b"no model", SAVED.read_bytes()[:5000], SAVED.read_bytes()[:-20]])
def test_empty_and_cut_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    refused(path, "is not a model file that can be read: .*; it is damaged, cut short or something else")


@pytest.mark.parametrize("place", [0.2, 0.4, 0.6, 0.8])
def test_flipped_bytes(place: float, tmp_path: Path) -> None:
    content = bytearray(SAVED.read_bytes())
    content[int(place * len(content))] ^= 16
    (tmp_path / "model.keras").write_bytes(content)
    refused(
        tmp_path / "model.keras",
        "is not a model file that can be read: Bad CRC-32 for file '(config.json|model.weights.h5)'",
    )


def test_files_that_are_none(tmp_path: Path) -> None:
    refused(tmp_path / "gone.keras", "no such file")
    refused(tmp_path, "is a folder; name a file in it")
    (tmp_path / "link.keras").symlink_to("nowhere.keras")
    refused(tmp_path / "link.keras", "is a link to nowhere.keras, which is not there")


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_members_that_are_missing(name: str, tmp_path: Path) -> None:
    refused(written(tmp_path / "model.keras", {name: None}), f"the archive has no '{name}'; save it again")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ('{"class_name": "Func', "Unterminated string"),
        ("[" * 100_000 + "]" * 100_000, "JSON nested too deeply"),
        ('{"config": ' * 150 + "{}" + "}" * 150, "JSON nested more than 100 deep"),
        ("[]", "its config.json describes no model"),
        ('{"class_name": "Functional", "config": 3}', "its config.json describes no model"),
        ("\udcff", "can't decode byte"),
    ],
)
def test_configurations_that_are_none(text: str, said: str, tmp_path: Path) -> None:
    content = text.encode("utf-8", "surrogateescape")
    refused(written(tmp_path / "model.keras", {"config.json": content}), said)


def test_json_of_usual_depth_is_read() -> None:
    assert parse_json(b'[{"a": [1, {}]}, 2]') == [{"a": [1, {}]}, 2]
    assert parse_json("3") == 3


def test_zip_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "CONFIG_BYTES", 1 << 20)
    path = written(tmp_path / "model.keras", {"config.json": b" " * (5 << 20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    refused(path, "'config.json' unpacks to 5,242,880 bytes, more than 1,048,576")
    monkeypatch.setattr(archive, "ARCHIVE_BYTES", 1 << 20)
    refused(path, "unpacks to [0-9,]+ bytes, more than 1,048,576")


def test_a_size_that_the_directory_hides(tmp_path: Path) -> None:
    path = written(tmp_path / "model.keras", {"config.json": b" " * (1 << 20)}, zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    path.write_bytes(content.replace((1 << 20).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    refused(path, "is not a model file that can be read: Bad CRC-32 for file 'config.json'")


def test_weights_that_claim_more_than_there_is(tmp_path: Path) -> None:
    bomb = weights(a={"shape": (10**12,), "dtype": "f4", "chunks": (1000,)})
    refused(
        written(tmp_path / "model.keras", {"model.weights.h5": bomb}),
        r"its weights are damaged \('a' has the shape \(1000000000000,\), more than a file of",
    )


def test_weights_of_other_files_are_not_followed(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/")
    refused(
        written(tmp_path / "model.keras", {"model.weights.h5": stream.getvalue()}),
        r"its weights are damaged \('layers' is a link to another place, which is not followed\)",
    )


def test_weights_in_circles_end(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        group = file.create_group("a")
        group["b"], group["c"] = group, file
    refused(
        written(tmp_path / "model.keras", {"model.weights.h5": stream.getvalue()}),
        "its weights are damaged \\(the group 'b' stands in two places\\)",
    )


def test_a_layer_of_a_class_that_is_not_there_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(SAVED) as old:
        tree = json.loads(old.read("config.json"))
    for layer in tree["config"]["layers"]:
        if layer["registered_name"]:
            layer |= {"class_name": "Gone", "registered_name": "elsewhere>Gone", "module": "elsewhere.layers"}
            break
    path = written(tmp_path / "model.keras", {"config.json": json.dumps(tree).encode()})
    with pytest.raises(ConfigError, match=r"it has a layer or function 'Gone', which is neither Keras's, HGQ2's nor"):
        load_model(path)


def test_a_heap_of_texts_that_goes_nowhere_is_refused_where_hdf5_would_read_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "texts.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "a text" * 200
    content = bytearray(path.read_bytes())
    refuse_broken_heaps(bytes(content))
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 18] = bytes(2)  # the first object: free room ...
    content[heap + 24 : heap + 32] = bytes(8)  # ... of no size
    with pytest.raises(ValueError, match=rf"a heap of texts at byte {heap:,} is broken: an object of 0 bytes in it"):
        refuse_broken_heaps(bytes(content))
    path.write_bytes(content)
    words = r"texts.h5: is not a model saved by Keras.*is broken: .*; save or copy it again"
    with pytest.raises(QkerasError, match=words):
        reader.read(path)
