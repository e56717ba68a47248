"""The comparison as a whole: read runs, write table, plot and page, judge budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from hls.compare.draw.page import write_page
from hls.compare.draw.pareto import plot
from hls.compare.read.published import read_published
from hls.compare.read.run import Run, read_runs
from hls.compare.table.columns import tabulate
from hls.compare.table.diff import Diff
from hls.compare.table.diff import compare as compare_layers
from hls.compare.table.files import write_csv, write_markdown, write_table_json
from hls.compare.table.terminal import print_diff, print_table
from hls.compare.table.verdicts import Judged, judge, print_judged
from hls.errors import HlsError
from hls.reports.budgets import exit_code, parse_budget
from hls.reports.devices import find_device
from hls.reports.tools import read_reports


@dataclass(frozen=True)
class Compared:
    """Result of a comparison.

    Attributes:
        files: what was written.
        judged: budgets and how they came out.
        diff: of two builds; None for another number of them.
    """

    files: tuple[Path, ...]
    judged: tuple[Judged, ...]
    diff: Diff | None

    @property
    def exit_code(self) -> int:
        """0 when every budget is kept."""
        return exit_code(item.verdict for item in self.judged)


def compare(
    paths: Sequence[Path],
    out: Path,
    console: Console,
    budgets: Sequence[str] = (),
    vendor: Sequence[str] = (),
    device: str | None = None,
    reference: bool = True,
) -> Compared:
    """Compare runs; writes ``comparison.{csv,json,md}``, ``pareto.{png,pdf}`` and ``report.html``.

    Args:
        paths: run folders.
        out: folder of the files.
        console: where the tables go.
        budgets: for example "lut<=20%".
        vendor: reports of vendor tools, ``PATH`` (one run) or ``RUN=PATH``.
        device: that percentages are of, instead of the reports' own.
        reference: whether published results are shown beside.

    Raises:
        HlsError: a run, report, budget or device that cannot be read.
        ConfigError: a build.yaml is not a build.
    """
    for text in budgets:
        parse_budget(text)  # a typing error is told before anything is read
    if device is not None:
        find_device(device)
    runs = with_vendor(read_runs(paths), vendor)
    table = tabulate(runs, device)
    diff = compare_layers(runs[0], runs[1]) if len(runs) == 2 else None
    jets = any(run.build.data.points is None for run in runs)  # published results are of jets
    references = read_published() if reference and jets else ()
    judged = judge(runs, budgets, device)
    print_table(table, console)
    if diff is not None:
        print_diff(diff, console)
    if judged:
        print_judged(judged, console)
    files = [out / f"comparison.{ending}" for ending in ("csv", "json", "md")]
    write_csv(table, files[0])
    write_table_json(table, diff, judged, files[1])
    write_markdown(table, diff, files[2])
    files += plot(table, references, out / "pareto")
    files.append(out / "report.html")
    write_page(table, diff, references, judged, files[-1])
    return Compared(tuple(files), tuple(judged), diff)


def with_vendor(runs: Sequence[Run], given: Sequence[str]) -> tuple[Run, ...]:
    """Add reports of vendor tools to the runs they belong to.

    Raises:
        HlsError: no run is named where there are several, an unknown one is, or a report cannot be read.
    """
    by_name = {run.name: run for run in runs}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals:
            name, path = next(iter(by_name)), text
            if len(by_name) > 1:
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
