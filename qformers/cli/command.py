"""A command of `qformers`: its help, its options and what it does."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qformers.cli import status


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: what is typed after ``qformers``.
        text: its help; the first line says what it does, examples follow.
        add: adds its options to a parser.
        run: works on the options; returns the exit status. It imports what is heavy, the module of a command does not.
        raw: takes the words of the command line instead, where they are read elsewhere; `add` and `run` are not used.
    """

    name: str
    text: str
    add: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    run: Callable[[argparse.Namespace], int] = lambda options: status.DONE
    raw: Callable[[Sequence[str]], int] | None = None

    @property
    def summary(self) -> str:
        """The first line of the help."""
        return self.text.strip().splitlines()[0].rstrip(".")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Read the words after the name of the command; wrong ones end the process with status 2 and a message."""
        parser = argparse.ArgumentParser(
            prog=f"qformers {self.name}",
            description=self.text.strip(),
            epilog=status.table(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add(parser)
        return parser.parse_args(arguments)

    def __call__(self, arguments: Sequence[str]) -> int:
        """Read the words after the name and work; returns the exit status."""
        if self.raw is not None:
            raw = self.raw
            return status.exit_status(lambda: raw(arguments))
        return status.exit_status(lambda: self.run(self.parse(arguments)))
