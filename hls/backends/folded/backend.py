"""Backend folded: RTL, or C++ for Vitis HLS, that takes T points per clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hls.backends.protocol import read_layout

if TYPE_CHECKING:
    from hls.backends.folded.project import FoldedProject
    from hls.errors import Refusal
    from qformers.builds.build import Build
    from qformers.progress import Reporter


@dataclass(frozen=True)
class FoldedBackend:
    """Kernels traced by alkaid for the points of a clock, and stores between them; in Verilog or in C++."""

    name: str = "folded"
    simulated_by: str = "qformers rtl"

    def supports(self, model: Any, build: Build | None = None) -> list[Refusal]:
        """See `Backend.supports`."""
        from hls.backends.folded.writer import supports

        return supports(model, build)

    def write(
        self,
        model: Any,
        build: Build,
        out: Path,
        reporter: Reporter | None = None,
        facts: Mapping[str, Any] | None = None,
        allow_overflow: bool = False,
    ) -> FoldedProject:
        """See `Backend.write`; its adders are as wide as their sums, so that no overflow is to be allowed."""
        from hls.backends.folded.writer import write

        return write(model, build, out, reporter, facts)

    def open(self, path: Path) -> FoldedProject:
        """See `Backend.open`."""
        from hls.backends.folded.project import FoldedProject

        return FoldedProject(path, read_layout(path))
