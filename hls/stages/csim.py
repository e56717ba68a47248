"""Stage "csim": is the firmware equal to the quantised model, and what does fixed point cost against float?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType

from hls.backends import open_backend, open_project
from hls.backends.protocol import Project
from hls.backends.writing import weights_hash
from hls.backends.written import WIDE, check_project, command, refuse_other_settings, using
from hls.errors import HlsError
from hls.proof import show
from hls.proof.adversarial import adversarial
from hls.proof.agree import Agreement, agree, compare, keras_outputs
from hls.proof.exact import exact
from hls.proof.fidelity import (
    Fidelity,
    end_to_end,
    end_to_end_own,
    end_to_end_points,
    end_to_end_targets,
    layer_fidelity,
)
from hls.proof.samples import Sample, refuse_none, sample
from hls.stages.export import load_quantised, refuse_other_build
from qformers.builds.build import Build
from qformers.builds.float_only import refuse_float_only
from qformers.builds.nouns import Nouns, nouns_of
from qformers.builds.own_events import is_own
from qformers.builds.saved import check_recorded, content_sha256
from qformers.data import Events, open_split
from qformers.data.clouds import PointEvents
from qformers.errors import TrainingError
from qformers.interop.truth import Truth, truth_of
from qformers.manifest import versions
from qformers.models.inputs import host_inputs
from qformers.progress import Reporter, Silent
from qformers.records import write_record
from qformers.results import Result
from qformers.tasks import task_of
from qformers.train.phases import START

TRACED_JETS = 1000  # followed through every layer
TRACED_VALUES = 100_000_000  # of all layers, 8 bytes each: of a larger model fewer jets are followed

Array = NDArray[np.float64]
MOST_NAMED = 10  # outputs that a picture tells apart


@dataclass(frozen=True)
class BesideFloat:
    """Firmware and quantised model beside the float model.

    Attributes:
        fidelity: errors of every layer.
        end: scores of the whole model and what changes between its forms; None where there are none.
        words: why not.
        drawn: form ("float", "quantised", "csim") -> outputs (n, ...) for the pictures.
        class_names: of the outputs, classes or targets; none for outputs of points.
        nouns: what the events are called.
    """

    fidelity: Fidelity
    end: dict[str, Any] | None
    words: tuple[str, ...]
    drawn: dict[str, Array] = field(repr=False)
    class_names: tuple[str, ...] = ()
    nouns: Nouns = field(default_factory=Nouns)

    def pieces(self) -> Iterator[RenderableType]:
        """Tables of the layers, where any is seen, of the whole model and of what changes."""
        layers = self.fidelity.layers
        yield show.layer_table(self.fidelity, self.nouns.compared) if layers else show.no_layers(self.fidelity)
        yield from self.words
        if self.end is not None:
            classes = "score" not in self.end
            yield show.end_table(self.end, self.nouns.events) if classes else show.task_table(self.end)
            yield show.changes_table(self.end)


@dataclass(frozen=True, repr=False)
class CsimResult(Result):
    """C simulation of a project beside the quantised model and the float model.

    Attributes:
        run: the run folder.
        name: of what is written there: ``csim``, or ``csim_<backend>`` of another backend than the build's.
        project: the firmware.
        jets: agreement on real events.
        adversarial: agreement on events made to break it.
        words: what was simulated and how it came out, line by line.
        facts: for the JSON.
        beside: None where there is no float model, or no real events.
    """

    run: Path
    name: str
    project: Project
    jets: Agreement
    adversarial: Agreement
    words: tuple[str, ...]
    facts: dict[str, Any] = field(repr=False)
    beside: BesideFloat | None = field(repr=False)

    @property
    def path(self) -> Path:
        """The JSON of the result."""
        return self.run / f"{self.name}.json"

    @property
    def equal(self) -> bool:
        """Whether the firmware equals the quantised model on all events."""
        return self.jets.equal and self.adversarial.equal

    @property
    def fidelity(self) -> Fidelity | None:
        """Errors of every layer against the float model."""
        return self.beside.fidelity if self.beside else None

    @property
    def end(self) -> dict[str, Any] | None:
        """Scores of the whole model, of each form."""
        return self.beside.end if self.beside else self.facts["end"]

    def pieces(self) -> Iterator[RenderableType]:
        """Lines of equality, then the tables of the float model, or of the scores where there is none."""
        yield from self.words
        if self.beside is not None:
            yield from self.beside.pieces()
        elif self.end is not None:
            yield show.task_table(self.end)

    def save(self) -> Path:
        """Write ``<name>.json``, ``plots/<name>_*.png`` and what the project reports of its cost; returns the JSON."""
        if self.beside is not None:
            _pictures(self.beside, self.run / "plots", self.name, self.facts)
        write_record(self.path, self.facts)
        for report in self.project.reports():
            report.save(self.run)
        return self.path


def simulate(
    build: Build,
    run: Path | str,
    events: int = 10_000,
    backend: str | None = None,
    reporter: Reporter | None = None,
) -> CsimResult:
    """Run the C simulation of a build's firmware and compare it.

    Reads ``qat/model.keras``, ``float/model.keras`` (if there) and ``firmware/<backend>`` of the run folder.

    Args:
        build: the build.
        run: its run folder.
        events: test jets wanted.
        backend: instead of the one of the build.
        reporter: told of progress.

    Raises:
        HlsError: a file is missing or the project is not of this model.
    """
    run, reporter = Path(run), reporter or Silent()
    path = run / "firmware" / open_backend(backend or build.firmware.backend).name
    refuse_none(build, events)
    refuse_stale(build, run, path)
    with using(path, command()):
        return _simulate(build, run, path, events, reporter)


def refuse_stale(build: Build, run: Path, project: Path) -> None:
    """Refuse a project that is damaged or of other settings, and a model of another build; neither is loaded for it.

    Raises:
        HlsError, DamagedError: naming file or key.
        ConfigError: the training of the build makes no quantised model.
    """
    refuse_float_only(build, run)
    refuse_other_settings(project, check_project(project), build)
    refuse_other_build(run / "qat" / "model.keras", build)
    if (ideal := run / "float" / "model.keras").is_file():
        check_recorded(ideal)
        began = check_recorded(run / "qat" / "model.keras").get("settings", {}).get(START)
        if began is not None and began != content_sha256(ideal):
            raise HlsError(
                f"{ideal}: is not the float model that {run / 'qat' / 'model.keras'} was trained from; put that back, "
                "or train again (qformers train --fresh)"
            )


def _simulate(build: Build, run: Path, place: Path, events: int, reporter: Reporter) -> CsimResult:
    """`simulate`, while the project is held."""
    project = open_project(place)
    level = level_without_clock(project)
    model = load_quantised(run / "qat" / "model.keras", build)
    manifest = check_same_model(project, model)  # all files again: before it was held it might have been written anew
    easy, hard = sample(build, model, events), adversarial(model)
    project.compile(level, reporter)
    rounding, model = model, exact(model, project)
    forms = {
        "quantised": keras_outputs(model, easy.inputs, reporter, "quantised Keras"),
        "csim": project.outputs(easy.inputs, level, reporter),
    }
    on_jets = compare(project, model, easy.inputs, forms["csim"], forms["quantised"])
    rounded = 0
    if rounding is not model:
        single = keras_outputs(rounding, easy.inputs, reporter, "float32 Keras")
        rounded = sum(int((single[name] != values).sum()) for name, values in forms["quantised"].items())
    on_hard = agree(project, model, hard.inputs, reporter, level)
    words = [f"{len(easy)} {easy.what} ({easy.source}): {on_jets}", f"{len(hard)} adversarial events: {on_hard}"]
    if on_hard.event is not None:
        words.append(f"  event {on_hard.event} is '{hard.cases[on_hard.event]}'")
    narrowed = manifest.get("overflow_allowed", [])
    words += [f"overflow allowed at export: {line}" for line in narrowed]
    if wide := manifest.get(WIDE):
        words.append(
            f"sums of more than the 24 bits of float32 in {', '.join(wide)}: compared with the model in float64, which "
            f"is exact; {rounded} of {on_jets.values} values differ in Keras's float32"
        )
    beside, end, path = None, None, run / "float" / "model.keras"
    if easy.jets is not None and path.is_file():
        outputs = {form: _single(values) for form, values in forms.items()}
        beside = beside_float(build, path, project, model, easy.jets, outputs)
    elif is_own(build) and build.data.test and path.is_file():
        beside = beside_own(build, path, project, model, easy, forms)
    elif truth := own_truth(build, model, easy):
        end = end_to_end_own(truth, forms)
    elif easy.jets is not None:
        words.append(f"{path} is missing: no comparison with the float model")
    facts = {
        "build": build.name,
        "build_hash": build.hash,
        "backend": project.layout.backend,
        "project": str(project.path),
        "firmware": manifest["firmware"],
        "model_sha256": manifest["model_sha256"],
        "what": easy.what,
        "splits": easy.source,
        "jets": on_jets.to_json(),
        "adversarial": {**on_hard.to_json(), "cases": dict(Counter(hard.cases))},
        "float32_rounds": {"layers": wide or [], "values_different": rounded},
        "equal": on_jets.equal and on_hard.equal,
        "overflow_allowed": narrowed,
        "fidelity": beside.fidelity.to_json() if beside else None,
        "end": beside.end if beside else end,
        "versions": versions(),
    }
    own = project.layout.backend == open_backend(build.firmware.backend).name
    name = "csim" if own else f"csim_{project.layout.backend}"
    return CsimResult(run, name, project, on_jets, on_hard, tuple(words), facts, beside)


def level_without_clock(project: Project) -> str:
    """C simulation, or, of a project that has none, its first level without a clock.

    Raises:
        HlsError: all its levels have one.
    """
    levels = [level for level in project.levels if level not in project.timed]
    if not levels:
        raise HlsError(
            f"a project of backend '{project.layout.backend}' is simulated clock by clock only "
            f"({', '.join(project.levels)}): run its RTL simulation instead (qformers rtl)"
        )
    return "csim" if "csim" in levels else levels[0]


def check_same_model(project: Project, model: keras.Model) -> dict[str, Any]:
    """The manifest of a project; refuse to compare it with a model that it was not made from.

    Raises:
        HlsError: the weights or formats have changed since the export, or a file of the project has.
    """
    manifest = check_project(project.path)
    if manifest["model_sha256"] != weights_hash(model):
        raise HlsError(
            f"{project.path} was written from another model (its weights or formats differ); export this one first: "
            "qformers export"
        )
    return manifest


def beside_float(
    build: Build,
    path: Path,
    project: Project,
    model: keras.Model,
    jets: Events | PointEvents,
    outputs: dict[str, Array],
) -> BesideFloat:
    """Layers and physics against the float model.

    Args:
        build: the build.
        path: the float model.
        project, model: the firmware and the quantised model.
        jets: n jets or windows.
        outputs: form ("quantised", "csim") -> (n, classes), of windows (n, N, channels), on these.
    """
    float_model, nouns = load_quantised(path, build), nouns_of(build)
    source = open_split(build.data, "test")
    float_inputs = host_inputs(float_model, jets)
    traced = _followed(project)
    first = host_inputs(model, jets[:traced])
    first_float = {name: array[:traced] for name, array in float_inputs.items()}
    fidelity = layer_fidelity(project, model, float_model, first, first_float)
    outputs = {"float": _single(keras_outputs(float_model, float_inputs)), **outputs}
    if not isinstance(jets, PointEvents) and jets.held.targets:
        end = end_to_end_targets(task_of(build, source), outputs, jets.labels)
        return BesideFloat(fidelity, end, (), outputs, jets.class_names, nouns)
    if not isinstance(jets, PointEvents):
        end = end_to_end(outputs, jets.labels, jets.class_names)
        return BesideFloat(fidelity, end, (), outputs, jets.class_names, nouns)
    real = jets.mask > 0
    drawn = {form: array[real] for form, array in outputs.items()}
    try:
        end = end_to_end_points(task_of(build, source), outputs, jets)
        return BesideFloat(fidelity, end, (), drawn, nouns=nouns)
    except TrainingError as error:
        return BesideFloat(fidelity, None, (f"no scores of the whole model: {error}",), drawn, nouns=nouns)


def beside_own(
    build: Build,
    path: Path,
    project: Project,
    model: keras.Model,
    events: Sample,
    forms: Mapping[str, dict[str, Array]],
) -> BesideFloat:
    """A model of one's own against its float model, which reads the same: layers, outputs and, with labels, scores.

    Args:
        build: the build.
        path: the float model.
        project, model: the firmware and the quantised model.
        events: of its file.
        forms: form ("quantised", "csim") -> outputs by name, on these.
    """
    float_model = load_quantised(path, build)
    first = {name: array[: _followed(project)] for name, array in events.inputs.items()}
    fidelity = layer_fidelity(project, model, float_model, first, first)
    wanted = keras_outputs(float_model, dict(events.inputs))
    words = []
    for (name, ideal), firmware in zip(wanted.items(), forms["csim"].values(), strict=True):
        error = np.abs(firmware - ideal)
        words.append(f"output {name} beside float: mean |error| {error.mean():.3g}, largest {error.max():.3g}")
    drawn = {form: _single(outputs).reshape(len(_single(outputs)), -1) for form, outputs in forms.items()}
    drawn["float"] = _single(wanted).reshape(len(_single(wanted)), -1)
    width = drawn["float"].shape[1]
    names = tuple(f"{next(iter(wanted))} {place}" for place in range(width)) if width <= MOST_NAMED else ()
    truth = own_truth(build, float_model, events)
    end = None if truth is None else end_to_end_own(truth, {"float": wanted, **forms})
    return BesideFloat(fidelity, end, tuple(words), drawn, names, nouns_of(build))


def own_truth(build: Build, model: keras.Model, events: Sample) -> Truth | None:
    """What labels say of some events of the file of a model of one's own; None without any.

    Args:
        build: of such a model.
        model: one of its forms.
        events: of its file.
    """
    if events.places is None:
        return None
    truth = truth_of(build, model, events.of)
    return None if truth is None else truth[events.places]


def _followed(project: Project) -> int:
    """Events that are followed through all layers."""
    values = sum(step.size for step in project.layout.steps)
    return max(1, min(TRACED_JETS, TRACED_VALUES // max(values, 1)))


def _single(outputs: dict[str, Array]) -> Array:
    """The output of a model that has one, whatever its name."""
    return next(iter(outputs.values()))


def _pictures(beside: BesideFloat, folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Draw them.

    Args:
        beside: what to draw.
        folder, name: for ``<name>_*.png``.
        facts: of the JSON; model, backend and what was simulated are in the titles.
    """
    firmware, ideal = beside.drawn["csim"], beside.drawn["float"]
    of, what = f"{facts['build']}, firmware of {facts['backend']}", facts["what"]
    layers = folder / f"{name}_layers.png"
    if beside.fidelity.layers:
        show.plot_layers(beside.fidelity.layers, layers, f"{of}: {beside.fidelity.events:,} {what}")
    else:  # one of firmware that showed its layers is not of this one
        layers.unlink(missing_ok=True)
    names, nouns = beside.class_names, beside.nouns
    word = "Output" if beside.end is None or "score" in beside.end else "Logit"  # only classes have logits
    each = f"{word} of a {nouns.part.removesuffix('s')}" if nouns.part and not names else word
    counted = nouns.events.capitalize() if names else f"Outputs of {nouns.part}" if nouns.part else "Outputs"
    title = f"{of}: {facts['jets']['events']:,} {what}"
    show.plot_scatter(firmware, ideal, names, folder / f"{name}_scatter.png", each, title)
    show.plot_differences(firmware, ideal, names, folder / f"{name}_differences.png", word, counted, title)
