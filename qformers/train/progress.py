"""What the user sees while a phase runs (a line per epoch, steps for a reporter) and the logs that stay."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from qformers.files import replacing
from qformers.progress import Reporter, Silent
from qformers.tasks.task import Task

LOG = logging.getLogger(__name__)
Row = Mapping[str, Any]
MEASURED_S = 10.0  # steps are timed for so long before it is said what an epoch takes
WORTH_SAYING_S = 60.0  # an epoch that takes less is over before one would ask
COMPILING = "compiling the training step"


def short(number: float) -> str:
    """A count in at most five characters: 950, 35.1k, 2.14M."""
    for size, unit in ((1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{number / min(size, 1e6 if unit == 'M' else 1e3):.3g}{unit}"
    return f"{number:.0f}"


def epoch_line(phase: str, epochs: int, row: Row, task: Task) -> str:
    """One epoch in one line."""
    ebops = f"  EBOPs {short(row['ebops'])}  beta {row['beta']:.1e}" if row["ebops"] else ""
    seen = "  ".join(f"{name} {row[name]:.4f}" for name in ("loss", task.score) if name in row)
    return (
        f"{phase} {row['epoch']:>{len(str(epochs))}}/{epochs}  {seen}  val {row[f'val_{task.score}']:.4f}{ebops}  "
        f"{row['jets_per_s']:.0f} {task.unit}/s  input-bound {row['input_bound']:.0%}"
    )


class Display:
    """Progress of one phase: a line per epoch, the steps for a reporter, and once what an epoch will take.

    Args:
        phase: its name.
        epochs, steps: epochs in the phase, steps per epoch.
        done: steps done before (after a resume).
        task: what it trains for.
        console: where to print the lines; `None` for standard output.
        reporter: told of every step with the running numbers; `None` = nobody.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        phase: str,
        epochs: int,
        steps: int,
        done: int,
        task: Task,
        console: Console | None = None,
        reporter: Reporter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.phase, self.epochs, self.steps, self.task = phase, epochs, steps, task
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._tick = (reporter or Silent()).task(phase, epochs * steps, done)
        self._clock = clock
        self._timed: tuple[float, int] | None = None  # when the first step of this process ended, steps since then
        self._foretold = False

    def doing(self, what: str) -> None:
        """Tell what it is at where no step ends for a while."""
        self._tick(0, what)

    def step(self, epoch: int, means: Mapping[str, float], ebops: int, jets_per_s: float) -> None:
        """Tell the running numbers of epoch `epoch` (1 for the first) after one step."""
        bits = f"EBOPs {short(ebops)}  " if ebops else ""
        seen = "".join(f"{name} {value:.4f}  " for name, value in means.items())
        self._tick(1, f"epoch {epoch}/{self.epochs}  {seen}{bits}{jets_per_s:.0f} {self.task.unit}/s")
        if not self._foretold:
            self._foretell(jets_per_s)

    def _foretell(self, jets_per_s: float) -> None:
        """Say once what an epoch will take, as soon as some steps behind the first one, which compiles, are timed."""
        if self._timed is None:
            self._timed = self._clock(), 0
            return
        start_s, steps = self._timed[0], self._timed[1] + 1
        self._timed = start_s, steps
        spent_s = self._clock() - start_s
        if spent_s < MEASURED_S:
            return
        self._foretold = True
        step_s = spent_s / steps
        if step_s * self.steps < WORTH_SAYING_S:
            return
        epoch, all_of_them = (timedelta(seconds=round(step_s * self.steps * n)) for n in (1, self.epochs))
        self.say(
            f"{self.phase}: an epoch of {self.steps:,} steps of {step_s:.3g} s will take about {epoch}, {self.epochs} "
            f"epochs {all_of_them} ({jets_per_s:.0f} {self.task.unit}/s); validation comes on top"
        )

    def epoch(self, row: Row) -> None:
        """Print the line of a finished epoch."""
        self._foretold = True  # it says what it took
        self.say(epoch_line(self.phase, self.epochs, row, self.task))

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False)


def write_csv(path: Path, history: Sequence[Row]) -> None:
    """Write all epochs so far, one row each; written whole each time, so that a resume leaves no double rows."""
    with replacing(path) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(history[0]) if history else ["epoch"])
        writer.writeheader()
        writer.writerows(history)


class ScalarLog:
    """TensorBoard scalars of a phase; without TensorFlow as the backend nothing (the CSV has the same numbers)."""

    def __init__(self, folder: Path) -> None:
        self._summary: Any = None
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            self._summary, self._writer = tf.summary, tf.summary.create_file_writer(str(folder))

    def write(self, row: Row) -> None:
        """Add the numbers of one epoch."""
        if self._summary is None:
            return
        with self._writer.as_default():
            for name, value in row.items():
                if name != "epoch":
                    self._summary.scalar(name, value, step=row["epoch"])
        self._writer.flush()
