"""Stages "quantise" and "tune" for a float Keras model that somebody else trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console, RenderableType

from qformers.builds.models import load_model
from qformers.builds.own_events import Metric, Said, events_of, number_of, read_labels, said_of
from qformers.builds.run_place import refuse_foreign_run
from qformers.builds.saved import save_model
from qformers.builds.settings import MADE_BY, sections_of
from qformers.config.layers import refuse_formats
from qformers.errors import ConfigError, nearest
from qformers.interop.adopt import Adopted, adopt
from qformers.interop.ends import without_ends
from qformers.interop.fixed_point.convert import converted, float_twin, refuse_unknown
from qformers.interop.fixed_point.judged import judged
from qformers.interop.own_run import ENDINGS, begin, described, origin, refuse_another
from qformers.interop.truth import Truth, scores_of, write_metrics
from qformers.manifest import write_manifest
from qformers.precision.fixed import Fixed
from qformers.progress import Reporter, Silent
from qformers.quant.fidelity import LayerError, errors_between
from qformers.quant.ptq import ranges, session
from qformers.quant.ptq.evaluator import Evaluation, Evaluator, SearchJets
from qformers.quant.ptq.report import in_short
from qformers.quant.ptq.run_folder import error_table
from qformers.quant.ptq.slots import Slot
from qformers.quant.ptq.workshop import Workshop
from qformers.quant.within import is_quantised
from qformers.records import hashes, write_record
from qformers.results import Result
from qformers.tasks.score_names import spell
from qformers.train.beta import ebops, set_beta
from qformers.train.phases import exclusive

STAGE = "own.ptq"
POOR = 0.9  # correlation with float, below which a layer is pointed at
COMPARED = 512  # events, followed through all layers beside float
QUANT = {"learn": False}  # formats are found here, and kept in a training that follows


@dataclass(frozen=True)
class Given:
    """What the user gave.

    Attributes:
        model: the float model, a ``.keras`` file.
        data: file of events by input, from which integer bits follow (`qformers.builds.own_events`).
        run: folder to write; None for ``runs/<name of the file>``.
        overrides: ``section.key=value`` of the build that describes the model.
        types, layers: ``NAME.SLOT=FORMAT``, of float layer classes (or HGQ2's), and of layer names or globs.
        logits: whether a last softmax or sigmoid is left away.
        metric: "accuracy" or "mse"; None for accuracy where there are labels.
        labels: file of the labels of these events.
        events: of the file that are used, the first ones; None for all.
        held_out: share of these events, drawn, that has no say in the formats and is measured on at the end.
    """

    model: Path
    data: Path
    run: Path | None = None
    overrides: Sequence[str] = ()
    types: Sequence[str] = ()
    layers: Sequence[str] = ()
    logits: bool = False
    metric: Metric | None = None
    labels: Path | None = None
    events: int | None = None
    held_out: float = 0.0


@dataclass(frozen=True, repr=False)
class OwnQuantised(Result):
    """A quantised model of one's own in its run folder.

    Attributes:
        run: the run folder.
        adopted: the float model as it was taken over.
        ebops: of the quantised one.
        errors: layers against float, on the first `COMPARED` events.
        data: the file of the events.
        events: of it that gave the ranges, and that the metric was measured on.
        measured: beside float by the metric; None without one.
        labelled: whether labels were given for that.
        aside: the same on events that were held out, and their number; None without any.
        words: more to be said, line by line.
    """

    run: Path
    adopted: Adopted
    ebops: int
    errors: tuple[LayerError, ...]
    data: Path
    events: int
    measured: Evaluation | None = None
    labelled: bool = False
    aside: tuple[Evaluation, int] | None = None
    words: tuple[str, ...] = field(default=())

    @property
    def model(self) -> Path:
        """The quantised model."""
        return self.run / "qat" / "model.keras"

    def __str__(self) -> str:
        """EBOPs and, where it was measured, what is lost against float."""
        measured = self.measured
        if measured is None:
            return f"{self.model}  EBOPs {self.ebops:,}"
        return f"{self.model}  EBOPs {self.ebops:,}  on {self.events:,} events: {self._in_words(measured)}"

    def _in_words(self, measured: Evaluation) -> str:
        score, of = measured.score, spell(measured.of)
        scores = f"{of} {score:.4f}, of float {score + measured.lost:.4f}; " if self.labelled else ""
        return f"{scores}{in_short(measured, self.labelled)}"

    def pieces(self) -> Iterator[RenderableType]:
        """What was measured on what, errors per layer, then the numbers of the whole model."""
        yield f"ranges:    of {self.events:,} events of {self.data}"
        called = {new: old for old, new in self.adopted.renamed.items()}
        yield error_table(self.errors, f"Quantised against float, on {_of_these(self.events)}", called)
        for old, new in self.adopted.renamed.items():
            yield f"renamed:   {old} is {new} now"
        poor = [row for row in self.errors if row.correlation < POOR and row.relative > 1.0 - POOR]
        if poor:
            worst = min(poor, key=lambda row: row.correlation)
            yield (
                f"note: layer '{worst.layer}' follows float with a correlation of {worst.correlation:.3f} only: give "
                "it, or what it reads, more bits (--layers)"
            )
        yield from self.words or (str(self),)
        if self.aside is not None:
            yield f"held out:  on {self.aside[1]:,} further events: {self._in_words(self.aside[0])}"

    def save(self) -> Path:
        """Write ``qat/errors.json``, the errors of the layers; all else lies in the run folder already."""
        path = self.model.parent / "errors.json"
        write_record(path, {"layers": [error.as_json() for error in self.errors]})
        return path


def _of_these(events: int) -> str:
    """The events that are followed through all layers, in words."""
    return f"the first {COMPARED} of {events:,} events" if events > COMPARED else f"all {events} events"


@dataclass(frozen=True)
class _Bench:
    """A float model with its events, ready to be quantised."""

    given: Given
    adopted: Adopted
    shop: Workshop
    folder: Path
    jets: SearchJets | None  # with a metric
    aside: SearchJets | None  # the same of what is held out
    said: Said | None


def quantise(given: Given, rule: ranges.Rule) -> OwnQuantised:
    """Give a float model formats, whose integer bits follow from the ranges on its events.

    Raises:
        ConfigError, DataError: with the way out in the message.
    """
    bench = _gather(given)
    with exclusive(bench.folder):
        formats = ranges.calibrated(bench.shop, rule)
        facts = {"formats": "calibrated", "quantile": rule.quantile, "margin": rule.margin}
        return _write(bench, formats, facts)


def tune(
    given: Given, settings: session.Settings, console: Console | None = None, reporter: Reporter | None = None
) -> OwnQuantised:
    """Search bits per layer for a float model.

    Raises:
        ConfigError, DataError: with the way out in the message.
        Stopped: a stop was asked for; the same call goes on.
    """
    if given.labels is None and given.metric is None:
        raise ConfigError("a search needs a measure: give --labels LABELS.npy, or --metric mse. Received: neither")
    bench = _gather(given, "_tuned")
    if bench.jets is None:  # never: there is a metric
        raise ConfigError("no metric")
    console = console or Console(soft_wrap=True, highlight=False)
    folder = bench.folder
    with exclusive(folder), session.stopping(folder) as stop:
        found = session.searched(bench.shop, bench.jets, settings, folder, stop, console, reporter or Silent())
        found.write(folder)
        done = _write(bench, found.formats, found.facts)
    words = [*found.in_words(f"{len(bench.jets.labels):,} events"), found.effort, f"written: {folder}"]
    return replace(done, words=tuple(words))


def _gather(given: Given, ending: str = "") -> _Bench:
    """`ending` is that of the name of the run folder, where none is given."""
    if given.model.suffix.lower() not in ENDINGS:
        raise ConfigError(
            f"{given.model}: a float model is given as a .keras file: save it again with model.save('model.keras')"
        )
    refuse_formats("--types", given.types)  # once, and not for each layer that they would be given to
    refuse_formats("--layers", given.layers)
    adopted = _adopted(given.model)
    if given.logits:
        adopted = replace(adopted, model=without_ends(adopted.model))
    said = said_of(given.labels, given.metric, given.data)
    every = events_of(given.data, adopted.model, adopted.renamed, "val")
    labels = None if said is None else read_labels(said.labels, number_of(every), "val")
    twin = float_twin(adopted.model)
    kept, held = _divided(min(number_of(every), given.events or number_of(every)), given.held_out)
    metric: Metric | None = given.metric if said is None else said.metric

    def measured_on(rows: NDArray[np.int64]) -> SearchJets | None:
        some = {name: array[rows] for name, array in every.items()}
        if metric is None or not len(rows):
            return None
        return judged(twin, some, metric, None if labels is None else labels[rows])

    jets, aside = measured_on(kept), measured_on(held)
    inputs = {name: array[kept] for name, array in every.items()}
    texts = [*_for_layers(given, adopted.model), *(f"quant.layers.{text}" for text in given.layers)]
    build = described(given.model, adopted, None, given.data, [*given.overrides, *texts], {"quant": QUANT}, said)
    folder = given.run or Path("runs") / f"{build.name}{ending}"
    refuse_foreign_run(folder)
    refuse_another(folder, given.model)
    if build.quant is not None and build.quant.learn:
        raise ConfigError(
            "quant.learn: formats are found from data here and stay in a training that follows; leave it out, or build "
            "the model of HGQ2's layers. Received: true"
        )
    shop = Workshop(build, twin, partial(converted, adopted.model), inputs)
    if not shop.formats:  # also refuses what cannot be converted, before there is a folder
        raise ConfigError(f"{given.model}: no format can be said of any layer")
    return _Bench(given, adopted, shop, folder, jets, aside, said)


def _divided(count: int, held_out: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the events that formats are found on, and of those that are held out; both in order.

    Raises:
        ConfigError: one of them would be empty.
    """
    some = round(held_out * count)
    if held_out and not 0 < some < count:
        raise ConfigError(f"--held-out leaves no event on one side, of {count}. Received: {held_out:g}")
    drawn = np.random.default_rng(0).permutation(count)
    return np.sort(drawn[some:]), np.sort(drawn[:some])


def _adopted(path: Path) -> Adopted:
    """The float model in a file.

    Raises:
        ConfigError: a quantised one, or one with a layer that has no form here.
    """
    model = load_model(path)
    if is_quantised(model):  # before operations on its tensors are taken for those of a float model
        raise ConfigError(f"{path}: is a quantised model already: qformers export {path}")
    adopted = adopt(model, floats=True)
    if is_quantised(adopted.model):
        raise ConfigError(f"{path}: is a quantised model already: qformers export {path}")
    try:
        refuse_unknown(adopted.model)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return adopted


def _for_layers(given: Given, model: keras.Model) -> list[str]:
    """What is said of classes of float layers, said of each of these layers; of others, as the build file has it.

    Raises:
        ConfigError: the model has no layer of that class.
    """
    texts = []
    for text in given.types:
        kind, _, rest = text.partition(".")
        named = [layer.name for layer in model.layers if type(layer).__name__ == kind]
        if named:
            texts += [f"quant.layers.{name}.{rest}" for name in named]
        elif kind.startswith("Q"):  # as the result calls it
            texts.append(f"quant.types.{text}")
        else:
            classes = sorted({type(layer).__name__ for layer in model.layers})
            raise ConfigError(f"--types: the model has no layer of class '{kind}'{nearest(kind, classes)}")
    return texts


def _scores(bench: _Bench, model: keras.Model) -> dict[str, Any] | None:
    """Scores of a form of the model by the labels: of events that are held out, or else of all."""
    jets = bench.aside or bench.jets
    known = None if jets is None or bench.said is None else Truth(bench.said.metric, jets.labels, jets.read)
    return scores_of(model, None if jets is None else jets.inputs, known)


def _write(bench: _Bench, formats: Mapping[Slot, Fixed], facts: Mapping[str, Any]) -> OwnQuantised:
    """The run folder of the model in these formats: the one that an export of a model of one's own has, and float."""
    shop = replace(bench.shop, build=bench.shop.said(formats))
    described_as = {layer.name: type(layer).__name__ for layer in shop.template.layers}
    held = shop.build.model.model_copy(update={"layers": described_as})
    shop = replace(shop, build=shop.build.model_copy(update={"model": held}))
    model, folder = shop.model(), bench.folder / "qat"
    set_beta(model, 0.0)  # widths stay: a training that follows has no price of bits in its loss
    few = {name: array[:COMPARED] for name, array in shop.inputs.items()}
    errors = errors_between(shop.float_model, model, few, few)
    measured = None if bench.jets is None else Evaluator(shop, formats, bench.jets).measure(formats)
    aside = None if bench.aside is None else Evaluator(shop, formats, bench.aside).measure(formats)
    source = bench.given.model
    scores = [_scores(bench, made) for made in (shop.float_model, model)]
    begin(bench.folder, shop.build)
    save_model(shop.float_model, bench.folder / "float" / "model.keras")
    write_manifest(bench.folder / "float", STAGE, shop.build, {}, hashes(bench.folder / "float", ["model.keras"]))
    save_model(model, folder / "model.keras")
    for form, found in zip(("float", "qat"), scores, strict=True):
        write_metrics(bench.folder / form, found)
    bits = ebops(model)
    more = {
        "settings": {**sections_of(shop.build, *MADE_BY), "ptq": dict(facts)},
        **origin(source, bench.adopted),
        "ebops": bits,
        "events": len(next(iter(shop.inputs.values()))),
        "measured": None if measured is None else measured.as_json(),
        "held_out": None if aside is None else aside.as_json(),
        "layers": [error.as_json() for error in errors],
    }
    write_manifest(folder, STAGE, shop.build, more, hashes(folder, ["model.keras"]))
    beside = None if aside is None or bench.aside is None else (aside, number_of(bench.aside.inputs))
    return OwnQuantised(
        bench.folder, bench.adopted, bits, errors, bench.given.data, more["events"], measured, bench.said is not None,
        beside,
    )  # fmt: skip
