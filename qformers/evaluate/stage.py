"""Evaluate one or two models on the same events: numbers, JSON and pictures in one folder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from qformers.builds.build import Build, load
from qformers.builds.models import load_model
from qformers.builds.saved import content_sha256
from qformers.config.sections import DataConfig
from qformers.data import AnyEvents, dataset_of, split_files
from qformers.data.clouds import PointEvents
from qformers.data.fingerprint import data_files
from qformers.errors import ConfigError, DamagedError
from qformers.evaluate import MOST_MODELS, OUT, TASK_WORDS
from qformers.evaluate.events import (
    Asked,
    Given,
    config_of,
    files_of,
    is_sized,
    load_events,
    outputs_of,
    refuse_outputs,
    refuse_probabilities,
)
from qformers.evaluate.figures import Scored, differences, scored
from qformers.files import foreign
from qformers.manifest import machine, versions
from qformers.progress import Reporter, Silent
from qformers.records import read_object, write_record
from qformers.results import Result, spell
from qformers.tasks import TASKS, JetTagging, PileupRemoval, Regression, Task, Tracking
from qformers.tasks.metrics.jets import LIMIT, TWO_CLASS_KEY, Measured
from qformers.tasks.plots import display
from qformers.tasks.plots import jets as jet_plots
from qformers.tasks.plots import points as plots
from qformers.tasks.points import probability

JSON = "evaluation.json"
PARTIAL = ".partial"  # folder in it, while it is written
DEEPEST = 2  # names of a folder and of a file in it
EFFICIENCY_WORDS, FAKE_WORDS = "track efficiency, $p_T$ > 0.9 GeV", "fake rate, without clusters of noise alone"
DISPLAYS = 3  # events that are drawn, at most
LARGE = 10.0  # numbers from here on are shown with one decimal


@dataclass(frozen=True)
class Judged:
    """A model, its name in tables and folders, and its numbers."""

    label: str
    path: Path
    scored: Scored
    numbers: dict[str, Measured]


@dataclass(frozen=True, repr=False)
class Evaluation(Result):
    """One or two models on some events.

    Attributes:
        models: in the order in which they were named.
        differences: the second minus the first, with paired errors; empty for one model.
        events: that they saw.
        config: how these were read.
        task: what was asked.
        out: folder that `save` writes to.
    """

    models: tuple[Judged, ...]
    differences: dict[str, Measured]
    events: AnyEvents
    config: DataConfig
    task: Task
    out: Path

    def pieces(self) -> Iterator[RenderableType]:
        """What was read, and a row per number."""
        yield self.read()
        header, *rows = self.lines()
        table = Table(header[0])
        for column in header[1:]:
            table.add_column(escape(column), justify="right")
        for row in rows:
            table.add_row(*map(escape, row))
        yield table
        yield from self.notes()

    def to_json(self) -> dict[str, Any]:
        """All numbers, what they were computed from, and with which versions."""
        return {
            "task": next(word for word, name in TASK_WORDS.items() if name == asked_of(self.config)),
            "data": {
                "dataset": self.config.dataset,
                "features": self.config.features,
                "num_particles": self.config.num_particles,
                "points": None if self.config.points is None else self.config.points.model_dump(),
                "files": [str(path) for path in split_files(self.config, "test")],
                "content": data_files(self.config)["test"],
                "events": len(self.events),
            },
            "models": {
                judged.label: {
                    "file": str(judged.path),
                    "model_sha256": content_sha256(judged.path),
                    "numbers": {name: value.as_json() for name, value in judged.numbers.items()},
                    "report": judged.scored.report,
                }
                for judged in self.models
            },
            "differences": {name: value.as_json() for name, value in self.differences.items()},
            "versions": versions(),
            "machine": machine(),
        }

    def save(self) -> Path:
        """Write ``evaluation.json`` and ``evaluation.md``, and pictures; those of one model into a folder of its name.

        Of an evaluation before, the files that it wrote are replaced or taken away; all others stay.

        Raises:
            ConfigError: the folder holds something else, or a link where a folder is to be.
        """
        refuse_foreign(self.out)
        self.out.mkdir(parents=True, exist_ok=True)
        before = _files_before(self.out)
        for folder in {path.parent for path in before} | {Path(judged.label) for judged in self.models}:
            if (self.out / folder).is_symlink():
                raise ConfigError(
                    f"{self.out / folder}: is a link, through which nothing is written; name another --out"
                )
        made = self.out / PARTIAL  # what stood here before stays until all is made
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        (made / "evaluation.md").write_text(self.markdown())
        for judged in self.models:
            folder = made / judged.label
            folder.mkdir()
            self.task.pictures(judged.scored.outputs, self._labels, judged.scored.report, folder)
            self._display(judged, folder)
        self._overlaid(made)
        written = [path.relative_to(made) for path in sorted(made.rglob("*")) if path.is_file()]
        write_record(made / JSON, {**self.to_json(), "files": [str(path) for path in written]})
        for path in [Path(JSON), *written]:  # the first one says whose the folder is, and what is of it
            (self.out / path.parent).mkdir(exist_ok=True)
            (made / path).replace(self.out / path)
        for path in set(before) - set(written):
            (self.out / path).unlink(missing_ok=True)
        for folder in {path.parent for path in before} - {path.parent for path in written}:
            if (self.out / folder).is_dir() and not any((self.out / folder).iterdir()):
                (self.out / folder).rmdir()
        shutil.rmtree(made)
        return self.out / JSON

    def markdown(self) -> str:
        """What was read, the table, and what its numbers are."""
        header, *rows = self.lines()
        lines = [header, ["---"] * len(header), *rows]
        table = "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)
        files = "".join(f"- {judged.label}: `{' '.join(str(judged.path).split())}`\n" for judged in self.models)
        return f"{self.read()}.\n\n{files}\n{table}\n" + "".join(f"- {note}\n" for note in self.notes())

    def lines(self) -> list[list[str]]:
        """The table: its header, and a row per number."""
        header = ["number", *(judged.label for judged in self.models)]
        lines = [[*header, "difference, paired"] if self.differences else header]
        for name in self.models[0].numbers:
            cells = [_cell(judged.numbers[name]) for judged in self.models]
            cells += [_cell(self.differences[name], signed=True)] if self.differences else []
            lines.append([words_of(name, self.models[0].scored.report), *cells])
        return lines

    def read(self) -> str:
        """What the models saw, in words."""
        unit = self.task.unit if len(self.events) != 1 else self.task.unit.removesuffix("s")
        text = f"{len(self.events):,} {unit} of {self.config.dataset}, features {self.config.features}"
        points = self.events.mask.sum() if isinstance(self.events, PointEvents) else None
        if points is None:
            return text
        text = f"{text}, {int(points):,} points"
        if isinstance(self.task, PileupRemoval) and isinstance(self.events, PointEvents):
            judged = len(self.task.ranked(self.models[0].scored.outputs, self.events)[1])
            text += f", of which {judged:,} are judged"
        return text

    def notes(self) -> Iterator[str]:
        """What the numbers are, and why some could not be computed."""
        if isinstance(self.task, Tracking):
            clusters = self.models[0].scored.report["clusters"]
            yield (
                f"tracks found are clusters of the embedding ({clusters['method']}) of {clusters['fewest_points']} "
                "points or more; track efficiency: share of reconstructable particles with pT > 0.9 GeV and as many "
                "points of which one cluster holds more than half, and more than half of the cluster is theirs; fake "
                "rate: share of clusters, of any pT, that are so of no particle; purity: share of a cluster's points "
                "that are of its commonest particle. In pictures a cluster has pT, eta and length of its commonest "
                "particle, and clusters of noise alone are left out"
            )
        if isinstance(self.task, Regression):
            mean = self.models[0].scored.report["of_mean"]
            yield (
                "R²: share of the variance that is predicted, 0 for the mean of the events; RMSE and MAE in "
                f"{self.task.target.unit}; that mean has RMSE {_cell(Measured(**mean['rmse']))}, "
                f"MAE {_cell(Measured(**mean['mae']))}"
            )
        columns = [(judged.label, judged.numbers) for judged in self.models]
        for label, numbers in (*columns, ("difference", self.differences)):
            of = f" of {label}" if self.differences else ""
            for name, measured in numbers.items():
                if measured.value is None or (measured.error is None and measured.reason != LIMIT):
                    words = words_of(name, self.models[0].scored.report)
                    yield f"{words}{of}: {measured.reason or 'none of its kind'}"

    @property
    def _labels(self) -> Any:
        return self.events if isinstance(self.events, PointEvents) else self.events.labels

    def _display(self, judged: Judged, folder: Path) -> None:
        """The first events that have a plane to be drawn in."""
        if not isinstance(self.events, PointEvents):
            return
        for row in range(min(DISPLAYS, len(self.events))):
            cloud = self.events.cloud(row)
            path = folder / f"event_{row}.png"
            if isinstance(self.task, Tracking):
                display.tracks(cloud, judged.scored.clusters[row], path)
            else:
                logits = judged.scored.outputs[row][self.events.mask[row] > 0][:, 0]
                display.scores(cloud, probability(logits), path)

    def _overlaid(self, out: Path) -> None:
        """Pictures with all models in one."""
        if isinstance(self.task, Tracking):
            for key in ("pt_gev", "eta", "length"):
                names = {"efficiency_by": EFFICIENCY_WORDS, "fake_rate_by": FAKE_WORDS}
                for what, name in names.items():
                    series = {judged.label: judged.scored.report["clusters"][what][key] for judged in self.models}
                    plots.in_bins(series, key, out / f"{what}_{key}.png", name)
        if isinstance(self.task, PileupRemoval) and isinstance(self.events, PointEvents):
            events, task = self.events, self.task
            if not task.too_few(self.models[0].scored.outputs, events):
                curves = {judged.label: task.ranked(judged.scored.outputs, events) for judged in self.models}
                plots.precision_recall(curves, out / "precision_recall.png")
                plots.roc(curves, out / "roc.png")
        if isinstance(self.task, JetTagging) and not isinstance(self.events, PointEvents) and len(self.models) > 1:
            logits = {judged.label: judged.scored.outputs for judged in self.models}
            jet_plots.roc(logits, self.events.labels, self.events.class_names, out / "roc.png")


def words_of(name: str, report: Mapping[str, Any]) -> str:
    """A number's name in tables.

    Args:
        name: in `Judged.numbers`.
        report: of a model, which says at which signal efficiency a rejection is given.
    """
    from qformers.tasks.score_names import spell as spell_score

    known = {
        "auc": "AUC, macro one-vs-one",
        "roc_auc": "ROC AUC",
        "clusters efficiency": "track efficiency",
        "clusters fake_rate": "fake rate",
        "clusters purity": "purity",
    }
    if name.startswith("precision_at_recall "):
        return f"precision at recall {name.split(' ')[1]}"
    key, _, signal = name.partition(" ")
    if key in ("rejection", TWO_CLASS_KEY):
        return f"background rejection {signal} @ {100 * report[key][signal]['efficiency']:g}%"
    return known.get(name) or spell_score(name)


def _cell(measured: Measured, signed: bool = False) -> str:
    value = measured.value
    digits = 4 if value is None or abs(value) < LARGE else 1
    if value is not None and measured.reason == LIMIT:
        return f"> {value:.{digits}f}"
    text = spell(value, measured.error, digits=digits)
    return f"+{text}" if signed and value is not None and value >= 0 else text


def asked_of(config: DataConfig) -> str:
    """The task that events are read for, a key of `qformers.tasks.TASKS`."""
    return dataset_of(config.dataset).task(config)


def evaluate(
    models: Sequence[Path],
    data: Sequence[Path],
    asked: Asked | None = None,
    build: Path | None = None,
    out: Path = OUT,
    distance: float | None = None,
    reporter: Reporter | None = None,
) -> Evaluation:
    """Run one or two models on the same events.

    Args:
        models: ``.keras`` files, float, quantised or imported.
        data: files of events, or folders of them; none = the test split of the build.
        asked: what neither files nor models tell.
        build: build file of the training; None = that of the run folder that the first model lies in, if it lies in
            one.
        out: folder for `Evaluation.save`.
        distance: tracking: points whose embeddings are nearer than this belong to one track; None = HDBSCAN.
        reporter: told how far it is.

    Raises:
        ConfigError: not one or two models, one that does not take the events, or what has to be said and is not.
        DataError: files that cannot be used.
        DivergedError: an output that is not finite.
    """
    if not 1 <= len(models) <= MOST_MODELS:
        raise ConfigError(f"evaluate takes one model, or two to compare. Received: {len(models)}")
    refuse_foreign(out)
    reporter, asked, files = reporter or Silent(), asked or Asked(), files_of(data)
    found = build_of(models[0], build)
    loaded = [Given.of(path, load_model(path)) for path in models]
    sized = [given for given in loaded if is_sized(given.model)]
    config = config_of((sized or loaded)[0], files, asked, found)
    events = load_events(config, bool(sized), reporter)
    name = asked_of(config)
    if asked.task is not None and TASK_WORDS[asked.task] != name:
        raise ConfigError(f"--task: {config.dataset} is for {name}. Received: {asked.task}")
    task = TASKS[name](config, events.class_names)
    if distance is not None and not isinstance(task, Tracking):
        raise ConfigError(f"--distance: says nothing of {config.dataset}, which has no tracks. Received: {distance:g}")
    judged = []
    for given, label in zip(loaded, labels_of(models), strict=True):
        refuse_outputs(given, config, events.class_names)
        outputs = outputs_of(given, events, reporter)
        if isinstance(task, JetTagging):
            refuse_probabilities(given, outputs)
        figures = scored(task, outputs, events, distance)
        judged.append(Judged(label, given.path, figures, figures.numbers()))
    paired = differences(judged[0].scored, judged[1].scored) if len(judged) > 1 else {}
    return Evaluation(tuple(judged), paired, events, config, task, out)


def _files_before(out: Path) -> list[Path]:
    """What the evaluation in a folder wrote besides its JSON, relative to the folder."""
    if not (out / JSON).is_file():
        return []
    named = [Path(str(name)) for name in read_object(out / JSON, "").get("files", [])]
    return [path for path in named if not path.is_absolute() and ".." not in path.parts and len(path.parts) <= DEEPEST]


def build_of(model: Path, chosen: Path | None) -> Build | None:
    """The build of a model: the chosen file, or that of the run folder ``<run>/<phase>/model.keras`` it lies in."""
    if chosen is not None:
        return load(chosen)
    beside = model.resolve().parent.parent / "build.yaml"
    in_run = model.resolve().parent.name in ("float", "qat") and beside.is_file()
    return load(beside) if in_run else None


def labels_of(models: Sequence[Path]) -> list[str]:
    """A short name of each model, different ones: the file's, or in a run the phase's, with the run's where needed.

    They are names of folders beside the files of an evaluation, and of columns.
    """
    short = [path.stem if path.stem != "model" else path.resolve().parent.name for path in models]
    if len(set(short)) < len(short):
        places = [path.resolve().parents[path.stem == "model"].name for path in models]
        short = [f"{place}_{name}" for place, name in zip(places, short, strict=True)]
    short = [re.sub(r"[^\w.+=-]", "_", name).strip(".") for name in short]
    short = [f"model_{name}" if Path(name).suffix in (".json", ".md", ".png") or not name else name for name in short]
    if len(set(short)) < len(short):
        short = [f"{name}_{number}" for number, name in enumerate(short, 1)]
    return short


def refuse_foreign(out: Path) -> None:
    """Leave a folder alone that is neither new nor empty nor of an evaluation.

    Raises:
        ConfigError: naming it.
    """
    if reason := foreign(out, _is_evaluation, "evaluation"):
        raise ConfigError(f"{out}: {reason}; name another folder with --out")


def _is_evaluation(folder: Path) -> bool:
    try:
        return {"task", "differences", "models"} <= read_object(folder / JSON, "").keys()
    except DamagedError:
        return False
