"""The one reporter: bars on a terminal, lines in a log, nothing for library calls; and the lock of a folder."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from qformers import files, progress
from qformers.progress import LOG_EVERY_S, Bars, Silent, bars


class Clock:
    """Seconds that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def log_console() -> Console:
    """Off a terminal."""
    return Console(file=io.StringIO(), force_terminal=False, width=200)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_off_a_terminal_there_is_a_line_a_minute_at_most_and_one_at_the_end():
    console, clock = log_console(), Clock()
    with Bars(console, clock) as reporter:
        tick = reporter.task("train", 400, done=100)
        for _ in range(300):
            clock.now += 1.0
            tick(1, "loss 0.5")
        assert text_of(console).splitlines()[-1] == "train: 400/400 (100%), 0:05:00, 1/s, loss 0.5"
    lines = text_of(console).splitlines()
    assert lines[0] == "train: 160/400 (40%), 0:01:00, 1/s, ETA 0:04:00, loss 0.5"
    assert len(lines) == 5  # after each minute; the fifth is the end
    assert LOG_EVERY_S == 60.0


def test_nested_tasks_share_the_line_of_a_minute_and_short_ones_leave_none():
    console, clock = log_console(), Clock()
    with Bars(console, clock) as reporter:
        outer = reporter.task("phases", 2)
        for _ in range(2):
            inner = reporter.task("load", 3)
            for _ in range(3):
                clock.now += 1.0
                inner()
            clock.now += 29.0
            outer()
    assert text_of(console).splitlines() == ["phases: 2/2 (100%), 0:01:04, 0.0312/s"]


def test_a_task_that_is_cut_short_says_how_far_it_came():
    console, clock = log_console(), Clock()

    def stopped() -> None:
        with Bars(console, clock) as reporter:
            tick = reporter.task("compile", None)
            clock.now += 10.0
            tick(3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert text_of(console) == "compile: 3, 0:00:10, 0.3/s\n"


def test_off_a_terminal_a_step_that_takes_minutes_is_told_of_while_it_runs():
    console, clock = log_console(), Clock()
    with Bars(console, clock) as reporter:
        reporter.task("data", 2)
        tick = reporter.task("train", 400)
        tick(0, "compiling the training step")
        for _ in range(150):
            clock.now += 1.0
            reporter.beat()
        tick(1, "loss 2.3")
        for _ in range(10):
            clock.now += 1.0
            tick(1, "loss 2.2")
            reporter.beat()
    lines = text_of(console).splitlines()
    assert lines == [
        "train: 0/400 (0%), 0:01:00, compiling the training step",
        "train: 0/400 (0%), 0:02:00, compiling the training step",
        "data: 0/2 (0%), 0:02:40",
        "train: 11/400 (3%), 0:02:40, 1/s, ETA 0:06:29, loss 2.2",  # at the end: the first step is no measure
    ]


def test_off_a_terminal_a_thread_looks_for_the_minute_and_does_not_stay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "BEAT_S", 0.01)
    before, console, clock = set(threading.enumerate()), log_console(), Clock()
    with Bars(console, clock) as reporter:
        reporter.task("train", 4)
        clock.now = LOG_EVERY_S
        deadline = time.monotonic() + 10
        while not text_of(console) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert text_of(console) == "train: 0/4 (0%), 0:01:00\n"
    assert set(threading.enumerate()) == before


def test_on_a_terminal_a_beat_prints_nothing():
    console, clock = Console(file=io.StringIO(), force_terminal=True, width=120), Clock()
    with Bars(console, clock) as reporter:
        reporter.task("train", 4)
        clock.now = 2 * LOG_EVERY_S
        reporter.beat()
        assert "0:02:00" not in text_of(console)


def test_outside_the_context_nothing_is_shown():
    console = log_console()
    shown = Bars(console)
    shown.task("before", 1)()
    with shown:
        tick = shown.task("inside", 2)
    tick(2)
    shown.task("after", 1)()
    assert text_of(console) == ""


def test_on_a_terminal_there_are_bars_and_no_thread_stays():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    before = set(threading.enumerate())
    with bars(console=console) as reporter:
        tick = reporter.task("simulate [x]", 10)
        tick(5, "note [y]")
        console.print("a line of its own")
        time.sleep(0.3)
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert {thread for thread in threading.enumerate() if thread.is_alive()} <= before
    written = text_of(console)
    assert "simulate [x]" in written
    assert "5/10" in written
    assert "note [y]" in written
    assert "a line of its own" in written


def test_several_threads_may_tick():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Bars(console, Clock()) as reporter:
        tick = reporter.task("jets", 4001)
        threads = [threading.Thread(target=lambda: [tick() for _ in range(1000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert reporter._counts[0].new == 4000


def test_quiet_and_silent_show_nothing(capsys: pytest.CaptureFixture[str]):
    with bars(quiet=True) as reporter:
        assert isinstance(reporter, Silent)
        reporter.task("anything", 1)(1, "note")
    assert capsys.readouterr() == ("", "")


def test_a_folder_is_held_against_another_process_and_free_afterwards(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from qformers.files import alone\n"
        "with alone(Path(sys.argv[1]), RuntimeError('held')): print('got it')"
    )

    def other() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)

    with files.alone(tmp_path, RuntimeError("held")):
        refused = other()
    assert refused.returncode == 1
    assert "RuntimeError: held" in refused.stderr
    assert other().stdout == "got it\n"


def test_the_first_step_after_a_resume_is_no_measure_of_the_rest():
    console, clock = log_console(), Clock()
    with Bars(console, clock) as reporter:
        tick = reporter.task("train", 400, done=300)
        clock.now += 61.0  # compiles
        tick()
        for _ in range(60):
            clock.now += 1.0
            tick()
    assert text_of(console).splitlines()[:2] == [
        "train: 301/400 (75%), 0:01:01, 0.0164/s",
        "train: 361/400 (90%), 0:02:01, 1/s, ETA 0:00:39",
    ]
