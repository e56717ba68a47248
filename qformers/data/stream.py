"""Order of an epoch, and a background thread that has its next batches ready."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from qformers.errors import DataError

T = TypeVar("T")
PREFETCH_BATCHES = 8  # batches that wait for the consumer


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


def picks(length: int, batch_size: int, rng: np.random.Generator, drop_last: bool = True) -> list[NDArray[np.int64]]:
    """The batches of one epoch of what stays in memory: rows (batch_size,) of each, every row once, in random order.

    Args:
        length: rows there are.
        batch_size: rows of a batch.
        rng: decides the order.
        drop_last: leave out the last batch when it is shorter.
    """
    order = rng.permutation(length)
    stop = length - batch_size + 1 if drop_last else length
    return [order[at : at + batch_size] for at in range(0, stop, batch_size)]


@dataclass(frozen=True)
class _End:
    """Stands behind the last item; `error` is what ended the iterator before its time."""

    error: BaseException | None = None


class Prefetch(Iterator[T], Generic[T]):
    """Runs an iterator in a background thread, at most `depth` items ahead.

    An exception in the thread is raised in the consumer, at the place where the item would have come. The thread ends
    when the iterator is exhausted, closed or no longer referred to.
    """

    def __init__(self, make: Callable[[], Iterator[T]], depth: int = PREFETCH_BATCHES) -> None:
        """
        Args:
            make: makes the iterator, called in the thread.
            depth: items that may wait.
        """
        self._queue: queue.Queue[object] = queue.Queue(depth)
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

    def __next__(self) -> T:
        """The next batch, or the exception that the thread met."""
        if self._done:
            raise StopIteration
        item = self._queue.get()
        if not isinstance(item, _End):
            return cast(T, item)
        self.close()
        if item.error is None:
            raise StopIteration
        raise item.error

    def close(self) -> None:
        """End the thread and drop what waits; further items are not given."""
        self._done = True
        self._finalizer()


def _produce(make: Callable[[], Iterator[object]], out: queue.Queue[object], stop: threading.Event) -> None:
    error: BaseException | None = None
    try:
        items = make()
        try:
            for item in items:
                if not _offer(item, out, stop):
                    return
        finally:
            if hasattr(items, "close"):  # a generator, or another prefetch behind this one: ends its thread too
                items.close()
    except BaseException as raised:  # handed to the consumer, whatever it is
        error = raised
    _offer(_End(error), out, stop)


def _offer(item: object, out: queue.Queue[object], stop: threading.Event) -> bool:
    """Wait for room; False when the consumer is gone."""
    while not stop.is_set():
        try:
            out.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False


def _shut(stop: threading.Event, waiting: queue.Queue[object], thread: threading.Thread) -> None:
    stop.set()
    while not waiting.empty():  # makes room, so that the thread sees the flag at once
        try:
            waiting.get_nowait()
        except queue.Empty:
            break
    if thread is not threading.current_thread():
        thread.join(timeout=10)
