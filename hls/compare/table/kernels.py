"""Kernels and stores of folded firmware, row by row: what the layers are to firmware that takes all points at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hls.compare.read.records import FoldedPlan, KernelCost, read
from hls.compare.read.run import Run
from hls.reports.report import FOLDER

PLAN = "plan.json"
BITS = "_bits"  # a store of a plan is called by its kind and this
WORDS = ("kernel", "layers")  # columns that hold no numbers


COUNTED = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "lutram": "LUTRAM", "bram18": "BRAM18"}  # of a synthesis
SYNTHESISED = "kernels"  # detail of a synthesis report: "k0", ..., and what stands around them -> resources


@dataclass(frozen=True)
class Kernels:
    """Kernels of one project.

    Attributes:
        build: name of the run.
        project: its place in the run folder.
        plan: as the project was written.
        stale: why it is not of the run's build and model; "" where it is.
        synthesised: source -> kernel, or what stands around all of them -> resource -> how many.
    """

    build: str
    project: str
    plan: FoldedPlan
    stale: str = ""
    synthesised: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What it takes and how often, in a line."""
        plan = self.plan
        ii = f"II {plan.ii_cycles} cycles = {plan.ii_cycles * plan.clock_ns:g} ns"
        late = f"latency {plan.latency_cycles} cycles = {plan.latency_cycles * plan.clock_ns:g} ns"
        return f"{self.build}: {plan.taken}, {ii}, {late}{' STALE' if self.stale else ''}"

    @property
    def stores(self) -> tuple[str, ...]:
        """Kinds of memories that any kernel has: its ROM, and the stores behind it."""
        return tuple(dict.fromkeys(kind for row in self.plan.kernels for kind in row.memories))

    @property
    def estimates(self) -> dict[str, str]:
        """Attributes of a row with alkaid's estimates -> heading."""
        dsp = {"dsp_estimate": "DSP (alkaid)"} if any(row.dsp_estimate for row in self.plan.kernels) else {}
        return {"lut_estimate": "LUT (alkaid)", **dsp, "register_bits": "registers [bit]"}

    @property
    def counts(self) -> list[tuple[str, str]]:
        """Source and resource of the columns of a synthesis; LUT and FF, and others that any part has."""
        return [
            (source, key)
            for source, parts in self.synthesised.items()
            for key in COUNTED
            if key in ("lut", "ff") or any(part.get(key, 0) for part in parts.values())
        ]

    def heads(self) -> list[str]:
        """Headings of `rows`; those of memories are bits of its ROM and of the stores behind it."""
        kinds = [f"{kind.removesuffix(BITS)} [bit]" for kind in self.stores]
        counts = [f"{COUNTED[key]} ({source})" for source, key in self.counts]
        return [*WORDS, "beats", "stages", "path [ns]", *self.estimates.values(), *kinds, *counts]

    def rows(self) -> list[list[str]]:
        """A row per kernel, what stands around them where that was synthesised, the sums last."""
        plan, names = self.plan.kernels, [f"k{row.kernel}" for row in self.plan.kernels]
        around = list(dict.fromkeys(name for parts in self.synthesised.values() for name in parts if name not in names))
        numbers = [_total(getattr(row, key) for row in plan) for key in self.estimates]
        numbers += [_total(row.memories.get(kind, 0) for row in plan) for kind in self.stores]
        longest, stages = max((row.longest_path_ns for row in plan), default=0.0), sum(row.stages for row in plan)
        whole = ["all", "", "", f"{stages}", f"{longest:.2f}", *numbers, *self._counted([*names, *around])]
        blank = [""] * (len(whole) - 1 - len(self.counts))
        return [*map(self._row, plan), *([name, *blank, *self._counted([name])] for name in around), whole]

    def _row(self, row: KernelCost) -> list[str]:
        name, shape = f"k{row.kernel}", [f"{row.beats}", f"{row.stages}", f"{row.longest_path_ns:.2f}"]
        estimates = [f"{getattr(row, key):,.0f}" for key in self.estimates]
        stores = [f"{row.memories.get(kind, 0):,}" for kind in self.stores]
        return [name, layers_of(row), *shape, *estimates, *stores, *self._counted([name])]

    def _counted(self, names: Sequence[str]) -> list[str]:
        """Columns of a synthesis, of some parts together."""
        parts = [([self.synthesised[source].get(name, {}) for name in names], key) for source, key in self.counts]
        return [_total(part.get(key, 0) for part in some) for some, key in parts]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        said = {"build": self.build, "project": self.project, **self.plan.model_dump(mode="json")}
        return {**said, "synthesised": self.synthesised} if self.synthesised else said


def read_kernels(runs: Sequence[Run]) -> tuple[Kernels, ...]:
    """Those of all folded projects of some runs.

    Raises:
        HlsError: a plan cannot be read.
    """
    return tuple(
        Kernels(run.name, project, plan, (run.stale or {}).get(project, ""), synthesised(run, project))
        for run in runs
        for project, plan in plans_of(run.path).items()
    )


def synthesised(run: Run, project: str) -> dict[str, Any]:
    """Source -> what it counted of each kernel of a project; reports that are stale are left out."""
    backend = Path(project).name
    return {
        source: report.detail[SYNTHESISED]
        for source, report in (run.reports or {}).items()
        if SYNTHESISED in report.detail
        and report.detail.get("backend") == backend
        and f"{FOLDER}/{source}.json" not in (run.stale or {})
    }


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
