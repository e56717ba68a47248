"""Stage "synth": logic synthesis of a build's RTL by Yosys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType

from hls.backends import rtl_backend
from hls.backends.written import command, using
from hls.errors import HlsError
from hls.reports.report import FOLDER, Report
from hls.reports.yosys.run import find_yosys
from hls.reports.yosys.synthesis import synthesise as synthesise_sources
from hls.stages.rtl import open_rtl
from qformers.builds.build import Build
from qformers.builds.float_only import refuse_float_only
from qformers.progress import Reporter
from qformers.results import Result

BY_MULTIPLIERS = {"lut": False, "auto": False, "dsp": True}  # what products are made of -> whether DSP48E2 are used


@dataclass(frozen=True, repr=False)
class Synthesised(Result):
    """What a synthesis counted, one report for each way that was asked for."""

    run: Path
    reports: tuple[Report, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """Files of `reports`."""
        return tuple(self.run / FOLDER / f"{report.source}.json" for report in self.reports)

    def pieces(self) -> Iterator[RenderableType]:
        """Counts, those of kernels and stores where the design has them, and what they are worth, lines per report."""
        for report in self.reports:
            yield f"{report.source} ({report.tool}, {report.part}): {_spell(report.resources)}"
            for name, counts in report.detail.get("kernels", {}).items():
                yield f"  {name}: {_spell({key: number for key, number in counts.items() if number})}"
            yield from (f"  {line}" for line in (report.error_bar, *report.detail["notes"]))

    def save(self) -> Path:
        """The folder of the reports: each was written when it was done, for a synthesis may be stopped in the next."""
        return self.run / FOLDER


def _spell(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {key.upper()}" for key, number in counts.items()) or "nothing"


def dsp_of(build: Build, dsp: Sequence[bool] | None = None) -> tuple[bool, ...]:
    """Whether DSP48E2 may be used, one synthesis for each.

    Args:
        build: its `firmware.multipliers` decides, if that is not auto.
        dsp: what is asked for; None: as the build says, without DSP48E2 for auto.

    Raises:
        HlsError: the firmware that the build writes says otherwise.
    """
    said = build.firmware.multipliers
    if dsp is None or tuple(dsp) == (BY_MULTIPLIERS[said],):
        return (BY_MULTIPLIERS[said],)
    if said != "auto":
        asked = " and ".join("with" if one else "without" for one in dsp)
        raise HlsError(
            f"firmware.multipliers: {said} already says what products are made of; leave the choice out here (--dsp), "
            f"or set firmware.multipliers: auto. Received: a synthesis {asked} DSP"
        )
    return tuple(dsp)


def synthesise(
    build: Build,
    run: Path | str,
    dsp: Sequence[bool] | None = None,
    time_limit_s: float = 1800.0,
    jobs: int | None = None,
    reporter: Reporter | None = None,
    backend: str | None = None,
) -> Synthesised:
    """Synthesise the RTL of a build; it is written first where it is missing or of another model.

    Args:
        build: the build.
        run: its run folder.
        dsp: whether multipliers may be DSP48E2, one synthesis for each; None: as `dsp_of` says.
        time_limit_s: seconds for each.
        jobs: stages of the pipeline at a time; None: the cores there are.
        reporter: told of progress.
        backend: that writes the RTL; None = see `hls.backends.rtl_backend`.

    Raises:
        YosysMissing: there is no Yosys.
        YosysStopped: the time limit was reached; the same call goes on.
        HlsError: no model, Yosys failed, or as `dsp_of`.
        ConfigError: the training of the build makes no quantised model.
    """
    ways = dsp_of(build, dsp)
    refuse_float_only(build, Path(run))
    find_yosys()
    run, backend = Path(run), backend or rtl_backend(build.firmware.backend)
    with using(run / "firmware" / backend, command()):
        return _synthesise(build, run, ways, (time_limit_s, jobs), reporter, backend)


def _synthesise(
    build: Build,
    run: Path,
    dsp: Sequence[bool],
    limits: tuple[float, int | None],
    reporter: Reporter | None,
    backend: str,
) -> Synthesised:
    """`synthesise`, while the project is held."""
    project = open_rtl(build, run, reporter, backend)
    reports = []
    for with_dsp in dsp:
        report = synthesise_sources(
            project.sources,
            project.layout.top,
            project.path / "yosys",
            dsp=with_dsp,
            time_limit_s=limits[0],
            reporter=reporter,
            jobs=limits[1],
        ).of_project(project.path)
        report.save(run)
        reports.append(report)
    return Synthesised(run, tuple(reports))
