"""Columns of a CSV file by name, with errors that name the file, the column and the line."""

from __future__ import annotations

import gzip
import io
import math
import re
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.jets.reader import require_names
from qformers.data.jets.standardise import LARGEST
from qformers.errors import DataError, shown
from qformers.files import unreadable

Table = dict[str, NDArray[Any]]  # column -> (rows,)
Columns = dict[str, np.dtype[Any]]  # column -> INT or FLOAT
INT, FLOAT = np.dtype(np.int64), np.dtype(np.float64)
LARGEST_BYTES = 1 << 30  # of a table, unpacked; that of an event of 100,000 hits has some MB
LONGEST_HEADER = 1 << 16  # bytes
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,19}\s*")


def read_text(path: Path) -> str:
    """Text of a table, unpacked where the name ends in ``.gz``; lines end in ``\\n``, a byte-order mark is left out.

    Raises:
        DataError: unreadable, damaged, larger than `LARGEST_BYTES`, not UTF-8, empty.
    """
    content = _unpacked(path, LARGEST_BYTES + 1)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(path, error) from error
    if len(content) > LARGEST_BYTES:
        raise DataError(f"{path}: unpacks to more than {LARGEST_BYTES:,} bytes, which no table of an event has")
    if not text.strip():
        raise DataError(f"{path}: is empty: its first line must name the columns; write or download it again")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def names_of(path: Path) -> list[str]:
    """Names of the columns of a table, of which only the beginning is read.

    Raises:
        DataError: unreadable or damaged.
    """
    lines = _unpacked(path, LONGEST_HEADER).decode("utf-8-sig", "replace").splitlines()
    return [name.strip() for name in lines[0].split(",")] if lines else []


def _unpacked(path: Path, most: int) -> bytes:
    """The first `most` bytes of a table, unpacked."""
    if reason := unreadable(path):
        raise DataError(f"{path}: cannot be read as CSV: {reason}")
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            return stream.read(most)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read as CSV ({error}); unpack or download the file again")


def read_table(path: Path, columns: Columns) -> Table:
    """The named columns of a CSV file (or .csv.gz) with a header line; others are skipped.

    Args:
        path: the file.
        columns: name -> type, int64 or float64. Particle ids of TrackML have up to 18 digits: never read them as
            floats.

    Raises:
        DataError: unreadable file, a column that is missing or there twice, a line with more or fewer fields than the
            header, a value that is no number up to `LARGEST` or, for an integer column, no integer.
    """
    first, _, rest = read_text(path).partition("\n")
    header = [name.strip() for name in first.split(",")]
    require_names(str(path), columns, header, "column")
    if twice := [name for name in columns if header.count(name) > 1]:
        raise DataError(f"{path}: column '{twice[0]}' is there {header.count(twice[0])} times; keep one of them")
    _refuse_widths(path, rest, len(header))
    kinds = np.dtype([(name, kind) for name, kind in columns.items()])
    places = [header.index(name) for name in columns]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "loadtxt: input contained no data")
            rows = np.loadtxt(io.StringIO(rest), kinds, delimiter=",", usecols=places, ndmin=1, comments=None)
    except (ValueError, IndexError, OverflowError) as error:
        raise _fault(path, rest, header, columns) or DataError(f"{path}: cannot be read as CSV ({error})") from error
    table = {name: np.ascontiguousarray(rows[name]) for name in columns}
    if not all((np.abs(table[name]) <= LARGEST).all() for name, kind in columns.items() if kind == FLOAT):
        raise _fault(path, rest, header, columns) or DataError(f"{path}: values must be finite")
    return table


def _refuse_widths(path: Path, text: str, width: int) -> None:
    """Raise unless every line that is not empty has `width` fields; NumPy's reader overlooks those behind its last."""
    data = np.frombuffer(text.encode(), np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    ends = np.append(ends, len(data))
    starts = np.append(0, ends[:-1] + 1)
    commas = np.cumsum(np.append(0, data == ord(",")))
    fields = commas[ends] - commas[starts] + 1
    wrong = np.flatnonzero((ends > starts) & (fields != width))
    if len(wrong):
        first = int(wrong[0])
        more = "a comma too many, or a decimal comma?" if fields[first] > width else "is the file cut short?"
        raise DataError(
            f"{path}: line {first + 2}: must have {width} fields, as the header has; {more} Received: {fields[first]}"
        )


def _fault(path: Path, text: str, header: list[str], columns: Columns) -> DataError | None:
    """The first fault of a file, looked for line by line once reading has failed."""
    for number, line in enumerate(text.split("\n"), start=2):
        fields = line.split(",")
        for name, kind in columns.items() if line else ():
            value = fields[header.index(name)]
            if wanted := _wanted(value, kind):
                return DataError(f"{path}: column '{name}', line {number}: must be {wanted}. Received: {shown(value)}")
    return None


def _wanted(text: str, kind: np.dtype[Any]) -> str:
    """What a field should have been; "" where it is good."""
    if kind == INT:
        good = _INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63
        return "" if good else "an integer"
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        return "a finite number"
    return "" if abs(value) <= LARGEST else f"between -{LARGEST:g} and {LARGEST:g}"
