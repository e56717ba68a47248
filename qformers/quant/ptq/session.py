"""One run of the search for precision: material, search, comparison, files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from qformers.builds.build import Build
from qformers.files import write_json
from qformers.quant.ptq import report, run_folder
from qformers.quant.ptq import tune as precision
from qformers.quant.ptq.bench import Bench, Point
from qformers.quant.ptq.budget import Budget
from qformers.quant.ptq.evaluator import Evaluator, Jets, Measured
from qformers.quant.ptq.evaluator import compared as compared_jets
from qformers.quant.ptq.journal import Journal
from qformers.quant.ptq.ranges import Rule
from qformers.quant.ptq.search import Found, search, uniform
from qformers.tasks.metrics.jets import log_probabilities
from qformers.train.phases import exclusive
from qformers.train.progress import short
from qformers.train.stop import stop_requests

UNIFORM = range(4, 17)  # widths of the curve for comparison


@dataclass(frozen=True)
class Settings:
    """What the user chose; see `scripts/tune_precision.py`."""

    budget: Budget
    rule: Rule
    widest: int
    clip: bool
    calibration_jets: int
    jets: int
    steps: int
    plain: bool  # no --set: the new build file may extend the old one


def tune(path: Path, config: Path, build: Build, out: Path, settings: Settings, console: Console) -> list[str]:
    """Search and write the run folder; returns lines for the user.

    Args:
        path: float model.
        config: build file, which `build` was read from.
        build: data, architecture, rounding and overflow of the formats, tables.
        out: run folder.
        settings: of the search.
        console: for the progress bar.

    Raises:
        ConfigError, DataError, TrainingError: with the way out in the message.
        Stopped: a stop was asked for; the same call goes on.
    """
    run_folder.refuse_other(out)
    with exclusive(out), stop_requests(out) as stop:
        material = run_folder.gather(path, build, settings.calibration_jets)
        start = precision.start_of(material, settings.rule, settings.widest)
        jets = precision.search_jets(material, settings.jets)
        journal = Journal(out / "search.jsonl", precision.search_key(material, start, jets))
        if journal.known:
            console.print(f"{len(journal.known)} evaluations are known from {journal.path}", markup=False)
        evaluator = Evaluator(material.shop, start.formats, jets)
        with _progress(console, settings, sum(form.width for form in start.formats.values())) as tick:
            bench = Bench(evaluator, journal, lambda: stop.reason, tick)
            curve = uniform(bench, start.formats, start.free, UNIFORM)
            found = search(bench, start.limits(settings.clip), settings.budget, settings.steps)
    compared = report.compare(found.point.measured, curve, settings.budget.max_loss)
    tuned = precision.write_yaml(material, config, found.point.formats, out / "tuned.yaml", settings.plain)
    facts = _facts(settings, jets, found, compared)
    _write_report(out, facts, found, bench, curve)
    done = run_folder.write(material, tuned, out, facts)
    console.print(run_folder.error_table(done.errors))
    return [
        *report.in_words(found.point.measured, precision.which(jets), compared),
        f"test split, looked at once: accuracy {done.accuracy:.4f} +- {done.accuracy_error:.4f}, EBOPs {done.ebops:,}",
        f"test split beside float: {report.in_short(_tested(material, done))}",
        f"{len(bench.points)} evaluations, {bench.fresh} of them now",
        f"written: {out / 'tuned.yaml'}, {out / 'tune.json'}, {done.folder / 'model.keras'}",
    ]


def _tested(material: run_folder.Material, done: run_folder.Quantised) -> Measured:
    """The model in its file beside float, on the test split."""
    with np.load(done.folder / "test_logits.npz", allow_pickle=False) as content:
        logits, labels = content["logits"], content["labels"]
    floats = precision.float_answers(material, material.sources["test"].load())
    return compared_jets(logits, log_probabilities(floats), labels, done.ebops)


def _facts(settings: Settings, jets: Jets, found: Found, compared: report.Compared) -> dict[str, Any]:
    """For the manifest: how the formats were found."""
    budget = {"max_loss": settings.budget.max_loss, "ebops": settings.budget.ebops}
    return {
        "formats": "tuned",
        "budget": budget,
        "quantile": settings.rule.quantile,
        "margin": settings.rule.margin,
        "widest": settings.widest,
        "clip": settings.clip,
        "jets": len(jets.float_logits),
        "validation_jets": len(jets.labels),
        "found": found.point.measured.as_json(),
        "uniform_width": compared.width,
        "uniform": compared.point.measured.as_json() if compared.point else None,
        "uniform_ebops_ratio": compared.ebops_ratio,
        "uniform_ebops_ratio_at_same_divergence": compared.same_divergence_ratio,
    }


def _write_report(out: Path, facts: dict[str, Any], found: Found, bench: Bench, curve: dict[int, Point]) -> None:
    content = {
        **facts,
        "sensitivity": found.sensitivity.as_json(),
        "path": [point.measured.as_json() for point in found.path],
        "uniform_curve": {str(width): point.measured.as_json() for width, point in curve.items()},
    }
    write_json(out / "tune.json", content)
    report.bits_picture(found.point.formats, out / "plots" / "tune_bits.png")
    report.trade_picture(found.point.measured, found.path, bench.points, curve, out / "plots" / "tune_ebops.png")


@contextmanager
def _progress(console: Console, settings: Settings, bits: int) -> Iterator[Any]:
    """A bar per stage, and a function to be told of each evaluation."""
    totals = {"uniform": len(UNIFORM), "sensitivity": bits, "path": 41, "step": 2 * settings.steps}
    columns = (TextColumn("{task.description:<12}"), BarColumn(bar_width=24), MofNCompleteColumn())
    last = TextColumn("{task.fields[numbers]}"), TimeElapsedColumn(), TimeRemainingColumn()
    shown = Progress(*columns, *last, console=console, disable=not console.is_terminal)
    tasks: dict[str, Any] = {}
    counts: Counter[str] = Counter()

    def tick(stage: str, measured: Measured) -> None:
        counts[stage] += 1
        numbers = f"EBOPs {short(measured.ebops)}  divergence {measured.divergence:.1e}"
        if stage not in tasks:
            if not console.is_terminal:
                console.print(f"{stage} ...", markup=False)
            tasks[stage] = shown.add_task(stage, total=totals.get(stage), numbers=numbers)
        shown.update(tasks[stage], advance=1, numbers=numbers)

    with shown:
        yield tick
    if not console.is_terminal:
        console.print("evaluations: " + ", ".join(f"{stage} {number}" for stage, number in counts.items()))
