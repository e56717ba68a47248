"""One run of the search for precision: material, search, comparison, files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from qformers.builds.build import Build
from qformers.builds.run_place import refuse_foreign_run
from qformers.progress import Reporter, Silent, Ticker
from qformers.quant.ptq import report, run_folder
from qformers.quant.ptq import tune as precision
from qformers.quant.ptq.bench import Bench, Trial
from qformers.quant.ptq.budget import Budget
from qformers.quant.ptq.evaluator import Evaluation, Evaluator, SearchJets, beside_float
from qformers.quant.ptq.journal import Journal
from qformers.quant.ptq.ranges import Rule
from qformers.quant.ptq.search import SearchResult, search, uniform
from qformers.records import write_record
from qformers.tasks.score_names import spell
from qformers.train.phases import exclusive
from qformers.train.progress import short
from qformers.train.stop import StopRequest, forget_stop, stop_requests

UNIFORM = range(4, 17)  # widths of the curve for comparison


@dataclass(frozen=True)
class Settings:
    """What the user chose.

    Attributes:
        budget: loss of accuracy (of R^2) or EBOPs.
        rule: how integer bits follow from the ranges on calibration jets.
        widest: bits of weights and values at the start.
        clip: also try fewer integer bits than the ranges ask for.
        calibration_jets: of the training split.
        jets: of the validation split, filled up with those of the training split, for the measurements.
        steps: measured steps, at most.
    """

    budget: Budget
    rule: Rule = field(default_factory=Rule)
    widest: int = 14
    clip: bool = True
    calibration_jets: int = run_folder.CALIBRATION_JETS
    jets: int = 20_000
    steps: int = 600


def tune(
    path: Path,
    config: Path | None,
    build: Build,
    out: Path,
    settings: Settings,
    console: Console | None = None,
    reporter: Reporter | None = None,
) -> tuple[run_folder.Quantised, list[str]]:
    """Search and write the run folder; returns what was written, and lines for the user.

    Args:
        path: float model.
        config: build file, which `build` was read from as it stands; None: ``tuned.yaml`` is written in full.
        build: data, architecture, rounding and overflow of the formats, tables.
        out: run folder.
        settings: of the search.
        console: for messages; None = standard output.
        reporter: told of each evaluation.

    Raises:
        ConfigError, DataError, TrainingError: with the way out in the message.
        Stopped: a stop was asked for; the same call goes on.
    """
    console = console or Console(soft_wrap=True, highlight=False)
    run_folder.refuse_points(build)
    refuse_foreign_run(out)
    run_folder.refuse_other(out)
    with exclusive(out), _stopping(out) as stop:
        material = run_folder.gather(path, build, settings.calibration_jets)
        start = precision.start_of(material, settings.rule, settings.widest)
        jets = precision.search_jets(material, settings.jets)
        journal = Journal(out / "search.jsonl", precision.search_key(material, start, jets))
        if journal.known:
            console.print(f"{len(journal.known)} evaluations are known from {journal.path}", markup=False)
        evaluator = Evaluator(material.shop, start.formats, jets)
        bits = sum(form.width for form in start.formats.values())
        bench = Bench(evaluator, journal, lambda: stop.reason, _ticking(reporter or Silent(), settings, bits))
        curve = uniform(bench, start.formats, start.free, UNIFORM)
        result = search(bench, start.limits(settings.clip), settings.budget, settings.steps)
    compared = report.compare(result.point.measured, curve, settings.budget.max_loss)
    tuned = precision.write_yaml(material, config, result.point.formats, out / "tuned.yaml")
    facts = _facts(settings, jets, result, compared)
    _write_report(out, facts, result, bench, curve)
    done = run_folder.write(material, tuned, out, facts)
    return done, [
        *report.in_words(result.point.measured, precision.which(jets), compared),
        f"test split, looked at once: {spell(done.score)} {done.value:.4f} +- {done.error:.4f}, EBOPs {done.ebops:,}",
        f"test split beside float: {report.in_short(_tested(material, done))}",
        f"{len(bench.points)} evaluations of the search, {bench.fresh} measured now with those of the other curves",
        f"written: {out / 'tuned.yaml'}, {out / 'tune.json'}, {done.folder / 'model.keras'}",
    ]


@contextmanager
def _stopping(out: Path) -> Iterator[StopRequest]:
    """Stop requests for the length of the search; a file STOP goes before it and when it was obeyed."""
    forget_stop(out)
    try:
        with stop_requests(out) as stop:
            yield stop
    finally:
        forget_stop(out)


def _tested(material: run_folder.Material, done: run_folder.Quantised) -> Evaluation:
    """The model in its file beside float, on the test split."""
    with np.load(done.folder / "test_logits.npz", allow_pickle=False) as content:
        logits, labels = content["logits"], content["labels"]
    floats = precision.float_answers(material, material.sources["test"].load())
    return beside_float(logits, precision.judged_jets(material, {}, labels, floats), done.ebops)


def _facts(
    settings: Settings, jets: SearchJets, result: SearchResult, compared: report.UniformComparison
) -> dict[str, Any]:
    """For the manifest: how the formats came about."""
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
        "found": result.point.measured.as_json(),
        "uniform_width": compared.width,
        "uniform": compared.point.measured.as_json() if compared.point else None,
        "uniform_ebops_ratio": compared.ebops_ratio,
        "uniform_ebops_ratio_at_same_divergence": compared.same_divergence_ratio,
    }


def _write_report(
    out: Path, facts: dict[str, Any], result: SearchResult, bench: Bench, curve: dict[int, Trial]
) -> None:
    content = {
        **facts,
        "sensitivity": result.sensitivity.as_json(),
        "path": [point.measured.as_json() for point in result.path],
        "uniform_curve": {str(width): point.measured.as_json() for width, point in curve.items()},
    }
    write_record(out / "tune.json", content)
    report.bits_picture(result.point.formats, out / "plots" / "tune_bits.png")
    report.trade_picture(result.point.measured, result.path, bench.points, curve, out / "plots" / "tune_ebops.png")


def _ticking(reporter: Reporter, settings: Settings, bits: int) -> Callable[[str, Evaluation], None]:
    """To be told of each evaluation: a task per stage, started with its first one."""
    totals = {"uniform": len(UNIFORM), "sensitivity": bits, "path": 41, "step": 2 * settings.steps}
    stages: dict[str, Ticker] = {}

    def tick(stage: str, measured: Evaluation) -> None:
        if stage not in stages:
            stages[stage] = reporter.task(stage, totals.get(stage))
        stages[stage](1, f"EBOPs {short(measured.ebops)}  divergence {measured.divergence:.1e}")

    return tick
