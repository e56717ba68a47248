"""Is a folder a run, so that a training may write into it? And which arguments of a command name it?"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from qformers.builds.build import Build, load
from qformers.errors import ConfigError, QformersError
from qformers.files import foreign
from qformers.manifest import MANIFEST


def refuse_foreign_run(folder: Path) -> None:
    """Leave a folder alone that is neither new nor empty nor of a run.

    Raises:
        ConfigError: naming it.
    """
    if reason := foreign(folder, _is_run, "run"):
        raise ConfigError(f"{folder}: {reason}; name another one with --run")


def naming(run: Path, build: Build) -> str:
    """Arguments that make a command work on a run: its build file, and ``--run`` where the folder has another name."""
    named = [str(run / "build.yaml")]
    if run.resolve() != (Path("runs") / build.name).resolve():  # where commands look if nothing else is said
        named += ["--run", str(run)]
    return shlex.join(named)


def _is_run(folder: Path) -> bool:
    """Whether a phase has begun there, or a build stands there as a training writes it, or a search does."""
    phases = [folder / name for name in ("float", "qat")]
    begun = any((place / MANIFEST).is_file() or any((place / "checkpoints").glob("*.json")) for place in phases)
    return begun or _resolved(folder / "build.yaml") or _searched(folder / "search.jsonl")


def _resolved(path: Path) -> bool:
    try:
        return path.is_file() and load(path).to_yaml() == path.read_text()
    except (QformersError, OSError, UnicodeDecodeError):
        return False


def _searched(path: Path) -> bool:
    try:
        with path.open() as file:
            return "stage" in json.loads(file.readline())
    except (OSError, ValueError, TypeError):
        return False
