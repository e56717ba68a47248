"""Write the firmware project of a build from its quantised model; synthesise it where the vendor's tool is installed.

    qformers export firmware_configs/part_demo.yaml
    qformers export firmware_configs/part_demo.yaml --backend vivado --clock-ns 4 --synth
    qformers export model.keras --backend alkaid --part xcvu13p-flga2577-2-e --clock-ns 5
    qformers export model.keras firmware_configs/part_demo.yaml --events events.npz --run runs/mine

A quantised model that somebody else built with Keras 3 and HGQ2 needs no build file: its run folder (default:
runs/<name of the file>) gets one that describes it, which the other commands take. Names that C++ and Verilog cannot
have are changed, and the manifest has the table. With a build file behind the model its section `firmware` counts.
Simulations take the events of --events, by input, or numbers over the ranges of the input formats. With --labels,
csim and compare have scores of all forms of the model.

The table that is printed has the formats of every layer as the firmware computes them. A layer without exact firmware
is refused, with the way out.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hls.cli.backend import backend_of
from qformers.builds.own_events import said_of
from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command
from qformers.errors import ConfigError

if TYPE_CHECKING:
    from qformers.builds.build import Build
    from qformers.interop.own_run import OwnRun

OF_A_MODEL = ("events", "labels", "metric", "logits")  # options that go with a model alone
AUDITED = 1000  # events whose values are looked at


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("build", type=Path, metavar="BUILD", help="build file, or a quantised model (.keras)")
    parser.add_argument("firmware", type=Path, nargs="?", metavar="BUILD", help="behind a model: its section firmware")
    shared.add_run(parser)
    shared.add_model(parser)
    parser.add_argument(
        "--events",
        type=Path,
        metavar="FILE",
        help="of a model: .npy, .npz or .h5 with its inputs, or a build file for the test split of its data",
    )
    parser.add_argument("--labels", type=Path, metavar="FILE", help="of --events: .npy of classes, or of true outputs")
    parser.add_argument("--metric", choices=("accuracy", "mse"), help="what --labels are of (default: accuracy)")
    parser.add_argument("--logits", action="store_true", help="of a model: leave a last softmax or sigmoid away")
    parser.add_argument("--part", metavar="NAME", help="device, instead of firmware.part")
    parser.add_argument("--clock-ns", metavar="NS", help="clock period, instead of firmware.clock_ns")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the project (default: firmware/<backend> in the run folder)"
    )
    shared.add_backend(parser)
    shared.add_set(parser, "firmware.clock_ns=4")
    parser.add_argument(
        "--allow-overflow", action="store_true", help="write accumulators of the build that cannot hold their sums"
    )
    parser.add_argument("--synth", action="store_true", help="synthesise with the vendor's tool")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Export and, if asked for, synthesise; 0 when it is done."""
    own = shared.is_model(options.build)
    said = {"part": options.part, "clock_ns": options.clock_ns, "backend": options.backend if own else None}
    options.overrides += [f"firmware.{key}={value}" for key, value in said.items() if value is not None]
    if own:
        build, run, model = _own(options)
        backend = backend_of(options, build)
    else:
        _refuse_extra(options)
        build = shared.load_build(options)
        backend = backend_of(options, build)
        run, model = shared.run_folder(build, options.run), shared.model_path(build, options.model, options.run)
    from hls.stages.export import export

    out = options.out or run / "firmware" / backend
    with shared.reporting(options) as reporter:
        result = export(build, model, out, backend, options.allow_overflow, reporter)
    result.show(shared.terminal(options))
    print(result)
    if options.out is None:  # a project elsewhere is none of the run's
        for report in result.reports:
            report.save(run)
    if options.synth:
        print(f"reports:   {result.project.build()}")
    return status.DONE


def _own(options: argparse.Namespace) -> tuple[Build, Path, Path]:
    """Take the model over: the build that describes it, its run folder, and its file there."""
    shared.need_file(options.build, "MODEL")
    for name in ("events", "labels"):
        if (file := getattr(options, name)) is not None:
            shared.need_file(file, f"--{name}", "name a file of events" if name == "events" else "name a .npy file")
    said = said_of(options.labels, options.metric, options.events)
    if options.metric is not None and said is None:
        raise ConfigError(f"--metric is of labels: give --labels FILE too. Received: {options.metric}")
    if options.model is not None:
        raise ConfigError(f"a model is given once: {options.build}, or --model with a build file. Received: both")
    from hls.backends import open_backend
    from hls.errors import ExportRefused
    from qformers.interop.own_run import own_run

    def refuse(model: Any, build: Build) -> None:
        backend = open_backend(build.firmware.backend)
        if refused := backend.supports(model, build):
            raise ExportRefused(backend.name, refused)

    made = own_run(
        options.build, options.run, options.firmware, options.events, options.overrides, refuse, said, options.logits
    )
    for old, new in made.adopted.renamed.items():
        print(f"renamed:   {old} is {new} now")
    if made.adopted.left_out:
        print(f"left out:  {', '.join(made.adopted.left_out)}, which does nothing in inference")
    print(f"run:       {made.folder}")
    if made.events is not None:
        _say_overflows(made, made.events)
    return made.build, made.folder, made.model


def _say_overflows(made: OwnRun, events: Mapping[str, Any]) -> None:
    """How many formats of values do not hold these events."""
    from qformers.quant.audit import audit

    first = {name: array[:AUDITED] for name, array in events.items()}
    rows = [row for row in audit(made.adopted.model, first) if row.events]
    if beyond := [row for row in rows if row.saturated]:
        most = max(beyond, key=lambda row: row.saturated)
        print(
            f"note:      {len(beyond)} of {len(rows)} formats of values do not hold all of these events, most "
            f"{most.name} ({most.saturated:.2%} outside of {most.widest}): qformers audit {made.folder / 'build.yaml'}"
        )


def _refuse_extra(options: argparse.Namespace) -> None:
    """Refuse what goes with a model alone.

    Raises:
        ConfigError: a second build file, or events.
    """
    extra = {"a second BUILD": options.firmware, **{f"--{key}": getattr(options, key) for key in OF_A_MODEL}}
    for name, value in extra.items():
        if value:
            raise ConfigError(f"{name} goes with a model (.keras); a build file says all itself. Received: {value}")


COMMAND = Command("export", __doc__ or "", add, run)
