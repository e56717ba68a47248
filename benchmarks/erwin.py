#!/usr/bin/env python3
"""Erwin on jets and on hits: beside ParT and HEPT in float, and quantised and folded.

    python benchmarks/erwin.py                           # trains what is not trained, measures, prints
    python benchmarks/erwin.py --tasks hits --seeds 1
    python benchmarks/erwin.py --show                    # the tables again

On each task the peer sees the same events for as many epochs. ParT on jets is that of `benchmarks/hrrformer.py`, whose
figures are read. Data first: `make data`, and the command in the build file of hits. Trainings are kept in
``runs/erwin``, and what is done is not done again; a file STOP there ends it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.folded_training import COST, cost_cells  # noqa: E402
from benchmarks.hrrformer import RESULTS as HRRFORMER  # noqa: E402
from benchmarks.markdown import table, with_error  # noqa: E402
from benchmarks.pareto_table import paired, read  # noqa: E402
from benchmarks.trained import Row, command, keep, make, row_of  # noqa: E402

RUNS = Path("runs/erwin")
RESULTS = ROOT / "benchmarks" / "results" / "erwin.json"
DIGITS = 4
ERWIN = "erwin"


@dataclass(frozen=True)
class Task:
    """What is learned.

    Attributes:
        words: of the table.
        score: key of the metrics, in words as well.
        build: of Erwin, in ``firmware_configs``.
        beside: other models on the same events, by the name that their runs have -> their words and their build; no
            build where `benchmarks/hrrformer.py` trains them.
        changes: KEY=VALUE of the build of Erwin.
        same_events: whether the difference of two scores has the error of one on the same events.
    """

    words: str
    score: tuple[str, str]
    build: str
    beside: Mapping[str, tuple[str, str | None]]
    changes: tuple[str, ...] = ()
    same_events: bool = True


TASKS = {
    "jets": Task(
        "jets, 16 particles",
        ("accuracy", "accuracy"),
        "erwin_jets16",
        {"ParT": ("ParT", None)},
        ("firmware.backend=folded", "firmware.points_per_clock=8", "train.qat.ebops_target=300000"),
    ),
    "jets64": Task("jets, 64 particles, with a coarsening", ("accuracy", "accuracy"), "erwin_jets64", {}),
    "hits": Task(
        "hits, windows of 256",
        ("ap_0.9", "AP@0.9"),
        "erwin_hits256",
        {"hept": ("HEPT", "hept_hits256")},
        same_events=False,
    ),
}


def run_of(task: str, model: str, seed: int) -> Path:
    """Where a training is kept."""
    return RUNS / f"{task}_{model}_{seed}"


def make_task(task: str, seed: int, epochs: Sequence[int] | None) -> None:
    """Train, write and compare what is not done."""
    what = TASKS[task]
    make(run_of(task, ERWIN, seed), what.build, (f"seed={seed}", *what.changes), epochs, True)
    collect()
    for model, (_, build) in what.beside.items():
        if build is not None:
            make(run_of(task, model, seed), build, (f"seed={seed}",), epochs, False)
            collect()


def apart(score: str) -> Any:
    """Difference of a score of two phases, with both errors, which is more than its own on the same events."""

    def minus(phase: Path, other: Path) -> Mapping[str, Any]:
        one, two = (read(path / "metrics.json")[score] for path in (phase, other))
        return {"value": one["value"] - two["value"], "error": math.hypot(one["error"], two["error"])}

    return minus


def collect() -> None:
    """Keep the rows of all finished trainings."""
    rows = []
    for run in (path.parents[1] for path in RUNS.glob("*/float/metrics.json")):
        task, model, seed = run.name.split("_")
        score = TASKS[task].score[0]
        minus = paired if TASKS[task].same_events else apart(score)
        rows.append({"task": task, "model": model, "seed": int(seed), **row_of(run, score, minus)})
    models = [ERWIN, *(name for what in TASKS.values() for name in what.beside)]
    keep(
        RESULTS,
        rows,
        ("task", "model", "seed"),
        lambda key: (list(TASKS).index(key[0]), models.index(key[1]), key[2]),
    )


def rows_of(content: Mapping[str, Any], task: str, model: str) -> dict[int, Row]:
    """Seed -> row of a model on a task, also of one that `benchmarks/hrrformer.py` has trained."""
    mine = content["rows"]
    if model != ERWIN and TASKS[task].beside[model][1] is None:
        mine = [{**row, "model": row["variant"]} for row in read(HRRFORMER)["rows"]]
    return {row["seed"]: row for row in mine if (row["task"], row["model"]) == (task, model)}


def text(content: Mapping[str, Any]) -> str:
    """The table of the float models as Markdown: a line per task and model, seeds side by side."""
    seeds = sorted({row["seed"] for row in content["rows"]})
    lines = [["task", "score", "model", "parameters", *(f"float, seed {seed}" for seed in seeds)]]
    for task, what in TASKS.items():
        for model, words in {ERWIN: "Erwin", **{name: words for name, (words, _) in what.beside.items()}}.items():
            if mine := rows_of(content, task, model):
                parameters = f"{next(iter(mine.values()))['parameters']:,}"
                scores = [with_error(mine.get(seed, {}).get("float"), DIGITS) for seed in seeds]
                lines.append([what.words, what.score[1], words, parameters, *scores])
    return table(lines)


def folded_text(content: Mapping[str, Any]) -> str:
    """The table of what was quantised and folded."""
    lines = [["task", "seed", "float", "quantised", "quantised - float", *COST]]
    for row in content["rows"]:
        if "ebops" in row:
            scores = [with_error(row["float"], DIGITS), with_error(row["quantised"], DIGITS)]
            scores.append(with_error(row["minus_float"], DIGITS, sign="+"))
            lines.append([TASKS[row["task"]].words, str(row["seed"]), *scores, *cost_cells(row)])
    return table(lines)


def conditions(content: Mapping[str, Any]) -> str:
    """What the tables were measured on."""
    parts = []
    for task, what in TASKS.items():
        if mine := rows_of(content, task, ERWIN):
            row = next(iter(mine.values()))
            quantised = f", {row['qat_epochs']} quantised" if "qat_epochs" in row else ""
            parts.append(
                f"{what.words}: `firmware_configs/{what.build}.yaml`, {row['events']['train']:,} training and "
                f"{row['events']['test']:,} test events, {row['epochs']} epochs in float{quantised}"
            )
    last = content["rows"][-1]
    tools = {row["tool"] for row in content["rows"] if "tool" in row}
    return (
        f"{'; '.join(parts)}. Differences of accuracies are those of the same events, those of AP@0.9 have both "
        f"errors; {', '.join(sorted(tools))}, estimate, not synthesis; {last['machine']}, {last['date']}."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    return command(__doc__, "tasks", TASKS, make_task, RESULTS, (text, folded_text, conditions), arguments)


if __name__ == "__main__":
    sys.exit(main())
