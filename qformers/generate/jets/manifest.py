"""``manifest.json``: what made the files of a folder, and a checksum of each.

A file counts as finished only when it stands here with the checksum it has on disk.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from qformers.data.jets.generators import MANIFEST, VERSIONS
from qformers.errors import DataError
from qformers.generate.jets.plan import JetSettings
from qformers.generate.record import Arrays, manifest_of

NAME = MANIFEST
# Versions that change the jets; others are recorded but do not stop a resumed run.
DECISIVE_VERSIONS = ("pythia8mc", "fastjet")
_RECORDED_VERSIONS = (*DECISIVE_VERSIONS, "numpy", "awkward", "uproot", "h5py")


class FileEntry(TypedDict):
    """One finished file."""

    jets: Annotated[int, Field(ge=0)]
    sha256: str  # of the file
    content_sha256: str  # of its arrays: equal for equal jets, also where the format stores the time


class JetManifest(TypedDict):
    """The whole record of a folder."""

    format: int
    command: str
    settings: dict[str, object]
    versions: dict[str, str]
    files: dict[Annotated[str, Field(pattern=r"^(train|val|test)/[A-Za-z0-9_]+\.[a-z0-9]+$")], FileEntry]


def file_sha256(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_sha256(arrays: Arrays) -> str:
    """Checksum of named arrays: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def new(settings: JetSettings, command: str) -> JetManifest:
    """The manifest of a run that has made nothing yet."""
    versions = {"python": platform.python_version(), **{name: _version(name) for name in _RECORDED_VERSIONS}}
    return JetManifest(
        format=VERSIONS[settings.preset], command=command, settings=settings.as_dict(), versions=versions, files={}
    )


def save(folder: Path, manifest: JetManifest) -> None:
    """Write the manifest in one step: a reader sees the old one or the new one."""
    temporary = folder / f".{NAME}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(manifest, indent=1) + "\n")
    temporary.replace(folder / NAME)


def load(folder: Path) -> JetManifest:
    """Read the manifest of a folder."""
    loaded: JetManifest = manifest_of(folder / NAME, JetManifest)
    return loaded


def _differences(old: JetManifest, fresh: JetManifest) -> list[str]:
    keys: list[tuple[str, Any, Any]] = [
        *((key, old["settings"].get(key), value) for key, value in fresh["settings"].items()),
        *((key, old["versions"].get(key), fresh["versions"][key]) for key in DECISIVE_VERSIONS),
    ]
    return [f"{key}: {there} there, {now} now" for key, there, now in keys if there != now]


def open_folder(folder: Path, settings: JetSettings, command: str) -> JetManifest:
    """Begin a folder, or resume it; a folder made by other settings or versions is refused."""
    fresh = new(settings, command)
    if not (folder / NAME).exists():
        save(folder, fresh)
        return fresh
    old = load(folder)
    differences = _differences(old, fresh)
    if old["format"] != fresh["format"]:
        raise DataError(
            f"{folder} holds jets of version {old['format']} of the generator of {settings.preset}, which makes others "
            f"today, of version {fresh['format']} (docs/generator.md says how they differ): they cannot be gone on "
            "with; give another --out, or delete the folder."
        )
    if differences:
        raise DataError(
            f"{folder} holds jets of another run, which this one would mix up:\n  "
            + "\n  ".join(differences)
            + f"\nIt was made by: {old['command']}\nRepeat that, or give another --out, or delete the folder."
        )
    for name, entry in old["files"].items():
        path = folder / name
        if path.exists() and file_sha256(path) != entry["sha256"]:
            raise DataError(f"{path} is not the file that was generated (sha256 differs); delete it to make it again")
    old["files"] = {name: entry for name, entry in old["files"].items() if (folder / name).exists()}
    return old
