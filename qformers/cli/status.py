"""Exit statuses, and what turns an error into one of them with one message."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from qformers.errors import QformersError

DONE = 0
FAILED = 1  # a check
BAD_INPUT = 2
STOPPED = 3

STATUSES = {
    DONE: "done",
    FAILED: "a check failed: firmware differs from the model, a budget is not kept",
    BAD_INPUT: "bad input: arguments, a build file, data, a model or a tool that is missing; stderr has the message",
    STOPPED: "stopped before the end (Ctrl-C, SIGTERM, a file STOP in the run folder, a time limit); the same command "
    "goes on",
}


def table() -> str:
    """The exit statuses, for the end of every help."""
    return "\n".join(["exit status:", *(f"  {number}  {text}" for number, text in STATUSES.items())])


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does, for the length of a block; signals reach the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _any_sign_is_printed() -> None:
    """A terminal that has ASCII alone gets a question mark for what it has not; no stream ends in a traceback."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  for as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def _not_of_convolutions(record: logging.LogRecord) -> bool:
    """Keras 3.15 compiles each convolution of groups that is computed eagerly anew, and TensorFlow then warns users."""
    return "_conv_xla" not in record.getMessage()


def exit_status(work: Callable[[], int]) -> int:
    """What `work` returns; 2 with the message on stderr for an error that a user can mend, 3 after Ctrl-C or SIGTERM.

    What the operating system refuses (a full disk, a folder that may not be written, a file where a folder should be)
    is such an error. One that no user can mend is a defect: it is not caught, and Python shows where it is.
    """
    _any_sign_is_printed()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("tensorflow").addFilter(_not_of_convolutions)
    try:
        with _terminated():
            try:
                return work()
            finally:
                sys.stdout.flush()  # here, where it can be said that it could not be written
    except QformersError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:  # nobody reads on, as in `qformers ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's last flush fails as well
        return STOPPED
    except OSError as error:
        if error.errno is None:  # a library's, not the system's
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"{place}{error.strerror}; nothing was half written: mend it, or name another place", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("stopped; what was finished and written is kept", file=sys.stderr)
        return STOPPED
