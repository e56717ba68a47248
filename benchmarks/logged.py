"""Commands of long benchmarks, each with its words in a log beside the run folder, which is empty before its run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def log_of(run: Path) -> Path:
    """Log of a run folder."""
    return run.with_name(f"{run.name}.log")


def environment() -> dict[str, str]:
    """Of scripts of this clone."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run_logged(command: Sequence[str], run: Path, core: int | str | None = None) -> int:
    """Exit status of a command for a run folder, pinned to a core where one is named."""
    run.parent.mkdir(parents=True, exist_ok=True)
    pinned = list(command) if core is None else ["taskset", "-c", str(core), *command]
    with log_of(run).open("a") as log:
        return subprocess.run(pinned, stdout=log, stderr=log, env=environment(), check=False).returncode  # noqa: S603


def step(run: Path, result: str, script: Sequence[str]) -> None:
    """Run a script of the repository for a run folder, unless its result is there; a file STOP beside it ends it.

    Args:
        run: the folder.
        result: file in it that the script makes.
        script: its name in ``scripts/``, and its arguments.
    """
    if (run / result).exists():
        return
    if (run.parent / "STOP").exists():
        raise SystemExit(f"{run.parent / 'STOP'} is there")
    words = [sys.executable, str(ROOT / "scripts" / script[0]), *script[1:]]
    if status := run_logged(words, run):
        raise SystemExit(f"{run}: {script[0]} ended with {status}, see {log_of(run)}")
