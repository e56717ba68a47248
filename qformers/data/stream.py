"""Shuffled batches in bounded memory, and a background thread that has the next ones ready."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from qformers.data.events import Events, FeatureSet
from qformers.errors import DataError

ARRAYS = ("features", "vectors", "mask", "labels")
GOLDEN = (5**0.5 - 1) / 2  # its multiples modulo 1 fill [0, 1) evenly from the first to the last
PREFETCH_BATCHES = 8  # batches that wait for the consumer


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


def empty(jets: int, num_particles: int, class_names: tuple[str, ...], feature_set: FeatureSet) -> Events:
    """`Events` of the given size with nothing in it yet."""
    return Events(
        np.empty((jets, num_particles, len(feature_set)), np.float32),
        np.empty((jets, num_particles, 4), np.float32),
        np.empty((jets, num_particles), np.float32),
        np.empty(jets, np.int64),
        class_names,
        feature_set,
    )


def put(target: Events, where: slice | NDArray[np.int64], source: Events) -> None:
    """Copy all jets of `source` into the given places of `target`."""
    for name in ARRAYS:
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
    joined = empty(sum(map(len, parts)), parts[0].mask.shape[1], parts[0].class_names, parts[0].feature_set)
    row = 0
    for part in parts:
        put(joined, slice(row, row + len(part)), part)
        row += len(part)
    return joined


def refuse_batch_size(batch_size: int, available: int, drop_last: bool, what: str) -> None:
    """Raise where an epoch would have no batch.

    Args:
        batch_size: asked for.
        available: jets, events, ... of the split.
        drop_last: whether the last batch is left out when it is shorter.
        what: what is there, for the message, e.g. "data.train: has 10 jets".

    Raises:
        DataError: `batch_size` is not positive, or larger than the split allows.
    """
    if batch_size < 1:
        raise DataError(f"batch_size must be positive. Received: batch_size={batch_size}")
    if drop_last and batch_size > available:
        raise DataError(f"{what}, fewer than one batch of {batch_size}; lower the batch size or give more files")


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


class Prefetch(Iterator[Events]):
    """Runs an iterator in a background thread, at most `depth` items ahead.

    An exception in the thread is raised in the consumer, at the place where the item would have come. The thread ends
    when the iterator is exhausted, closed or no longer referred to.
    """

    def __init__(self, make: Callable[[], Iterator[Events]], depth: int = PREFETCH_BATCHES) -> None:
        """
        Args:
            make: makes the iterator, called in the thread.
            depth: items that may wait.
        """
        self._queue: queue.Queue[Events | BaseException | None] = queue.Queue(depth)
        self._stop = threading.Event()
        self._done = False
        # the thread must not know `self`, or a dropped iterator would never be collected
        self._thread = threading.Thread(
            target=_produce, args=(make, self._queue, self._stop), name="qformers-prefetch", daemon=True
        )
        self._thread.start()
        self._finalizer = weakref.finalize(self, _shut, self._stop, self._queue, self._thread)

    def __iter__(self) -> Self:
        """Itself: an epoch is read once."""
        return self

    def __next__(self) -> Events:
        """The next batch, or the exception that the thread met."""
        if self._done:
            raise StopIteration
        item = self._queue.get()
        if isinstance(item, Events):
            return item
        self.close()
        if item is None:
            raise StopIteration
        raise item

    def close(self) -> None:
        """End the thread and drop what waits; further items are not given."""
        self._done = True
        self._finalizer()


def _produce(
    make: Callable[[], Iterator[Events]],
    out: queue.Queue[Events | BaseException | None],
    stop: threading.Event,
) -> None:
    last: BaseException | None = None
    try:
        for item in make():
            if not _offer(item, out, stop):
                return
    except BaseException as error:  # handed to the consumer, whatever it is
        last = error
    _offer(last, out, stop)


def _offer(
    item: Events | BaseException | None, out: queue.Queue[Events | BaseException | None], stop: threading.Event
) -> bool:
    """Wait for room; False when the consumer is gone."""
    while not stop.is_set():
        try:
            out.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False


def _shut(stop: threading.Event, waiting: queue.Queue[Events | BaseException | None], thread: threading.Thread) -> None:
    stop.set()
    while not waiting.empty():  # makes room, so that the thread sees the flag at once
        try:
            waiting.get_nowait()
        except queue.Empty:
            break
    if thread is not threading.current_thread():
        thread.join(timeout=10)
