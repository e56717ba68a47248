"""Backend alkaid: pipelined RTL, written and simulated without a vendor's tool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hls.backends.protocol import read_layout

if TYPE_CHECKING:
    from hls.backends.alkaid.project import AlkaidProject
    from hls.errors import Refusal
    from qformers.builds.build import Build
    from qformers.progress import Reporter


@dataclass(frozen=True)
class AlkaidBackend:
    """RTL through alkaid."""

    name: str = "alkaid"
    simulated_by: str = "qformers rtl"

    def supports(self, model: Any, build: Build | None = None) -> list[Refusal]:
        """See `Backend.supports`."""
        from hls.backends.alkaid.writer import supports

        return supports(model, build)

    def write(
        self,
        model: Any,
        build: Build,
        out: Path,
        reporter: Reporter | None = None,
        facts: Mapping[str, Any] | None = None,
        allow_overflow: bool = False,
    ) -> AlkaidProject:
        """See `Backend.write`; takes part, clock, flavour and `stage_ns` of the build's section `firmware`.

        Its adders are as wide as their sums, so that no overflow is to be allowed.
        """
        from hls.backends.alkaid.writer import write

        return write(model, build, out, reporter, facts)

    def open(self, path: Path) -> AlkaidProject:
        """See `Backend.open`."""
        from hls.backends.alkaid.project import AlkaidProject

        return AlkaidProject(path, read_layout(path))
