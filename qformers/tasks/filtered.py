"""Stage "filter": smaller data sets from a trained pile-up model, one for each recall of true points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from qformers.builds.build import Build
from qformers.progress import Reporter
from qformers.results import Result
from qformers.tasks import filter as point_filter

HEADER = ("target", "threshold", "recall", "precision", "recall here", "precision here", "points", "judged", "kept")


@dataclass(frozen=True, repr=False)
class Filtered(Result):
    """Filtered data sets.

    Attributes:
        out: their folder.
        events: filtered.
        rows: per recall, as `qformers.tasks.filter.filter_files` returns them.
    """

    out: Path
    events: int
    rows: tuple[Mapping[str, Any], ...]

    def pieces(self) -> Iterator[RenderableType]:
        """The table of thresholds."""
        table = Table(title="recall and precision: on validation data, and of the points judged in these events")
        for name in HEADER:
            table.add_column(name, justify="right")
        for row in self.rows:
            shares = (row["recall"], row["precision"], row["data_recall"], row["data_precision"])
            counts = (row["points"], row["judged"], row["points_kept"])
            table.add_row(
                f"{row['target']:g}",
                f"{row['threshold']:.4g}",
                *("" if share is None else f"{share:.4f}" for share in shares),
                *(f"{count:,}" for count in counts),
            )
        yield table

    def save(self) -> Path:
        """The file of the thresholds, which was written with the data sets: they appear together or not at all."""
        return self.out / point_filter.TABLE


def filter_run(
    run: Path,
    build: Build,
    data: Sequence[Path],
    out: Path,
    recalls: Sequence[float] = point_filter.RECALLS,
    phase: str | None = None,
    reporter: Reporter | None = None,
) -> Filtered:
    """Apply the pile-up model of a run folder to events.

    Args:
        run: the run folder.
        build: of the run.
        data: files or folders of events of the same data set.
        out: a folder that does not exist yet.
        recalls: of true points, in (0, 1].
        phase: ``float`` or ``qat``; None = the quantised model where there is one.
        reporter: told how far it is.

    Raises:
        ConfigError, DataError: with the way out in the message.
    """
    scorer = point_filter.open_run(run, build, phase)
    files = point_filter.event_files(build.data.dataset, data)
    table = point_filter.thresholds(scorer, recalls, reporter)
    about = point_filter.about_run(run, build, scorer)
    rows = point_filter.filter_files(scorer, files, table, out, about, reporter)
    return Filtered(out, len(files), tuple(rows))
