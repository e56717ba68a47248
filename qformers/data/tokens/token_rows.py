"""Sequences of tokens in ``.npz`` files: pictures pixel by pixel, bytes, or whatever else has been made whole numbers.

`ids` (n, T) holds whole numbers, 0 where a sequence has no token; `labels` (n,) the number of the class; `class_names`
(classes,) their names, where the file has them. A build may name the classes too, in label order, by `data.labels`.
Without either they are called by their numbers. Files may have fewer columns than the model has slots; more only where
nothing but the pad stands in them.
"""

from __future__ import annotations

from glob import glob
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from qformers.config.sections import YES, DataConfig
from qformers.data.events import Events
from qformers.data.jets.labels import names_of
from qformers.data.jets.npz_rows import Member, Rows, has_arrays, open_rows
from qformers.data.jets.reader import ClassChoice
from qformers.data.split import SplitName
from qformers.data.tokens.sequences import FEATURES, LARGEST_ID, PAD, chosen_features, sequences
from qformers.errors import DataError

__all__ = ["FEATURES", "TokenRows", "is_token_rows"]

IDS, LABELS, NAMES = "ids", "labels", "class_names"
MOST_CLASSES, LONGEST_NAME = 1000, 200
LAST_SIGN, SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)  # of Unicode


def is_token_rows(path: Path) -> bool:
    """Whether a file has the arrays of such a set."""
    return has_arrays(path, (IDS, LABELS))


class TokenRows:
    """Reader of the files."""

    def __init__(self, config: DataConfig) -> None:
        """Without `data.labels` the first file is opened, which names the classes or numbers them.

        Raises:
            DataError: an unknown feature set or class, another padding, labels that say more than names; without
                labels also a file that cannot be used, or none.
        """
        self.feature_set = chosen_features(config, "token_rows")
        for label in config.labels:
            if label.branch is not None or label.values != YES or label.files:
                raise DataError(
                    "data.labels: token_rows takes names alone, in the order of the numbers in 'labels', e.g. "
                    f"[negative, positive]. Received: class '{label.name}' with branch {label.branch}, values "
                    f"{list(label.values)}, files {list(label.files)}"
                )
        self._named = bool(config.labels)
        self._available = names_of(config.labels) or _names_of_first(config)
        self._classes = ClassChoice(self._available, config.classes, "token_rows")
        self.class_names = self._classes.names
        self._tokens = config.num_particles

    def kept(self, path: Path) -> NDArray[np.bool_]:
        """(rows in the file,), True where the row is of a selected class."""
        with open_rows(path) as rows:
            _, labels = _members(path, rows)
            names = _names(path, rows)
            if names is not None and names != self._available:
                whose = "data.labels has" if self._named else "the first file has"
                raise DataError(
                    f"{path}: '{NAMES}' must be those of the other files, in their order; {whose} "
                    f"{_listed(self._available)}. Received: {_listed(names)}"
                )
            if self._classes.all:
                return np.ones(len(labels), bool)
            return self._labels(path, rows, labels, 0, len(labels)) >= 0

    def read(self, path: Path, start: int, stop: int) -> Events:
        """Kept sequences among the file's rows [start, stop).

        Raises:
            DataError: unreadable file, missing array, wrong type or shape, an id that is none, a row without a token
                or with more than asked, a label without a class.
        """
        with open_rows(path) as rows:
            members = _members(path, rows)
            labels = self._labels(path, rows, members[1], start, stop)
            stored = rows.read(members[0], start, stop)  # (n, L)
        _refuse_ids(path, stored, start)
        self._refuse_lengths(path, stored, start)
        ids = np.zeros((len(stored), self._tokens), np.int64)
        columns = min(self._tokens, stored.shape[1])
        ids[:, :columns] = stored[:, :columns]
        return sequences(ids, labels, self.class_names, self.feature_set)

    def _labels(self, path: Path, rows: Rows, member: Member, start: int, stop: int) -> NDArray[np.int64]:
        """(n,) index among the selected classes, -1 = dropped."""
        labels = rows.read(member, start, stop)
        bad = (labels < 0) | (labels >= len(self._available))
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(
                f"{path}: '{LABELS}' must be 0 to {len(self._available) - 1}, the classes {_listed(self._available)}; "
                f"name all classes in data.labels, or mend the file. Received: {labels[row]} in row {start + row} "
                f"({bad.sum()} such rows among those read with it)"
            )
        return self._classes.apply(labels.astype(np.int64))

    def _refuse_lengths(self, path: Path, ids: NDArray[np.integer], first: int) -> None:
        """Refuse rows that have no token, or one behind the last slot of the model."""
        if (behind := (ids[:, self._tokens :] != PAD).any(axis=1)).any():
            row = int(np.argmax(behind))
            last = int(np.flatnonzero(ids[row])[-1]) + 1
            raise DataError(
                f"{path}: '{IDS}' row {first + row} has {last} tokens and data.num_particles is {self._tokens}: raise "
                f"it, or cut the rows in the file ({behind.sum()} such rows among those read with it)"
            )
        if (empty := (ids == PAD).all(axis=1)).any():
            raise DataError(
                f"{path}: '{IDS}' row {first + int(np.argmax(empty))} has no token, all are {PAD}, the pad "
                f"({empty.sum()} such rows among those read with it); drop them from the file"
            )


def _members(path: Path, rows: Rows) -> tuple[Member, Member]:
    """Ids and labels."""
    ids, labels = rows.member(IDS, 2, "iu"), rows.member(LABELS, 1, "iu")
    if len(ids) != len(labels):
        raise DataError(f"{path}: '{LABELS}' has {len(labels)} rows and '{IDS}' has {len(ids)}")
    return ids, labels


def _refuse_ids(path: Path, ids: NDArray[np.integer], first: int) -> None:
    bad = (ids < 0) | (ids > LARGEST_ID)
    if bad.any():
        row, place = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{path}: '{IDS}' must be 0 (the pad) to {LARGEST_ID}. Received: {ids[row, place]} in row {first + row}, "
            f"place {place} ({bad.sum()} such numbers among those read with it); mend the file"
        )


def _names(path: Path, rows: Rows) -> tuple[str, ...] | None:
    """Classes as the file names them; None where it does not."""
    if NAMES not in rows:
        return None
    member = rows.member(NAMES, 1, "U")
    if not 0 < len(member) <= MOST_CLASSES or not 0 < member.header.dtype.itemsize <= 4 * LONGEST_NAME:
        raise DataError(
            f"{path}: '{NAMES}' must be 1 to {MOST_CLASSES} names of up to {LONGEST_NAME} signs. Received: "
            f"{member.header.dtype} of shape {member.header.shape}"
        )
    stored = rows.read(member, 0, len(member))
    codes = stored.view(np.dtype(np.uint32).newbyteorder(stored.dtype.byteorder))  # Python fails where one is no sign
    if (wrong := codes[(codes > LAST_SIGN) | ((codes >= SURROGATES[0]) & (codes <= SURROGATES[1]))]).size:
        raise DataError(
            f"{path}: '{NAMES}' are no texts: they hold a number that no sign is; fetch or write the file again. "
            f"Received: {int(wrong[0]):#x}"
        )
    names = tuple(stored.tolist())
    if len(set(names)) != len(names) or "" in names:
        raise DataError(f"{path}: '{NAMES}' must be names, each of them once. Received: {_listed(names)}")
    return names


def _names_of_first(config: DataConfig) -> tuple[str, ...]:
    """Classes of the first file that there is: as it names them, or else by the numbers of its labels."""
    globs = [pattern for split in get_args(SplitName) for pattern in getattr(config, split)]
    path = next((Path(match) for pattern in globs for match in sorted(glob(pattern, recursive=True))), None)  # noqa: PTH207
    if path is None:
        raise DataError(
            f"data.labels: token_rows takes the names of the classes from here, or from the files, and no file matches "
            f"{', '.join(globs) or 'any glob'}; name the classes, e.g. [negative, positive], or correct the globs. "
            "Received: no labels"
        )
    with open_rows(path) as rows:
        if (names := _names(path, rows)) is not None:
            return names
        labels = rows.read(member := rows.member(LABELS, 1, "iu"), 0, len(member))
        most = int(labels.max(initial=0))
        if most >= MOST_CLASSES or labels.min(initial=0) < 0:
            raise DataError(
                f"{path}: '{LABELS}' must be 0 to {MOST_CLASSES - 1}, the numbers of classes. Received: "
                f"{most if most >= MOST_CLASSES else labels.min()}"
            )
        return tuple(map(str, range(most + 1)))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (f", ... ({len(names)} of them)" if len(names) > 10 else "")
