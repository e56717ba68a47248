#!/usr/bin/env python3
"""Hrrformer beside its controls and ParT: accuracy in float, and of the variant xT quantised and folded as well.

    python benchmarks/hrrformer.py                          # trains what is not trained, measures, prints
    python benchmarks/hrrformer.py --tasks jets --seeds 1 2
    python benchmarks/hrrformer.py --show                   # the table again

On each task the same network with no attention, with dot-product attention, with holographic attention as published
(weights of size 1/T, pads masked) and with its weights times the number of tokens (xT), as many epochs each; on jets
ParT as well. Data first: `make data`, and the commands in the build files. Trainings are kept in ``runs/hrrformer``,
and what is done is not done again; a file STOP there ends it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.folded_training import COST, cost_cells  # noqa: E402
from benchmarks.markdown import table  # noqa: E402
from benchmarks.pareto_table import paired, per_cent  # noqa: E402
from benchmarks.trained import command, keep, make, row_of  # noqa: E402

RUNS = Path("runs/hrrformer")
RESULTS = ROOT / "benchmarks" / "results" / "hrrformer.json"
FOLDED = ("firmware.backend=folded", "firmware.points_per_clock=1")


@dataclass(frozen=True)
class Task:
    """What is learned.

    Attributes:
        words: of the table.
        build: of Hrrformer, in ``firmware_configs``.
        beside: another architecture on the same events -> its build.
        ebops_target: of the folded firmware of the variant xT; None = of the build.
    """

    words: str
    build: str
    beside: Mapping[str, str]
    ebops_target: int | None = None


TASKS = {
    "jets": Task("jets, 16 particles", "hrrformer_jets16", {"ParT": "part_jets16"}, 40_000),
    "listops": Task("ListOps, 16-64", "hrrformer_listops_short", {}),
    "digits": Task("digits, 64 pixels", "hrrformer_digits", {}),
}
VARIANTS = {  # of Hrrformer -> what is changed
    "none": ("model.attention=none",),
    "dot": ("model.attention=dot",),
    "hrr": ("model.scale_by_T=false",),
    "hrr xT": (),
}
XT = "hrr xT"
WORDS = {"none": "no attention", "dot": "dot-product attention", "hrr": "holographic", XT: "holographic, xT"}


def run_of(task: str, variant: str, seed: int) -> Path:
    """Where a training is kept."""
    return RUNS / f"{task}_{variant.replace(' ', '_').lower()}_{seed}"


def make_task(task: str, seed: int, epochs: Sequence[int] | None) -> None:
    """Train, write and compare what is not done."""
    what = TASKS[task]
    cases = [(variant, what.build, changes) for variant, changes in VARIANTS.items()]
    cases += [(name, build, ()) for name, build in what.beside.items()]
    for variant, build, changes in cases:
        target = () if what.ebops_target is None else (f"train.qat.ebops_target={what.ebops_target}",)
        more = (*FOLDED, *target) if variant == XT else ()
        make(run_of(task, variant, seed), build, (f"seed={seed}", *changes, *more), epochs, variant == XT)
        collect()


def place_of(run: Path) -> tuple[str, str, int]:
    """Task, variant and seed of a training."""
    seed = int(run.name.rpartition("_")[2])
    return next(
        (task, variant, seed)
        for task, what in TASKS.items()
        for variant in (*VARIANTS, *what.beside)
        if run == run_of(task, variant, seed)
    )


def collect() -> None:
    """Keep the rows of all finished trainings; those of other machines that are not there any more stay."""
    rows = []
    for run in (path.parents[1] for path in RUNS.glob("*/float/metrics.json")):
        task, variant, seed = place_of(run)
        rows.append({"task": task, "variant": variant, "seed": seed, **row_of(run, "accuracy", paired)})
    variants = [*VARIANTS, *(name for what in TASKS.values() for name in what.beside)]
    keep(
        RESULTS,
        rows,
        ("task", "variant", "seed"),
        lambda key: (list(TASKS).index(key[0]), variants.index(key[1]), key[2]),
    )


def text(content: Mapping[str, Any]) -> str:
    """The table of accuracies as Markdown: a line per task and variant, seeds side by side."""
    seeds = sorted({row["seed"] for row in content["rows"]})
    lines = [["task", "attention", "parameters", *(f"float %, seed {seed}" for seed in seeds)]]
    for task, what in TASKS.items():
        for variant in (*VARIANTS, *what.beside):
            mine = {row["seed"]: row for row in content["rows"] if (row["task"], row["variant"]) == (task, variant)}
            if mine:
                first = next(iter(mine.values()))
                scores = [per_cent(mine[seed]["float"]) if seed in mine else "" for seed in seeds]
                lines.append([what.words, WORDS.get(variant, variant), f"{first['parameters']:,}", *scores])
    return table(lines)


def folded_text(content: Mapping[str, Any]) -> str:
    """The table of what was quantised and folded, one token per clock."""
    lines = [["task", "seed", "float %", "quantised %", "quantised - float", *COST]]
    for row in content["rows"]:
        if "ebops" not in row:
            continue
        scores = [per_cent(row["float"]), per_cent(row["quantised"]), per_cent(row["minus_float"], "+")]
        lines.append([TASKS[row["task"]].words, str(row["seed"]), *scores, *cost_cells(row)])
    return table(lines)


def conditions(content: Mapping[str, Any]) -> str:
    """What the tables were measured on."""
    parts = []
    for task, what in TASKS.items():
        mine = [row for row in content["rows"] if row["task"] == task]
        if mine:
            events, lengths = mine[0]["events"], sorted({row["epochs"] for row in mine})
            quantised = sorted({row["qat_epochs"] for row in mine if "qat_epochs" in row})
            parts.append(
                f"{what.words}: `firmware_configs/{what.build}.yaml`, {events['train']:,} training and "
                f"{events['test']:,} test events, {', '.join(map(str, lengths))} epochs in float"
                + (f", {', '.join(map(str, quantised))} quantised" if quantised else "")
            )
    last = content["rows"][-1]
    tool = next(row["tool"] for row in content["rows"] if "tool" in row)
    return (
        "; ".join(parts) + f". Differences are those of the same events; {tool}, estimate, not synthesis; "
        f"{last['machine']}, {last['date']}."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    return command(__doc__, "tasks", TASKS, make_task, RESULTS, (text, folded_text, conditions), arguments)


if __name__ == "__main__":
    sys.exit(main())
