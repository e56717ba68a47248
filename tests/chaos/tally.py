"""What a campaign came to: tried, clean, tracebacks, wrongly believed; each fault with its words."""

from __future__ import annotations

import contextlib
import io
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

CLEAN, TRACEBACK, BELIEVED, OTHER = "clean", "tracebacks", "wrongly believed", "other"
EVERY_S = 60  # a line
TRACE = "Traceback (most recent call last)"


@dataclass
class Section:
    """Trials of one kind.

    Attributes:
        name: what was done.
        outcomes: one of `CLEAN`, `TRACEBACK`, `BELIEVED` and `OTHER` (a wrong exit status, several lines) per trial.
        faults: words on each trial that was not clean.
        left_out: why the section could not be tried here; "" if it was.
        note: a line for the reader, e.g. which stages were hit.
    """

    name: str
    outcomes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    left_out: str = ""
    note: str = ""
    _told: float = field(default_factory=time.monotonic, repr=False)

    def add(self, what: str, outcome: str, words: str = "") -> None:
        """Count a trial."""
        self.outcomes.append(outcome)
        if outcome != CLEAN:
            self.faults.append(f"{self.name}: {what}: {outcome}: {words[-600:]}")
            print(f"  {self.faults[-1]}", flush=True)
        if time.monotonic() - self._told > EVERY_S:
            self._told = time.monotonic()
            print(f"{self.name}: {len(self.outcomes)} tried, the last: {what}", flush=True)

    def count(self, outcome: str) -> int:
        """Trials that ended so."""
        return self.outcomes.count(outcome)


@dataclass(frozen=True)
class Said:
    """What a command came to, in this process."""

    status: int | None  # None: an exception came out of it
    out: str
    err: str

    @property
    def words(self) -> str:
        """Both streams."""
        return self.out + self.err


def call(command: Callable[[Sequence[str]], int], words: Sequence[str]) -> Said:
    """A command in this process, with what it printed."""
    out, err = io.StringIO(), io.StringIO()
    status: int | None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = command(list(words))
        except SystemExit as end:  # of the parser
            status = end.code if isinstance(end.code, int) else 2
        except BaseException:
            status = None
            err.write(traceback.format_exc())
    return Said(status, out.getvalue(), err.getvalue())


def report(sections: Sequence[Section], started: float) -> int:
    """Print the table; the exit status of the campaign."""
    print(f"\n{'':44} {'tried':>6} {'clean':>6} {'tracebacks':>11} {'wrongly believed':>17} {'other':>6}")
    for one in sections:
        if one.left_out:
            print(f"{one.name:44} not tried: {one.left_out}")
            continue
        counts = [one.count(outcome) for outcome in (CLEAN, TRACEBACK, BELIEVED, OTHER)]
        print(f"{one.name:44} {len(one.outcomes):6} {counts[0]:6} {counts[1]:11} {counts[2]:17} {counts[3]:6}")
        if one.note:
            print(f"{'':44} {one.note}")
    faults = [fault for one in sections for fault in one.faults]
    print(f"{len(faults)} faults; {time.monotonic() - started:.0f} s, Python {sys.version.split()[0]}")
    return 1 if faults else 0
