"""What a stage returns: a result that shows itself in a terminal and in a notebook."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

WIDTH = 120  # columns in a notebook, and where there is no terminal to ask
_PRE = '<pre style="white-space:pre;overflow-x:auto;line-height:1.25;font-family:monospace">{code}</pre>'


def spell(value: float | None, error: float | None = None, sign: str = "±", digits: int = 4) -> str:
    """``0.4120 ± 0.0100``; what could not be computed is n/a."""
    if value is None:
        return "n/a"
    return f"{value:.{digits}f} {sign} " + ("n/a" if error is None else f"{error:.{digits}f}")


class Result(ABC):
    """Base of the results of stages.

    A result is printed by rich (``console.print(result)``), shown by a notebook that has it in the last line of a
    cell, and written by `save`. To compute it prints nothing.
    """

    @abstractmethod
    def pieces(self) -> Iterator[RenderableType]:
        """Lines and tables, from top to bottom."""

    @abstractmethod
    def save(self) -> Path:
        """Write the result into its run folder; returns the main file."""

    def show(self, console: Console | None = None) -> None:
        """Print all `pieces` on a terminal; None for standard output."""
        console = console or Console(highlight=False, soft_wrap=True)
        for piece in self.pieces():
            console.print(_plain(piece))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for piece in self.pieces():
            yield _plain(piece)

    def __repr__(self) -> str:
        """What `show` prints, for a Python terminal and `print`; a subclass is a dataclass with ``repr=False``."""
        console = Console(file=io.StringIO(), width=WIDTH, highlight=False, soft_wrap=True)
        with console.capture() as captured:
            self.show(console)
        return captured.get().rstrip()

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        # force_jupyter: in a notebook rich displays what it prints, whatever `file` is, and all would be shown twice
        console = Console(
            record=True, file=io.StringIO(), width=WIDTH, highlight=False, soft_wrap=True, force_jupyter=False
        )
        self.show(console)
        return console.export_html(inline_styles=True, code_format=_PRE)


def _plain(piece: RenderableType) -> RenderableType:
    """Words as they stand: brackets in them are no markup of rich."""
    return Text(piece) if isinstance(piece, str) else piece
