"""Stage "export": from a trained model to a firmware project with its test bench."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.text import Text

from hls.backends import open_backend
from hls.backends.protocol import Backend, Project
from hls.backends.writing import refuse_foreign
from hls.backends.written import AGAIN, UNFINISHED, WIDE, command, complete, using
from hls.errors import HlsError
from hls.proof.adversarial import adversarial
from hls.proof.agree import keras_outputs
from hls.proof.exact import exact
from hls.reports.report import Report
from qformers.builds.build import Build
from qformers.builds.float_only import missing_model
from qformers.builds.models import load_model
from qformers.builds.own_events import is_own, own_events
from qformers.builds.saved import check_recorded
from qformers.builds.settings import differences, made_otherwise
from qformers.config.section import architecture_of
from qformers.data import DataError, open_split
from qformers.errors import ConfigError
from qformers.files import sha256
from qformers.manifest import MANIFEST, read_manifest
from qformers.models import arch_of
from qformers.models.inputs import host_inputs, takes_events
from qformers.nn.memory import memory_of
from qformers.precision.table import PrecisionTable
from qformers.progress import Reporter
from qformers.results import Result

BENCH_JETS = 100  # test jets of the C++ test bench, besides the adversarial events
FILES = {"precision": "precision.json", "resolved": "precision.yaml", "ports": "ports.json"}  # told where they are


@dataclass(frozen=True, repr=False)
class Exported(Result):
    """A written firmware project.

    Attributes:
        project: to be simulated, or synthesised with the vendor's tool.
        precision: what ``precision.json`` of the project says: formats of every layer, notes, allowed overflows.
        wide: layers with sums of more bits than a float32 holds.
    """

    project: Project
    precision: dict[str, Any]
    wide: tuple[str, ...] = ()

    @cached_property
    def reports(self) -> tuple[Report, ...]:
        """What the backend knows of cost and time before anything is synthesised."""
        return tuple(self.project.reports())

    def __str__(self) -> str:
        """Where the project and its main files are."""
        folder = self.project.path
        known = {name: folder / file for name, file in FILES.items() if (folder / file).is_file()}
        return "\n".join(f"{name + ':':<10} {path}" for name, path in {"project": folder, **known}.items())

    def pieces(self) -> Iterator[RenderableType]:
        """Formats of every layer, and what is to be known about them."""
        yield PrecisionTable.from_json(self.precision["layers"]).as_rich("Precision of every layer")
        if within := self.precision.get("within"):
            names = ", ".join(within)
            yield f"note: formats inside of {names} are not in this table; qformers audit lists those of values"
        yield from (f"note: {note}" for note in self.precision.get("notes", []))
        if self.wide:
            yield (
                f"note: sums of more than the 24 bits of float32, where Keras itself may round and firmware does not: "
                f"{', '.join(self.wide)}"
            )
        for short in self.precision.get("overflow_allowed", []):
            bits = f"{short['integer_bits']} integer and {short['fraction_bits']} fraction bits"
            yield Text(
                f"OVERFLOW ALLOWED: layer '{short['layer']}': accumulator {short['accumulator']} lacks {bits}, its "
                f"sums need {short['needed']}; the firmware may differ from the model",
                style="bold red",
            )

        yield from map(estimated, self.reports)

    def save(self) -> Path:
        """The folder of the project, which was written by the export: it appears whole or not at all."""
        return self.project.path


def estimated(report: Report) -> str:
    """What a report says, in a line."""
    unfused = report.resources.get("lut_unfused")
    before = "" if unfused is None else f" ({unfused:,} before adders of three operands)"
    counts = ", ".join(
        f"{report.resources[key]:,} {key.upper()}{before if key == 'lut' else ''}"
        for key in ("lut", "ff", "dsp")
        if key in report.resources
    )
    times = "" if report.latency_cycles is None else f"; latency {report.latency_cycles} cycles"
    times += "" if report.latency_ns is None else f" = {report.latency_ns:g} ns"
    times += "" if report.ii_cycles is None else f", II = {report.ii_cycles}"
    return f"{report.stage} of {report.tool}: {counts}{times}"


def load_quantised(path: Path, build: Build | None = None) -> keras.Model:
    """Load a model that `qformers train` saved.

    Args:
        path: its file.
        build: that it has to be of, as far as the model remembers its own.

    Raises:
        HlsError: no file, none that Keras can read, or a model of another architecture than the build's.
    """
    if not path.is_file():
        raise HlsError(missing_model(path, build))
    try:
        model = load_model(path)
    except ConfigError as error:  # Keras's own words are its cause
        raise HlsError(f"{path} cannot be read as a Keras model: {error.__cause__ or error}") from error
    memory = memory_of(model)
    if build is not None and memory is not None:
        wanted = architecture_of(build.model)
        own = memory.config.get("architecture", wanted)  # a model of verbs alone has no architecture
        if own != wanted:
            raise HlsError(f"{path} is of architecture {own}, build '{build.name}' of {wanted}; give its own model")
        arch = arch_of(wanted)
        said = arch.fixed(build.model) if arch is not None and memory.vocabulary == "hgq" else build.model
        refuse_differences(path, differences(*_shared(memory.config, said.model_dump(mode="json")), "model"))
    return model


def _shared(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both as JSON, with the keys that both have: the schema may have gained some since."""
    plain = [json.loads(json.dumps(tree)) for tree in (one, other)]
    first, second = ({key: tree[key] for key in tree if key in one and key in other} for tree in plain)
    return first, second


def refuse_other_build(path: Path, build: Build) -> None:
    """Refuse a model of a run folder that another build made; looks at its manifest only, before Keras is needed.

    Args:
        path: the model; one without a manifest beside it was made elsewhere, and only it can say of what.
        build: that is to be its own.

    Raises:
        HlsError: naming every key that differs, or the training is not finished.
        DamagedError: the manifest is damaged, or the model is not the file that it names.
    """
    if not path.is_file():
        raise HlsError(missing_model(path, build))
    if not (path.parent / MANIFEST).exists():
        if (path.parent / "checkpoints").is_dir():
            raise HlsError(f"{path}: its training is not finished; go on with it first (qformers train)")
        return
    settings = check_recorded(path).get("settings", {})
    refuse_differences(path, made_otherwise(settings, build))


def refuse_differences(path: Path, changed: Sequence[str]) -> None:
    """Refuse a model where `changed` says in what it is not of the build.

    Raises:
        HlsError: it says something.
    """
    if changed:
        raise HlsError(
            f"{path} was made by another build; train this one (qformers train, in a run folder of its own), or leave "
            f"the change out. Changed (model -> build): {'; '.join(changed)}"
        )


def export(
    build: Build,
    model_path: Path | str,
    out: Path | str,
    backend: str | Backend | None = None,
    allow_overflow: bool = False,
    reporter: Reporter | None = None,
) -> Exported:
    """Write the firmware project of a build.

    Args:
        build: its section `firmware` says how.
        model_path: the quantised model.
        out: folder of the project.
        backend: instead of the one of the build, or its name.
        allow_overflow: write accumulators of the build that cannot hold their sums.
        reporter: told of progress.

    Raises:
        HlsError: no model, an unknown backend, or a layer without exact firmware (`ExportRefused`).
    """
    chosen = backend or build.firmware.backend
    writer = open_backend(chosen) if isinstance(chosen, str) else chosen
    model_path, out = Path(model_path), Path(out)
    refuse_foreign(out)
    refuse_other_build(model_path, build)
    model = load_quantised(model_path, build)
    facts = {"model": str(model_path), "model_file_sha256": sha256(model_path), UNFINISHED: True}
    with using(out, command()):
        project = writer.write(model, build, out, reporter, facts, allow_overflow)
        inputs = bench_inputs(build, model)
        project.write_bench(inputs, keras_outputs(exact(model, project), inputs))
        complete(project.path)
    path = project.path / FILES["precision"]
    wide = tuple(read_manifest(project.path, AGAIN).get(WIDE, []))
    return Exported(project, json.loads(path.read_text()) if path.is_file() else {"layers": []}, wide)


def bench_inputs(build: Build, model: keras.Model) -> dict[str, NDArray[np.float32]]:
    """Some test jets, where there are any, and the adversarial events."""
    hard = adversarial(model).inputs
    if is_own(build):
        given = own_events(build, model) or {}
        return {name: np.concatenate([given[name][:BENCH_JETS], hard[name]]) for name in hard} if given else hard
    if not takes_events(model):
        return hard
    try:
        jets = open_split(build.data, "test").load()[:BENCH_JETS]
    except DataError:
        return hard
    easy = host_inputs(model, jets)
    return {name: np.concatenate([easy[name], hard[name]]) for name in hard}
