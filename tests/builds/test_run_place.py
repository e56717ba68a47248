"""Which folders a training may write into: by what is in them, for a name is anybody's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.paths import CONFIGS

from qformers.builds.build import load
from qformers.builds.run_place import naming, refuse_foreign_run
from qformers.errors import ConfigError

BUILD = CONFIGS / "part_demo.yaml"


def put(folder: Path, name: str, text: str = "mine") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


OWN: dict[str, Callable[[Path], None]] = {
    "new": lambda folder: None,
    "empty": lambda folder: folder.mkdir(),
    "locked": lambda folder: put(folder, ".lock"),
    "asked to stop": lambda folder: put(folder, "STOP"),
    "begun": lambda folder: put(folder, "float/checkpoints/latest.json"),
    "trained": lambda folder: put(folder, "qat/manifest.json"),
    "its build": lambda folder: put(folder, "build.yaml", load(BUILD).to_yaml()),
    "searched": lambda folder: put(folder, "search.jsonl", '{"key": "a", "stage": "start"}\n'),
}
FOREIGN: dict[str, Callable[[Path], None]] = {
    "a file": lambda folder: put(folder.parent, "run"),
    "a link to nothing": lambda folder: folder.symlink_to(folder.parent / "nowhere"),
    "a thesis": lambda folder: put(folder, "thesis"),
    "a model of the user": lambda folder: put(folder, "float/model.keras"),
    "a build of the user": lambda folder: put(folder, "build.yaml", BUILD.read_text()),
    "no build": lambda folder: put(folder, "build.yaml"),
    "only firmware": lambda folder: put(folder, "firmware/a"),
    "no search": lambda folder: put(folder, "search.jsonl"),
}


@pytest.mark.parametrize("kind", OWN)
def test_a_run_is_taken(kind: str, tmp_path: Path) -> None:
    OWN[kind](tmp_path / "run")
    refuse_foreign_run(tmp_path / "run")


@pytest.mark.parametrize("kind", FOREIGN)
def test_anything_else_is_left_alone(kind: str, tmp_path: Path) -> None:
    FOREIGN[kind](tmp_path / "run")
    words = r"run: (is no folder|holds other files, e\.g\. \S+, and no run); name another one with --run"
    with pytest.raises(ConfigError, match=words):
        refuse_foreign_run(tmp_path / "run")


def test_a_command_is_given_the_folder_where_it_is_not_called_as_its_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    build = load(BUILD)
    assert naming(Path("runs/part_demo"), build) == "runs/part_demo/build.yaml"
    assert naming(tmp_path / "runs" / "part_demo", build) == f"{tmp_path}/runs/part_demo/build.yaml"
    assert naming(Path("runs/other"), build) == "runs/other/build.yaml --run runs/other"
    assert naming(Path("my runs/part_demo"), build) == "'my runs/part_demo/build.yaml' --run 'my runs/part_demo'"
