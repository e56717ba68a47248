"""One run folder, read for the comparison: its build, what its stages left, and which of these are out of date."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hls.compare.read.records import (
    Csim,
    FirmwareManifest,
    Manifest,
    Metrics,
    PointMetrics,
    Rtl,
    RtlLevel,
    Sparsity,
    TargetMetrics,
    read,
)
from hls.compare.read.vendor import find_vendor
from hls.errors import HlsError
from hls.reports.report import Report, load_reports
from qformers.builds.build import Build, load
from qformers.builds.own_events import OWN, is_own
from qformers.builds.run_place import naming
from qformers.builds.saved import content_sha256
from qformers.builds.settings import hardware_of, unsaid
from qformers.data import DATASETS
from qformers.errors import ConfigError
from qformers.files import sha256
from qformers.records import WRITTEN, Fault, check_written

AnyMetrics = Metrics | PointMetrics | TargetMetrics
RTL_FILE = "rtl.json"
QAT_FILE = "qat/manifest.json"
SHOWN = ("model.keras", "metrics.json")  # files of a training phase
SHOWN_OF_PROJECT = ("plan.json", "layers.json", "precision.json", "precision.yaml")
REGRESSION = "regression"  # key of `qformers.tasks.TASKS`
FREE = ("quant.layers",)  # its keys are layer names, not keys of the schema: compared as a whole


@dataclass(frozen=True)
class Run:
    """What lies in a run folder; None = that stage was not run.

    Attributes:
        path: the folder.
        build: its build.yaml.
        float_metrics, metrics: test split, float and quantised.
        float_manifest, manifest: of the two training phases.
        sparsity: zeros of the quantised model.
        csim: C simulations by their files: ``csim.json``, and ``csim_<backend>.json`` of backends that are not the
            build's.
        rtl: the RTL simulation.
        reports: source -> report.
        firmware: backend -> manifest of its project.
        stale: file -> why it is not of this build and model any more.
        left_out: firmware project -> why reports of a vendor's tool in it are not shown.
        label: how it is called in tables; "" = the name of the folder.
    """

    path: Path
    build: Build
    float_metrics: AnyMetrics | None = None
    metrics: AnyMetrics | None = None
    float_manifest: Manifest | None = None
    manifest: Manifest | None = None
    sparsity: Sparsity | None = None
    csim: Mapping[str, Csim] = field(default_factory=dict)
    rtl: Rtl | None = None
    reports: Mapping[str, Report] | None = None
    firmware: Mapping[str, FirmwareManifest] | None = None
    stale: Mapping[str, str] | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    label: str = ""

    @property
    def name(self) -> str:
        """How it is called in tables: the folder's name, which is the build's unless --out said otherwise."""
        return self.label or self.path.resolve().name

    @property
    def task(self) -> str:
        """What it learns: "jets" for classes of jets, "regression", the task of its points; "own" where nobody says."""
        return _task_of(self.build)

    @property
    def scored(self) -> str:
        """The task whose scores it has: of a model of one's own that of its labels."""
        known = self.metrics or self.float_metrics
        if self.task != OWN or known is None:
            return self.task
        return REGRESSION if isinstance(known, TargetMetrics) else "jets"

    @property
    def float_only(self) -> bool:
        """Whether its build has no section `quant`, so that with the float model all is there that there will be."""
        return self.build.quant is None and self.metrics is None and self.manifest is None

    @property
    def arguments(self) -> str:
        """What to give to the commands that are still to be run, as one would type it; see `naming`."""
        return naming(self.path, self.build)


def _task_of(build: Build) -> str:
    data = build.data
    if is_own(build):
        return OWN
    if data.points is not None:
        return data.points.task
    known = data.dataset in DATASETS and DATASETS[data.dataset].task(data) == REGRESSION
    return REGRESSION if known else "jets"


def _own_kind(build: Build) -> type[AnyMetrics]:
    """What `qformers.interop.truth` writes of labels of a model of one's own."""
    config: Any = build.model
    return TargetMetrics if config.metric == "mse" else Metrics


def read_run(path: Path) -> Run:
    """Read a run folder.

    Raises:
        HlsError: no such run, or a file in it that cannot be read.
        ConfigError: its build.yaml is not a build.
    """
    if not (path / "build.yaml").is_file():
        raise HlsError(f"{path} is no run folder (it has no build.yaml); make one with qformers train")
    build = load(path / "build.yaml")
    kinds: dict[str, type[AnyMetrics]] = {"jets": Metrics, REGRESSION: TargetMetrics}
    kind = _own_kind(build) if is_own(build) else kinds.get(_task_of(build), PointMetrics)
    run = Run(
        path=path,
        build=build,
        float_metrics=read(path / "float" / "metrics.json", kind),
        metrics=read(path / "qat" / "metrics.json", kind),
        float_manifest=read(path / "float" / "manifest.json", Manifest),
        manifest=read(path / "qat" / "manifest.json", Manifest),
        sparsity=read(path / "qat" / "sparsity.json", Sparsity),
        csim=_csim(path),
        rtl=read(path / RTL_FILE, Rtl),
        reports=load_reports(path),
        firmware=_firmware(path),
    )
    run = _with_vendor(run)
    run = replace(run, stale=find_stale(run))
    return replace(run, reports=_with_own(run))


def read_runs(paths: Sequence[Path]) -> tuple[Run, ...]:
    """Read several run folders; those whose folders have the same name are called by their paths.

    Raises:
        HlsError: one of them cannot be read, or is given twice.
        ConfigError: a build.yaml is not a build.
    """
    places = [path.resolve() for path in paths]
    if twice := [path for path in paths if places.count(path.resolve()) > 1]:
        raise HlsError(f"each run is compared once. Received twice: {twice[0]}")
    runs = [read_run(path) for path in paths]
    names = [run.name for run in runs]
    return tuple(replace(run, label=str(run.path)) if names.count(run.name) > 1 else run for run in runs)


def _csim(path: Path) -> dict[str, Csim]:
    made = {}
    for file in [path / "csim.json", *sorted(path.glob("csim_*.json"))]:
        found = read(file, Csim)
        if found is None:
            continue
        if file.stem != "csim" and file.stem != f"csim_{found.backend}":
            raise HlsError(f"{file} is of backend {found.backend!r}, which its name does not say; remove it")
        made[file.name] = found
    backends = [one.backend for one in made.values()]
    if twice := [name for name in backends if backends.count(name) > 1]:
        raise HlsError(f"{path} has two C simulations of backend {twice[0]!r}: remove csim_{twice[0]}.json")
    return made


def _firmware(path: Path) -> dict[str, FirmwareManifest]:
    files = {file.parent.name: file for file in sorted(path.glob("firmware/*/manifest.json"))}
    read_ones = {name: read(file, FirmwareManifest) for name, file in files.items()}
    return {name: manifest for name, manifest in read_ones.items() if manifest is not None}


def _with_vendor(run: Run) -> Run:
    """The run with the reports that vendors' tools left in its projects; one that lies in ``reports/`` is kept."""
    own = run.build.firmware.backend
    backends = sorted(run.firmware or {}, key=lambda name: (name != own, name))
    found, left_out = find_vendor(run.path, backends)
    return replace(run, reports={**found, **(run.reports or {})}, left_out=left_out)


def _with_own(run: Run) -> dict[str, Report]:
    """The run's reports, with latency and II as the RTL simulation measured them and the EBOPs of the hardware.

    A report of the same stage that lies in the run already is kept instead.
    """
    reports: dict[str, Report] = dict(run.reports or {})
    stages = {report.stage for report in reports.values()}
    if "model" not in stages and (counted := ebops_of(run)) is not None:
        reports["ebops"] = Report("ebops", "model", "HGQ2", detail={"ebops": counted.ebops}, files=(counted.file,))
    timed = run.rtl.timed if run.rtl else None
    if "rtlsim" not in stages and timed is not None:
        reports[timed[0]] = _simulated(run, *timed)
    return reports


@dataclass(frozen=True)
class Counted:
    """EBOPs of the hardware of a run, and the file of the run that states them."""

    ebops: int
    file: str


def ebops_of(run: Run) -> Counted | None:
    """EBOPs of the hardware that the build of a run says; None where nothing has counted them.

    A project of the build's backend has those of what it writes, unless it is out of date. Without one it is the count
    of the training, if that was for the same hardware: a model may be exported with another `points_per_clock` or
    backend than it was trained for.
    """
    backend = run.build.firmware.backend
    project, file = (run.firmware or {}).get(backend), f"firmware/{backend}"
    if project is not None and project.ebops and file not in (run.stale or {}):
        return Counted(project.ebops, file)
    trained = run.manifest
    if trained is None or not trained.ebops or not trained_for_it(run):
        return None
    return Counted(trained.ebops, QAT_FILE)


def trained_for_it(run: Run) -> bool:
    """Whether the training counted EBOPs of the hardware that the build says."""
    counted = run.manifest.settings.get("firmware") if run.manifest else None
    return bool(counted == hardware_of(run.build).get("firmware"))


def _simulated(run: Run, name: str, level: RtlLevel) -> Report:
    """Cycles are measured; their period is what the backend was asked for."""
    estimates = [report for report in (run.reports or {}).values() if report.stage == "estimate"]
    clock = next((r.clock_ns for r in estimates if r.clock_ns is not None), run.build.firmware.clock_ns)
    cycles = level.latency_cycles or 0
    return Report(
        source=name,
        stage="rtlsim",
        clock_ns=clock,
        latency_cycles=cycles,
        latency_ns=cycles * clock,
        ii_cycles=level.ii_cycles,
        files=(RTL_FILE,),
        detail={"backend": run.rtl.backend} if run.rtl else {},
    )


def leaves(tree: Any, place: str = "") -> dict[str, Any]:
    """Nested mappings as ``{"train.qat.epochs": 25}``."""
    if not isinstance(tree, Mapping) or place in FREE:
        return {place: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= leaves(value, f"{place}.{key}".lstrip("."))
    return flat


def settings(build: Build) -> dict[str, Any]:
    """All settings of a build, by dotted key, as JSON has them."""
    return leaves(json.loads(build.model_dump_json()))


def find_stale(run: Run) -> dict[str, str]:
    """Files of the run that belong to another build or another model: file -> why.

    A stage counts as of this build when its hash is that of build.yaml or that of the quantised training: the hash
    changes with the schema, too, and a training is compared key by key.
    """
    stale: dict[str, str] = {}
    for phase, manifest in (("float", run.float_manifest), ("qat", run.manifest)):
        # its `firmware` is what EBOPs were counted for, which `ebops_of` looks at
        made_by = {key: value for key, value in manifest.settings.items() if key != "firmware"} if manifest else {}
        if changed := _changed(made_by, settings(run.build)):
            stale[f"{phase}/manifest.json"] = f"trained with other settings than build.yaml has: {'; '.join(changed)}"
        changed_files = [str(fault) for fault in _exchanged(run.path / phase, manifest, SHOWN)]
        if changed_files and f"{phase}/manifest.json" not in stale:
            stale[f"{phase}/manifest.json"] = f"{'; '.join(changed_files)}: put it back, or train again"
    if _other_float(run):
        words = "is not the float model that qat/model.keras was trained from: put that back"
        stale.setdefault("float/manifest.json", words)
    for name, project in (run.firmware or {}).items():
        if exchanged := [str(fault) for fault in _exchanged(run.path / "firmware" / name, project, SHOWN_OF_PROJECT)]:
            stale[f"firmware/{name}"] = f"{'; '.join(exchanged)}: export it again"
    good = {run.build.hash, *([run.manifest.build_hash] if run.manifest else [])}
    hashes: dict[str, Any] = {f"reports/{name}.json": r.detail.get("build_hash") for name, r in _reports(run)}
    hashes |= {file: simulated.build_hash for file, simulated in _simulations(run)}
    for file, value in hashes.items():
        if value is not None and value not in good:
            stale[file] = f"is of build {value}, build.yaml is {run.build.hash}: run that stage again"
    for file, section in _firmware_sections(run).items():
        if section and file not in stale and (changed := _changed({"firmware": section}, settings(run.build))):
            stale[file] = f"was made with other settings than build.yaml has: {'; '.join(changed)}: make it again"
    return {**stale, **_other_model(run, stale)}


def _exchanged(folder: Path, manifest: Manifest | FirmwareManifest | None, names: Sequence[str]) -> list[Fault]:
    """Of the files that a training or an export left and the table shows or names, those that are not as it left
    them.
    """
    shown = {name: manifest.written[name] for name in names if name in manifest.written} if manifest else {}
    return check_written(folder, {WRITTEN: shown})


def _other_float(run: Run) -> bool:
    """Whether the quantised model was trained from another float model than the one that lies there."""
    path, began = run.path / "float" / "model.keras", run.manifest and run.manifest.settings.get("float_model")
    if began is None or not path.is_file():
        return False
    try:
        return bool(began != content_sha256(path))
    except ConfigError:
        return True


def _firmware_sections(run: Run) -> dict[str, Mapping[str, Any] | None]:
    """What follows from the section `firmware` of a build -> the section that it was made with."""
    made: dict[str, Mapping[str, Any] | None] = {
        f"firmware/{name}": manifest.firmware for name, manifest in (run.firmware or {}).items()
    }
    made |= {file: simulated.firmware for file, simulated in _simulations(run)}
    return made | {f"reports/{name}.json": report.detail.get("firmware") for name, report in _reports(run)}


def _simulations(run: Run) -> list[tuple[str, Csim | Rtl]]:
    """All simulations by their files."""
    return [*run.csim.items(), *([(RTL_FILE, run.rtl)] if run.rtl else [])]


def _reports(run: Run) -> list[tuple[str, Report]]:
    return list((run.reports or {}).items())


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Keys that both have with different values; a key that the schema gained or lost says nothing."""
    before = leaves(old)
    if "firmware" in old:  # a default that is not spelt is no key that is unknown
        before, new = {**unsaid(), **before}, {**unsaid(), **new}
    return [f"{key} {before[key]!r} -> {new[key]!r}" for key in before if key in new and before[key] != new[key]]


def _other_model(run: Run, known: Mapping[str, str]) -> dict[str, str]:
    """Files that were made from another quantised model than qat/model.keras."""
    model = run.path / "qat" / "model.keras"
    if not model.is_file():
        return {}
    digest = sha256(model)
    other: dict[str, str] = {}
    firmware = run.firmware or {}
    old = {name for name, m in firmware.items() if m.model_file_sha256 not in (None, digest)}
    for file, simulated in _simulations(run):
        project = firmware.get(simulated.backend)
        if project and file not in known and simulated.model_sha256 not in (None, project.model_sha256):
            other[file] = f"is of another model than firmware/{simulated.backend}: simulate again"
    for name in sorted(old):
        other[f"firmware/{name}"] = "was written from another qat/model.keras: export it again"
    for file, simulated in _simulations(run):
        if simulated.backend in old and file not in known:
            words = f"is of firmware/{simulated.backend}, written from another qat/model.keras: export and simulate"
            other[file] = words
    weights = {m.model_sha256 for name, m in firmware.items() if name not in old and m.model_sha256}
    for name, report in _reports(run):
        seen, seen_file = report.detail.get("model_sha256"), report.detail.get("model_file_sha256")
        differs = (seen is not None and weights and seen not in weights) or seen_file not in (None, digest)
        if differs and f"reports/{name}.json" not in known:
            other[f"reports/{name}.json"] = "is of another quantised model: make the report again"
    return other
