#!/usr/bin/env python3
"""What the formats of a quantised model do to real jets: range seen, width chosen, share cut off or wrapped around.

    python scripts/audit.py firmware_configs/part_demo.yaml
    python scripts/audit.py firmware_configs/part_demo.yaml --full --split val
    python scripts/audit.py firmware_configs/part_demo.yaml --replay runs/part_demo/qat/audit_worst.npz

The events with values farthest outside a range are saved with their inputs; --replay runs them through the C simulation
of the firmware and compares it with the quantised model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hls import cli
from qformers.builds.build import Build
from qformers.errors import ConfigError

if TYPE_CHECKING:
    from qformers.data import AnyEvents, Split
    from qformers.quant.audit import Row

BATCH = 2048  # jets in memory at a time, with the values of one layer


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.parser_of(__doc__)
    cli.add_build(parser)
    cli.add_model(parser)
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="default: test")
    parser.add_argument("--jets", type=int, default=2000, help="jets of the split (default: 2000)")
    parser.add_argument("--full", action="store_true", help="all jets of the split, batch by batch")
    parser.add_argument("--worst", type=int, default=3, help="events saved per quantiser that overflows (default: 3)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="simulate the events saved by an earlier audit")
    cli.add_run(parser)
    cli.add_set(parser, "data.max_jets=1000")
    return parser.parse_args(arguments)


def batches(source: Split, jets: int | None, keep: int) -> Iterator[AnyEvents]:
    """Jets of a split, in the order of the files where `keep` jets fit in memory, else in that of the stream of seed 0.

    Args:
        source: the split.
        jets: how many; None for all.
        keep: jets that may be in memory.
    """
    wanted = len(source) if jets is None else min(jets, len(source))
    if len(source) <= keep:
        events = source.load()
        yield from (events[at : min(at + BATCH, wanted)] for at in range(0, wanted, BATCH))
        return
    for batch in source.stream(BATCH, 0, 0, drop_last=False):
        yield batch[:wanted]
        wanted -= len(batch)
        if wanted <= 0:
            return


def run(build: Build, options: argparse.Namespace) -> int:
    """Print the table and write ``audit.json`` and ``audit_worst.npz`` beside the model; 0 when they are written."""
    import numpy as np
    from rich.console import Console

    from qformers.builds.models import load_model
    from qformers.data import open_split
    from qformers.files import write_json
    from qformers.models.inputs import host_inputs
    from qformers.progress import bars
    from qformers.quant.audit import as_json, as_table, audit_stream
    from qformers.quant.worst_events import save_worst

    if options.replay:
        return replay(build, options)
    if options.jets < 1 or options.worst < 0:
        raise ConfigError(
            f"--jets must be at least 1 and --worst at least 0. Received: --jets {options.jets} --worst {options.worst}"
        )
    path = cli.model_path(build, options.model, options.run)
    model, source = load_model(path), open_split(build.data, options.split)
    jets = len(source) if options.full else min(options.jets, len(source))

    def events() -> Iterator[AnyEvents]:
        return batches(source, jets, build.data.shuffle_jets)

    with bars() as reporter:
        tick = reporter.task(f"audit, {options.split} split", jets)
        rows, overflows = audit_stream(model, (host_inputs(model, part) for part in events()), options.worst, tick)

    def pick(numbers: Any) -> dict[str, Any]:
        parts, first = [], 0
        for part in events():
            parts.append(part[numbers[(numbers >= first) & (numbers < first + len(part))] - first])
            first += len(part)
        inputs = [host_inputs(model, part) for part in parts]
        return {name: np.concatenate([one[name] for one in inputs]) for name in inputs[0]}

    Console(width=150).print(as_table(rows, f"{path}: formats on {jets} jets of the {options.split} split"))
    out, saved = path.with_name("audit.json"), path.with_name("audit_worst.npz")
    write_json(out, as_json(rows))
    number = save_worst(saved, overflows, pick)
    print(in_words(rows))
    print(f"written: {out}, {saved} ({number} events)")
    return 0


def in_words(rows: list[Row]) -> str:
    """How many formats do not hold all that they see; those of weights do not depend on the jets."""
    flowing, fixed = [row for row in rows if row.events], [row for row in rows if not row.events]
    outside = [row for row in flowing if row.events_outside]
    wrapping = sum(row.overflow == "WRAP" for row in outside)
    clipped = sum(row.saturated > 0 for row in fixed)
    return (
        f"{len(outside)} of {len(flowing)} formats of values overflow on these jets, {wrapping} of them wrap around; "
        f"{clipped} of {len(fixed)} formats of weights and biases cut some off"
    )


def replay(build: Build, options: argparse.Namespace) -> int:
    """C simulation of saved events; 0 where it equals the quantised model on all of them, else 1."""
    from hls.backends import open_project
    from hls.proof.agree import agree
    from hls.stages.csim import check_same_model, level_without_clock
    from hls.stages.export import load_quantised
    from qformers.progress import bars
    from qformers.quant.worst_events import read_worst

    model = load_quantised(cli.model_path(build, options.model, options.run))
    project = open_project(cli.run_folder(build, options.run) / "firmware" / build.firmware.backend)
    check_same_model(project, model)
    numbers, inputs = read_worst(options.replay)
    if not len(numbers):
        print(f"{options.replay}: no event overflowed, nothing to simulate")
        return 0
    with bars() as reporter:
        level = level_without_clock(project)
        project.compile(level, reporter)
        found = agree(project, model, inputs, reporter, level)
    print(f"{len(numbers)} saved events: {found}")
    if found.event is not None:
        print(f"  event {found.event} is number {numbers[found.event]} of its split")
    return 0 if found.equal else 1


def main() -> int:
    """Entry point. Returns 0, or 1 on an error or where replayed events differ."""
    return cli.on_build(parse(), run)


if __name__ == "__main__":
    sys.exit(main())
