"""Joining the tables of one event by their ids, with errors that name the file, the id and the way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qformers.data.points.csv_table import Table
from qformers.errors import DataError
from qformers.files import unreadable

Ints = NDArray[np.int64]


def required(path: Path, why: str) -> Path:
    """`path`, which must be there and readable; `why` says what it holds.

    Raises:
        DataError: it is not.
    """
    if not path.exists():
        raise DataError(f"{path} is missing: it holds {why}")
    if reason := unreadable(path):
        raise DataError(f"{path}: {reason}: it holds {why}")
    return path


def sorted_by(table: Table, key: str, path: Path) -> Table:
    """A table by ascending, unique key.

    Raises:
        DataError: an id comes twice.
    """
    order = np.argsort(table[key], kind="stable")
    ordered = {name: values[order] for name, values in table.items()}
    same = np.flatnonzero(np.diff(ordered[key]) == 0)
    if len(same):
        raise DataError(f"{path}: column '{key}': must be unique. Received: {ordered[key][same[0]]} twice")
    return ordered


def rows_of(known: Ints, wanted: Ints, path: Path, key: str, of: Path) -> Ints:
    """(n,), rows of the ids `wanted` (n,) in the ascending ids `known` of a file.

    Args:
        known, wanted: see above.
        path, key: file and column of `known`, for the message.
        of: file that the wanted ids come from, for the message.

    Raises:
        DataError: some of them are not there.
    """
    row = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
    missing = np.ones(len(wanted), bool) if not len(known) else known[row] != wanted
    if missing.any():
        raise DataError(
            f"{path}: column '{key}': lacks {len(np.unique(wanted[missing]))} ids, the first is {wanted[missing][0]}; "
            f"is the table cut short, or of another event than {of.name}? Download or make both again"
        )
    return row
