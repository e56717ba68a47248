"""What the formats of a quantised model do to real events: range seen, width chosen, share cut off or wrapped around.

    qformers audit firmware_configs/part_demo.yaml
    qformers audit firmware_configs/part_demo.yaml --full --split val
    qformers audit firmware_configs/part_demo.yaml --replay runs/part_demo/qat/audit_worst.npz

The events with values farthest outside a range are saved with their inputs; --replay runs them through the C simulation
of the firmware and compares it with the quantised model.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hls.cli.backend import backend_of
from qformers.cli import options as shared
from qformers.cli import status
from qformers.cli.command import Command

if TYPE_CHECKING:
    from qformers.builds.build import Build


def add(parser: argparse.ArgumentParser) -> None:
    """The options."""
    shared.add_build(parser)
    shared.add_run(parser)
    shared.add_model(parser)
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="default: test")
    parser.add_argument(
        "--events",
        "--jets",
        dest="events",
        type=shared.at_least_one,
        default=2000,
        metavar="N",
        help="events of the split, or of the file of a model of your own (default: 2000)",
    )
    parser.add_argument("--full", action="store_true", help="all events of the split, batch by batch")
    parser.add_argument(
        "--worst",
        type=shared.zero_or_more,
        default=3,
        metavar="N",
        help="events saved per quantiser that overflows (default: 3)",
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="simulate the events saved by an earlier audit")
    shared.add_backend(parser)
    shared.add_set(parser, "data.max_jets=1000")
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Print the table and write ``audit.json`` and ``audit_worst.npz`` beside the model; 1 where a replay differs."""
    build = shared.load_build(options)
    if options.replay:
        shared.need_file(options.replay, "--replay")
        return _replay(build, options)
    path = shared.model_path(build, options.model, options.run)
    from hls.stages.export import refuse_other_build
    from qformers.quant.audited import audit_split

    refuse_other_build(path, build)

    with shared.reporting(options) as reporter:
        events = None if options.full else options.events
        result = audit_split(build, path, options.split, events, options.worst, reporter)
    out = result.save()
    result.show(shared.terminal(options))
    print(f"written: {out}, {result.worst_path} ({len(result.worst)} events)")
    return status.DONE


def _replay(build: Build, options: argparse.Namespace) -> int:
    """C simulation of saved events; 0 where it equals the quantised model on all of them, else 1."""
    backend = backend_of(options, build)
    model = shared.model_path(build, options.model, options.run)
    from hls.stages.replay import replay

    project = shared.run_folder(build, options.run) / "firmware" / backend
    with shared.reporting(options) as reporter:
        result = replay(model, project, options.replay, reporter)
    result.save()
    print(result)
    return status.DONE if result.equal else status.FAILED


COMMAND = Command("audit", __doc__ or "", add, run)
