"""Exact checkpoints: every variable bit for bit, and the loop's own state beside it.

``checkpoints/latest.json`` names an ``.npz`` file, its SHA-256, the settings it belongs to and the state of the loop.
The array file is complete on disk before the JSON file that names it takes the place of the old one; the checkpoint
before it is kept as ``previous.json``. So there is a whole checkpoint at every moment after the first, also under
SIGKILL, and a damaged file is found by its hash.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qformers.errors import CheckpointError
from qformers.files import replacing, sha256, sweep, write_json
from qformers.train.variables import read_arrays, read_variables, write_arrays, write_variables

LOG = logging.getLogger(__name__)
FORMAT = 1


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """Lines ``key: old -> new`` for every leaf in which two trees of settings differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(key for key in new if key not in old)]
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{place}.{key}".lstrip("."))]
    return [] if old == new else [f"{place}: {old!r} -> {new!r}"]


class CheckpointStore:
    """The checkpoints of one phase.

    Args:
        folder: where they lie, e.g. ``runs/part_demo/qat/checkpoints``.
        settings: what the training depends on, as JSON; a checkpoint with other settings is refused.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = json.loads(json.dumps(settings))  # tuples become lists, as they come back from the file
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)

    def save(self, variables: Sequence[Any], state: Mapping[str, Any]) -> None:
        """Write a checkpoint of `variables` and of the loop's `state` (JSON with ``epoch`` and ``step``)."""
        arrays = self.folder / f"epoch_{state['epoch']:04d}_step_{state['step']:06d}.npz"
        write_arrays(arrays, read_variables(variables))
        latest, previous = self.folder / "latest.json", self.folder / "previous.json"
        if latest.exists():
            with replacing(previous) as temporary:
                temporary.write_bytes(latest.read_bytes())
        record = {"format": FORMAT, "arrays": arrays.name, "sha256": sha256(arrays)}
        write_json(latest, {**record, "settings": self.settings, "state": dict(state)})
        self._prune()

    def _prune(self) -> None:
        """Remove array files that neither checkpoint names."""
        named = {json.loads(path.read_text())["arrays"] for path in self.folder.glob("*.json")}
        for path in self.folder.glob("*.npz"):
            if path.name not in named:
                path.unlink()

    def _read(self, path: Path) -> tuple[list[NDArray[Any]], dict[str, Any]]:
        try:
            record = json.loads(path.read_text())
            if record["format"] != FORMAT:
                raise CheckpointError(f"{path}: expected format {FORMAT}. Received: {record['format']}")
            changed = differences(record["settings"], self.settings)
            arrays = self.folder / record["arrays"]
            damaged = not arrays.exists() or sha256(arrays) != record["sha256"]
        except (json.JSONDecodeError, KeyError, OSError) as error:
            raise _DamagedError(f"{path}: cannot be read as a checkpoint ({error})") from error
        if changed:
            raise CheckpointError(
                f"{path} belongs to another build: give the run another name with --out, undo the change, or start "
                f"over with --fresh. Changed (checkpoint -> build):\n  " + "\n  ".join(changed)
            )
        if damaged:
            raise _DamagedError(f"{arrays}: is missing or does not have the SHA-256 written in {path.name}")
        return read_arrays(arrays), record["state"]

    def load(self, variables: Sequence[Any]) -> dict[str, Any] | None:
        """Put the newest whole checkpoint into `variables` and return the loop's state; None if there is none.

        Raises:
            CheckpointError: it belongs to other settings (the differing keys are named), or all are damaged.
        """
        problems = []
        for name in ("latest.json", "previous.json"):
            path = self.folder / name
            if not path.exists():
                continue
            try:
                values, state = self._read(path)
            except _DamagedError as error:
                LOG.warning("%s; trying the checkpoint before it", error)
                problems.append(str(error))
                continue
            write_variables(variables, values)
            return state
        if problems:
            raise CheckpointError("no checkpoint is whole; start over with --fresh. Found:\n  " + "\n  ".join(problems))
        return None


class _DamagedError(CheckpointError):
    """This checkpoint cannot be used, the one before it may."""
