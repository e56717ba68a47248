"""Stage "fold-plan": what folded firmware of a build costs for every number of points per clock."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

from hls.errors import HlsError
from hls.reports.error_bars import error_bar
from qformers.builds.build import Build
from qformers.config.sections import FirmwareConfig
from qformers.errors import DamagedError
from qformers.files import foreign, replacing, sha256
from qformers.manifest import machine, versions
from qformers.progress import Reporter
from qformers.records import read_object, write_record
from qformers.results import Result

if TYPE_CHECKING:
    from hls.backends.folded.survey import Row, Survey

SECONDS = 60.0  # of tracing
STYLE: Any = {"title_justify": "left", "title_style": "bold", "box": SIMPLE_HEAD, "padding": (0, 1, 0, 0)}
JSON, CSV, PLOT = "fold_plan.json", "fold_plan.csv", "fold_plan.png"
UNTRAINED = (
    "untrained: a model made anew from the build file, weights drawn from seed {seed}. Its widths are those that the "
    "build starts with, and training takes bits away: LUT and registers are an upper estimate"
)


@dataclass(frozen=True)
class Limits:
    """What a choice must not exceed; None = nothing asked.

    Attributes:
        ii_ns: initiation interval, ns.
        latency_ns: from the first beat to the output, ns.
        lut: alkaid's estimate.
    """

    ii_ns: float | None = None
    latency_ns: float | None = None
    lut: float | None = None

    @property
    def asked(self) -> bool:
        """Whether there is any."""
        return any(limit is not None for limit in asdict(self).values())

    @property
    def timed(self) -> bool:
        """Whether one of them is a time."""
        return self.ii_ns is not None or self.latency_ns is not None

    def kept(self, row: Row) -> bool:
        """Whether a row keeps all of them."""
        return all(limit is None or getattr(row, name) <= limit for name, limit in asdict(self).items())

    def __str__(self) -> str:
        words = {"ii_ns": "II <= {:g} ns", "latency_ns": "latency <= {:g} ns", "lut": "LUT <= {:,.0f}"}
        return ", ".join(words[name].format(limit) for name, limit in asdict(self).items() if limit is not None)


@dataclass(frozen=True, repr=False)
class FoldPlan(Result):
    """What each choice costs.

    Attributes:
        build: whose firmware is planned.
        model: its trained model; None for one made anew.
        survey: a row per choice.
        limits: that a choice has to keep.
    """

    build: Build
    model: Path | None
    survey: Survey
    limits: Limits = Limits()

    @property
    def chosen(self) -> Row | None:
        """Of the rows that keep all limits the one with the fewest LUT; the one with the shortest II where no time is
        limited; None where no row keeps them, or none is given.
        """
        kept = [row for row in self.survey.rows if self.limits.kept(row)]
        if not (self.limits.asked and kept):
            return None
        return min(kept, key=lambda row: row.lut if self.limits.timed else row.ii_ns)

    def pieces(self) -> Iterator[RenderableType]:
        """A row per choice, the kernels of the first one, what the numbers are worth, and what to write."""
        yield self._choices()
        yield self._kernels(self.survey.rows[0])
        yield f"alkaid {versions()['alkaid']}, estimate, nothing is synthesised: {error_bar('alkaid')}"
        if scaled := [row for row in self.survey.rows if not row.traced]:
            yield (
                f"~ from {scaled[0].choice} on: scaled from those that were traced, for want of time (--seconds); "
                "II is exact"
            )
        if any(row.other_kernels for row in scaled):
            yield (
                "* its plan has other kernels than any that was traced: LUT are an upper estimate, all else is that of "
                "the kernels that were scaled"
            )
        clock = self.survey.clock_ns
        if slow := [row for row in self.survey.rows if row.longest_path_ns > clock]:
            yield (
                f"longest path of {slow[0].choice} {slow[0].longest_path_ns:.2f} ns in alkaid's delay model, more than "
                f"the clock of {clock:g} ns: no register cuts an operation; a smaller table or a longer clock helps"
            )
        if (keys := self.build.firmware.keys_per_clock) is not None and not self._keys:
            yield (
                f"firmware.keys_per_clock: {keys} of the build says nothing here: no layer of this model works on "
                f"pairs of its {self.survey.points} points, and export refuses it; leave it out"
            )
        if self.model is None:
            yield UNTRAINED.format(seed=self.build.seed)
        yield from self._advice()

    def _advice(self) -> Iterator[str]:
        if not self.limits.asked:
            yield f"in the build file, with the {self._words} of a row: {self.survey.rows[0].choice.yaml}"
        elif self.chosen is None:
            rows = self.survey.rows
            ii, latency, lut = (min(getattr(row, name) for row in rows) for name in asdict(self.limits))
            yield (
                f"no {self._words.replace('and', 'or')} keeps {self.limits}; the shortest II is {ii:g} ns, the "
                f"shortest latency {latency:g} ns, the fewest LUT {lut:,.0f}"
            )
        else:
            best = "fewest LUT" if self.limits.timed else "shortest II"
            yield f"{best} with {self.limits}: {self.chosen.choice.yaml}"

    def _choices(self) -> Table:
        keys = " and K of their keys" if self._keys else ""
        title = (
            f"{self.build.name}: T of {self.survey.points} points{keys} per clock, clock {self.survey.clock_ns:g} ns"
        )
        table = Table(title=title, **STYLE)
        heads = (
            *(("T", "K") if self._keys else ("T",)),
            *("II\nclocks", "II\nns", "latency\nclocks", "latency\nns", "LUT\n(est.)", "products"),
            *("kernels\nbits", "stores\nbits", "longest\npath ns", "DSP"),
        )
        for head in heads:
            table.add_column(head, justify="right", no_wrap=True)
        table.add_column("numbers", no_wrap=True)
        for row in self.survey.rows:
            style = "bold" if row is self.chosen else "dim" if self.limits.asked and not self.limits.kept(row) else None
            table.add_row(*self._place(row), *_cells(row), style=style)
        return table

    def _place(self, row: Row) -> list[str]:
        """T, and K where keys can be folded."""
        choice, points = row.choice, self.survey.points
        return [str(choice.points_per_clock), *([str(choice.keys_per_clock or points)] if self._keys else [])]

    @property
    def _keys(self) -> bool:
        return any(row.choice.keys_per_clock is not None for row in self.survey.rows)

    @property
    def _words(self) -> str:
        return "T and K" if self._keys else "T"

    def _kernels(self, row: Row) -> Table:
        title = f"Kernels at {row.choice}, and the stores behind them"
        table = Table(title=title, **STYLE)
        for head in ("kernel", "beats", "stages", "LUT\n(est.)", "products", "DSP", "kernel\nbits", "stores\nbits"):
            table.add_column(head, justify="right", no_wrap=True)
        table.add_column("layers")
        for kernel in row.kernels:
            numbers = (kernel.lut, kernel.products, kernel.dsp, kernel.register_bits, kernel.store_bits)
            cells = (kernel.number, kernel.beats, kernel.depth, *(f"{number:,.0f}" for number in numbers))
            names = kernel.layers
            words = ", ".join(names) if len(names) <= 3 else f"{names[0]} ... {names[-1]} ({len(names)})"
            table.add_row(*map(str, cells), words)
        return table

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "build": self.build.name,
            "config_hash": self.build.hash,
            "seed": self.build.seed,
            "model": None if self.model is None else str(self.model),
            "model_file_sha256": None if self.model is None else sha256(self.model),
            "points": self.survey.points,
            "clock_ns": self.survey.clock_ns,
            "limits": asdict(self.limits),
            "chosen": None if self.chosen is None else asdict(self.chosen.choice),
            "error_bar": error_bar("alkaid"),
            "versions": versions(),
            "machine": machine(),
            "rows": [{**flat(row), "kernels": [asdict(kernel) for kernel in row.kernels]} for row in self.survey.rows],
        }

    def files(self, out: Path) -> tuple[Path, ...]:
        """What `save` writes."""
        pictures = [f"plan_{_file_word(row)}.svg" for row in self.survey.rows if row.facts is not None]
        return tuple(out / name for name in (JSON, CSV, PLOT, *pictures))

    def save(self, out: Path | None = None) -> Path:
        """Write ``fold_plan.{json,csv,png}`` and a picture of each plan that was traced; returns the JSON.

        Args:
            out: folder of the files; None = ``fold_plan`` in the run folder of the build.

        Raises:
            HlsError: the folder holds something else.
        """
        from hls.backends.folded.picture import draw
        from hls.compare.draw.folds import plot

        out = Path("runs") / self.build.name / "fold_plan" if out is None else out
        refuse_foreign(out)
        record, rows, picture, *plans = self.files(out)
        write_record(record, self.to_json())  # first: it says whose the folder is
        with replacing(rows) as temporary, temporary.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, fieldnames=list(flat(self.survey.rows[0])))
            writer.writeheader()
            writer.writerows(flat(row) for row in self.survey.rows)
        plot(self.survey.rows, picture, self.limits.ii_ns, self.limits.lut, self.chosen)
        for path, facts in zip(plans, [row.facts for row in self.survey.rows if row.facts is not None], strict=True):
            draw(facts, path)
        return record


def _file_word(row: Row) -> str:
    return str(row.choice).replace(" = ", "").replace(", ", "_")


def flat(row: Row) -> dict[str, Any]:
    """A row as one line of a table."""
    return {
        **asdict(row.choice),
        "ii_cycles": row.ii_cycles,
        "ii_ns": row.ii_ns,
        "latency_cycles": row.latency_cycles,
        "latency_ns": row.latency_ns,
        "lut_estimate": round(row.lut),
        "products": row.products,
        "dsp": row.dsp,
        "register_bits": row.register_bits,
        "store_bits": row.store_bits,
        "longest_path_ns": row.longest_path_ns,
        "traced": row.traced,
        "scaled_from": " ".join(map(str, row.scaled_from)),
        "other_kernels": row.other_kernels,
        "traced_s": None if row.traced_s is None else round(row.traced_s, 2),
    }


def _cells(row: Row) -> list[str]:
    about = "" if row.traced else "~"
    places = f"scaled: {', '.join(map(str, row.scaled_from))}{' *' if row.other_kernels else ''}"
    said = f"traced: {row.traced_s:.0f} s" if row.traced_s is not None else places
    exact = (f"{row.ii_cycles}", f"{row.ii_ns:g}")
    scaled = (
        f"{row.latency_cycles}", f"{row.latency_ns:g}", f"{row.lut:,.0f}", f"{row.products:,}",
        f"{row.register_bits:,}", f"{row.store_bits:,}", f"{row.longest_path_ns:.2f}", f"{row.dsp:,}",
    )  # fmt: skip
    return [*exact, *(f"{about}{text}" for text in scaled), said]


def refuse_foreign(out: Path) -> None:
    """Leave a folder alone that is neither new nor empty nor of a plan.

    Raises:
        HlsError: naming it.
    """
    if reason := foreign(out, _is_plan, "fold plan"):
        raise HlsError(f"{out}: {reason}; name another folder with --out")


def _is_plan(folder: Path) -> bool:
    try:
        return {"points", "limits", "rows"} <= read_object(folder / JSON, "").keys()
    except DamagedError:
        return False


def fold_plan(
    build: Build,
    model: Path | str | None = None,
    seconds: float = SECONDS,
    limits: Limits | None = None,
    reporter: Reporter | None = None,
) -> FoldPlan:
    """Plan the folded firmware of a build, without writing it.

    Args:
        build: its section `firmware` says clock and stages; its backend, points and keys per clock do not count.
        model: its quantised model; None = one made anew, untrained.
        seconds: for tracing, see `hls.backends.folded.survey.survey`.
        limits: that the choice has to keep.
        reporter: told of progress.

    Raises:
        HlsError: no model, a model of another build, or one that cannot be folded (`ExportRefused`).
        ConfigError: no quantised model can be made of the build.
    """
    from hls.backends.folded.survey import survey
    from hls.stages.export import load_quantised, refuse_other_build
    from qformers.builds.models import fresh_model

    path = None if model is None else Path(model)
    if path is None:  # what of it does not fold is said of the plan, by layer
        quantised = fresh_model(build.model_copy(update={"firmware": FirmwareConfig()}), "hgq")
    else:
        refuse_other_build(path, build)
        quantised = load_quantised(path, build)
    return FoldPlan(build, path, survey(quantised, build, seconds, reporter), limits or Limits())
