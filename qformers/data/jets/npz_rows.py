"""Rows of the arrays in an .npz file, read piece by piece: memory holds the rows that are asked for, never an array.

Arrays of a compressed file are unpacked from their beginning up to these rows, so that the last rows take longest.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.jets.reader import require_names
from qformers.errors import DataError, first_line
from qformers.files import BROKEN_ZIP, CHUNK, unreadable
from qformers.npy_header import HEADER_ERRORS, Header, read_header

MOST_PACKED = 1100  # times that deflate can make numbers smaller
KINDS = {"biuf": "real numbers", "iu": "whole numbers", "U": "texts"}  # of NumPy's types


@dataclass(frozen=True)
class Member:
    """An array of the file, not yet read."""

    name: str
    header: Header

    def __len__(self) -> int:
        return self.header.shape[0]


class Rows:
    """Arrays of an open file."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        """
        Args:
            path: of the file, for messages.
            archive: open for reading.
        """
        self._path = path
        self._archive = archive

    def __contains__(self, name: str) -> bool:
        """Whether there is an array of a name."""
        return f"{name}.npy" in self._archive.namelist()

    def member(self, name: str, axes: int, kinds: str = "biuf") -> Member:
        """The array of a name.

        Args:
            name: as it was saved.
            axes: that it must have.
            kinds: of NumPy's types that it may have, a key of `KINDS`.

        Raises:
            DataError: missing, no array of such values with so many axes, saved column after column, or one that
                promises other than it holds.
            ValueError: damaged.
        """
        names = [entry.removesuffix(".npy") for entry in self._archive.namelist()]
        require_names(str(self._path), [name], names, "array")
        info = self._archive.getinfo(f"{name}.npy")
        with self._archive.open(info) as stream:
            header = read_header(stream, name)
        shape = header.shape
        if header.dtype.kind not in kinds or len(shape) != axes:
            pickled = ", which would have to be unpickled" if header.dtype.hasobject else ""
            raise DataError(
                f"{self._path}: array '{name}' has the wrong type. Expected: {KINDS[kinds]} with {axes} axes. "
                f"Received: {header.dtype}{pickled} of shape {shape}"
            )
        if header.fortran and axes > 1:
            raise DataError(
                f"{self._path}: array '{name}' is saved column after column, so that no row can be read alone; save "
                f"np.ascontiguousarray({name})"
            )
        promised, there = header.size + math.prod(shape) * header.dtype.itemsize, info.file_size
        if promised != there or there > MOST_PACKED * max(info.compress_size, 1):
            raise DataError(
                f"{self._path}: array '{name}' of shape {shape} promises {promised:,} bytes and has {there:,} "
                f"({info.compress_size:,} packed); fetch or write the file again"
            )
        return Member(name, header)

    def read(self, member: Member, start: int, stop: int) -> NDArray[Any]:
        """Rows [start, stop) of an array.

        Raises:
            ValueError: it ends before them; and all of `BROKEN_ZIP`.
        """
        header = member.header
        row = math.prod(header.shape[1:]) * header.dtype.itemsize
        with self._archive.open(f"{member.name}.npy") as stream:
            skip = header.size + start * row
            while skip:
                skipped = len(stream.read(min(skip, CHUNK)))
                if not skipped:
                    raise ValueError(f"'{member.name}' ends before row {start}")
                skip -= skipped
            content = _exactly(stream, (stop - start) * row, member.name)
        return np.frombuffer(content, header.dtype).reshape(stop - start, *header.shape[1:])


def _exactly(stream: IO[bytes], size: int, name: str) -> bytearray:
    content = bytearray()
    while len(content) < size:
        part = stream.read(min(size - len(content), CHUNK))
        if not part:
            raise ValueError(f"'{name}' ends {size - len(content):,} bytes too early")
        content += part
    return content


@contextmanager
def open_rows(path: Path) -> Iterator[Rows]:
    """The arrays of a file.

    Raises:
        DataError: no .npz or truncated; also whatever fails while it is being read inside the ``with``.
    """
    if reason := unreadable(path):
        raise DataError(f"{path}: cannot be read as arrays: {reason}")
    try:
        with zipfile.ZipFile(path) as archive:
            yield Rows(path, archive)
    except DataError:
        raise
    except (*BROKEN_ZIP, *HEADER_ERRORS) as error:
        raise DataError(
            f"{path}: cannot be read as arrays, the file is damaged, truncated or something else "
            f"({first_line(error)}); fetch or write it again"
        ) from error


def has_arrays(path: Path, names: Sequence[str]) -> bool:
    """Whether a file is an .npz with arrays of these names; False for whatever cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {f"{name}.npy" for name in names} <= set(archive.namelist())
    except BROKEN_ZIP:
        return False
