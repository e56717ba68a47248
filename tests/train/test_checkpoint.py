"""Checkpoints: exact, bound to their settings, and never half."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.damage import ways

from qformers.builds.settings import differences
from qformers.errors import CheckpointError
from qformers.files import replacing
from qformers.train.checkpoint import CheckpointStore

CHANCE = random.Random(7)  # noqa: S311  no secrets
SETTINGS = {"seed": 1, "train": {"float": {"learning_rate": 0.1, "widths": (1, 2)}}}


def variables(fill: float = 0.0) -> list[Any]:
    """A float and a counter."""
    return [
        keras.Variable(np.full((2, 3), fill, np.float32), name="kernel"),
        keras.Variable(np.uint32(fill), dtype="uint32", name="ebops", trainable=False),
    ]


def values(made: list[Any]) -> list[np.ndarray]:
    """Their arrays."""
    return [keras.ops.convert_to_numpy(variable) for variable in made]


def saved(folder: Path) -> CheckpointStore:
    """Two checkpoints: epoch 0 filled with 1, epoch 1 filled with a number that is not exact in decimal."""
    store = CheckpointStore(folder, SETTINGS)
    store.save(variables(1.0), {"epoch": 0, "step": 0})
    store.save(variables(1 / 3), {"epoch": 1, "step": 0, "loss": 0.1})
    return store


def test_comes_back_bit_for_bit_and_keeps_two(tmp_path: Path):
    saved(tmp_path).save(variables(2.0), {"epoch": 2, "step": 5})
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == [
        "epoch_0001_step_000000.npz",
        "epoch_0002_step_000005.npz",
    ]
    target = variables()
    assert CheckpointStore(tmp_path, SETTINGS).load(target) == {"epoch": 2, "step": 5}
    for found, expected in zip(values(target), values(variables(2.0)), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_no_checkpoint_is_none(tmp_path: Path):
    assert CheckpointStore(tmp_path, SETTINGS).load(variables()) is None


def test_another_build_is_refused_naming_what_changed(tmp_path: Path):
    saved(tmp_path)
    other = {"seed": 1, "train": {"float": {"learning_rate": 0.2, "widths": (1, 2), "new": None}}}
    words = r"belongs to another build: .* --out, undo the change, or start over with --fresh"
    with pytest.raises(CheckpointError, match=words) as caught:
        CheckpointStore(tmp_path, other).load(variables())
    assert "train.float.learning_rate: 0.1 -> 0.2" in str(caught.value)
    assert "widths" not in str(caught.value)


def test_differences_names_leaves_on_both_sides():
    assert differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "d": 4}) == [
        "a.b: 1 -> 3",
        "c: 2 -> None",
        "d: None -> 4",
    ]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    saved(tmp_path)
    path = tmp_path / "epoch_0001_step_000000.npz"
    path.write_bytes(path.read_bytes()[:-7])
    target = variables()
    assert CheckpointStore(tmp_path, SETTINGS).load(target) == {"epoch": 0, "step": 0}
    np.testing.assert_array_equal(values(target)[0], np.ones((2, 3)))
    assert "SHA-256" in caplog.text


def test_all_damaged_is_an_error_with_the_way_out(tmp_path: Path):
    saved(tmp_path)
    for path in tmp_path.glob("*.npz"):
        path.unlink()
    with pytest.raises(CheckpointError, match=r"no checkpoint is whole; start over with --fresh"):
        CheckpointStore(tmp_path, SETTINGS).load(variables())


def test_a_cut_json_is_a_damaged_checkpoint(tmp_path: Path):
    saved(tmp_path)
    latest = tmp_path / "latest.json"
    latest.write_text(latest.read_text()[:40])
    assert CheckpointStore(tmp_path, SETTINGS).load(variables()) == {"epoch": 0, "step": 0}


@pytest.mark.parametrize("name", ["latest.json", "epoch_0001_step_000000.npz"])
@pytest.mark.parametrize("how", sorted(ways(CHANCE, None)))
def test_no_damage_is_believed_and_the_whole_checkpoint_stays(name: str, how: str, tmp_path: Path):
    store = saved(tmp_path)
    good = (tmp_path / "previous.json").read_text()
    path = tmp_path / name
    content = ways(CHANCE, good.encode())[how](path.read_bytes())
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    target = variables()
    if name.endswith("npz") and how == "edited":  # it has no text
        assert store.load(target) == {"epoch": 1, "step": 0, "loss": 0.1}
        return
    assert CheckpointStore(tmp_path, SETTINGS).load(target) == {"epoch": 0, "step": 0}
    np.testing.assert_array_equal(values(target)[0], np.ones((2, 3)))
    store.save(variables(1 / 3), {"epoch": 1, "step": 0, "loss": 0.1})
    assert (tmp_path / "previous.json").read_text() == good, "the damaged one must not take its place"
    assert store.load(variables()) == {"epoch": 1, "step": 0, "loss": 0.1}
    (tmp_path / "latest.json").unlink()
    assert store.load(variables()) == {"epoch": 0, "step": 0}


def test_another_format_is_refused(tmp_path: Path):
    saved(tmp_path)
    for name in ("latest.json", "previous.json"):
        record = json.loads((tmp_path / name).read_text()) | {"format": 99}
        (tmp_path / name).write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"expected format 2. Received: 99"):
        CheckpointStore(tmp_path, SETTINGS).load(variables())


def test_other_variables_are_refused_by_name(tmp_path: Path):
    store = saved(tmp_path)
    with pytest.raises(CheckpointError, match=r"Received: 2 arrays for 1 variables"):
        store.load(variables()[:1])
    wrong = [keras.Variable(np.zeros((3, 2), np.float32), name="kernel"), variables()[1]]
    with pytest.raises(CheckpointError, match=r"variable 'kernel' is \(3, 2\) float32: .* Received: \(2, 3\) float32"):
        store.load(wrong)


def test_temporary_files_of_a_killed_process_are_swept(tmp_path: Path):
    (tmp_path / ".epoch_0003_step_000000.123.tmp.npz").write_text("half")
    CheckpointStore(tmp_path, SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_replacing_leaves_the_old_file_when_the_block_fails(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("new")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
