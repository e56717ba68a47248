"""Backends vitis and vivado: ap_fixed C++ through hls4ml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hls.backends.protocol import read_layout

if TYPE_CHECKING:
    from hls.backends.hls4ml.project import Hls4mlProject
    from hls.errors import Refusal
    from qformers.builds.build import Build
    from qformers.progress import Reporter


@dataclass(frozen=True)
class Hls4mlBackend:
    """One of hls4ml's backends that writes ap_fixed C++ for g++ and a vendor's tool.

    Attributes:
        name: key of `hls.backends.BACKENDS`.
        upstream: hls4ml's name of it.
        simulated_by: see `Backend`.
    """

    name: str
    upstream: str
    simulated_by: str = "qformers csim"

    def supports(self, model: Any, build: Build | None = None) -> list[Refusal]:
        """See `Backend.supports`."""
        from hls.backends.hls4ml.writer import supports

        return supports(model, build)

    def write(
        self,
        model: Any,
        build: Build,
        out: Path,
        reporter: Reporter | None = None,
        facts: Mapping[str, Any] | None = None,
        allow_overflow: bool = False,
    ) -> Hls4mlProject:
        """See `Backend.write`; takes part, clock, strategy and reuse factor of the build's section `firmware`."""
        from hls.backends.hls4ml.writer import write

        return write(self.name, self.upstream, model, build, out, reporter, facts, allow_overflow)

    def open(self, path: Path) -> Hls4mlProject:
        """See `Backend.open`."""
        from hls.backends.hls4ml.project import Hls4mlProject

        return Hls4mlProject(path, read_layout(path))
