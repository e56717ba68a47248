"""The commands that need no firmware; `hls.cli` adds its own and has the entry point."""

from __future__ import annotations

from qformers.cli import evaluate, filtering, fit_lda, generate, importing, quantise, train, tune
from qformers.cli.command import Command

COMMANDS: dict[str, Command] = {
    module.COMMAND.name: module.COMMAND
    for module in (generate, train, evaluate, quantise, tune, importing, filtering, fit_lda)
}
