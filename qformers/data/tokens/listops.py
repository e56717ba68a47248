"""ListOps in the files of the Long Range Arena (arXiv:2011.04006): ``basic_{train,val,test}.tsv``.

The first line is ``Source<tab>Target``; every other one has an expression, e.g. ``( ( ( [MAX 2 ) 7 ) ] )``, and its
value. Parentheses only nest it in pairs and are left out, what remains are tokens between blanks: ten digits, four
operators and the closing bracket, which the published models call X. An expression longer than the model is refused:
cut, it would have another value.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import DataConfig
from qformers.data.events import Events
from qformers.data.jets.labels import refuse_labels
from qformers.data.jets.reader import ClassChoice
from qformers.data.tokens.sequences import FEATURES, chosen_features, sequences
from qformers.errors import DataError, shown
from qformers.files import unreadable

__all__ = ["CLASSES", "CLOSE", "FEATURES", "HEADER", "OPERATORS", "SYMBOLS", "ListOps", "is_listops"]

HEADER = "Source\tTarget"
CLASSES = tuple(map(str, range(10)))  # the value of the expression
OPERATORS = ("MIN", "MAX", "MED", "SM")
CLOSE = "]"
# ids 1 to 15 in this order. The published vocabulary has 17: 0 is the pad, 16 what is unknown, which no file has.
SYMBOLS = (*CLASSES, *(f"[{name}" for name in OPERATORS), CLOSE)
VOCABULARY = len(SYMBOLS) + 2
IDS = {symbol.encode(): number for number, symbol in enumerate(SYMBOLS, start=1)}
FIRST_OPERATOR, CLOSE_ID = IDS[b"[MIN"], IDS[CLOSE.encode()]
DIGITS = {name.encode(): label for label, name in enumerate(CLASSES)}
LONGEST_LINE = 1 << 24  # bytes
MARK = b"\xef\xbb\xbf"  # of UTF-8, which some editors write in front


def is_listops(path: Path) -> bool:
    """Whether a file begins as those of this set do."""
    try:
        with path.open("rb") as stream:
            return _is_header(stream.readline(len(MARK) + len(HEADER) + 3))
    except OSError:
        return False


@dataclass(frozen=True)
class _Index:
    """Where the rows of a file begin, and their labels.

    Attributes:
        stamp: size and time of change of the file.
        starts: (rows,), bytes before each.
        labels: (rows,), 0 to 9.
    """

    stamp: tuple[int, int]
    starts: NDArray[np.int64]
    labels: NDArray[np.int64]


class ListOps:
    """Reader of the files."""

    def __init__(self, config: DataConfig) -> None:
        """Raises `DataError` for an unknown feature set or class, another padding, or labels of the build."""
        refuse_labels(config.labels, "listops")
        self.feature_set = chosen_features(config, "listops")
        self._classes = ClassChoice(CLASSES, config.classes, "listops")
        self.class_names = self._classes.names
        self._tokens = config.num_particles
        self._indices: dict[Path, _Index] = {}

    def kept(self, path: Path) -> NDArray[np.bool_]:
        """(rows in the file,), True where the row is of a selected class."""
        return self._classes.apply(self._index(path).labels) >= 0

    def read(self, path: Path, start: int, stop: int) -> Events:
        """Kept sequences among the file's rows [start, stop).

        Raises:
            DataError: unreadable file, another header, a line of other fields than an expression and a digit, an
                unknown token, brackets that do not match, more tokens than asked.
        """
        index = self._index(path)
        labels = self._classes.apply(index.labels[start:stop])
        ids = np.zeros((len(labels), self._tokens), np.uint8)
        with path.open("rb") as stream:
            stream.seek(int(index.starts[start]) if len(labels) else 0)
            for row in range(len(labels)):
                source = _fields(path, _line(path, stream, start + row), start + row)[0]
                if labels[row] >= 0:
                    self._put(path, ids[row], source, start + row)
        _refuse_brackets(path, ids, start, labels >= 0)
        return sequences(ids, labels, self.class_names, self.feature_set)

    def _put(self, path: Path, target: NDArray[np.uint8], source: bytes, row: int) -> None:
        """The ids of an expression, into the places of its sequence."""
        tokens = source.translate(None, b"()").split()
        try:
            ids = bytes([IDS[token] for token in tokens])
        except KeyError as error:
            token = shown(error.args[0].decode("utf-8", "replace"), 40)
            raise DataError(
                f"{_place(path, row)}: a token must be a digit, {', '.join(SYMBOLS[10:-1])} or {CLOSE}; is it a file "
                f"of ListOps? Received: {token}"
            ) from error
        if len(ids) > self._tokens:
            raise DataError(
                f"{_place(path, row)}: has {len(ids)} tokens and data.num_particles is {self._tokens}: raise it, or "
                "leave such lines out of the file; cut, an expression has another value"
            )
        target[: len(ids)] = np.frombuffer(ids, np.uint8)

    def _index(self, path: Path) -> _Index:
        if reason := unreadable(path):
            raise DataError(f"{path}: cannot be read as ListOps: {reason}")
        try:
            stat = path.stat()
            stamp = (stat.st_size, stat.st_mtime_ns)
            if path not in self._indices or self._indices[path].stamp != stamp:
                self._indices[path] = _scanned(path, stamp)
        except OSError as error:
            raise DataError(f"{path}: cannot be read as ListOps ({error}); fetch or generate it again") from error
        return self._indices[path]


def _scanned(path: Path, stamp: tuple[int, int]) -> _Index:
    """Look through a file once, a line at a time."""
    starts, labels = array("q"), array("b")
    with path.open("rb") as stream:
        header = stream.readline(LONGEST_LINE)
        if not _is_header(header):
            raise DataError(
                f"{path}: line 1: must be 'Source' and 'Target' with a tab between them, as in the files of the Long "
                f"Range Arena. Received: {shown(header[:80].decode('utf-8', 'replace'), 80)}"
            )
        at = stream.tell()
        while line := _line(path, stream, len(starts)):
            target = _fields(path, line, len(starts))[1]
            starts.append(at)
            labels.append(DIGITS[target])
            at += len(line)
    return _Index(stamp, np.array(starts, np.int64), np.array(labels, np.int64))


def _is_header(line: bytes) -> bool:
    return line.removeprefix(MARK).rstrip(b"\r\n") == HEADER.encode()


def _line(path: Path, stream: IO[bytes], row: int) -> bytes:
    """The next line with its end, empty behind the last one."""
    line = stream.readline(LONGEST_LINE)
    if len(line) == LONGEST_LINE:
        raise DataError(f"{_place(path, row)}: has {LONGEST_LINE:,} bytes or more; is it a file of ListOps?")
    return line


def _fields(path: Path, line: bytes, row: int) -> tuple[bytes, bytes]:
    """Expression and value of a line.

    Raises:
        DataError: other fields, or a value that is no digit.
    """
    fields = line.rstrip(b"\r\n").split(b"\t")
    if len(fields) != 2:
        raise DataError(
            f"{_place(path, row)}: must have an expression and its value with a tab between them; is the file cut "
            f"short or edited? Received: {len(fields)} fields"
        )
    if fields[1] not in DIGITS:
        raise DataError(
            f"{_place(path, row)}: the value of an expression is a digit; fetch or generate the file again. "
            f"Received: {shown(fields[1].decode('utf-8', 'replace'), 40)}"
        )
    return fields[0], fields[1]


def _refuse_brackets(path: Path, ids: NDArray[np.uint8], first: int, read: NDArray[np.bool_]) -> None:
    """Refuse rows that are not one whole expression, as a line has been cut or joined leaves them.

    Args:
        path: of the file.
        ids: (n, T).
        first: number of the first row.
        read: (n,), False for rows that were left out.
    """
    opened = (ids >= FIRST_OPERATOR) & (ids < CLOSE_ID)
    inside = np.cumsum(opened, axis=1, dtype=np.int32) - np.cumsum(ids == CLOSE_ID, axis=1, dtype=np.int32)  # (n, T)
    lengths = (ids != 0).sum(axis=1)
    # an expression is not at its end before its last token, and it is there
    good = (lengths > 0) & ((inside > 0).sum(axis=1) == lengths - 1) & (inside[:, -1] == 0) & (inside >= 0).all(axis=1)
    if (wrong := read & ~good).any():
        row = first + int(np.argmax(wrong))
        raise DataError(
            f"{_place(path, row)}: is not one expression: its brackets do not match ({wrong.sum()} such lines among "
            f"those read with it); fetch or generate the file again. Received: {lengths[row - first]} tokens"
        )


def _place(path: Path, row: int) -> str:
    return f"{path}: line {row + 2}"
