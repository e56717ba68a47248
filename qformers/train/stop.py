"""Ways to end a training early without losing work: Ctrl-C, SIGTERM and a file named STOP."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from qformers.files import STOP

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def forget_stop(folder: Path) -> None:
    """Remove the file `folder`/STOP, left from before or obeyed."""
    (folder / STOP).unlink(missing_ok=True)


class StopRequest:
    """Asked between two batches: `reason` is empty as long as the training should go on."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / STOP
        self._signal = ""

    @property
    def reason(self) -> str:
        """Why to stop, in words for the user; empty for no reason."""
        if self._signal:
            return self._signal
        return f"{self._file} exists" if self._file.exists() else ""

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: the first signal is noted, a second one interrupts at once (the checkpoint stays good)."""
        if self._signal:
            raise KeyboardInterrupt
        self._signal = f"{signal.Signals(number).name} received"


@contextmanager
def stop_requests(folder: Path) -> Iterator[StopRequest]:
    """Listen for Ctrl-C, SIGTERM and the file `folder`/STOP, which may have come between two phases."""
    request = StopRequest(folder)
    before = {number: signal.signal(number, request.receive) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
