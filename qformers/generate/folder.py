"""A folder of three splits that is made whole or not at all, with a manifest that names every file and its checksum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from qformers.errors import DataError, GenerateError
from qformers.files import alone, foreign, sha256, sweep, write_json
from qformers.generate.record import manifest_of

NAME = "manifest.json"
SPLITS = ("train", "val", "test")


class FileEntry(TypedDict):
    """One finished file, and how many of what it holds."""

    sha256: str
    sequences: NotRequired[Annotated[int, Field(ge=0)]]
    clusters: NotRequired[Annotated[int, Field(ge=0)]]


class FolderManifest(TypedDict):
    """The whole record of a folder."""

    kind: str
    format: int
    command: str
    settings: dict[str, Any]
    versions: dict[str, str]
    facts: dict[str, Any]
    files: dict[Annotated[str, Field(pattern=r"^(train|val|test)/[A-Za-z0-9_]+\.[a-z0-9]+$")], FileEntry]


Unit = Literal["sequences", "clusters"]  # what a file holds, a key of `FileEntry`
Made = tuple[dict[Path, int], dict[str, Any]]  # files and how many they hold; numbers of the whole


def settle(
    folder: Path,
    kind: str,
    version: int,
    settings: Mapping[str, Any],
    command: str,
    make: Callable[[], Made],
    unit: Unit = "sequences",
) -> FolderManifest:
    """The manifest of a folder that holds what the settings ask for, made where it does not yet.

    Args:
        folder: made if it is missing; one run at a time.
        kind: of what is made, e.g. ``listops``.
        version: of the generator; equal ones and equal settings give equal files.
        settings: all that the files depend on.
        command: that made it, for the manifest.
        make: writes the files into the folder.
        unit: what the files hold.

    Raises:
        DataError: the folder holds something else, or what other settings gave, or a file of it has been changed.
        GenerateError: another process generates into the folder; and as `make`.
    """
    if reason := foreign(folder, lambda place: (place / NAME).is_file(), f"{unit} that were generated"):
        raise DataError(f"{folder}: {reason}; give another --out")
    held = GenerateError(f"another process is generating into {folder}; wait for it or give another --out")
    with alone(folder, held):
        fresh = FolderManifest(
            kind=kind,
            format=version,
            command=command,
            settings=dict(settings),
            versions={"numpy": np.__version__},
            facts={},
            files={},
        )
        known = (folder / NAME).exists()
        if known and (finished := _finished(folder, fresh, unit)):
            return finished
        for split in SPLITS:
            sweep(folder / split)
        if not known:
            write_json(folder / NAME, fresh)  # so that a folder whose run was stopped is known as ours
        files, facts = make()
        fresh["facts"] = facts
        fresh["files"] = {
            path.relative_to(folder).as_posix(): _entry(unit, number, sha256(path)) for path, number in files.items()
        }
        write_json(folder / NAME, fresh)
        return fresh


def _entry(unit: Unit, number: int, digest: str) -> FileEntry:
    if unit == "clusters":
        return FileEntry(clusters=number, sha256=digest)
    return FileEntry(sequences=number, sha256=digest)


def _finished(folder: Path, fresh: FolderManifest, unit: Unit) -> FolderManifest | None:
    """The manifest of a folder where all its files are there; None where they are to be made."""
    old: FolderManifest = manifest_of(folder / NAME, FolderManifest)
    if not old["files"]:  # stopped before there was any
        return None
    compared: list[tuple[str, Any, Any]] = [(key, old.get(key), fresh.get(key)) for key in ("kind", "format")]
    compared += [(key, old["settings"].get(key), value) for key, value in fresh["settings"].items()]
    if differing := [f"{key}: {there} there, {now} now" for key, there, now in compared if there != now]:
        raise DataError(
            f"{folder} holds {unit} of another run, which this one would mix up:\n  "
            + "\n  ".join(differing)
            + f"\nIt was made by: {old['command']}\nRepeat that, or give another --out, or delete the folder."
        )
    for name, entry in old["files"].items():
        if (folder / name).exists() and sha256(folder / name) != entry["sha256"]:
            raise DataError(
                f"{folder / name} is not the file that was generated (sha256 differs); delete it to make it again"
            )
    return old if all((folder / name).exists() for name in old["files"]) else None
