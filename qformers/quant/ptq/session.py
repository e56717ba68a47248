"""One run of the search for precision: material, search, comparison, files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from qformers.builds.build import Build
from qformers.builds.run_place import refuse_foreign_run
from qformers.precision.fixed import Fixed
from qformers.progress import Reporter, Silent, Ticker
from qformers.quant.ptq import report, run_folder
from qformers.quant.ptq import tune as precision
from qformers.quant.ptq.bench import Bench, Trial
from qformers.quant.ptq.budget import Budget
from qformers.quant.ptq.evaluator import Evaluation, Evaluator, SearchJets, beside_float
from qformers.quant.ptq.journal import Journal
from qformers.quant.ptq.ranges import Rule
from qformers.quant.ptq.search import SearchResult, search, uniform
from qformers.quant.ptq.slots import Slot
from qformers.quant.ptq.workshop import Workshop
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
    with exclusive(out), stopping(out) as stop:
        material = run_folder.gather(path, build, settings.calibration_jets)
        jets = precision.search_jets(material, settings.jets)
        found = searched(material.shop, jets, settings, out, stop, console, reporter or Silent())
    tuned = precision.write_yaml(material, config, found.formats, out / "tuned.yaml")
    found.write(out)
    done = run_folder.write(material, tuned, out, found.facts)
    return done, [
        *found.in_words(precision.which(jets)),
        f"test split, looked at once: {spell(done.score)} {done.value:.4f} +- {done.error:.4f}, EBOPs {done.ebops:,}",
        f"test split beside float: {report.in_short(_tested(material, done))}",
        found.effort,
        f"written: {out / 'tuned.yaml'}, {out / 'tune.json'}, {done.folder / 'model.keras'}",
    ]


@dataclass(frozen=True)
class Found:
    """What a search gave, and its way there."""

    result: SearchResult
    compared: report.UniformComparison
    bench: Bench
    curve: dict[int, Trial]
    facts: Mapping[str, Any]  # for the manifest: how the formats came about

    @property
    def formats(self) -> Mapping[Slot, Fixed]:
        """Of all slots."""
        return self.result.point.formats

    @property
    def effort(self) -> str:
        """How much was measured."""
        fresh = self.bench.fresh
        return (
            f"{len(self.bench.points)} evaluations of the search, {fresh} measured now with those of the other curves"
        )

    def in_words(self, jets: str) -> list[str]:
        """The result on the jets of the search."""
        return report.in_words(self.result.point.measured, jets, self.compared, self.bench.evaluator.jets.labelled)

    def write(self, out: Path) -> None:
        """Write ``tune.json`` and the pictures of the search."""
        content = {
            **self.facts,
            "sensitivity": self.result.sensitivity.as_json(),
            "path": [point.measured.as_json() for point in self.result.path],
            "uniform_curve": {str(width): point.measured.as_json() for width, point in self.curve.items()},
        }
        write_record(out / "tune.json", content)
        report.bits_picture(self.formats, out / "plots" / "tune_bits.png")
        budget = self.facts["budget"]
        trade = report.Trade(
            out.name,
            self.result.sensitivity.start,
            self.result.point.measured,
            [point.measured for point in self.result.path],
            [point.measured for point in self.bench.points],
            {width: point.measured for width, point in self.curve.items()},
            budget["max_loss"],
            budget["ebops"],
        )
        report.trade_picture(trade, out / "plots" / "tune_ebops.png")


def searched(
    shop: Workshop,
    jets: SearchJets,
    settings: Settings,
    out: Path,
    stop: StopRequest,
    console: Console,
    reporter: Reporter,
) -> Found:
    """Search the formats of a model.

    Args:
        shop: makes the model.
        jets: what it is measured on.
        settings: of the search.
        out: folder of the journal ``search.jsonl``, from which the same search goes on.
        stop: asked between evaluations.
        console: for messages.
        reporter: told of each evaluation.

    Raises:
        ConfigError: settings that make no sense, or a journal that is none.
        Stopped: a stop was asked for.
    """
    start = precision.start_of(shop, settings.rule, settings.widest)
    journal = Journal(out / "search.jsonl", precision.search_key(shop, start, jets))
    if journal.known:
        console.print(f"{len(journal.known)} evaluations are known from {journal.path}", markup=False)
    evaluator = Evaluator(shop, start.formats, jets)
    bits = sum(form.width for form in start.formats.values())
    bench = Bench(evaluator, journal, lambda: stop.reason, _ticking(reporter, settings, bits))
    curve = uniform(bench, start.formats, start.free, UNIFORM)
    result = search(bench, start.limits(settings.clip), settings.budget, settings.steps)
    compared = report.compare(result.point.measured, curve, settings.budget.max_loss)
    return Found(result, compared, bench, curve, _facts(settings, jets, result, compared))


@contextmanager
def stopping(out: Path) -> Iterator[StopRequest]:
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


def _ticking(reporter: Reporter, settings: Settings, bits: int) -> Callable[[str, Evaluation], None]:
    """To be told of each evaluation: a task per stage, started with its first one."""
    totals = {"uniform": len(UNIFORM), "sensitivity": bits, "path": 41, "step": 2 * settings.steps}
    stages: dict[str, Ticker] = {}

    def tick(stage: str, measured: Evaluation) -> None:
        if stage not in stages:
            stages[stage] = reporter.task(stage, totals.get(stage))
        stages[stage](1, f"EBOPs {short(measured.ebops)}  divergence {measured.divergence:.1e}")

    return tick
