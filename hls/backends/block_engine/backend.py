"""Backend block_engine: HEPT for events of thousands of points, one block per clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hls.backends.protocol import read_layout

if TYPE_CHECKING:
    from hls.backends.block_engine.project import EngineProject
    from hls.errors import Refusal
    from qformers.builds.build import Build
    from qformers.progress import Reporter


@dataclass(frozen=True)
class BlockEngineBackend:
    """RTL that takes a quantised HEPT block by block.

    Attributes:
        name: key of `hls.backends.BACKENDS`.
        simulated_by: see `Backend`.
        most_points: of an event, which memories are made for; 0 = as many as the model takes.
    """

    name: str = "block_engine"
    simulated_by: str = "qformers block-engine"
    most_points: int = 0

    def supports(self, model: Any, build: Build | None = None) -> list[Refusal]:
        """See `Backend.supports`; the model must be that of the build, a HEPT with a section quant."""
        from hls.backends.block_engine.writer import supports

        return supports(model, build)

    def write(
        self,
        model: Any,
        build: Build,
        out: Path,
        reporter: Reporter | None = None,
        facts: Mapping[str, Any] | None = None,
        allow_overflow: bool = False,
    ) -> EngineProject:
        """See `Backend.write`; takes part, clock and `stage_ns` of the build's section `firmware`.

        Its adders are as wide as their sums, so that no overflow is to be allowed.
        """
        from hls.backends.block_engine.writer import write

        return write(model, build, out, self.most_points, reporter, facts)

    def open(self, path: Path) -> EngineProject:
        """See `Backend.open`."""
        from hls.backends.block_engine.project import EngineProject

        return EngineProject(path, read_layout(path))
