"""The campaign of `make chaos` itself: a small part of it, and that it sees what it is there to see."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from chaos import finished, inputs
from chaos.runs import different, numbers
from chaos.tally import BELIEVED, CLEAN, TRACEBACK, Section, call, report


def test_a_few_hostile_values_end_in_words() -> None:
    section = inputs.hostile(4)
    assert len(section.outcomes) > 30
    assert section.faults == []


def test_an_exception_is_a_traceback_and_fails_the_campaign(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(words: Sequence[str]) -> int:
        raise ZeroDivisionError(f"on {words[0]}")

    said = call(broken, ["one"])
    assert said.status is None
    assert "ZeroDivisionError: on one" in said.err
    section = Section("planted")
    section.add("fine", CLEAN)
    assert report([section], time.monotonic()) == 0
    section.add("broken", TRACEBACK, said.words)
    assert report([section], time.monotonic()) == 1
    told = capsys.readouterr().out
    assert "planted: broken: tracebacks: " in told
    assert "1 faults" in told


def test_a_number_that_the_damage_brought_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow is replaced by one that prints what stands in a file of the run, whatever it is."""
    run = tmp_path / "run"
    (run / "qat").mkdir(parents=True)
    (run / "qat" / "manifest.json").write_text(json.dumps({"accuracy": 0.4385, "jets": 2600}))

    def shows(words: Sequence[str]) -> int:
        print(Path(words[3], "qat", "manifest.json").read_text() if words[0] == "train" else "")
        return 0

    monkeypatch.setattr(finished, "main", shows)
    monkeypatch.setattr(finished, "artefacts", lambda run: {})
    section = finished.damaged(tmp_path / "b.yaml", run, tmp_path, 9, 1)
    assert BELIEVED in section.outcomes
    assert any("new numbers" in fault for fault in section.faults)


def test_what_is_compared() -> None:
    assert different({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == ["b", "c"]
    assert numbers("accuracy 0.4385 of 2600 jets\n== train: 12345 s") == {"0.4385", "2600"}
