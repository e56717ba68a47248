"""What the readers of the tools' reports share: the error, one file's reading, bordered tables, numbers."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hls.errors import HlsError
from hls.reports.report import Report
from qformers.errors import shown

LARGEST = 2.0**53  # of anything a report counts; whole numbers above are not exact in a float
LARGEST_BYTES = 256 << 20


class ReportError(HlsError):
    """A report that cannot be read: unknown, cut off, or of a failed run."""


@dataclass(frozen=True)
class Reading:
    """What one file says.

    Attributes:
        kind: "csynth", "cosim", "utilisation", "timing", "paths", "power", "congestion", "fanout", "synthesis", "fit",
            "sta" or "flow".
        design: top level of the design, as the tool names it; "" = the file does not say.
        when: date that the tool wrote, in its own words.
        report: the numbers; `detail` has one entry named after the kind.
        rank: among files of one kind and source the highest is taken, then the latest.
    """

    kind: str
    design: str
    when: str
    report: Report
    rank: int = 0


def load(path: Path) -> str:
    """Text of a report; a byte that is not UTF-8 (Quartus writes a trade mark sign) is replaced.

    Raises:
        ReportError: cannot be read, or is empty.
    """
    content = head(path, LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ReportError(f"{path}: is larger than {LARGEST_BYTES:,} bytes, which no report is; give the report alone")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ReportError(f"{path}: is UTF-16 text, the tools write UTF-8; give the file that the tool itself wrote")
    text = decode(content)
    if not text.strip():
        raise ReportError(f"{path}: is empty; let the tool write the report again")
    return text


def head(path: Path, size: int) -> bytes:
    """The first bytes of a file.

    Raises:
        ReportError: cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror}); give a report file or its folder") from error


def decode(content: bytes) -> str:
    """Bytes of a report as text, without the mark of UTF-8 that editors put before it."""
    return content.decode("utf-8", errors="replace").removeprefix("\ufeff")


def missing(path: Path, section: str, command: str) -> ReportError:
    """The error for a section that is not there or not whole."""
    return ReportError(
        f"{path}: section '{section}' is missing or cut off (or the tool version is unknown), the file ends in "
        f"{_end(path)}; write the report again with {command}"
    )


def cut_off(path: Path, place: str, command: str) -> ReportError:
    """The error for a file that ends before its content begins.

    Args:
        path: of the file.
        place: in which it ends, e.g. "header".
        command: that writes the report.
    """
    return ReportError(
        f"{path}: is cut off in its {place}, the file ends in {_end(path)}; write the report again with {command}, and "
        "give it once the tool has ended"
    )


def _end(path: Path) -> str:
    """Where the text of a file ends: number of its last line that is not blank, and that line."""
    lines = load(path).rstrip().splitlines()
    return f"line {len(lines)}: {shown(lines[-1].strip(), 60)}"


def number(path: Path, what: str, text: str) -> float:
    """First number of a cell such as ``1,234 / 487,200 ( < 1 % )``, ``5.00 ns`` or ``35.7 (Junction temp exceeded!)``.

    Raises:
        ReportError: there is none.
    """
    first = re.match(r"[<~\s]*(-?[0-9][0-9,]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)", text)
    if not first:
        raise ReportError(f"{path}: '{what}' must be a number. Received: {shown(text.strip())}")
    value = float(first.group(1).replace(",", ""))
    if abs(value) > LARGEST:  # infinity too
        raise ReportError(
            f"{path}: '{what}' is {shown(text.strip(), 40)}, which no device or clock has; write the report again"
        )
    return value


def positive(path: Path, what: str, text: str) -> float:
    """First number of a cell, which has to be more than 0: a period, a frequency.

    Raises:
        ReportError: there is none, or it is 0 or less.
    """
    value = number(path, what, text)
    if value <= 0:
        raise ReportError(f"{path}: '{what}' must be positive. Received: {shown(text.strip())}")
    return value


def count(path: Path, what: str, text: str) -> int:
    """A whole number of things; "-" is how the HLS tools write none.

    Raises:
        ReportError: not a whole number.
    """
    if text.strip() == "-":
        return 0
    value = number(path, what, text)
    if value != int(value) or value < 0:
        raise ReportError(f"{path}: '{what}' must be a whole number. Received: {shown(text.strip())}")
    return int(value)


def table(lines: Sequence[str], start: int, mark: str = "|") -> list[list[str]] | None:
    """Rows of the first bordered table at or after line `start`, cells stripped, borders left out.

    The table has to begin within a dozen lines and to end with a border; None = it does not, so the file is cut off.

    Args:
        lines: of the file.
        start: index of a line.
        mark: what stands between cells, "|" (Xilinx) or ";" (Quartus).
    """
    first = next((n for n in range(start, min(start + 12, len(lines))) if _border(lines[n])), None)
    if first is None:
        return None
    rows: list[list[str]] = []
    closed = False
    for line in lines[first:]:
        text = line.strip()
        if _border(line):
            closed = True
        elif text.startswith((mark, "+")) and text.endswith((mark, "+")):  # cosim starts a row with "+   RTL"
            rows.append([cell.strip() for cell in text[1:-1].split(mark)])
            closed = False
        else:
            break
    return rows if closed and len(rows) > 1 else None  # one row: cut off below the border of the heading


def _border(line: str) -> bool:
    text = line.strip()
    return text.startswith("+-") and set(text) <= {"+", "-"}


def find_line(lines: Sequence[str], pattern: str, start: int = 0) -> int | None:
    """Index of the first line from `start` on that matches the pattern."""
    matcher = re.compile(pattern)
    return next((n for n in range(start, len(lines)) if matcher.match(lines[n])), None)


def only_known(path: Path, names: Iterable[str], wanted: Iterable[str], section: str, command: str) -> None:
    """Refuse a table that lacks a row or column.

    Raises:
        ReportError: naming the section and what it lacks.
    """
    have = set(names)
    lacking = [name for name in wanted if name not in have]
    if lacking:
        raise missing(path, f"{section}: {lacking[0]}", command)
