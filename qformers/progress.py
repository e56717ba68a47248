"""How far a long task is: one reporter for training, generation, data, search, conversion, compilation and simulation.

Library functions take a `Reporter` and tell nobody without one; commands give them `bars()`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, RLock, Thread
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LOG_EVERY_S = 60.0  # off a terminal, the time between two lines about tasks that run
BEAT_S = 5.0  # off a terminal, so often it is looked whether a line is due though no step ended
SHORT_S = 5.0  # a task that is over sooner leaves no line
SPEED_S = 600.0  # the remaining time is judged by the steps of so many seconds


class Ticker(Protocol):
    """Counts finished steps of one task."""

    def __call__(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` more, 0 for none; `note` takes the place of the last one, an empty one leaves it."""


class Reporter(Protocol):
    """Where long work tells how far it is. Tasks may run inside each other, and in several threads."""

    def task(self, text: str, total: int | None, done: int = 0) -> Ticker:
        """Start a task of `total` steps, `done` of them made before; None = unknown."""


class Silent:
    """Tells nobody."""

    def task(self, text: str, total: int | None, done: int = 0) -> Ticker:
        """A ticker that does nothing."""
        return lambda steps=1, note="": None


@dataclass(eq=False)
class _Count:
    """How far one task is."""

    text: str
    total: int | None
    before: int  # steps made before this run
    start_s: float
    bar: TaskID
    new: int = 0
    first: int = 0  # steps of the first tick of this run, which compiles and loads: no measure of those to come
    first_s: float = 0.0  # when it came
    note: str = ""
    told: bool = False  # whether a line about it was printed

    def line(self, now_s: float) -> str:
        """The state in one line."""
        done, seconds = self.before + self.new, now_s - self.start_s
        text = f"{self.text}: {done}"
        if self.total:
            text += f"/{self.total} ({done / self.total:.0%})"
        text += f", {_hours(seconds)}"
        measured, measured_s = self.new - self.first, now_s - self.first_s
        if not measured:  # over sooner than it could be measured: the whole is all there is
            measured, measured_s = self.new, seconds
        if measured and measured_s > 0:
            text += f", {measured / measured_s:.3g}/s"
            if self.total and done < self.total and self.new > self.first:
                text += f", ETA {_hours((self.total - done) * measured_s / measured)}"
        return f"{text}, {self.note}" if self.note else text


def _hours(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


class Bars:
    """Use as a context: bars with elapsed and remaining time on a terminal and in a notebook, else a line now and then.

    Off a terminal there is a line a minute about the task that makes progress, or, where a step takes longer, about the
    task that was started last: a thread looks after that. In both cases a task of more than a few seconds leaves a line
    at its end, also where it is cut short. Outside the context nothing is shown.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            console: where to show; None = standard error. Give the one that other lines are printed to.
            clock: seconds, for tests.
        """
        self.console = console or Console(stderr=True)
        self._clock = clock
        self._progress = Progress(
            TextColumn("{task.description:<28}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not (self.console.is_terminal or self.console.is_jupyter),
            transient=True,
            speed_estimate_period=SPEED_S,
        )
        self._lock = RLock()
        self._counts: list[_Count] = []  # of the tasks that run
        self._open = False
        self._last_line_s = clock()
        self._closed = Event()
        self._thread: Thread | None = None

    def __enter__(self) -> Bars:
        self._progress.start()
        self._open, self._last_line_s = True, self._clock()
        if self._progress.disable:
            self._closed = Event()
            self._thread = Thread(target=self._beats, args=(self._closed,), name="qformers-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._open = False
            for count in list(self._counts):
                self._end(count)
        self._progress.stop()  # also its thread

    def _beats(self, closed: Event) -> None:
        while not closed.wait(BEAT_S):
            self.beat()

    def beat(self) -> None:
        """Off a terminal: print a line about the task started last where one is due, though it made no step."""
        with self._lock:
            if self._open and self._counts and self._progress.disable and self._is_due():
                self._print(self._counts[-1])

    def _is_due(self) -> bool:
        return self._clock() - self._last_line_s >= LOG_EVERY_S

    def task(self, text: str, total: int | None, done: int = 0) -> Ticker:
        """Start a task of `total` steps, `done` of them made before; None = unknown."""
        with self._lock:
            if not self._open or (total is not None and done >= total):
                return Silent().task(text, total, done)
            bar = self._progress.add_task(text, total=total, completed=done, note="")
            count = _Count(text, total, done, self._clock(), bar)
            self._counts.append(count)
        return lambda steps=1, note="": self._tick(count, steps, note)

    def _tick(self, count: _Count, steps: int, note: str) -> None:
        with self._lock:
            if count not in self._counts:
                return
            now = self._clock()
            if not count.new:
                count.first, count.first_s = steps, now
            count.new += steps
            count.note = note or count.note
            self._progress.update(count.bar, advance=steps, note=count.note)
            if count.total is not None and count.before + count.new >= count.total:
                self._end(count)
            elif self._progress.disable and self._is_due():
                self._print(count)

    def _end(self, count: _Count) -> None:
        self._counts.remove(count)
        self._progress.remove_task(count.bar)
        if count.told or self._clock() - count.start_s >= SHORT_S:
            self._print(count)

    def _print(self, count: _Count) -> None:
        now = self._clock()
        count.told, self._last_line_s = True, now
        self.console.print(count.line(now), markup=False, highlight=False, soft_wrap=True)  # flushes


@contextmanager
def bars(quiet: bool = False, console: Console | None = None) -> Iterator[Reporter]:
    """Bars for the length of a block, as `Bars`; `quiet` shows none."""
    if quiet:
        yield Silent()
        return
    with Bars(console) as shown:
        yield shown
