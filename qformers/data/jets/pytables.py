"""Tables as pandas keeps them in HDF5 (``to_hdf(..., format="table")``, by PyTables), read with h5py alone.

A frame is a group with one compound data set, `table`: an index, and fields that hold a column each or, called
``values_block_0`` and so on, many columns of one type side by side. Which ones stands in an attribute, a pickled list
of texts. It is not unpickled: its opcodes are looked at, and anything but a list of texts is refused.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.data.jets.hdf5_data import refuse_missing_filters, within
from qformers.data.jets.reader import require_names
from qformers.errors import DataError, first_line

TABLE = "table"  # data set in the group of a frame
INDEX = "index"
BLOCK = "values_block_"
LONGEST = 1 << 20  # bytes of a list of names
TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING"}
# of a list of texts: begin, remember, append, end
PLAIN = {
    "PROTO", "FRAME", "MARK", "EMPTY_LIST", "LIST", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "APPEND", "APPENDS",
    "STOP",
}  # fmt: skip


def pickled_texts(content: bytes) -> list[str]:
    """The texts of a pickled list of texts; nothing is unpickled.

    Raises:
        ValueError: damaged, or a pickle of anything else.
    """
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in TEXTS:
                texts.append(str(argument))
            elif opcode.name not in PLAIN:
                raise ValueError(f"a pickle that does more than list texts ({opcode.name}), which is not read")
    except (OverflowError, struct.error) as error:
        raise ValueError(first_line(error)) from error
    return texts


def texts_pickled(texts: Sequence[str]) -> bytes:
    """A list of texts as PyTables pickles it (protocol 0), for writers of files.

    Args:
        texts: in ASCII, without line breaks and backslashes.
    """
    return ("(lp0\n" + "".join(f"V{text}\np{i}\na" for i, text in enumerate(texts, 1)) + ".").encode("ascii")


@dataclass(frozen=True)
class Frame:
    """A table whose columns are known, not yet read.

    Attributes:
        path: of the file, for messages.
        name: of the group.
        data: the compound data set of h5py.
        places: column -> its field, and where in it; None = the field is the column.
    """

    path: Path
    name: str
    data: Any
    places: Mapping[str, tuple[str, int | None]]

    @classmethod
    def of(cls, path: Path, file: Any, name: str) -> Frame:
        """The frame of a group.

        Raises:
            DataError: missing, kept in the other format of pandas (``fixed``), no table of numbers, packed with a
                filter that is not there, or columns whose names cannot be known.
        """
        import h5py

        group = within(path, file, name)
        if isinstance(group, h5py.Group) and TABLE not in group:
            there = ", ".join(sorted(group)) or "nothing"
            raise DataError(
                f"{path}: '{name}' has no '{TABLE}' in it but {there}; write it with pandas' to_hdf(..., "
                f"key='{name}', format='table')"
            )
        data = within(path, group, TABLE) if isinstance(group, h5py.Group) else group
        if not isinstance(data, h5py.Dataset) or data.dtype.names is None or data.ndim != 1:
            kind = f"{data.dtype} of shape {data.shape}" if isinstance(data, h5py.Dataset) else "a group"
            raise DataError(
                f"{path}: '{name}/{TABLE}' must be a table as pandas writes it, one row per jet. Received: {kind}"
            )
        refuse_missing_filters(path, data)
        places: dict[str, tuple[str, int | None]] = {}
        for field in data.dtype.names:
            if field != INDEX:
                places |= _columns(path, data, field)
        return cls(path, name, data, places)

    def __len__(self) -> int:
        return int(self.data.shape[0])

    def read(self, names: Sequence[str], start: int, stop: int) -> NDArray[np.float32] | NDArray[np.float64]:
        """Columns (n, len(names)) of the rows [start, stop): float32 where that holds all of them, else float64.

        Raises:
            DataError: a column that is not there, with the nearest one.
        """
        require_names(f"{self.path}, '{self.name}'", names, self.places, "column")
        fields = list(dict.fromkeys(self.places[name][0] for name in names))
        rows = self.data.fields(fields)[start:stop]
        narrow = all(np.can_cast(rows.dtype[field].base, np.float32) for field in fields)
        read = np.empty((len(rows), len(names)), np.float32 if narrow else np.float64)
        with np.errstate(over="ignore"):  # of long double, which becomes infinite
            for field in fields:
                chosen = [i for i, name in enumerate(names) if self.places[name][0] == field]
                block = rows[field].reshape(len(rows), -1)  # (n, columns of the field)
                read[:, chosen] = block[:, [self.places[names[i]][1] or 0 for i in chosen]]
        return read


def _columns(path: Path, data: Any, field: str) -> dict[str, tuple[str, int | None]]:
    """The columns of a field; fields of text and the like have none that can be read."""
    dtype = data.dtype[field]
    if dtype.base.kind not in "biuf" or len(dtype.shape) > 1:
        return {}
    if not field.startswith(BLOCK):
        return {field: (field, None)} if dtype.shape in ((), (1,)) else {}
    attribute = f"{field}_kind"
    if attribute not in data.attrs:
        raise DataError(
            f"{path}: attribute '{attribute}' of the table is missing, which names the columns of '{field}'; write the "
            "file with pandas, or copy it with ptrepack, which keeps attributes"
        )
    kind = data.attrs.get_id(attribute)
    if kind.dtype.kind != "S" or kind.shape != () or kind.dtype.itemsize > LONGEST:
        raise DataError(
            f"{path}: attribute '{attribute}' of the table must be a pickled list of names, as pandas writes it. "
            f"Received: {kind.dtype} of shape {kind.shape}"
        )
    try:
        names = pickled_texts(bytes(data.attrs[attribute]))
    except ValueError as error:
        raise DataError(
            f"{path}: attribute '{attribute}' of the table must be a pickled list of names. Received: "
            f"{first_line(error)}; write the file with pandas again"
        ) from error
    width = dtype.shape[0] if dtype.shape else 1
    if len(names) != width or len(set(names)) != width:
        raise DataError(
            f"{path}: attribute '{attribute}' of the table has {len(set(names))} different names and '{field}' has "
            f"{width} columns; write the file with pandas again"
        )
    return {name: (field, place) for place, name in enumerate(names)}
