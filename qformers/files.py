"""Files that are either the old ones or the new ones, never half of either."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import re
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from glob import escape as glob_escape
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

# what zipfile raises for damaged archives: of the directory, of the packed bytes, of methods and encryption that a
# flipped bit names
STOP = "STOP"  # file in a run folder that asks its training to stop
BROKEN_ZIP = (
    OSError, EOFError, ValueError, KeyError, IndexError, OverflowError, NotImplementedError, RuntimeError, struct.error,
    zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip
CHUNK = 1 << 20  # bytes read at a time


def unreadable(path: Path) -> str | None:
    """Why `path` cannot be read as a file, in words for a message; None where it can.

    A missing file, a link to nothing, a folder, a device or pipe (which may never end) and a file of somebody else.
    """
    if path.is_symlink() and not path.exists():
        return f"is a link to {path.readlink()}, which is not there; mend the link or name the file"
    if not path.exists():
        return "no such file"
    if path.is_dir():
        return "is a folder; name a file in it"
    if not path.is_file():
        return "is no regular file; name one"
    if not os.access(path, os.R_OK):
        return "may not be read by this user; change its permissions (chmod u+r)"
    return None


def unpacked(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A member of a zip archive, never more than `limit` bytes of it, whatever the archive says of its size.

    Raises:
        ValueError: it is larger; and all of `BROKEN_ZIP`.
    """
    parts, size = [], 0
    if archive.getinfo(name).file_size > limit:
        raise ValueError(f"'{name}' unpacks to {archive.getinfo(name).file_size:,} bytes, more than {limit:,}")
    with archive.open(name) as stream:
        while part := stream.read(CHUNK):
            size += len(part)
            if size > limit:
                raise ValueError(f"'{name}' unpacks to more than {limit:,} bytes")
            parts.append(part)
    return b"".join(parts)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes the place of `path` when the block ends well.

    The temporary name starts with a dot and keeps the ending, because some writers (Keras) choose the format by it. It
    also says which process writes: what a killed one left of this file is removed by the next that writes it.

    Args:
        path: the file to be replaced; its folder is made if it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep_dead(path)
    temporary = path.with_name(f".{path.stem}.{socket.gethostname()}-{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())  # the name must not reach the disk before the content
        temporary.replace(path)
        _sync_folder(path.parent)  # nor a file that names this one before its name
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep_dead(path: Path) -> None:
    """Remove temporary files of `path` whose process, on this machine, does not run any more."""
    name = rf"\.{re.escape(path.stem)}\.{re.escape(socket.gethostname())}-(\d+)\.tmp{re.escape(path.suffix)}"
    for left in path.parent.glob(f".{glob_escape(path.stem)}.*.tmp*"):
        match = re.fullmatch(name, left.name)
        if match and not runs(int(match[1])):
            left.unlink(missing_ok=True)


def runs(process: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def foreign(folder: Path, own: Callable[[Path], bool], kind: str) -> str | None:
    """Why `folder` is not to be written to, in words for a message; None where it is new, empty or what it should be.

    Args:
        folder: that the user named.
        own: whether a folder that holds something is of the kind; by content, for a name is anybody's.
        kind: of things that it should hold, for the words.

    Files whose names begin with a dot, and one that asks to stop, count for nothing.
    """
    above = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not above.is_dir():
        return "is no folder" if above == folder else f"lies in {above}, which is no folder"
    if above != folder:
        return None
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {STOP}
    if not names or own(folder):
        return None
    return f"holds other files, e.g. {min(names)}, and no {kind}"


@contextmanager
def alone(folder: Path, held: Exception) -> Iterator[None]:
    """Hold `folder` against other processes, as `locked` by a file ``.lock`` in it.

    Args:
        folder: made if it is missing.
        held: raised where another process holds it.
    """
    with locked(folder / ".lock", lambda: held):
        yield


@contextmanager
def locked(path: Path, held: Callable[[], Exception]) -> Iterator[None]:
    """Hold a lock, a file, against other processes; it goes with the process, however that ends.

    Args:
        path: of the file; its folder is made if it is missing.
        held: makes what is raised where another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise held() from error
    try:
        yield
    finally:
        lock.release()


def sweep(folder: Path) -> None:
    """Remove the temporary files that a killed process left in `folder`."""
    for stale in folder.glob(".*.tmp*"):
        stale.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON. NaN and infinity are refused: they are not JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def append_line(path: Path, line: str) -> None:
    """Write a line at the end of a file, whole and at once; the file and its folder are made if they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        handle.write(f"{line}\n")
        handle.flush()
        os.fsync(handle.fileno())


def whole_lines(path: Path) -> list[str]:
    """Lines of a file that `append_line` wrote; one that a killed process left unfinished is cut off."""
    if not path.exists():
        return []
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with path.open("r+b") as handle:
            handle.truncate(end)
    return content[:end].decode("utf-8", "replace").splitlines()


def sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of_arrays(arrays: Iterable[NDArray[Any]]) -> str:
    """SHA-256 of the bytes of arrays, one after the other, as 64 hex digits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
