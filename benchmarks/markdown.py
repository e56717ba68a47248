"""Tables as Markdown that can also be read as they stand: the one helper of all benchmarks that print or write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells, all of one length, the first as the header; columns are padded to their widest cell."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rows.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(rows)


def print_table(lines: Sequence[Sequence[str]]) -> None:
    """Print `table`."""
    print(table(lines))


def with_error(entry: Mapping[str, Any] | None, digits: int, scale: float = 1.0, sign: str = "") -> str:
    """``0.9126 ± 0.0042``; "" for None.

    Args:
        entry: ``value`` and ``error``.
        digits: behind the point.
        scale: of both, 100 for per cent.
        sign: "+" to say it of positive values too.
    """
    if entry is None:
        return ""
    return f"{scale * entry['value']:{sign}.{digits}f} ± {scale * entry['error']:.{digits}f}"


def differing(*parts: Mapping[str, Any]) -> str:
    """``0 of 53,385``: outputs that differ from Keras, of all outputs of some comparisons."""
    wrong, all_of_them = (sum(part[key] for part in parts) for key in ("values_different", "values"))
    return f"{wrong:,} of {all_of_them:,}"


def machine_words(machine: Mapping[str, Any]) -> str:
    """``2 cores x86_64`` of the machine in a manifest."""
    return f"{machine['cores']} core{'s' if machine['cores'] > 1 else ''} {machine['processor']}"
