"""The compiler of simulators: what has not begun when one file fails or the work is stopped is not begun."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from hls.backends.simulators import cxx
from qformers.progress import Silent


def test_files_that_have_not_begun_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    def stopped(command: Any, target: Path, log: Path) -> None:
        begun.append(target)
        time.sleep(0.2)  # so that the first to fail is heard of before all have begun
        raise KeyboardInterrupt

    monkeypatch.setattr(cxx, "run", stopped)
    monkeypatch.setattr(cxx, "cores", lambda: 1)
    jobs = [cxx.Job(tmp_path / f"{name}.cc", tmp_path / f"{name}.o", ()) for name in "abcdefgh"]
    with pytest.raises(KeyboardInterrupt):
        cxx.compile_all(jobs, (), Silent())
    assert 1 <= len(begun) < len(jobs)
