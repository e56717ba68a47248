"""One progress bar for conversion, compilation and simulation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Ticker(Protocol):
    """Counts finished steps of one task."""

    def __call__(self, steps: int = 1) -> None:
        """Count `steps` more."""


class Reporter(Protocol):
    """Where stages tell how far they are."""

    def task(self, text: str, total: int | None) -> Ticker:
        """Start a task of `total` steps; None = unknown."""


class Silent:
    """Tells nobody."""

    def task(self, text: str, total: int | None) -> Ticker:
        return lambda steps=1: None


class Bars:
    """Bars on the terminal, with elapsed and remaining time; use as a context."""

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
        )

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def task(self, text: str, total: int | None) -> Ticker:
        number = self._progress.add_task(text, total=total)
        return lambda steps=1: self._progress.advance(number, steps)


@contextmanager
def bars() -> Iterator[Reporter]:
    """Bars on the terminal for the length of a block."""
    with Bars() as shown:
        yield shown
