"""HDF5 files of jets: opened, their members found, and packed with filters that are there, or refused by name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qformers.data.jets.reader import require_names
from qformers.errors import DataError, first_line
from qformers.files import unreadable
from qformers.hdf5_files import BROKEN_HDF5, member

PLUGINS = "hdf5plugin"  # package with the filters that h5py has not


@contextmanager
def open_file(path: Path) -> Iterator[Any]:
    """The HDF5 file.

    Raises:
        DataError: not HDF5 or truncated; also whatever fails while it is being read inside the ``with``.
    """
    import h5py

    if reason := unreadable(path):
        raise DataError(f"{path}: cannot be read as HDF5: {reason}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except DataError:
        raise
    except BROKEN_HDF5 as error:
        raise DataError(
            f"{path}: cannot be read as HDF5, the file is damaged, truncated or something else "
            f"({type(error).__name__}: {first_line(error)}); fetch or generate it again"
        ) from error


def has_member(path: Path, name: str) -> bool:
    """Whether a file is HDF5 and has a member of that name; False for whatever cannot be read."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return name in file
    except BROKEN_HDF5:
        return False


def within(path: Path, group: Any, name: str) -> Any:
    """The group or data set of a name, in the file itself.

    Raises:
        DataError: missing, kept in another file, or larger than all that the file can hold.
    """
    require_names(str(path), [name], group.keys(), "dataset")
    try:
        return member(group, name, path.stat().st_size)
    except ValueError as error:
        raise DataError(f"{path}: dataset {error}; fetch or generate the file again") from error


def refuse_missing_filters(path: Path, data: Any) -> None:
    """Refuse a data set that is packed with a filter which nobody here can undo, before it is read.

    h5py has deflate, shuffle and a few more. PyTables also packs with blosc and bzip2, which the package hdf5plugin
    brings; it makes them known when it is imported, which takes time and is done where they are needed.

    Raises:
        DataError: names the filter and the ways out.
    """
    import h5py

    made = data.id.get_create_plist()
    filters = [made.get_filter(number) for number in range(made.get_nfilters())]
    missing = [(code, name) for code, _, _, name in filters if not h5py.h5z.filter_avail(code)]
    there = missing and importlib.util.find_spec(PLUGINS) is not None
    if there:
        importlib.import_module(PLUGINS)
        missing = [(code, name) for code, name in missing if not h5py.h5z.filter_avail(code)]
    if missing:
        code, name = missing[0]
        called = name.decode("ascii", "replace").strip("\0") or "without a name"
        if there:
            cause = f"which neither h5py nor {PLUGINS} can undo: "
        else:
            cause = f"which h5py alone cannot undo: {sys.executable} -m pip install {PLUGINS}, or "
        raise DataError(
            f"{path}: '{data.name}' is packed with the HDF5 filter {code} ({called}), {cause}pack the file anew where "
            f"it can be read, e.g. with PyTables: ptrepack --complib=zlib --complevel=5 {path.name} "
            f"{path.stem}_zlib{path.suffix}"
        )
