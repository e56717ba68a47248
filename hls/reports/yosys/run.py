"""Find Yosys and run one script of it: passes told as they begin, a time limit, a log, nothing left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

from hls.errors import HlsError
from qformers.files import replacing

OLDEST = (0, 23)  # what the numbers in the documentation were made with; nothing older was tried
INSTALL = "apt-get install yosys"
LAST_LINES = 12  # of the log, shown with an error
_VERSION = re.compile(r"Yosys (\d+)\.(\d+)")
_PASS = re.compile(r"^\d+(?:\.\d+)*\. (?:Executing )?(.+)")
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB", re.MULTILINE)
_UNTOLD = "AST frontend"  # one heading per derived module: says nothing of how far the synthesis is


class YosysMissing(HlsError):
    """There is no Yosys on PATH; the message is all that a table needs to print."""

    def __init__(self) -> None:
        super().__init__(f"yosys not found: {INSTALL}")


class YosysStopped(HlsError):
    """The time limit was reached and Yosys was ended."""


class YosysHalted(HlsError):
    """Yosys was ended, or not begun, because something else had failed or was interrupted."""


class Halt:
    """Ends all runs that share it, from any thread, for good."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: set[subprocess.Popen[str]] = set()
        self.called = False

    def __call__(self) -> None:
        """End the children, and those that are still to come."""
        with self._lock:
            self.called = True
            for child in self._children:
                _end(child)

    @contextmanager
    def over(self, child: subprocess.Popen[str]) -> Iterator[None]:
        """Let `child` be ended while the block lasts; it must not be waited for within."""
        with self._lock:
            self._children.add(child)
            if self.called:
                _end(child)
        try:
            yield
        finally:
            with self._lock:
                self._children.discard(child)


@dataclass(frozen=True)
class Yosys:
    """The program found on PATH.

    Attributes:
        program: its path.
        version: its own words, e.g. "Yosys 0.23 (git sha1 7ce5011c24b)".
    """

    program: str
    version: str


@dataclass(frozen=True)
class Usage:
    """What one run took: wall time, processor time with abc's, and the largest resident memory of Yosys itself."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def find_yosys() -> Yosys:
    """The Yosys on PATH.

    Raises:
        YosysMissing: none.
        HlsError: older than `OLDEST`, or it does not tell its version.
    """
    program = shutil.which("yosys")
    if program is None:
        raise YosysMissing
    wanted = f"{OLDEST[0]}.{OLDEST[1]} or newer is needed ({INSTALL})"
    try:
        answer = subprocess.run([program, "-V"], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HlsError(f"{program} does not run ({error}); yosys {wanted}") from error
    version = answer.stdout.strip() or answer.stderr.strip()
    numbers = _VERSION.match(version)
    if numbers is None:
        raise HlsError(f"{program} -V does not tell a version; yosys {wanted}. Received: {version[:80]!r}")
    if (int(numbers[1]), int(numbers[2])) < OLDEST:
        raise HlsError(f"yosys is too old: {wanted}. Received: {version} from {program}")
    return Yosys(program, version)


def run_script(
    tool: Yosys,
    script: str,
    folder: Path,
    log: Path,
    limit_s: float,
    on_pass: Callable[[str], None],
    halt: Halt | None = None,
) -> Usage:
    """Run a script in `folder`; what it writes stays there.

    The log has the headings, warnings, errors and the time of every pass, not the millions of lines between them.
    Yosys and its children are ended when the limit is reached and when this call is left by an exception (Ctrl-C).

    Args:
        tool: from `find_yosys`.
        script: Yosys commands.
        folder: working folder of the run; made by the caller, who removes it.
        log: where the log is kept, also after an error.
        limit_s: wall time allowed, seconds.
        on_pass: told the heading of every pass as it begins.
        halt: ends the run from another thread.

    Raises:
        YosysStopped: the limit was reached.
        YosysHalted: `halt` was called.
        HlsError: Yosys failed; with its last lines.
    """
    (folder / "run.ys").write_text(script)
    start = time.monotonic()
    child = subprocess.Popen(  # noqa: S603  no shell
        [tool.program, "-d", "-v", "3", "-s", "run.ys"],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder.resolve())},  # what abc leaves when it is ended goes with the folder
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # one signal reaches Yosys and abc; the terminal's Ctrl-C reaches only us
    )
    stopped, halt = threading.Event(), halt or Halt()

    def stop() -> None:
        stopped.set()
        _end(child)

    timer = threading.Timer(max(0.0, limit_s), stop)
    timer.start()
    try:
        if child.stdout is None:  # cannot be: PIPE was asked for
            raise HlsError("yosys has no output to read")
        with replacing(log) as temporary, temporary.open("w") as kept, halt.over(child):
            memory = _Memory(child.pid)
            tail = _follow(child.stdout, kept, on_pass, memory)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    finally:
        timer.cancel()
        if child.returncode is None:
            _end(child)
            child.wait()
        if child.stdout is not None:
            child.stdout.close()
    if halt.called:
        raise YosysHalted(f"{tool.version} was ended in '{_last_pass(tail)}'")
    if stopped.is_set():
        raise YosysStopped(f"in '{_last_pass(tail)}'")
    if child.returncode:
        shown = "\n".join(f"  {line}" for line in tail)
        raise HlsError(f"{tool.version} failed with exit status {child.returncode}; its last lines ({log}):\n{shown}")
    return Usage(round(time.monotonic() - start, 2), round(used.ru_utime + used.ru_stime, 2), memory.peak_mib)


class _Memory:
    """Largest resident memory of a process, looked up as it goes.

    What `wait4` tells will not do: it is at least the memory of the Python that started the process.
    """

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self.peak_mib = 0.0

    def look(self) -> None:
        try:
            peak = _PEAK.search(self._status.read_text())
        except OSError:  # the process ended, or this is not Linux
            return
        if peak:
            self.peak_mib = max(self.peak_mib, round(int(peak[1]) / 1024, 1))


def _follow(output: IO[str], kept: TextIO, on_pass: Callable[[str], None], memory: _Memory) -> list[str]:
    """Copy the output to the log until it ends; returns the last lines."""
    tail: list[str] = []
    for line in output:
        kept.write(line)
        memory.look()
        tail = [*tail[1 - LAST_LINES :], line.rstrip()] if line.strip() else tail
        heading = _PASS.match(line)
        if heading and _UNTOLD not in line:
            on_pass(heading[1].rstrip(". \n"))
    return tail


def _last_pass(tail: list[str]) -> str:
    names = [heading[1].rstrip(".") for line in tail if (heading := _PASS.match(line))]
    return names[-1] if names else "its start"


def _end(child: subprocess.Popen[str]) -> None:
    """Kill the child's process group; it holds nothing that needs a farewell."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:  # ended by itself meanwhile
        return
