"""Options that several commands have, so that one word means the same everywhere.

Nothing heavy is imported before the command line is read: ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import math
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qformers.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from qformers.builds.build import Build
    from qformers.progress import Reporter

PIPED_WIDTH = 180  # columns of a table where there is no terminal to ask


def add_build(parser: argparse.ArgumentParser) -> None:
    """BUILD, as ``options.build``."""
    parser.add_argument("build", type=Path, metavar="BUILD", help="build file, e.g. firmware_configs/part_demo.yaml")


def is_model(path: Path) -> bool:
    """Whether an argument names a model of Keras instead of a build file."""
    return path.suffix.lower() in (".keras", ".h5", ".hdf5")


def add_events(
    parser: argparse.ArgumentParser,
    default: int = 10_000,
    help: str = "events, of the test split first and then of the others",
) -> None:
    """``--events``: how many."""
    parser.add_argument(
        "--events", type=at_least_one, default=default, metavar="N", help=f"{help} (default: {default})"
    )


def add_calibration_jets(parser: argparse.ArgumentParser) -> None:
    """``--calibration-jets``: how many."""
    parser.add_argument(
        "--calibration-jets",
        type=at_least_one,
        default=2048,
        metavar="N",
        help="of the training split (default: 2048)",
    )


def add_own(parser: argparse.ArgumentParser, held_out: float) -> None:
    """What a float model of one's own can be given, for `own_given`; `held_out` is a default."""
    parser.set_defaults(held_out_default=held_out)
    own = parser.add_argument_group(
        "models of your own", "float Keras models that were not trained here, without BUILD"
    )
    own.add_argument(
        "--types",
        action="append",
        default=[],
        metavar="CLASS.SLOT=FORMAT",
        help="format of all layers of a class, e.g. 'Dense.weight=fixed<6,1>'; can be given several times",
    )
    own.add_argument(
        "--layers",
        action="append",
        default=[],
        metavar="NAME.SLOT=FORMAT",
        help="the same of a layer, or of all that match, e.g. 'dense_*.input=fixed<12,4>'",
    )
    own.add_argument("--logits", action="store_true", help="leave a last softmax or sigmoid away")
    own.add_argument("--metric", choices=("accuracy", "mse"), help="what is measured (default: accuracy with --labels)")
    own.add_argument("--labels", type=Path, metavar="FILE", help=".npy of classes, or of what the outputs should be")
    own.add_argument(
        "--held-out",
        type=part_or_zero,
        metavar="SHARE",
        help="of the events, drawn, that have no say in the formats and are measured on at the end (default: "
        f"{held_out:g})",
    )


OWN_OPTIONS = ("types", "layers", "logits", "metric", "labels", "held_out")


def refuse_own(options: argparse.Namespace) -> None:
    """Refuse beside a build file what goes with a float model of one's own.

    Raises:
        ConfigError: naming the option.
    """
    given = options.calibrate
    if isinstance(given, str):
        raise ConfigError(f"--calibrate takes a file where there is no build file; put it last. Received: {given}")
    for name in OWN_OPTIONS:
        if getattr(options, name):
            raise ConfigError(
                f"--{name} goes with a model of your own, without a build file: a build file says formats in its "
                f"section quant. Received: {getattr(options, name)}"
            )


def own_given(options: argparse.Namespace) -> Any:
    """The `qformers.interop.fixed_point.stage.Given` of a command without a build file.

    Raises:
        ConfigError: no file of events, or a file that is not there.
    """
    if not isinstance(options.calibrate, str):
        raise ConfigError(
            f"give a build file behind {options.model}, or --calibrate DATA.npy with events of a model that was not "
            "trained here. Received: neither"
        )
    need_file(options.model, "MODEL")
    need_file(Path(options.calibrate), "--calibrate", "give events as .npy, .npz or .h5")
    if options.labels is not None:
        need_file(options.labels, "--labels")
    from qformers.config.layers import refuse_formats

    refuse_formats("--types", options.types)  # or they would come after TensorFlow
    refuse_formats("--layers", options.layers)
    from qformers.builds.own_events import said_of

    said_of(options.labels, options.metric, Path(options.calibrate))
    from qformers.interop.fixed_point.stage import Given

    return Given(
        options.model,
        Path(options.calibrate),
        options.run,
        options.overrides,
        options.types,
        options.layers,
        options.logits,
        options.metric,
        options.labels,
        getattr(options, "events", None),
        options.held_out_default if options.held_out is None else options.held_out,
    )


def at_least_one(text: str) -> int:
    """The type of an option that counts something."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 12 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more. Received: {text[:40]}")
    return int(text)


def zero_or_more(text: str) -> int:
    """The type of an option that counts something that need not be."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 12:
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more. Received: {text[:40]}")
    return int(text)


def above_zero(text: str) -> float:
    """The type of an option that measures something, e.g. seconds."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0. Received: {text[:40]}")
    return value


def share(text: str) -> float:
    """The type of an option that is a share of something, all of it at most."""
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number above 0, 1 at most. Received: {text[:40]}")
    return value


def part(text: str) -> float:
    """The type of an option that is a share of something, less than all of it."""
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1. Received: {text[:40]}")
    return value


def part_or_zero(text: str) -> float:
    """The type of an option that is a share of something, none of it or less than all."""
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be 0 or more, and less than 1. Received: {text[:40]}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def need_file(path: Path, what: str, way_out: str = "name a file") -> None:
    """Look for a file that is to be read, before what is heavy is imported.

    Args:
        path: its place.
        what: the argument that names it.
        way_out: for the message.

    Raises:
        ConfigError: there is none.
    """
    if not path.is_file():
        raise ConfigError(f"{what} {path}: {'is a folder' if path.is_dir() else 'no such file'}; {way_out}")


def add_run(parser: argparse.ArgumentParser, *, out: bool = False, default: str = "runs/<name of the build>") -> None:
    """``--run``, also called ``--out`` by commands that only write there; see `run_folder`."""
    names = ["--run", "--out"] if out else ["--run"]
    parser.add_argument(*names, dest="run", type=Path, metavar="DIR", help=f"run folder (default: {default})")


def add_model(parser: argparse.ArgumentParser) -> None:
    """``--model``; see `model_path`."""
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="quantised model (default: qat/model.keras in the run folder)"
    )


def add_backend(parser: argparse.ArgumentParser, rtl: bool = False) -> None:
    """``--backend``, instead of the one of the build; with `rtl` that of the RTL."""
    text = "instead of firmware.backend: vitis, vivado, alkaid or folded"
    text = "that writes the RTL (default: the build's if it writes any, else alkaid)" if rtl else text
    parser.add_argument("--backend", metavar="NAME", help=text)


def add_set(parser: argparse.ArgumentParser, example: str) -> None:
    """``--set KEY=VALUE``, as often as one likes, as ``options.overrides``."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help=f"change a key of the build, as often as you like, e.g. {example}",
    )


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """``--quiet``: neither progress nor tables, only what was written and errors."""
    parser.add_argument("--quiet", action="store_true", help="neither progress nor tables: only what was written")


def load_build(options: argparse.Namespace) -> Build:
    """The build that `options` names, with its overrides.

    Raises:
        ConfigError: with the file, the key and the way out in the message.
    """
    from qformers.builds.build import load
    from qformers.models.own import GIVEN

    build = load(options.build, options.overrides)
    of_own = getattr(build.model, "architecture", "") == GIVEN and options.build.name == "build.yaml"
    if of_own and getattr(options, "run", "") is None:  # a model of one's own stays with its description
        options.run = options.build.parent
    return build


def need_data(build: Build) -> None:
    """Look for the files of all splits, before what is heavy is imported.

    Raises:
        DataError: an unknown data set, a split without files, or events of PyTorch, which is not installed.
    """
    from qformers.data import check_files

    check_files(build.data)


def run_folder(build: Build, chosen: Path | None = None) -> Path:
    """The run folder `chosen`, else ``runs/<name of the build>``."""
    return chosen or Path("runs") / build.name


def model_path(build: Build, chosen: Path | None = None, run: Path | None = None) -> Path:
    """The model file `chosen`, else the quantised model in the run folder `run`, else in that of the build.

    Raises:
        ConfigError: no such file.
    """
    path = chosen or run_folder(build, run) / "qat" / "model.keras"
    if not path.is_file():
        from qformers.builds.float_only import missing_model

        raise ConfigError(missing_model(path, build))
    return path


def reporting(options: argparse.Namespace, console: Console | None = None) -> AbstractContextManager[Reporter]:
    """Progress for the length of a block, none with ``--quiet``; on the console that other lines are printed to."""
    from qformers.progress import bars

    return bars(options.quiet, console)


def terminal(options: argparse.Namespace) -> Console:
    """Where tables and messages go; nowhere with ``--quiet``. Lines longer than the terminal are its own affair."""
    from rich.console import Console

    class Honest(Console):
        """Without Rich's own end, with status 1, where nobody reads on."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    width = None if sys.stdout.isatty() else PIPED_WIDTH
    return Honest(highlight=False, soft_wrap=True, width=width, quiet=options.quiet)
