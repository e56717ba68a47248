"""One run folder, read for the comparison: its build, what its stages left, and which of these are out of date."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hls.compare.read.own import with_own
from hls.compare.read.records import Csim, FirmwareManifest, Manifest, Metrics, PointMetrics, Rtl, Sparsity, read
from hls.errors import HlsError
from hls.reports.report import Report, load_reports
from qformers.builds.build import Build, load
from qformers.files import sha256

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
        csim, rtl: the simulations.
        reports: source -> report.
        firmware: backend -> manifest of its project.
        stale: file -> why it is not of this build and model any more.
        label: how it is called in tables; "" = the name of the folder.
    """

    path: Path
    build: Build
    float_metrics: Metrics | PointMetrics | None = None
    metrics: Metrics | PointMetrics | None = None
    float_manifest: Manifest | None = None
    manifest: Manifest | None = None
    sparsity: Sparsity | None = None
    csim: Csim | None = None
    rtl: Rtl | None = None
    reports: Mapping[str, Report] | None = None
    firmware: Mapping[str, FirmwareManifest] | None = None
    stale: Mapping[str, str] | None = None
    label: str = ""

    @property
    def name(self) -> str:
        """How it is called in tables: the folder's name, which is the build's unless --out said otherwise."""
        return self.label or self.path.resolve().name

    @property
    def yaml(self) -> str:
        """The build file to give to the scripts that are still to be run."""
        return f"firmware_configs/{self.build.name}.yaml"


def read_run(path: Path) -> Run:
    """Read a run folder.

    Raises:
        HlsError: no such run, or a file in it that cannot be read.
        ConfigError: its build.yaml is not a build.
    """
    if not (path / "build.yaml").is_file():
        raise HlsError(f"{path} is no run folder (it has no build.yaml); make one with scripts/train.py")
    build = load(path / "build.yaml")
    kind: type[Metrics | PointMetrics] = Metrics if build.data.points is None else PointMetrics
    run = Run(
        path=path,
        build=build,
        float_metrics=read(path / "float" / "metrics.json", kind),
        metrics=read(path / "qat" / "metrics.json", kind),
        float_manifest=read(path / "float" / "manifest.json", Manifest),
        manifest=read(path / "qat" / "manifest.json", Manifest),
        sparsity=read(path / "qat" / "sparsity.json", Sparsity),
        csim=read(path / "csim.json", Csim),
        rtl=read(path / "rtl.json", Rtl),
        reports=load_reports(path),
        firmware=_firmware(path),
    )
    run = replace(run, stale=find_stale(run))
    return replace(run, reports=with_own(run))


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


def _firmware(path: Path) -> dict[str, FirmwareManifest]:
    found = {}
    for file in sorted(path.glob("firmware/*/manifest.json")):
        manifest = read(file, FirmwareManifest)
        if manifest is not None:
            found[file.parent.name] = manifest
    return found


def leaves(tree: Any, place: str = "") -> dict[str, Any]:
    """Nested mappings as ``{"train.qat.epochs": 25}``."""
    if not isinstance(tree, Mapping) or place in FREE:
        return {place: tree}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= leaves(value, f"{place}.{key}".lstrip("."))
    return found


def settings(build: Build) -> dict[str, Any]:
    """All settings of a build, by dotted key, as JSON has them."""
    return leaves(json.loads(build.model_dump_json()))


def find_stale(run: Run) -> dict[str, str]:
    """Files of the run that belong to another build or another model: file -> why.

    A stage counts as of this build when its hash is that of build.yaml or that of the quantised training: the hash
    changes with the schema, too, and a training is compared key by key.
    """
    found: dict[str, str] = {}
    for phase, manifest in (("float", run.float_manifest), ("qat", run.manifest)):
        if manifest and (changed := _changed(manifest.settings, settings(run.build))):
            found[f"{phase}/manifest.json"] = f"trained with other settings than build.yaml has: {'; '.join(changed)}"
    good = {run.build.hash, *([run.manifest.build_hash] if run.manifest else [])}
    hashes: dict[str, Any] = {f"reports/{name}.json": r.detail.get("build_hash") for name, r in _reports(run)}
    hashes |= {"csim.json": run.csim and run.csim.build_hash, "rtl.json": run.rtl and run.rtl.build_hash}
    for file, value in hashes.items():
        if value is not None and value not in good:
            found[file] = f"is of build {value}, build.yaml is {run.build.hash}: run that stage again"
    return {**found, **_other_model(run, found)}


def _reports(run: Run) -> list[tuple[str, Report]]:
    return list((run.reports or {}).items())


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Keys that both have with different values; a key that the schema gained or lost says nothing."""
    before = leaves(old)
    return [f"{key} {before[key]!r} -> {new[key]!r}" for key in before if key in new and before[key] != new[key]]


def _other_model(run: Run, known: Mapping[str, str]) -> dict[str, str]:
    """Files that were made from another quantised model than qat/model.keras."""
    model = run.path / "qat" / "model.keras"
    if not model.is_file():
        return {}
    digest, found = sha256(model), {}
    firmware = run.firmware or {}
    old = {name for name, m in firmware.items() if m.model_file_sha256 not in (None, digest)}
    users = {"csim.json": run.csim and run.csim.backend, "rtl.json": run.rtl and run.rtl.backend}
    for name in sorted(old):
        found[f"firmware/{name}"] = "was written from another qat/model.keras: export it again"
    for file, backend in users.items():
        if backend in old and file not in known:
            found[file] = f"is of firmware/{backend}, written from another qat/model.keras: export and simulate"
    weights = {m.model_sha256 for name, m in firmware.items() if name not in old and m.model_sha256}
    for name, report in _reports(run):
        seen, seen_file = report.detail.get("model_sha256"), report.detail.get("model_file_sha256")
        other = (seen is not None and weights and seen not in weights) or seen_file not in (None, digest)
        if other and f"reports/{name}.json" not in known:
            found[f"reports/{name}.json"] = "is of another quantised model: make the report again"
    return found
