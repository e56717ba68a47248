"""Columns of a CSV file by name, with errors that name the file, the column and the line."""

from __future__ import annotations

import csv
import gzip
import io
import math
import warnings
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from qformers.data.jets.reader import require_names
from qformers.errors import DataError

Table = dict[str, NDArray[Any]]  # column -> (rows,)
Columns = dict[str, np.dtype[Any]]  # column -> INT or FLOAT
INT, FLOAT = np.dtype(np.int64), np.dtype(np.float64)


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path, "rb"), encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def read_table(path: Path, columns: Columns) -> Table:
    """The named columns of a CSV file (or .csv.gz) with a header line; others are skipped.

    Args:
        path: the file.
        columns: name -> type, int64 or float64. Particle ids of TrackML have up to 18 digits: never read them as
            floats.

    Raises:
        DataError: unreadable file, a missing column, a line with too few fields, a value that is no finite number or,
            for an integer column, no integer.
    """
    try:
        with _open(path) as stream:
            header = [name.strip() for name in stream.readline().split(",")]
            require_names(str(path), columns, header, "column")
            places = [header.index(name) for name in columns]
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "loadtxt: input contained no data")
                kinds = np.dtype([(name, kind) for name, kind in columns.items()])
                rows = np.loadtxt(stream, kinds, delimiter=",", usecols=places, ndmin=1, comments=None)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}); unpack or download the file again") from error
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise _fault(path, columns) or DataError(f"{path}: cannot be read as CSV ({error})") from error
    table = {name: np.ascontiguousarray(rows[name]) for name in columns}
    if not all(np.isfinite(table[name]).all() for name, kind in columns.items() if kind == FLOAT):
        raise _fault(path, columns) or DataError(f"{path}: values must be finite")
    return table


def _fault(path: Path, columns: Columns) -> DataError | None:
    """The first fault of a file, looked for line by line once reading has failed."""
    with _open(path) as stream:
        lines = csv.reader(stream)
        header = [name.strip() for name in next(lines)]
        for fields in lines:
            if not fields:
                continue
            if len(fields) < len(header):
                return DataError(
                    f"{path}: line {lines.line_num}: must have {len(header)} fields, as the header has; is the file "
                    f"cut short? Received: {len(fields)}"
                )
            for name, kind in columns.items():
                value = fields[header.index(name)]
                if not _is_number(value, kind):
                    wanted = "an integer" if kind == INT else "a finite number"
                    return DataError(
                        f"{path}: column '{name}', line {lines.line_num}: must be {wanted}. Received: {value!r}"
                    )
    return None


def _is_number(text: str, kind: np.dtype[Any]) -> bool:
    try:
        return -(2**63) <= int(text) < 2**63 if kind == INT else math.isfinite(float(text))
    except ValueError:
        return False
