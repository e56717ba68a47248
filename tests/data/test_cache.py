"""The decoded cache: same numbers, never a damaged or outdated one."""

import os
from pathlib import Path

import numpy as np
import pytest

from qformers.config.sections import DataConfig
from qformers.data import DataError, Events, open_split
from qformers.data.jets.jetclass import JetClass
from qformers.data.jets.toy import jetclass_branches, write_tree

ARRAYS = ("features", "vectors", "mask", "labels")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two small files."""
    for number in range(2):
        write_tree(tmp_path / f"{number}.root", jetclass_branches(300, seed=number))
    return tmp_path


def config(files: Path, **changes: object) -> DataConfig:
    base = {"dataset": "jetclass", "train": (str(files / "*.root"),), "val": (), "test": (), "features": "kin"}
    return DataConfig.model_validate(base | {"num_particles": 8, "cache": str(files / "cache")} | changes)


def load(files: Path, **changes: object) -> Events:
    return open_split(config(files, **changes), "train").load()


def same(a: Events, b: Events) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, name).dtype == getattr(b, name).dtype


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """File names in the order in which they are decoded."""
    seen: list[str] = []
    read = JetClass.read

    def counted(self: JetClass, path: Path, start: int, stop: int) -> Events:
        seen.append(path.name)
        return read(self, path, start, stop)

    monkeypatch.setattr(JetClass, "read", counted)
    return seen


def test_a_cached_split_is_the_decoded_one_and_is_decoded_once(files: Path, decodes: list[str]) -> None:
    plain = load(files, cache=None)
    decodes.clear()
    same(load(files), plain)
    assert sorted(set(decodes)) == ["0.root", "1.root"]
    decodes.clear()
    same(load(files), plain)
    assert decodes == []
    assert sorted(p.suffix for p in (files / "cache").iterdir()) == ["", ""]  # no partial folder is left


def test_streams_with_and_without_cache_are_equal(files: Path) -> None:
    with_cache = open_split(config(files, shuffle_jets=256), "train").stream(50, 1, 0)
    without = open_split(config(files, shuffle_jets=256, cache=None), "train").stream(50, 1, 0)
    for a, b in zip(with_cache, without, strict=True):
        same(a, b)


@pytest.mark.parametrize("name", [f"{name}.npy" for name in ARRAYS] + ["meta.json"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "delete"])
def test_a_damaged_cache_is_made_again(files: Path, decodes: list[str], name: str, damage: str) -> None:
    plain = load(files)
    victim = next(p for p in (files / "cache").iterdir() if p.name.startswith("0-")) / name
    text = victim.read_bytes()
    if damage == "truncate":
        victim.write_bytes(text[: len(text) // 2])
    elif damage == "flip":  # same length, one byte changed at the end
        victim.write_bytes(text[:-3] + bytes([text[-3] ^ 1]) + text[-2:])
    else:
        victim.unlink()
    decodes.clear()
    same(load(files), plain)
    assert set(decodes) == {"0.root"}
    decodes.clear()
    load(files)
    assert decodes == []


@pytest.mark.parametrize(
    "change",
    [
        {"features": "full"},
        {"num_particles": 9},
        {"padding": "wrap"},
        {"classes": ("QCD", "Hbb")},
        {"max_jets": 100},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_configuration_never_meets_an_old_cache(files: Path, change: dict[str, object]) -> None:
    load(files)
    same(load(files, **change), load(files, cache=None, **change))


def test_a_changed_file_is_decoded_again(files: Path) -> None:
    before = load(files)
    write_tree(files / "0.root", jetclass_branches(300, seed=7))
    os.utime(files / "0.root", ns=(1, 1))  # even when its time of change goes back
    after = load(files)
    assert (after.features[:300] != before.features[:300]).any()
    same(after, load(files, cache=None))


def test_what_a_killed_process_left_is_removed(files: Path) -> None:
    load(files)
    folder = next(p for p in (files / "cache").iterdir() if p.name.startswith("0-"))
    dead = folder.with_name(f"{folder.name}.{os.uname().nodename}.999999999.partial")
    folder.rename(dead)
    load(files)
    assert folder.is_dir()
    assert not dead.exists()


def test_a_folder_that_cannot_be_written_is_an_error(files: Path) -> None:
    (files / "occupied").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"data.cache: cannot write .*occupied.*; free the disk, choose another folder"):
        load(files, cache=str(files / "occupied"))


def test_a_decode_error_leaves_nothing_behind(files: Path) -> None:
    branches = jetclass_branches(300, seed=1)
    branches["label_QCD"][:] = 1
    write_tree(files / "1.root", branches)
    with pytest.raises(DataError, match="not one-hot"):
        load(files)
    assert not [p for p in (files / "cache").iterdir() if p.name.startswith("1-")]
