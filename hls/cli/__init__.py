"""The command `qformers`: all commands in one table. It stands in `hls`, for `qformers` imports nothing of `hls`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import qformers
from hls.cli import (
    audit,
    block_engine,
    compare,
    csim,
    demo,
    export,
    fold_plan,
    prove,
    qonnx,
    rtl,
    run,
    sparsity,
    synth,
    train,
)
from qformers.cli import COMMANDS as OF_QFORMERS
from qformers.cli import status
from qformers.cli.command import Command
from qformers.errors import nearest

_TAKEN = (run, demo, train, export, csim, rtl, synth, compare, prove, qonnx, audit, sparsity, fold_plan, block_engine)
COMMANDS: dict[str, Command] = {**OF_QFORMERS, **{module.COMMAND.name: module.COMMAND for module in _TAKEN}}

GROUPS = {  # of the help
    "the whole flow": ("demo", "run"),
    "stages of the flow, in order": ("generate", "train", "export", "csim", "rtl", "synth", "compare"),
    "to choose the firmware": ("fold-plan",),
    "instead of training": ("quantise", "tune", "import"),
    "for other tools": ("qonnx",),
    "to look inside": ("evaluate", "prove", "audit", "sparsity"),
    "for tracks": ("fit-lda", "filter", "block-engine"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: words of the command line; None for those of the process.

    Returns:
        The exit status, see `qformers.cli.status.STATUSES`. Wrong arguments and ``--help`` end the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in COMMANDS:
        return COMMANDS[words[0]](words[1:])
    return status.exit_status(lambda: _without_command(words))


def _without_command(words: Sequence[str]) -> int:
    """The help of all commands, the version, or an error; each ends the process."""
    parser = argparse.ArgumentParser(
        prog="qformers",
        description="Point-cloud transformers in fixed point, from events to firmware that is exact bit for bit.",
        epilog=f"{overview()}\n\n`qformers COMMAND --help` has the options of a command, with examples.\n\n"
        f"{status.table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"qformers {qformers.__version__}")
    parser.add_argument("command", metavar="COMMAND", help="one of those below")
    name = parser.parse_args(words[:1]).command
    parser.error(f"unknown command '{name}'{nearest(name, COMMANDS)}")


def overview() -> str:
    """All commands with a line each, in groups."""
    lines = []
    for group, names in GROUPS.items():
        lines += [f"{group}:", *(f"  {name:<13} {COMMANDS[name].summary}" for name in names)]
    return "\n".join(lines)
