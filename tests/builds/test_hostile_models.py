"""Model files that somebody else made run no code and read no other file."""

from __future__ import annotations

import contextlib
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from qformers.builds.models import load_model
from qformers.errors import ConfigError


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def dense() -> keras.Model:
    """One dense layer."""
    x = keras.Input((3,), name="x")
    return keras.Model(x, keras.layers.Dense(2, name="first")(x))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A model file without fault."""
    dense().save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_a_lambda_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    x = keras.Input((3,))
    path = str(mark)
    model = keras.Model(x, keras.layers.Lambda(lambda values: (open(path, "w").close(), values)[1])(x))  # noqa: PTH123
    model.save(tmp_path / "model.keras")
    mark.unlink()
    with pytest.raises(ConfigError, match=r"model.keras: is not a model file that can be read: .*lambda"):
        load_model(tmp_path / "model.keras")
    assert not mark.exists()


def test_a_pickle_is_not_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for name in ("model.keras", "model.h5"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb(mark)))
        with pytest.raises(ConfigError, match=rf"{name}: is not a model file that can be read"):
            load_model(tmp_path / name)
    np.save(tmp_path / "object.npy", np.array([Bomb(mark)], object), allow_pickle=True)
    (tmp_path / "object.npy").rename(tmp_path / "other.keras")
    with pytest.raises(ConfigError, match=r"other.keras: is not a model file that can be read"):
        load_model(tmp_path / "other.keras")
    assert not mark.exists()


@pytest.mark.parametrize("module", ["os", "builtins", "subprocess", "keras.src.utils.file_utils"])
def test_a_class_from_elsewhere_is_not_made(module: str, saved: Path, tmp_path: Path) -> None:
    def change(tree: dict[str, Any]) -> None:
        tree["config"]["layers"][1] |= {"module": module, "class_name": "system", "registered_name": "system"}

    with pytest.raises(ConfigError, match=r"bad.keras: is not a model file that can be read"):
        load_model(rewritten(saved, tmp_path / "bad.keras", change))


def rewritten(path: Path, out: Path, change: Any, more: tuple[tuple[str, bytes], ...] = ()) -> Path:
    """A copy with another configuration, and more members."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                tree = json.loads(content)
                change(tree)
                content = json.dumps(tree).encode()
            new.writestr(name, content)
        for name, content in more:
            new.writestr(name, content)
    return out


@pytest.mark.filterwarnings("ignore:Skipping invalid path")  # Keras says so
def test_a_member_that_leads_out_of_the_file_is_not_written(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "er"
    out.mkdir(parents=True)
    members = (("../slipped", b"x"), ("../../slipped", b"x"), (str(tmp_path / "slipped"), b"x"))
    path = rewritten(saved, out / "slip.keras", lambda tree: None, members)
    before = set(tmp_path.rglob("*"))
    with contextlib.suppress(ConfigError):  # refused, or read without these members
        load_model(path)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras looks for the weights elsewhere too
def test_weights_that_lie_in_another_file_are_not_read(saved: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["value"] = np.full((3, 2), 7.0, np.float32)
    weights = tmp_path / "model.weights.h5"
    with zipfile.ZipFile(saved) as archive:
        weights.write_bytes(archive.read("model.weights.h5"))
    with h5py.File(weights, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        kernel = next(name for name in names if isinstance(file[name], h5py.Dataset) and file[name].shape == (3, 2))
        del file[kernel]
        file[kernel] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "value")
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(tmp_path / "linked.keras", "w") as new:
        for name in old.namelist():
            new.writestr(name, weights.read_bytes() if name == "model.weights.h5" else old.read(name))
    with pytest.raises(
        ConfigError, match=r"(?s)linked.keras: is not a model file that can be read: .*is a link to another place"
    ):
        load_model(tmp_path / "linked.keras")
