"""Budgets of all builds of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from hls.compare.read.run import Run
from hls.compare.table.sources import device_of, group_of
from hls.reports.budgets import Verdict, check, parse_budget


@dataclass(frozen=True)
class Judged:
    """A budget of one build."""

    build: str
    verdict: Verdict

    @property
    def value(self) -> str:
        """The value that was compared, with "%" where the budget is in per cent; "" for none."""
        if self.verdict.value is None:
            return ""
        return f"{self.verdict.value:,.4g}%" if self.verdict.budget.percent else f"{self.verdict.value:,.10g}"

    @property
    def source(self) -> str:
        """Report and stage that state it."""
        return group_of(self.verdict.source, self.verdict.stage) if self.verdict.source else ""


def judge(runs: Sequence[Run], budgets: Sequence[str], device: str | None) -> list[Judged]:
    """Check every budget on every build; a stale report counts as unknown, for it is of another model.

    Raises:
        HlsError: a budget that cannot be read.
    """
    parsed = [parse_budget(text) for text in budgets]
    judged = []
    for run in runs:
        stale = run.stale or {}
        reports = {name: r for name, r in (run.reports or {}).items() if not _late(name, r.files, stale)}
        for budget in parsed:
            source = reports.get(budget.source)
            part = device or (device_of(source, run.build.firmware.part) if source else run.build.firmware.part)
            judged.append(Judged(run.name, check([budget], reports, part)[0]))
    return judged


def _late(name: str, files: tuple[str, ...], stale: Mapping[str, str]) -> bool:
    return f"reports/{name}.json" in stale or any(file in stale for file in files)


def print_judged(judged: Sequence[Judged], console: Console) -> None:
    """One line per build and budget."""
    colours = {"pass": "green", "fail": "bold red", "unknown": "bold yellow"}
    for item in judged:
        reason = f": {item.verdict.reason}" if item.verdict.reason else ""
        stated = f": {item.value} {item.source}".rstrip(" :")
        text = f"{item.build}: {item.verdict.budget.text}{stated}{reason}"
        console.print(f"[{colours[item.verdict.outcome]}]{item.verdict.outcome}[/] {escape(text)}", soft_wrap=True)
