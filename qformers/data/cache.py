"""What is decoded once: `Resident` keeps it in memory, `ArrayCache` keeps it on disk.

On disk a source file has one folder of .npy files, checked by length and SHA-256 before it is used. A folder's name
holds a hash of the source and of the files read with it (path, size, time of change), and of everything that decides
the decoded numbers, so a changed file or configuration never meets an old cache. Folders of earlier keys are not
removed.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from qformers.errors import DataError
from qformers.files import sha256

T = TypeVar("T")
FORMAT = 1  # raise when the layout or the decoding changes
META = "meta.json"


class Resident(Generic[T]):
    """A value that is expensive to make: made once, by whoever asks first, where it is to stay in memory.

    Two threads may ask at the same time.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        """
        Args:
            make: makes the value, called at most once at a time.
        """
        self._make = make
        self._lock = Lock()
        self._values: list[T] = []  # none or one

    def kept(self) -> T:
        """The value, which stays in memory from now on."""
        with self._lock:
            if not self._values:
                self._values.append(self._make())
            return self._values[0]

    def value(self) -> T:
        """The value where it is in memory, else one made for the caller alone."""
        with self._lock:
            return self._values[0] if self._values else self._make()


class ArrayCache:
    """Decoded arrays of one (data set, configuration), by source file and name."""

    def __init__(self, root: Path, key: str, names: Sequence[str]) -> None:
        """
        Args:
            root: folder of the cache, made when missing.
            key: text of everything that decides the decoded numbers.
            names: of the arrays of a source file.
        """
        self.root = root
        self._key = f"{FORMAT}|{key}"
        self._names = tuple(names)
        self._layouts: dict[Path, tuple[int, np.dtype[Any], tuple[int, ...]]] = {}  # bytes before row 0, type, shape
        self._checked: set[Path] = set()

    def folder(self, source: Path, events: int, others: Sequence[Path] = ()) -> Path:
        """Where the first `events` events of `source` stand, for which `others` are read too."""
        stats = [(path.resolve(), path.stat()) for path in (source, *others)]
        files = "|".join(f"{path}|{stat.st_size}|{stat.st_mtime_ns}" for path, stat in stats)
        text = f"{files}|{events}|{self._key}"
        return self.root / f"{source.name.split('.')[0]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def valid(self, folder: Path, events: int) -> bool:
        """True when all arrays are there with the length and the SHA-256 written down when they were made.

        A folder that has been found whole is not read through again.
        """
        if folder in self._checked:
            return True
        try:
            meta = json.loads((folder / META).read_text())
            if meta["events"] != events or set(meta["files"]) != {f"{name}.npy" for name in self._names}:
                return False
            sizes = {name: entry["bytes"] for name, entry in meta["files"].items()}
            if any((folder / name).stat().st_size != size for name, size in sizes.items()):
                return False
            if any(sha256(folder / name) != entry["sha256"] for name, entry in meta["files"].items()):
                return False
        except (OSError, ValueError, KeyError, TypeError):  # missing, half written or not ours: make it again
            return False
        self._checked.add(folder)
        return True

    def write(
        self, source: Path, folder: Path, blocks: Iterable[Mapping[str, NDArray[Any]]], events: int, rows: int | None
    ) -> None:
        """Write blocks of rows one after the other, so that memory holds one of them, then rename into place.

        Args:
            source: the file that was decoded.
            folder: of `folder`.
            blocks: arrays by name.
            events: events in all blocks.
            rows: of every array in all blocks; None = there is one block, whose arrays have lengths of their own.

        Raises:
            DataError: the cache folder cannot be written.
        """
        partial = self.root / f"{folder.name}.{socket.gethostname()}.{os.getpid()}.partial"
        try:
            _remove_dead_partials(self.root, folder.name)
            partial.mkdir(parents=True)
            files = self._write_arrays(partial, blocks, rows)
            meta = {"format": FORMAT, "source": str(source), "events": events, "files": files}
            (partial / META).write_text(json.dumps(meta, indent=1))
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)
        except OSError as error:
            if not self.valid(folder, events):  # else another process was faster
                raise DataError(
                    f"data.cache: cannot write {partial} ({error.strerror or error}); free the disk, "
                    f"choose another folder or set data.cache to null"
                ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            self._layouts = {path: layout for path, layout in self._layouts.items() if path.parent != folder}

    def read(self, folder: Path, start: int = 0, rows: int | None = None) -> dict[str, NDArray[Any]]:
        """Rows [start, start + rows) of every array; None = all of each.

        Read, not mapped: pages of a map would count as memory of the process.
        """
        arrays: dict[str, NDArray[Any]] = {}
        for name in self._names:
            path = folder / f"{name}.npy"
            if path not in self._layouts:
                self._layouts[path] = _layout(path)
            offset, dtype, shape = self._layouts[path]
            count = shape[0] - start if rows is None else rows
            size = math.prod(shape[1:])
            skip = offset + start * size * dtype.itemsize
            arrays[name] = np.fromfile(path, dtype, count * size, offset=skip).reshape(count, *shape[1:])
        return arrays

    def _write_arrays(
        self, folder: Path, blocks: Iterable[Mapping[str, NDArray[Any]]], rows: int | None
    ) -> dict[str, dict[str, Any]]:
        """Stream blocks into .npy files of known length; returns bytes and SHA-256 of each file."""
        hashes = {name: hashlib.sha256() for name in self._names}
        with ExitStack() as stack:
            streams = {name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in self._names}
            for number, block in enumerate(blocks):
                for name, stream in streams.items():
                    array: NDArray[Any] = np.ascontiguousarray(block[name])
                    text = array.tobytes()
                    if not number:
                        text = _header(array.dtype, (rows or len(array), *array.shape[1:])) + text
                    stream.write(text)
                    hashes[name].update(text)
        return {
            f"{name}.npy": {"bytes": (folder / f"{name}.npy").stat().st_size, "sha256": hashes[name].hexdigest()}
            for name in self._names
        }


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """First bytes of an .npy file."""
    stream = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(stream, header)
    return stream.getvalue()


def _layout(path: Path) -> tuple[int, np.dtype[Any], tuple[int, ...]]:
    """Length of the header of an .npy file, type of its numbers and shape."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        return file.tell(), dtype, tuple(shape)


def _remove_dead_partials(root: Path, name: str) -> None:
    """Folders that a killed process of this machine left behind."""
    for left in root.glob(f"{name}.{socket.gethostname()}.*.partial"):
        pid = left.name.split(".")[-2]
        if not Path(f"/proc/{pid}").exists() or pid == str(os.getpid()):
            shutil.rmtree(left, ignore_errors=True)
