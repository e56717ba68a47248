"""Stage "csim": is the firmware equal to the quantised model, and what does fixed point cost against float?"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from hls.backends import open_project
from hls.backends.protocol import Project
from hls.backends.writing import weights_hash
from hls.errors import HlsError
from hls.proof import show
from hls.proof.adversarial import adversarial
from hls.proof.agree import Agreement, agree, compare, keras_outputs
from hls.proof.fidelity import Fidelity, end_to_end, end_to_end_points, layer_fidelity
from hls.proof.samples import sample
from hls.stages.export import load_quantised
from qformers.builds.build import Build
from qformers.data import Events, open_split
from qformers.data.points.events import PointEvents
from qformers.errors import TrainingError
from qformers.files import write_json
from qformers.manifest import versions
from qformers.models.inputs import host_inputs
from qformers.progress import Reporter
from qformers.tasks import task_of

TRACED_JETS = 1000  # followed through every layer
TRACED_VALUES = 100_000_000  # of all layers, 8 bytes each: of a larger model fewer jets are followed

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CsimResult:
    """Result of the stage; `path` is its JSON."""

    path: Path
    jets: Agreement
    adversarial: Agreement
    fidelity: Fidelity | None
    end: dict[str, Any] | None

    @property
    def equal(self) -> bool:
        """Whether the firmware equals the quantised model on all events."""
        return self.jets.equal and self.adversarial.equal


def simulate(
    build: Build, run: Path, events: int, reporter: Reporter, console: Console, backend: str | None = None
) -> CsimResult:
    """Run the C simulation of a build's firmware and compare it.

    Reads ``qat/model.keras``, ``float/model.keras`` (if there) and ``firmware/<backend>`` of the run folder; writes
    ``csim.json``, ``plots/csim_*.png`` and what the project itself reports of its cost, ``reports/<source>.json``.

    Args:
        build: the build.
        run: its run folder.
        events: test jets wanted.
        reporter: told of progress.
        console: where the tables go.
        backend: instead of the one of the build.

    Raises:
        HlsError: a file is missing or the project is not of this model.
    """
    project = open_project(run / "firmware" / (backend or build.firmware.backend))
    level = level_without_clock(project)
    model = load_quantised(run / "qat" / "model.keras")
    check_same_model(project, model)
    easy = sample(build, model, events)
    project.compile(level, reporter)
    forms = {
        "quantised": keras_outputs(model, easy.inputs, reporter, "quantised Keras"),
        "csim": project.outputs(easy.inputs, level, reporter),
    }
    on_jets = compare(project, model, easy.inputs, forms["csim"], forms["quantised"])
    hard = adversarial(model)
    on_hard = agree(project, model, hard.inputs, reporter, level)
    console.print(f"{len(easy)} {easy.what} ({easy.source}): {on_jets}", markup=False)
    console.print(f"{len(hard)} adversarial events: {on_hard}", markup=False)
    if on_hard.event is not None:
        console.print(f"  event {on_hard.event} is '{hard.cases[on_hard.event]}'", markup=False)
    manifest = json.loads((project.path / "manifest.json").read_text())
    narrowed = manifest.get("overflow_allowed", [])
    for line in narrowed:
        console.print(f"overflow allowed at export: {line}", markup=False)
    if wide := manifest.get("wider_than_float32"):
        console.print(
            f"sums wider than the 24 bits of float32, where Keras itself may round: {', '.join(wide)}", markup=False
        )
    fidelity, end = None, None
    if easy.jets is not None:
        outputs = {form: _single(found) for form, found in forms.items()}
        fidelity, end = compare_with_float(build, run, project, model, easy.jets, outputs, console)
    facts = {
        "build": build.name,
        "build_hash": build.hash,
        "backend": project.layout.backend,
        "project": str(project.path),
        "what": easy.what,
        "splits": easy.source,
        "jets": on_jets.to_json(),
        "adversarial": {**on_hard.to_json(), "cases": dict(Counter(hard.cases))},
        "equal": on_jets.equal and on_hard.equal,
        "overflow_allowed": narrowed,
        "fidelity": fidelity.to_json() if fidelity else None,
        "end": end,
        "versions": versions(),
    }
    write_json(run / "csim.json", facts)
    for report in project.reports():
        report.save(run)
    return CsimResult(run / "csim.json", on_jets, on_hard, fidelity, end)


def level_without_clock(project: Project) -> str:
    """C simulation, or, of a project that has none, its first level without a clock.

    Raises:
        HlsError: all its levels have one.
    """
    levels = [level for level in project.levels if level not in project.timed]
    if not levels:
        raise HlsError(
            f"a project of backend '{project.layout.backend}' is simulated clock by clock only "
            f"({', '.join(project.levels)}): run its RTL simulation instead (scripts/run_rtl.py)"
        )
    return "csim" if "csim" in levels else levels[0]


def check_same_model(project: Project, model: keras.Model) -> None:
    """Refuse to compare a project with a model that it was not made from.

    Raises:
        HlsError: the weights or formats have changed since the export.
    """
    manifest = json.loads((project.path / "manifest.json").read_text())
    if manifest["model_sha256"] != weights_hash(model):
        raise HlsError(
            f"{project.path} was written from another model (its weights or formats differ); export this one first: "
            "scripts/export_hls.py"
        )


def compare_with_float(
    build: Build,
    run: Path,
    project: Project,
    model: keras.Model,
    jets: Events | PointEvents,
    outputs: dict[str, Array],
    console: Console,
) -> tuple[Fidelity | None, dict[str, Any] | None]:
    """Layers, physics and pictures against the float model; (None, None) with a word if there is none.

    Args:
        build, run, project, model, console: as in `simulate`.
        jets: n jets or windows.
        outputs: form ("quantised", "csim") -> (n, classes), of windows (n, N, channels), on these.
    """
    path = run / "float" / "model.keras"
    if not path.is_file():
        console.print(f"{path} is missing: no comparison with the float model", markup=False)
        return None, None
    float_model = load_quantised(path)
    source = open_split(build.data, "test")
    float_inputs = host_inputs(float_model, jets)
    values = sum(step.size for step in project.layout.steps)
    traced = max(1, min(TRACED_JETS, TRACED_VALUES // max(values, 1)))
    first = host_inputs(model, jets[:traced])
    first_float = {name: array[:traced] for name, array in float_inputs.items()}
    fidelity = layer_fidelity(project, model, float_model, first, first_float)
    outputs = {"float": _single(keras_outputs(float_model, float_inputs)), **outputs}
    console.print(show.layer_table(fidelity))
    class_names: tuple[str, ...] = ()  # outputs of points have no names
    if isinstance(jets, PointEvents):
        try:
            end: dict[str, Any] | None = end_to_end_points(task_of(build, source), outputs, jets)
        except TrainingError as error:
            console.print(f"no scores of the whole model: {error}", markup=False)
            end = None
        tables = [show.points_table(end), show.changes_table(end)] if end else []
        real = jets.mask > 0
        drawn = {form: values[real] for form, values in outputs.items()}
    else:
        end = end_to_end(outputs, jets.labels, jets.class_names)
        tables = [show.end_table(end), show.changes_table(end)]
        drawn, class_names = outputs, jets.class_names
    for table in tables:
        console.print(table)
    _pictures(fidelity, drawn, class_names, run / "plots")
    return fidelity, end


def _single(outputs: dict[str, Array]) -> Array:
    """The output of a model that has one, whatever its name."""
    return next(iter(outputs.values()))


def _pictures(fidelity: Fidelity, outputs: dict[str, Array], class_names: tuple[str, ...], folder: Path) -> None:
    show.plot_layers(fidelity.layers, folder / "csim_layers.png")
    show.plot_scatter(outputs["csim"], outputs["float"], class_names, folder / "csim_scatter.png")
    show.plot_differences(outputs["csim"], outputs["float"], class_names, folder / "csim_differences.png")
