"""``.keras`` files as this package writes them: equal models make equal files; and what a file holds, without Keras.

Keras writes the time into the archive and, as numbers of shared objects, addresses of memory. Here the time is fixed
and the numbers count from 1, so that the same training makes the same file; `content_sha256` says which model a file
holds.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

from qformers.builds.archive import CONFIG, check_keras_archive
from qformers.errors import ConfigError, DamagedError
from qformers.files import replacing
from qformers.manifest import MANIFEST
from qformers.records import SEAL, WRITTEN, read_record, refuse_changed

METADATA = "metadata.json"
SHARED = "shared_object_id"  # key of Keras's configurations: which objects are one and the same
TIME = (1980, 1, 1, 0, 0, 0)  # the first that a ZIP archive can say
AGAIN = "put the file back, or train again with qformers train --fresh"
DATE = "1980-01-01@00:00:00"


def save_model(model: Any, path: Path) -> None:
    """Save a Keras model without its optimiser, whole or not at all; equal models make equal files."""
    with replacing(path) as temporary:
        model.save(temporary, include_optimizer=False)
        _settle(temporary)


def content_sha256(path: Path) -> str:
    """SHA-256 of what a model file holds: configuration and weights; the same however and whenever it was saved.

    Raises:
        ConfigError: no such file, or no model in it.
    """
    import h5py

    held = check_keras_archive(path, ConfigError)
    digest = hashlib.sha256(json.dumps(_unshared(held.config), sort_keys=True).encode())
    with h5py.File(io.BytesIO(held.weights), "r") as file:
        names: list[str] = []
        file.visit(names.append)
        for name in sorted(names):
            if isinstance(file[name], h5py.Dataset):
                values = file[name][()]
                digest.update(f"{name}{values.shape}{values.dtype}".encode() + values.tobytes())
    return digest.hexdigest()


def check_recorded(path: Path) -> dict[str, Any]:
    """The manifest beside a model file, after a look whether the file is the one that it names; empty without one.

    Raises:
        DamagedError: the manifest is damaged, or names another file.
    """
    if not (path.parent / MANIFEST).exists():
        return {}
    manifest = read_record(path.parent / MANIFEST, AGAIN, old=True)
    if SEAL not in manifest:  # of an earlier version, which named no files
        return manifest
    wanted = manifest.get(WRITTEN, {}).get(path.name)
    if wanted is None:
        raise DamagedError(f"{path.parent / MANIFEST}: does not name {path.name}, it is of another folder; {AGAIN}")
    refuse_changed(path.parent, {WRITTEN: {path.name: wanted}}, AGAIN)
    return manifest


def _settle(path: Path) -> None:
    """Write an archive again without what differs between files of equal models."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[CONFIG] = json.dumps(_renumbered(json.loads(members[CONFIG]), {})).encode()
    members[METADATA] = json.dumps({**json.loads(members[METADATA]), "date_saved": DATE}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, TIME), content)


def _renumbered(tree: Any, numbers: dict[int, int]) -> Any:
    """The same configuration with shared objects numbered in the order in which they come."""
    if isinstance(tree, dict):
        return {
            key: numbers.setdefault(value, len(numbers) + 1)
            if _names_shared(key, value)
            else _renumbered(value, numbers)
            for key, value in tree.items()
        }
    return [_renumbered(value, numbers) for value in tree] if isinstance(tree, list) else tree


def _unshared(tree: Any) -> Any:
    """The same configuration without the numbers: a model that was read and saved again shares other objects."""
    if isinstance(tree, dict):
        return {key: _unshared(value) for key, value in tree.items() if not _names_shared(key, value)}
    return [_unshared(value) for value in tree] if isinstance(tree, list) else tree


def _names_shared(key: str, value: Any) -> bool:
    return key == SHARED and isinstance(value, int)
