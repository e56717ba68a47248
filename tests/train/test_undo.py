"""A run folder is as it was where a training ends before its first checkpoint, and keeps what was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qformers.train.loop import DIVERGED
from qformers.train.undo import as_before_unless_begun, begun

PHASES = ("float", "qat")


def wrote(folder: Path, *files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)


def held(out: Path) -> dict[str, str]:
    return {str(path.relative_to(out)): path.read_text() for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run whose float phase is finished."""
    wrote(tmp_path / "float", "manifest.json", "model.keras")
    (tmp_path / "build.yaml").write_text("old")
    return tmp_path


Work = Callable[[Callable[[str], None]], None]


def refused(out: Path, work: Work, fresh: bool = False, error: type[BaseException] = ValueError) -> None:
    """A training that does some work and ends in an error."""

    def train() -> None:
        with as_before_unless_begun(out, PHASES, fresh) as begins:
            work(begins)
            raise error

    with pytest.raises(error):
        train()


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_build_that_is_refused_changes_nothing(fresh: bool, error: type[BaseException], out: Path) -> None:
    before = held(out)

    def work(begins: Callable[[str], None]) -> None:
        wrote(out / "qat", "half")
        (out / "build.yaml").write_text("new")  # as a phase writes it that was finished before

    refused(out, work, fresh, error)
    assert held(out) == before


def test_a_run_that_was_not_there_is_not_left_half(tmp_path: Path) -> None:
    def work(begins: Callable[[str], None]) -> None:
        begins("float")
        wrote(tmp_path / "float", "precision.json")
        (tmp_path / "build.yaml").write_text("new")

    refused(tmp_path, work)
    assert held(tmp_path) == {}


def test_what_has_a_checkpoint_stays_with_its_build(tmp_path: Path) -> None:
    def work(begins: Callable[[str], None]) -> None:
        begins("float")
        (tmp_path / "build.yaml").write_text("new")
        wrote(tmp_path / "float", "checkpoints/1.json")

    refused(tmp_path, work)
    assert begun(tmp_path / "float")
    assert held(tmp_path)["build.yaml"] == "new"


def test_a_phase_that_was_trained_keeps_its_build_where_the_next_one_is_refused(out: Path) -> None:
    def work(begins: Callable[[str], None]) -> None:
        begins("float")
        (out / "build.yaml").write_text("new")
        wrote(out / "float", "manifest.json")
        wrote(out / "qat", "half")

    refused(out, work, fresh=True)
    assert held(out) == {"build.yaml": "new", "float/manifest.json": "manifest.json"}


def test_the_batch_that_diverged_stays(tmp_path: Path) -> None:
    def work(begins: Callable[[str], None]) -> None:
        begins("float")
        wrote(tmp_path / "float", DIVERGED)

    refused(tmp_path, work)
    assert held(tmp_path) == {f"float/{DIVERGED}": DIVERGED}


def test_what_is_thrown_away_goes_when_the_training_begins(out: Path) -> None:
    with as_before_unless_begun(out, PHASES, fresh=True) as begins:
        assert not (out / "float").exists()
        begins("float")
        assert list(out.glob(".*.before")) == []
        wrote(out / "float", "manifest.json")
    assert set(held(out)) == {"build.yaml", "float/manifest.json"}
