"""Stages "quantise" and "tune": formats for a trained float model, without training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, RenderableType

from qformers.builds.build import Build
from qformers.builds.run_place import refuse_foreign_run
from qformers.progress import Reporter
from qformers.quant.ptq import ranges, run_folder
from qformers.quant.ptq import session as search
from qformers.records import write_record
from qformers.results import Result
from qformers.tasks.score_names import spell, two_classes
from qformers.train.phases import exclusive


@dataclass(frozen=True, repr=False)
class QuantiseResult(Result):
    """A quantised model in its run folder.

    Attributes:
        run: the run folder.
        done: its main numbers, and the errors of the layers against float.
        words: more to be said, line by line.
    """

    run: Path
    done: run_folder.Quantised
    words: tuple[str, ...] = ()

    @property
    def model(self) -> Path:
        """The quantised model."""
        return self.done.folder / "model.keras"

    def __str__(self) -> str:
        """Score and EBOPs in a line; of two classes another one with AUC and background rejections."""
        done = self.done
        line = f"{self.model}  test {spell(done.score)} {done.value:.4f} +- {done.error:.4f}  EBOPs {done.ebops}"
        more = "  ".join(f"{name} {value}" for name, value in two_classes(done.test, "+-").items())
        return f"{line}\n  {more}" if more else line

    def pieces(self) -> Iterator[RenderableType]:
        """Errors per layer, then the numbers of the whole model."""
        yield run_folder.error_table(self.done.errors)
        yield from self.words or (str(self),)

    def save(self) -> Path:
        """Write ``qat/errors.json``, the errors of the layers; all else lies in the run folder already."""
        path = self.done.folder / "errors.json"
        write_record(path, {"layers": [error.as_json() for error in self.done.errors]})
        return path


def quantise(
    build: Build,
    model: Path | str,
    run: Path | str | None = None,
    rule: ranges.Rule | None = None,
    calibration_jets: int = run_folder.CALIBRATION_JETS,
) -> QuantiseResult:
    """Give the weights of a float model the formats of a build.

    Args:
        build: its section `quant` has the formats.
        model: the float model.
        run: run folder to write; None for ``runs/<name of the build>``.
        rule: how integer bits follow from the ranges on calibration jets, widths are kept; None takes the formats as
            they are.
        calibration_jets: of the training split.

    Raises:
        ConfigError, DataError: with the way out in the message.
    """
    folder = Path("runs") / build.name if run is None else Path(run)
    run_folder.refuse_points(build)
    refuse_foreign_run(folder)
    run_folder.refuse_other(folder)
    material = run_folder.gather(Path(model), build, calibration_jets)
    facts: dict[str, object] = {"formats": "as given"}
    if rule is not None:
        build = material.shop.said(ranges.calibrated(material.shop, rule))
        facts = {"formats": "calibrated", "quantile": rule.quantile, "margin": rule.margin}
    with exclusive(folder):
        return QuantiseResult(folder, run_folder.write(material, build, folder, facts))


def tune(
    build: Build,
    model: Path | str,
    settings: search.Settings,
    run: Path | str | None = None,
    config: Path | None = None,
    console: Console | None = None,
    reporter: Reporter | None = None,
) -> QuantiseResult:
    """Search bits per layer for a float model: fewest EBOPs for a loss of accuracy, or the other way round.

    Args:
        build: data, architecture, rounding and overflow of the formats, tables.
        model: the float model.
        settings: budget and extent of the search.
        run: run folder to write; None for ``runs/<name of the build>_tuned``.
        config: file that `build` was read from, for ``tuned.yaml`` to extend; None spells the whole build there.
        console: for messages; None for standard output.
        reporter: told of each evaluation.

    Raises:
        ConfigError, DataError, TrainingError: with the way out in the message.
        Stopped: a stop was asked for; the same call goes on.
    """
    folder = Path("runs") / f"{build.name}_tuned" if run is None else Path(run)
    done, words = search.tune(Path(model), config, build, folder, settings, console, reporter)
    return QuantiseResult(folder, done, tuple(words))
