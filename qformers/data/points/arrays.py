"""Arrays of an .npz file, read without trusting what it says of itself: nothing is unpickled, no size is believed."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.jets.standardise import PLAIN, SMALLEST, Quantity, positive_words
from qformers.errors import DataError, first_line
from qformers.files import BROKEN_ZIP, unpacked, unreadable
from qformers.npy_header import HEADER_ERRORS, read_header

LARGEST_BYTES = 1 << 30  # of one array: an event of a million points has 100 MB


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file.

    Raises:
        DataError: unreadable, damaged, or holding anything but arrays of numbers and text.
    """
    if reason := unreadable(path):
        raise DataError(f"{path}: cannot be read as arrays: {reason}")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            return {name.removesuffix(".npy"): _array(name, unpacked(archive, name, LARGEST_BYTES)) for name in names}
    except (*BROKEN_ZIP, *HEADER_ERRORS) as error:
        raise DataError(
            f"{path}: cannot be read as arrays ({first_line(error)}); write or download it again"
        ) from error


def _array(name: str, content: bytes) -> NDArray[Any]:
    """One .npy file; its header may not promise other than what follows it."""
    stream = io.BytesIO(content)
    header = read_header(stream, name)
    if header.dtype.hasobject:
        raise ValueError(f"'{name}' holds Python objects, which are not read")
    promised, there = math.prod(header.shape) * header.dtype.itemsize, len(content) - header.size
    if promised != there:
        raise ValueError(f"'{name}' promises {promised:,} bytes and has {there:,}")
    stream.seek(0)
    return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def numbers(path: Path, arrays: dict[str, NDArray[Any]], name: str, kinds: str = "fiub") -> NDArray[Any]:
    """The array of a name, which must hold real numbers.

    Args:
        path: for messages.
        arrays: of the file.
        name: which.
        kinds: NumPy's letters of the types that will do.

    Raises:
        DataError: missing, or text, complex numbers, dates, records.
    """
    if name not in arrays:
        raise DataError(f"{path}: array '{name}' is missing. Received: {', '.join(sorted(arrays)) or 'none'}")
    if arrays[name].dtype.kind not in kinds:
        wanted = "real numbers" if "f" in kinds else "integers"
        raise DataError(f"{path}: array '{name}' must hold {wanted}. Received: {arrays[name].dtype}")
    return arrays[name]


def refuse_outside(
    path: Path, columns: tuple[str, ...], x: NDArray[Any], quantities: Mapping[str, Quantity] | None = None
) -> None:
    """Raise where a value is not finite or beyond what is ever measured.

    Args:
        path: for messages.
        columns: names.
        x: (n, columns), as read.
        quantities: what the numbers of a column are; those of others have no unit.

    Raises:
        DataError: names column, row and value.
    """
    of = [(quantities or {}).get(name, PLAIN) for name in columns]
    bad = ~(np.abs(x, dtype=np.float64) <= [quantity.largest for quantity in of])
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        value, (largest, words) = x[row, column], of[column]
        wanted = f"between -{largest:g} and {largest:g} ({words})" if np.isfinite(value) else "finite"
        raise DataError(
            f"{path}: column '{columns[column]}', row {row}: must be {wanted}. Received: {value:g}; mend or drop it"
        )


def refuse_not_positive(path: Path, name: str, values: NDArray[Any], thing: str) -> None:
    """Raise where a number (n,) of a column, as read, is not positive, or would not be in float32.

    Args:
        path: for messages.
        name: of the column.
        values: pT or energy, GeV.
        thing: of which it is, for messages.

    Raises:
        DataError: names the lowest.
    """
    if (lowest := values.min()) < SMALLEST:
        wanted = positive_words(lowest)
        raise DataError(f"{path}: column '{name}' must be {wanted}. Received: {lowest}; mend or drop the {thing}")
