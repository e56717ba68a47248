"""Progress of a generation: a bar with an ETA on a terminal, a line now and then in a log file."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LOG_EVERY_S = 30.0


class JetProgress:
    """Counts jets; use it as a context manager."""

    def __init__(self, name: str, total: int, already: int) -> None:
        self.name, self.total, self.already = name, total, already
        self.new = 0
        self._start = self._last_line = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("jets, {task.fields[rate]:.0f} jets/s, ETA"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task(self.name, total=self.total, completed=self.already, rate=0.0)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        else:
            self._line()

    @property
    def rate(self) -> float:
        """Jets per second of this run (those found finished do not count)."""
        return self.new / max(time.monotonic() - self._start, 1e-9)

    def line(self) -> str:
        """The state in one line."""
        done = self.already + self.new
        seconds = round((self.total - done) / self.rate) if self.rate > 0 else 0
        eta = f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}" if self.rate > 0 else "unknown"
        return f"{self.name}: {done}/{self.total} jets ({done / self.total:.0%}), {self.rate:.1f} jets/s, ETA {eta}"

    def _line(self) -> None:
        self._last_line = time.monotonic()
        print(self.line(), file=sys.stderr, flush=True)

    def advance(self, new_jets: int) -> None:
        """Count new jets and show them."""
        self.new += new_jets
        if self._bar is not None:
            self._bar.update(self._task, advance=new_jets, rate=self.rate)
        elif time.monotonic() - self._last_line > LOG_EVERY_S:
            self._line()
