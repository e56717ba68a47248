"""Kernels and stores of folded firmware, row by row: what the layers are to firmware that takes all points at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hls.compare.read.records import FoldedPlan, KernelCost, read
from hls.compare.read.run import Run

PLAN = "plan.json"
BITS = "_bits"  # a store of a plan is called by its kind and this
WORDS = ("kernel", "layers")  # columns that hold no numbers


@dataclass(frozen=True)
class Kernels:
    """Kernels of one project.

    Attributes:
        build: name of the run.
        project: its place in the run folder.
        plan: as the project was written.
        stale: why it is not of the run's build and model; "" where it is.
    """

    build: str
    project: str
    plan: FoldedPlan
    stale: str = ""

    @property
    def title(self) -> str:
        """What it takes and how often, in a line."""
        plan = self.plan
        taken = f"{plan.points_per_clock} of {plan.points} points per clock"
        ii = f"II {plan.ii_cycles} cycles = {plan.ii_cycles * plan.clock_ns:g} ns"
        late = f"latency {plan.latency_cycles} cycles = {plan.latency_cycles * plan.clock_ns:g} ns"
        return f"{self.build}: {taken}, {ii}, {late}{' STALE' if self.stale else ''}"

    @property
    def stores(self) -> tuple[str, ...]:
        """Kinds of memories that any kernel has: its ROM, and the stores behind it."""
        return tuple(dict.fromkeys(kind for row in self.plan.kernels for kind in row.memories))

    def heads(self) -> list[str]:
        """Headings of `rows`; those of memories are bits of its ROM and of the stores behind it."""
        kinds = [f"{kind.removesuffix(BITS)} [bit]" for kind in self.stores]
        return [*WORDS, "beats", "stages", "path [ns]", "LUT (alkaid)", "registers [bit]", *kinds]

    def rows(self) -> list[list[str]]:
        """A row per kernel, the sums last."""
        rows = [self._row(row) for row in self.plan.kernels]
        numbers = [_total(row.lut_estimate for row in self.plan.kernels)]
        numbers += [_total(row.register_bits for row in self.plan.kernels)]
        numbers += [_total(row.memories.get(kind, 0) for row in self.plan.kernels) for kind in self.stores]
        longest = max((row.longest_path_ns for row in self.plan.kernels), default=0.0)
        stages = sum(row.stages for row in self.plan.kernels)
        return [*rows, ["all", "", "", f"{stages}", f"{longest:.2f}", *numbers]]

    def _row(self, row: KernelCost) -> list[str]:
        stores = [f"{row.memories.get(kind, 0):,}" for kind in self.stores]
        counted = [f"{row.beats}", f"{row.stages}", f"{row.longest_path_ns:.2f}", f"{row.lut_estimate:,.0f}"]
        return [f"k{row.kernel}", layers_of(row), *counted, f"{row.register_bits:,}", *stores]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {"build": self.build, "project": self.project, **self.plan.model_dump(mode="json")}


def read_kernels(runs: Sequence[Run]) -> tuple[Kernels, ...]:
    """Those of all folded projects of some runs.

    Raises:
        HlsError: a plan cannot be read.
    """
    return tuple(
        Kernels(run.name, project, plan, (run.stale or {}).get(project, ""))
        for run in runs
        for project, plan in plans_of(run.path).items()
    )


def plans_of(run: Path) -> dict[str, FoldedPlan]:
    """Place in a run folder of each folded project -> its plan.

    Raises:
        HlsError: one cannot be read.
    """
    read_ones = {
        f"firmware/{file.parent.name}": read(file, FoldedPlan) for file in sorted(run.glob(f"firmware/*/{PLAN}"))
    }
    return {project: plan for project, plan in read_ones.items() if plan is not None}


def layers_of(row: KernelCost) -> str:
    """The layers of a kernel in a few words: all of them where they are few, else the ends and how many."""
    names = row.layers
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} … {names[-1]} ({len(names)})"


def _total(values: Any) -> str:
    return f"{sum(values):,.0f}"
