"""What is told of a phase while it runs: what an epoch will take, and what it is at where no step ends."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from support import train_fakes

from qformers import tasks
from qformers.train import feed, loop, phases
from qformers.train.progress import COMPILING, Display

TASK = tasks.JetTagging(train_fakes.CLASSES)


class Notes:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []

    def task(self, text: str, total: int | None, done: int = 0) -> Notes:
        """Itself, for its one task."""
        return self

    def __call__(self, steps: int = 1, note: str = "") -> None:
        self.told.append((steps, note))


def told(steps_per_epoch: int, step_s: float, steps: int = 20) -> str:
    """What a display prints over some steps."""
    now = [0.0]
    console = Console(file=io.StringIO(), width=200)
    display = Display("float", 50, steps_per_epoch, 0, TASK, console, None, lambda: now[0])
    now[0] += 100.0  # compiles
    for _ in range(steps):
        display.step(1, {"loss": 2.0}, 0, 512 / step_s)
        now[0] += step_s
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_what_an_epoch_will_take_is_said_once_from_steps_that_are_timed() -> None:
    assert told(20_000, 4.0) == (
        "float: an epoch of 20,000 steps of 4 s will take about 22:13:20, 50 epochs 46 days, 7:06:40 (128 jets/s); "
        "validation comes on top\n"
    )
    assert told(20_000, 4.0, steps=3) == "", "two steps of 4 s are no measure yet"


@pytest.mark.parametrize("step_s", [0.1, 3.0])
def test_of_an_epoch_that_is_over_soon_nothing_is_said(step_s: float) -> None:
    assert told(19, step_s, 200) == ""


def test_it_is_told_what_it_is_at_before_a_step_ends(tmp_path: Path) -> None:
    build = train_fakes.build("train.float.epochs=2")
    phases.deterministic(1, False)
    feeds = [
        feed.Feed(train_fakes.FakeSource(200, seed), lambda events: train_fakes.host_inputs(None, events), 24)
        for seed in (1, 2)
    ]
    phase = loop.Phase("float", build.train.float, TASK, 1, tmp_path, {})
    made, notes = loop.Trainer(phase, train_fakes.tiny_model(), *feeds), Notes()
    made.run(loop.StopRequest(tmp_path), Display("float", 2, made.steps, 0, TASK, Console(quiet=True), notes))
    assert notes.told[0] == (0, COMPILING)
    assert [note for steps, note in notes.told if not steps][1:] == [
        "epoch 1/2  validation", "epoch 2/2", "epoch 2/2  validation",
    ]  # fmt: skip
    assert sum(steps for steps, _ in notes.told) == 2 * made.steps
