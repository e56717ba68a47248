"""Folded firmware of forms of the battery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hls.backends import open_backend
from hls.backends.folded.project import FoldedProject
from support.battery import build_of, models_of


def written(name: str, form: str, together: int, out: Path, particles: int | None = None) -> tuple[Any, FoldedProject]:
    """The quantised model of a form, and its project with T points per clock."""
    cfg, quant, _, model = models_of(name, form, particles)
    build = build_of(name, cfg, quant, "folded")
    firmware = build.firmware.model_copy(update={"points_per_clock": together})
    project = open_backend("folded").write(model, build.model_copy(update={"firmware": firmware}), out)
    assert isinstance(project, FoldedProject)
    return model, project
