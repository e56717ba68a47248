"""Stages of a synthesis side by side: really at once, ended together, what is done is kept. No Yosys is needed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hls.errors import HlsError
from hls.reports.yosys.run import YosysStopped
from hls.reports.yosys.synthesis import synthesise
from qformers.progress import Ticker

SOURCES = {  # the larger stage is begun first
    "two.v": "module two (); endmodule\n",
    "logic0.v": "module logic0 (); endmodule // the larger file\n",
    "logic1.v": "module logic1 (); endmodule\n",
}
# what a stand-in does with run.ys: finds the stage whose file it reads
STAGE = 'for s in logic0 logic1; do grep -q "/$s.v" run.ys && stage=$s; done; echo "7. Executing ABC pass."; '
STAT = '{"modules": {"m": {}}, "design": {"num_cells_by_type": {"LUT2": 4}}}'
SHELL = '{"modules": {"logic0": {"ports": {}, "cells": {}}}}'


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    (tmp_path / "src").mkdir()
    for name, text in SOURCES.items():
        (tmp_path / "src" / name).write_text(text)
    return [tmp_path / "src" / name for name in SOURCES]


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """Put a program called yosys first on PATH that tells a version and, asked for more, does `does`."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "yosys"
    program.write_text(f'#!/bin/sh\nif [ "$1" = -V ]; then echo "Yosys 0.23 (git)"; exit 0; fi\n{STAGE}\n{does}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")


def ended(leader: int) -> bool:
    """The process group is empty, or is soon."""
    for _ in range(100):
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(("jobs", "status"), [(2, 3), (1, 4)])
def test_stages_side_by_side(
    jobs: int, status: int, sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two waits for the other to be there too: one at a time neither sees it."""
    tries = 300 if jobs == 2 else 5
    stand_in(
        tmp_path,
        monkeypatch,
        f": > {tmp_path}/$stage.on; for i in $(seq {tries}); do "
        f"if [ -e {tmp_path}/logic0.on ] && [ -e {tmp_path}/logic1.on ]; then sleep 1; exit 3; fi; sleep 0.1; done; "
        f"rm {tmp_path}/$stage.on; exit 4",
    )
    with pytest.raises(HlsError, match=f"'logic[01]': Yosys .*failed with exit status {status}"):
        synthesise(sources, "two", tmp_path / "yosys", dsp=False, time_limit_s=60, jobs=jobs)


def test_a_failing_stage_ends_the_others_and_is_named(
    sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(
        tmp_path,
        monkeypatch,
        f"cd {tmp_path}; if [ $stage = logic0 ]; then echo $$ > half; mv half pid; sleep 50 & wait; fi; "
        'while [ ! -e pid ]; do sleep 0.1; done; echo "ERROR: no more"; exit 1',
    )
    with pytest.raises(HlsError, match=r"(?s)^'logic1': Yosys 0\.23 .*failed with exit status 1.*ERROR: no more"):
        synthesise(sources, "two", tmp_path / "yosys", dsp=False, time_limit_s=60, jobs=2)
    assert ended(int((tmp_path / "pid").read_text()))


def test_ctrl_c_in_one_ends_all(sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupts:
        def task(self, text: str, total: int | None) -> Ticker:
            def tick(steps: int = 1) -> None:
                raise KeyboardInterrupt

            return tick

    stand_in(
        tmp_path,
        monkeypatch,
        f": > {tmp_path}/pid.$$; while [ $(ls {tmp_path}/pid.* | wc -l) -lt 2 ]; do sleep 0.1; done; sleep 50 & wait",
    )
    with pytest.raises(KeyboardInterrupt):
        synthesise(
            sources, "two", tmp_path / "yosys", dsp=False, time_limit_s=60, jobs=2, reporter=Interrupts()
        )  # fmt: skip
    assert all(ended(int(path.suffix[1:])) for path in tmp_path.glob("pid.*"))


@pytest.fixture
def heeded() -> Iterator[None]:
    """Ctrl-C is heeded, also where the tests run in the background of a shell, which has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
def test_ctrl_c_while_stages_run_ends_all(sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(
        tmp_path,
        monkeypatch,
        f": > {tmp_path}/pid.$$; while [ $(ls {tmp_path}/pid.* | wc -l) -lt 2 ]; do sleep 0.1; done; "
        "[ $stage = logic0 ] && kill -INT $PPID; sleep 50 & wait",  # the signal that the terminal sends us
    )
    with pytest.raises(KeyboardInterrupt):
        synthesise(sources, "two", tmp_path / "yosys", dsp=False, time_limit_s=60, jobs=2)
    assert all(ended(int(path.suffix[1:])) for path in tmp_path.glob("pid.*"))


def test_a_time_limit_keeps_what_is_done(sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(
        tmp_path,
        monkeypatch,
        f"echo $stage >> {tmp_path}/begun; if [ $stage = logic1 ]; then sleep 60 & wait; fi; "
        f"echo '{STAT}' > stat.json; echo '{SHELL}' > shell.json",
    )
    words = (
        r"after \d+ s \(time limit 4 s\) in 'ABC pass' of 'logic1'; 1 of 3 parts are done and kept in .*: run it again"
    )
    for _ in range(2):
        with pytest.raises(YosysStopped, match=words):
            synthesise(sources, "two", tmp_path / "yosys", dsp=False, time_limit_s=4, jobs=2)
    begun = (tmp_path / "begun").read_text().split()
    assert (begun.count("logic0"), begun.count("logic1")) == (1, 2)


def test_no_jobs(sources: list[Path], tmp_path: Path) -> None:
    with pytest.raises(HlsError, match=r"stages at a time, must be 1 or more\. Received: 0"):
        synthesise(sources, "two", tmp_path / "yosys", dsp=False, time_limit_s=60, jobs=0)
