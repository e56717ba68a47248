"""Decoded jets on disk: one folder of .npy files per source file, checked by length and SHA-256 before it is used.

A folder's name holds a hash of the source (path, size, time of change) and of everything that decides the decoded
numbers, so a changed file or configuration never meets an old cache. Folders of earlier keys are not removed.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.events import Events, FeatureSet
from qformers.errors import DataError

FORMAT = 1  # raise when the layout or the decoding changes
DTYPES: dict[str, type] = {"features": np.float32, "vectors": np.float32, "mask": np.float32, "labels": np.int64}
META = "meta.json"


class Cache:
    """Decoded jets of one (data set, configuration)."""

    def __init__(self, root: Path, key: str, class_names: tuple[str, ...], feature_set: FeatureSet) -> None:
        """
        Args:
            root: folder of the cache, made when missing.
            key: text of everything that decides the decoded numbers.
            class_names: as in `Events`.
            feature_set: as in `Events`.
        """
        self.root = root
        self._key = f"{FORMAT}|{key}|{class_names}|{feature_set}"
        self._class_names = class_names
        self._feature_set = feature_set
        self._layouts: dict[Path, tuple[int, tuple[int, ...]]] = {}  # bytes before the first jet, shape of a jet

    def folder(self, source: Path, jets: int) -> Path:
        """Where the first `jets` kept jets of `source` stand."""
        stat = source.stat()
        text = f"{source.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{jets}|{self._key}"
        return self.root / f"{source.stem}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def valid(self, folder: Path, jets: int) -> bool:
        """True when all arrays are there with the length and the SHA-256 written down when they were made."""
        try:
            meta = json.loads((folder / META).read_text())
            if meta["jets"] != jets or set(meta["files"]) != {f"{name}.npy" for name in DTYPES}:
                return False
            sizes = {name: entry["bytes"] for name, entry in meta["files"].items()}
            if any((folder / name).stat().st_size != size for name, size in sizes.items()):
                return False
            return all(_sha256(folder / name) == entry["sha256"] for name, entry in meta["files"].items())
        except (OSError, ValueError, KeyError, TypeError):  # missing, half written or not ours: make it again
            return False

    def write(self, source: Path, folder: Path, blocks: Iterable[Events], jets: int) -> None:
        """Write blocks of jets one after the other, so that memory holds one of them, then rename into place.

        Raises:
            DataError: the cache folder cannot be written.
        """
        partial = self.root / f"{folder.name}.{socket.gethostname()}.{os.getpid()}.partial"
        try:
            _remove_dead_partials(self.root, folder.name)
            partial.mkdir(parents=True)
            files = _write_arrays(partial, blocks, jets)
            meta = {"format": FORMAT, "source": str(source), "jets": jets, "files": files}
            (partial / META).write_text(json.dumps(meta, indent=1))
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)
        except OSError as error:
            if not self.valid(folder, jets):  # else another process was faster
                raise DataError(
                    f"data.cache: cannot write {partial} ({error.strerror or error}); free the disk, "
                    f"choose another folder or set data.cache to null"
                ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def read(self, folder: Path, start: int, jets: int) -> Events:
        """Jets [start, start + jets). Read, not mapped: pages of a map would count as memory of the process."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, dtype in DTYPES.items():
            path = folder / f"{name}.npy"
            if path not in self._layouts:
                self._layouts[path] = _layout(path)
            offset, row = self._layouts[path]
            size = math.prod(row)
            skip = offset + start * size * np.dtype(dtype).itemsize
            arrays[name] = np.fromfile(path, dtype, jets * size, offset=skip).reshape(jets, *row)
        return Events(**arrays, class_names=self._class_names, feature_set=self._feature_set)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_arrays(folder: Path, blocks: Iterable[Events], jets: int) -> dict[str, dict[str, Any]]:
    """Stream blocks into .npy files of known length; returns bytes and SHA-256 of each file."""
    hashes = {name: hashlib.sha256() for name in DTYPES}
    with ExitStack() as stack:
        streams = {name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in DTYPES}
        for number, block in enumerate(blocks):
            for name, stream in streams.items():
                array: NDArray[Any] = np.ascontiguousarray(getattr(block, name), DTYPES[name])
                text = array.tobytes() if number else _header(array.dtype, (jets, *array.shape[1:])) + array.tobytes()
                stream.write(text)
                hashes[name].update(text)
    return {
        f"{name}.npy": {"bytes": (folder / f"{name}.npy").stat().st_size, "sha256": hashes[name].hexdigest()}
        for name in DTYPES
    }


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """First bytes of an .npy file."""
    stream = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(stream, header)
    return stream.getvalue()


def _layout(path: Path) -> tuple[int, tuple[int, ...]]:
    """Length of the header of an .npy file and the shape of one row."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_2_0(file)
        return file.tell(), tuple(shape[1:])


def _remove_dead_partials(root: Path, name: str) -> None:
    """Folders that a killed process of this machine left behind."""
    for left in root.glob(f"{name}.{socket.gethostname()}.*.partial"):
        pid = left.name.split(".")[-2]
        if not Path(f"/proc/{pid}").exists() or pid == str(os.getpid()):
            shutil.rmtree(left, ignore_errors=True)
