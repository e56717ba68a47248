"""Records: JSON that says of itself whether it is as it was written, and of other files whether they are.

A stage leaves records (``manifest.json``, ``csim.json``, a checkpoint) that later stages believe. Each carries a seal,
the SHA-256 of all else in it, so that a number that was edited and a file that was damaged are found by whoever reads
it; its key ``written`` has the SHA-256 of the files that the stage left beside it, so that these are found too. A seal
is no signature: it keeps from accidents and wrong places, not from forgery.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from qformers.errors import DamagedError
from qformers.files import append_line, sha256, whole_lines, write_json

SEAL = "seal"  # key of a record: SHA-256 of all others
WRITTEN = "written"  # key of a record: path of a file, relative to the folder of the record -> its SHA-256


@dataclass(frozen=True)
class Fault:
    """A file that is not as it was written."""

    path: Path
    what: Literal["missing", "changed"]

    def __str__(self) -> str:
        said = (
            "is missing" if self.what == "missing" else "is not the file that was written there (damaged or exchanged)"
        )
        return f"{self.path}: {said}"


def seal_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of a record without its seal; the order of keys does not matter."""
    rest = {key: value for key, value in content.items() if key != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as JSON with its seal."""
    plain = json.loads(json.dumps(content, allow_nan=False))  # as it comes back: keys are strings, tuples are lists
    write_json(path, {**plain, SEAL: seal_of(plain)})


def read_object(path: Path, way_out: str) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: the file.
        way_out: ends the message of an error, e.g. "start over with --fresh".

    Raises:
        DamagedError: the file is missing, or holds no JSON object.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: is missing; {way_out}") from error
    except (ValueError, RecursionError, IsADirectoryError, NotADirectoryError) as error:
        raise DamagedError(f"{path}: is damaged, it is no JSON ({error}); {way_out}") from error
    if not isinstance(tree, dict):
        raise DamagedError(
            f"{path}: is damaged: an object in braces was written there. Received: {tree!r:.40}; {way_out}"
        )
    return tree


def read_record(path: Path, way_out: str, old: bool = False) -> dict[str, Any]:
    """A record, after a look at its seal.

    Args:
        path: the file.
        way_out: ends the message of an error.
        old: take one without a seal, as earlier versions wrote them.

    Raises:
        DamagedError: the file is missing, no record, or not as it was written.
    """
    tree = read_object(path, way_out)
    check_seal(path, tree, way_out, old)
    return tree


def check_seal(path: Path, tree: Mapping[str, Any], way_out: str, old: bool = False) -> None:
    """The look at the seal of `read_record`, for a record that was read already."""
    if SEAL not in tree:
        if old:
            return
        raise DamagedError(f"{path}: has no seal: an earlier version wrote it, or it was changed by hand; {way_out}")
    if tree[SEAL] != seal_of(tree):
        raise DamagedError(f"{path}: was changed after it was written, its seal does not fit its content; {way_out}")


def append_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` with its seal as a line of JSON at the end of a journal."""
    plain = json.loads(json.dumps(content, allow_nan=False))
    append_line(path, json.dumps({**plain, SEAL: seal_of(plain)}))


def read_journal(path: Path, way_out: str) -> list[dict[str, Any]]:
    """The records of a journal that `append_record` wrote, after a look at their seals; none where there is no file.

    Raises:
        DamagedError: naming the line that is no record, or not as it was written.
    """
    records = []
    for number, line in enumerate(whole_lines(path), 1):
        place = Path(f"{path}, line {number}")
        try:
            tree = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DamagedError(f"{place}: is damaged, it is no JSON ({error}); {way_out}") from error
        if not isinstance(tree, dict):
            raise DamagedError(f"{place}: is damaged: an object in braces was written there; {way_out}")
        check_seal(place, tree, way_out)
        records.append(tree)
    return records


def hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Path relative to `folder` -> SHA-256, of those of `names` that are files; for the key `written` of a record."""
    return {name: sha256(folder / name) for name in names if (folder / name).is_file()}


def all_hashes(folder: Path, leave_out: Iterable[str] = ()) -> dict[str, str]:
    """The same of all files under a folder, but those of `leave_out`."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return hashes(folder, (name for name in names if name not in set(leave_out)))


def check_written(folder: Path, record: Mapping[str, Any]) -> list[Fault]:
    """Files that `record`, of this folder, names in `written` and that are missing or have another content.

    A record without the key names no files. Files that were made later are no fault.
    """
    written = record.get(WRITTEN, {})
    faults = []
    for name, wanted in written.items():
        path = folder / name
        if not path.is_file():
            faults.append(Fault(path, "missing"))
        elif sha256(path) != wanted:
            faults.append(Fault(path, "changed"))
    return faults


def refuse_changed(folder: Path, record: Mapping[str, Any], way_out: str) -> None:
    """Refuse to believe what a folder holds.

    Raises:
        DamagedError: naming the first file of `check_written`, and how many more there are.
    """
    if faults := check_written(folder, record):
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise DamagedError(f"{faults[0]}{more}; {way_out}")
