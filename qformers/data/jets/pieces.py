"""Pieces of files, and batches of jets mixed from them in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qformers.data.events import Events, FeatureSet, Held, no_vectors

GOLDEN = (5**0.5 - 1) / 2  # its multiples modulo 1 fill [0, 1) evenly from the first to the last


@dataclass(frozen=True)
class Piece:
    """A run of neighbouring jets of one file: what is read at once."""

    path: Path
    start: int  # first jet in the file
    stop: int
    row: int  # kept jets of the file before this piece
    jets: int  # kept jets of this piece, after max_jets


def merged(pieces: Iterable[Piece], jets: int) -> Iterator[Piece]:
    """Neighbouring pieces of a file joined to runs of up to `jets` jets of the file, for reading in file order."""
    run: list[Piece] = []
    for piece in (*pieces, None):
        if run and (piece is None or piece.path != run[0].path or piece.stop - run[0].start > jets):
            yield Piece(run[0].path, run[0].start, run[-1].stop, run[0].row, sum(part.jets for part in run))
            run = []
        if piece is not None:
            run.append(piece)


def empty(
    jets: int, num_particles: int, class_names: tuple[str, ...], feature_set: FeatureSet, held: Held | None = None
) -> Events:
    """`Events` of the given size with nothing in it yet; without momenta the vectors are, and stay, `no_vectors`.

    Args:
        jets, num_particles: n, N.
        class_names, feature_set: of the data set.
        held: the arrays that it has; None = momenta and classes.
    """
    held = held or Held()
    return Events(
        np.empty((jets, num_particles, len(feature_set)), np.float32),
        np.empty((jets, num_particles, 4), np.float32) if held.momenta else no_vectors(jets, num_particles),
        np.empty((jets, num_particles), np.float32),
        np.empty((jets, held.targets) if held.targets else jets, held.dtypes["labels"]),
        class_names,
        feature_set,
        np.empty((jets, num_particles, held.coords), np.float32) if held.coords else None,
    )


def put(target: Events, where: slice | NDArray[np.int64], source: Events) -> None:
    """Copy all jets of `source` into the given places of `target`; vectors only where it was made with momenta."""
    for name in target.held.dtypes:
        getattr(target, name)[where] = getattr(source, name)


def interleave(pieces: Sequence[Piece], rng: np.random.Generator) -> list[Piece]:
    """Random order in which every file, and every run of neighbouring files, is spread evenly over the epoch.

    The k-th of a file's n pieces (in random order) gets the key (k + u) / n, with u the file's place on a
    low-discrepancy sequence, turned by a random angle for each k; the keys are sorted. Files of one class each, listed
    class by class (as in JetClass), so give every stretch of the epoch the same share of every class.
    """
    of_file: dict[Path, list[int]] = {}
    for i, piece in enumerate(pieces):
        of_file.setdefault(piece.path, []).append(i)
    turn = rng.random(max(map(len, of_file.values()), default=0))
    keys = np.empty(len(pieces))
    for number, members in enumerate(of_file.values()):
        u = (number * GOLDEN + turn[: len(members)]) % 1.0
        keys[rng.permutation(members)] = (np.arange(len(members)) + u) / len(members)
    return [pieces[i] for i in np.argsort(keys, kind="stable")]


def mixed(blocks: Iterable[Events], pool: Events, rng: np.random.Generator) -> Iterator[Events]:
    """Random order of jets out of a pool: each block takes random places and what stood there comes out.

    Args:
        blocks: jets to mix, each block at most as long as the pool.
        pool: working memory, overwritten.
        rng: decides the order.

    Yields:
        Runs of jets of varying length; every jet comes out exactly once.
    """
    filled, size = 0, len(pool)
    for block in blocks:
        room = min(size - filled, len(block))
        put(pool, slice(filled, filled + room), block[:room])
        filled += room
        rest = block[room:]
        if len(rest):
            places = rng.choice(size, len(rest), replace=False)
            out = pool[places]  # a copy
            put(pool, places, rest)
            yield out
    order = rng.permutation(filled)
    for start in range(0, filled, 1024):
        yield pool[order[start : start + 1024]]


def join(parts: Sequence[Events]) -> Events:
    """Jets of several `Events` one after the other."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    jets = sum(map(len, parts))
    joined = empty(jets, first.mask.shape[1], first.class_names, first.feature_set, first.held)
    row = 0
    for part in parts:
        put(joined, slice(row, row + len(part)), part)
        row += len(part)
    return joined


def batches(runs: Iterable[Events], batch_size: int, drop_last: bool) -> Iterator[Events]:
    """Cut runs of any length into batches of one length; the last may be shorter unless `drop_last`."""
    waiting: list[Events] = []
    count = 0
    for run in runs:
        while len(run):
            take = min(batch_size - count, len(run))
            waiting.append(run[:take])
            count += take
            run = run[take:]
            if count == batch_size:
                yield join(waiting)
                waiting, count = [], 0
    if waiting and not drop_last:
        yield join(waiting)
