"""Scores on the test split as cells and columns: of the quantised and of the float model, with errors or as limits."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from hls.compare.read.records import Metrics
from hls.compare.read.run import AnyMetrics, Run
from hls.compare.table.cells import FLOAT_ONLY, GIVEN, OTHER_TASK, Cell, Column
from qformers.builds.own_events import OWN
from qformers.tasks.metrics.jets import LIMIT
from qformers.tasks.score_names import LARGE

REJECTIONS = "Background rejection"


def score(name: str, phase: str = "qat", scale: float = 1.0) -> Callable[[Run], Cell]:
    """A score on the test split: of the quantised model (``qat``) or of the float one."""

    def cell(run: Run) -> Cell:
        metrics = run.metrics if phase == "qat" else run.float_metrics
        if metrics is None:
            other = run.float_metrics or run.metrics
            return untrained(run, phase) if other is None or name in other.scores else Cell(reason=OTHER_TASK)
        measured = metrics.scores.get(name)
        if measured is None:
            return Cell(reason=OTHER_TASK)
        if measured.value is None:
            return Cell(reason=f"n/a: {measured.reason}".rstrip(": "))
        error = None if measured.error is None else measured.error * scale
        flag, limit = (run.stale or {}).get(f"{phase}/manifest.json", ""), measured.limit or None
        counted = of_file(metrics) if run.task == OWN else f"test split, {metrics.counted}"
        note = f"{counted}{f'; {LIMIT}' if limit else ''}"
        return Cell(measured.value * scale, error, note=note, flag=flag, limit=limit)

    return cell


def of_file(metrics: AnyMetrics) -> str:
    """How much of the user's own events a model of one's own was measured on."""
    number = metrics.jets if isinstance(metrics, Metrics) else getattr(metrics, "events", 0)
    return f"{number:,} events that were given"


def untrained(run: Run, phase: str = "qat") -> Cell:
    """How the model of a phase comes about, where it is not there; a training without the phase would not make it."""
    if run.task == OWN:
        return Cell(reason=GIVEN)
    if phase == "qat" and run.float_only:
        return Cell(reason=FLOAT_ONLY)
    if phase == "qat" and run.build.train.qat is None and run.float_manifest is not None:
        if run.task not in ("jets", "regression"):  # these are quantised with training alone
            return Cell(reason="train.qat is null")
        return Cell(command=f"qformers quantise {shlex.quote(str(run.path / 'float' / 'model.keras'))} {run.arguments}")
    return Cell(command=f"qformers train {run.arguments}")


def rejection_columns(runs: Sequence[Run]) -> list[Column]:
    """Columns of the rejections that some of these builds have, those of two classes; a group of their own."""
    reports = [m for run in runs for m in (run.metrics, run.float_metrics) if isinstance(m, Metrics)]
    found = {name: one for report in reports for name, one in report.rejections.items()}
    columns = []
    for name, one in found.items():
        key, _, signal = name.partition(" ")
        head = f"rejection {signal} @ {100 * one.efficiency:g}%"
        values = [report.rejections[name].value for report in reports if name in report.rejections]
        digits = 1 if all(value is None or value >= LARGE for value in values) else 2
        for phase, before in (("qat", ""), ("float", "float ")):
            ending = "" if phase == "qat" else "_float"
            cell = score(name, phase)
            columns.append(
                Column(
                    f"{key}_{signal}{ending}", REJECTIONS, f"{before}{head}", cell, digits=digits, task="jets",
                    metric=phase == "qat",
                )
            )  # fmt: skip
    return columns
