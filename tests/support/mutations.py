"""Seeded damage: from the bytes of a small valid file to files that are a little, or quite, wrong.

The same arguments always give the same files, so that what one of them showed can be shown again by its name.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

TEXT = ("csv", "yaml", "json", "xml", "rpt")  # kinds of files in which numbers and words can be exchanged
# what stands in place of a number
NUMBERS = (
    "1e999", "-1e999", "9" * 400, "-1", "-9223372036854775809", "18446744073709551616", "nan", "inf", "-inf", "0",
    "1e35", "1e-320", "", "abc", "0x10", "1_000", "1,5", "\u0663", "\U0001d7d8", "'", '"', "NaN",
    "true", "null", "[1]", "{}",
)  # fmt: skip
BYTES = (b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\r", b"\n\n", b"<!DOCTYPE x>", b"&x;", b"../", b"\x80\x02c")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def _truncated(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _zeroed(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    size = rng.randrange(1, max(2, len(data) // 4))
    return data[:start] + bytes(min(size, len(data) - start)) + data[start + size :]


def _doubled(data: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:stop] + data[start:stop] + data[stop:]


def _inserted(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(BYTES) * rng.choice((1, 1, 7)) + data[place:]


def _dropped(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randrange(1, max(2, len(data) // 4)) :]


def _renumbered(data: bytes, rng: random.Random) -> bytes:
    """A number (in a binary file: eight bytes that may be one) becomes huge, negative, none or text."""
    places = list(_NUMBER.finditer(data))
    if not places:
        return _flipped(data, rng)
    chosen = rng.choice(places)
    return data[: chosen.start()] + rng.choice(NUMBERS).encode() + data[chosen.end() :]


def _sized(data: bytes, rng: random.Random) -> bytes:
    """Four or eight bytes, perhaps a length or an offset, become an extreme one."""
    place, width = rng.randrange(len(data)), rng.choice((2, 4, 8))
    value = rng.choice((0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), 2 ** (8 * width - 1) - 1))
    return data[:place] + value.to_bytes(width, rng.choice(("little", "big"))) + data[place + width :]


def _line(data: bytes, rng: random.Random) -> bytes:
    """A line is dropped, doubled, or goes elsewhere."""
    lines = data.split(b"\n")
    place = rng.randrange(len(lines))
    line = lines.pop(place)
    for _ in range(rng.choice((0, 1, 2))):
        lines.insert(rng.randrange(len(lines) + 1), line)
    return b"\n".join(lines)


Change = Callable[[bytes, random.Random], bytes]
ANY: dict[str, Change] = {
    "truncated": _truncated, "flipped": _flipped, "zeroed": _zeroed, "doubled": _doubled, "inserted": _inserted,
    "dropped": _dropped,
}  # fmt: skip
OF_TEXT: dict[str, Change] = {"renumbered": _renumbered, "renumbered again": _renumbered, "line": _line}
OF_BINARY: dict[str, Change] = {"sized": _sized, "sized again": _sized, "flipped again": _flipped}


def mutations(data: bytes, kind: str, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Damaged files.

    Args:
        data: a valid file.
        kind: its ending, e.g. "h5", "csv", "csv.gz"; of `TEXT` numbers and lines are exchanged as well.
        seed: of the damage.
        count: how many.

    Yields:
        (name, bytes): the name says seed, number and what was done; the first is empty, the others change in turn.
    """
    changes = ANY | (OF_TEXT if kind in TEXT else OF_BINARY)
    names = sorted(changes)
    for number in range(count):
        if not number:
            yield f"{kind} {seed}/0 empty", b""
            continue
        rng = random.Random(f"{kind} {seed} {number}")  # noqa: S311 - no secret
        name = names[number % len(names)]
        yield f"{kind} {seed}/{number} {name}", changes[name](data, rng)
