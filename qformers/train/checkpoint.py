"""Exact checkpoints: every variable bit for bit, and the loop's own state beside it.

``checkpoints/latest.json`` names an ``.npz`` file, its SHA-256, the settings it belongs to and the state of the loop.
The array file is complete on disk before the JSON file that names it takes the place of the old one; the checkpoint
before it is kept as ``previous.json``, and only a whole one takes its place. So there is a whole checkpoint at every
moment after the first, also under SIGKILL, and a damaged file is found by its hash, a changed record by its seal.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qformers.builds.settings import differences
from qformers.errors import CheckpointError, DamagedError
from qformers.files import replacing, sha256, sweep
from qformers.records import check_seal, read_object, write_record
from qformers.train.variables import read_arrays, read_variables, write_arrays, write_variables

LOG = logging.getLogger(__name__)
FORMAT = 2
WAY_OUT = "it is no checkpoint to go on from"
LATEST, PREVIOUS = "latest.json", "previous.json"


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
        latest, previous = self.folder / LATEST, self.folder / PREVIOUS
        if latest.exists() and self._whole(latest):
            with replacing(previous) as temporary:
                temporary.write_bytes(latest.read_bytes())
        arrays = self.folder / f"epoch_{state['epoch']:04d}_step_{state['step']:06d}.npz"
        write_arrays(arrays, read_variables(variables))
        record = {"format": FORMAT, "arrays": arrays.name, "sha256": sha256(arrays)}
        write_record(latest, {**record, "settings": self.settings, "state": dict(state)})
        self._prune()

    @property
    def empty(self) -> bool:
        """Whether there is no checkpoint, whole or damaged."""
        return not any((self.folder / name).exists() for name in (LATEST, PREVIOUS))

    def recorded(self, key: str) -> Any:
        """A setting of the newest whole checkpoint; None where there is none, or it does not have it."""
        for name in (LATEST, PREVIOUS):
            path = self.folder / name
            if path.exists() and self._whole(path):
                return self._record(path)["settings"].get(key)
        return None

    def _whole(self, path: Path) -> bool:
        try:
            self._record(path)
        except _DamagedError:
            return False
        return True

    def _prune(self) -> None:
        """Remove array files that neither checkpoint names; none as long as one of them cannot be read."""
        try:
            named = {str(self._record(path)["arrays"]) for path in self.folder.glob("*.json")}
        except _DamagedError:
            return
        for path in self.folder.glob("*.npz"):
            if path.name not in named:
                path.unlink()

    def _record(self, path: Path) -> dict[str, Any]:
        """What a checkpoint says; its arrays are whole."""
        try:
            record = read_object(path, WAY_OUT)
            if "format" in record and record["format"] != FORMAT:
                raise CheckpointError(
                    f"{path}: expected format {FORMAT}. Received: {record['format']!r}; start over with --fresh"
                )
            check_seal(path, record, WAY_OUT)
        except DamagedError as error:
            raise _DamagedError(str(error)) from error
        arrays = self.folder / Path(str(record.get("arrays"))).name
        if not isinstance(record.get("state"), dict) or not isinstance(record.get("settings"), dict):
            raise _DamagedError(f"{path}: cannot be read as a checkpoint (no settings or state)")
        if not arrays.is_file() or sha256(arrays) != record.get("sha256"):
            raise _DamagedError(f"{arrays}: is missing or does not have the SHA-256 written in {path.name}")
        return record

    def _read(self, path: Path) -> tuple[list[NDArray[Any]], dict[str, Any]]:
        record = self._record(path)
        if changed := differences(record["settings"], self.settings):
            raise CheckpointError(
                f"{path} belongs to another build: give the run another name with --out, undo the change, or start "
                f"over with --fresh. Changed (checkpoint -> build):\n  " + "\n  ".join(changed)
            )
        return read_arrays(self.folder / record["arrays"]), record["state"]

    def load(self, variables: Sequence[Any]) -> dict[str, Any] | None:
        """Put the newest whole checkpoint into `variables` and return the loop's state; None if there is none.

        Raises:
            CheckpointError: it belongs to other settings (the differing keys are named), or all are damaged.
        """
        problems = []
        for name in (LATEST, PREVIOUS):
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
