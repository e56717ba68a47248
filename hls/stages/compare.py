"""Stage "compare": builds beside each other, their budgets judged; a table, a plot and a page."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from hls.compare.draw.page import write_page
from hls.compare.draw.pareto import plot
from hls.compare.read.published import Reference, read_published
from hls.compare.read.run import Run, read_runs
from hls.compare.table.cells import Table
from hls.compare.table.columns import tabulate
from hls.compare.table.diff import Diff
from hls.compare.table.diff import compare as compare_layers
from hls.compare.table.files import write_csv, write_markdown, write_table_json
from hls.compare.table.kernels import Kernels, read_kernels
from hls.compare.table.terminal import print_diff, print_kernels, print_table
from hls.compare.table.verdicts import Judged, judge, print_judged
from hls.errors import HlsError
from hls.reports.budgets import exit_code, parse_budget
from hls.reports.devices import find_device
from hls.reports.tools import read_reports
from qformers.errors import DamagedError
from qformers.files import foreign
from qformers.records import read_object
from qformers.results import WIDTH, Result

OUT = Path("runs/comparison")


JSON = "comparison.json"


@dataclass(frozen=True, repr=False)
class Compared(Result):
    """Result of a comparison.

    Attributes:
        table: a row per run.
        references: published results to show beside.
        judged: budgets and how they came out.
        diff: of two builds; None for another number of them.
        kernels: of the runs that have folded firmware.
    """

    table: Table
    references: tuple[Reference, ...]
    judged: tuple[Judged, ...]
    diff: Diff | None
    kernels: tuple[Kernels, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 when every budget is kept."""
        return exit_code(item.verdict for item in self.judged)

    def show(self, console: Console | None = None) -> None:
        """Print the table, kernels and stores, the difference of two builds and the budgets."""
        console = console or Console()
        print_table(self.table, console)
        print_kernels(self.kernels, console)
        if self.diff is not None:
            print_diff(self.diff, console)
        if self.judged:
            print_judged(self.judged, console)

    def pieces(self) -> Iterator[RenderableType]:
        """What `show` prints, in one piece."""
        console = Console(file=io.StringIO(), width=WIDTH, force_terminal=True)
        with console.capture() as captured:
            self.show(console)
        yield Text.from_ansi(captured.get())

    def files(self, out: Path = OUT) -> tuple[Path, ...]:
        """What `save` writes."""
        names = [f"comparison.{ending}" for ending in ("csv", "json", "md")] + ["pareto.png", "pareto.pdf"]
        return tuple(out / name for name in [*names, "report.html"])

    def save(self, out: Path = OUT) -> Path:
        """Write ``comparison.{csv,json,md}``, ``pareto.{png,pdf}`` and ``report.html``; returns the page.

        Args:
            out: folder of the files.

        Raises:
            HlsError: the folder holds something else.
        """
        refuse_foreign(out)
        write_table_json(
            self.table, self.diff, self.judged, out / JSON, self.kernels
        )  # first: it says whose the folder is
        write_csv(self.table, out / "comparison.csv")
        write_markdown(self.table, self.diff, out / "comparison.md", self.kernels)
        plot(self.table, self.references, out / "pareto")
        write_page(self.table, self.diff, self.references, self.judged, out / "report.html", self.kernels)
        return out / "report.html"


def refuse_foreign(out: Path) -> None:
    """Leave a folder alone that is neither new nor empty nor of a comparison.

    Raises:
        HlsError: naming it.
    """
    if reason := foreign(out, _is_comparison, "comparison"):
        raise HlsError(f"{out}: {reason}; name another folder with --out")


def _is_comparison(folder: Path) -> bool:
    try:
        return {"builds", "budgets"} <= read_object(folder / JSON, "").keys()
    except DamagedError:
        return False


def compare(
    paths: Sequence[Path | str],
    budgets: Sequence[str] = (),
    vendor: Sequence[str] = (),
    device: str | None = None,
    reference: bool = True,
) -> Compared:
    """Compare runs.

    Args:
        paths: run folders.
        budgets: for example "lut<=20%".
        vendor: reports of vendor tools, ``PATH`` (one run) or ``RUN=PATH``.
        device: that percentages are of, instead of the reports' own.
        reference: whether published results are shown beside.

    Raises:
        HlsError: a run, report, budget or device that cannot be read.
        ConfigError: a build.yaml is not a build.
    """
    if isinstance(paths, str) or not paths:
        raise HlsError(f"paths is a list of run folders, one or more. Received: {paths!r}")
    for text in budgets:
        parse_budget(text)  # a typing error is told before anything is read
    if device is not None:
        find_device(device)
    runs = with_vendor(read_runs([Path(path) for path in paths]), vendor)
    table = tabulate(runs, device)
    diff = compare_layers(runs[0], runs[1]) if len(runs) == 2 else None
    jets = any(run.task == "jets" for run in runs)  # published results are of jets
    references = tuple(read_published()) if reference and jets else ()
    return Compared(table, references, tuple(judge(runs, budgets, device)), diff, read_kernels(runs))


def with_vendor(runs: Sequence[Run], given: Sequence[str]) -> tuple[Run, ...]:
    """Add reports of vendor tools to the runs they belong to.

    Raises:
        HlsError: no run is named where there are several, an unknown one is, or a report cannot be read.
    """
    by_name = {run.name: run for run in runs}
    for text in given:
        name, equals, path = text.partition("=")
        if name not in by_name and len(by_name) == 1 and (not equals or Path(text).exists()):
            name, path = next(iter(by_name)), text  # the = is one of the path
        elif not equals:
            raise HlsError(
                f"--vendor with several runs needs RUN=PATH, RUN one of {', '.join(by_name)}. Received: {text}"
            )
        if name not in by_name:
            raise HlsError(f"--vendor {text}: '{name}' is none of the runs {', '.join(by_name)}")
        run, added = by_name[name], {report.source: report for report in read_reports(Path(path))}
        replaced = {f"reports/{source}.json" for source in added}
        stale = {file: why for file, why in (run.stale or {}).items() if file not in replaced}
        by_name[name] = replace(run, reports={**(run.reports or {}), **added}, stale=stale)
    return tuple(by_name.values())
