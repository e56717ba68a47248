"""The plan of folded firmware as a picture: kernels, the stores between them, and what they hold.

Kernels stand below each other as wide as the picture, the stores of a boundary side by side between two of them, so
that every arrow is straight: what a kernel needs of an earlier one passes through all that lie between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from hls.backends.folded.ports import IN, OUT, OUT_BEAT
from hls.templates import fill
from qformers.files import replacing

TEMPLATE = Path(__file__).with_name("picture.svg.j2")
WIDTH, MARGIN, GAP, ARROW = 1000, 20, 16, 34
PADDING, LINE, HEAD, TITLE = 14, 17, 20, 54  # TITLE: of the words above all boxes
LETTER = 7.3  # of a text of 12 px, in a wide font
MOST_LINES = 3  # of names in a box
WIDEST_STORE = 320
MOVED = {False: "registers, multiplexers", True: "memory banks"}  # rows that an order moves; True: the host says where
STORES = {  # kind of store -> what it is for, and what it is made of; "" = see MOVED
    "streamed": ("beat by beat again", "memory of two events"),
    "keyed": ("key by key again", "memory of two events"),
    "row_sums": ("sums over the keys of a row", "accumulators, memory of rows"),
    "row_largest": ("largest of the keys of a row", "comparators, memory of rows"),
    "filled": ("all points at once", "registers, two copies"),
    "running": ("sums over the points", "accumulators"),
    "held": ("values of the event", "registers"),
    "spread": ("of the event, a part per beat", "registers and a selection"),
    "gathered": ("rows that an order picks", ""),
    "scattered": ("rows that an order puts", ""),
}


@dataclass(frozen=True)
class Box:
    """A rectangle with words in it, in px.

    Attributes:
        kind: its class in the style of the picture.
        x, y, width, height: place.
        head: bold words.
        notes, names: lines below it.
    """

    kind: str
    x: float
    y: float
    width: float
    head: str
    notes: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def height(self) -> float:
        """Of the words and some room."""
        return 2 * PADDING + HEAD + LINE * (len(self.notes) + len(self.names)) - 4

    @property
    def middle(self) -> float:
        """Where arrows meet it, along x."""
        return self.x + self.width / 2

    @property
    def lines(self) -> Iterator[tuple[str, float, str]]:
        """Class, height and text of each line."""
        y = self.y + PADDING + 12
        yield "head", y, self.head
        y += HEAD - LINE
        for kind, texts in (("note", self.notes), ("name", self.names)):
            for text in texts:
                y += LINE
                yield kind, y, text


def draw(facts: Mapping[str, Any], path: Path) -> Path:
    """Write the picture as SVG.

    Args:
        facts: ``plan.json`` of a project, or of a survey.
        path: of the file.
    """
    with replacing(path) as temporary:
        temporary.write_text(svg(facts))
    return path


def svg(facts: Mapping[str, Any]) -> str:
    """The picture as SVG; `facts` as in `draw`."""
    rows = _rows(facts)
    last = rows[-1][0]
    return fill(
        TEMPLATE,
        width=WIDTH,
        height=last.y + last.height + MARGIN,
        title=_title(facts),
        words=_words(facts),
        boxes=[box for row in rows for box in row],
        arrows=[arrow for above, below in pairwise(rows) for arrow in _arrows(above, below)],
        kernels=len(facts["kernels"]),
    )


def _title(facts: Mapping[str, Any]) -> str:
    keys = facts["keys_per_clock"]
    each = "" if keys is None else f", {keys} of their keys"
    return f"{facts['points']} points, {facts['points_per_clock']} of them per clock{each}"


def _words(facts: Mapping[str, Any]) -> str:
    bits, stored = facts["register_bits"], facts["store_bits"]
    return (
        f"an event every {_count(facts['ii_cycles'], 'clock')}, latency {_count(facts['latency_cycles'], 'clock')}; "
        f"{facts['lut_estimate']:,.0f} LUT, {facts['dsp_estimate']:,} DSP (estimates), registers of {bits:,} bits, "
        f"stores of {stored:,} bits"
    )


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _rows(facts: Mapping[str, Any]) -> list[list[Box]]:
    """Boxes from top to bottom, those side by side in one list."""
    kernels = facts["kernels"]
    whole = WIDTH - 2 * MARGIN
    together, points = facts["points_per_clock"], facts["points"]
    rows: list[list[Box]] = []

    def under() -> float:
        return rows[-1][0].y + max(box.height for box in rows[-1]) + ARROW if rows else float(MARGIN + TITLE)

    def across(kind: str, head: str, notes: Sequence[str], names: Sequence[str]) -> None:
        rows.append([Box(kind, MARGIN, under(), whole, head, tuple(notes), _wrapped(names, whole))])

    pace = kernels[0]["pace"]
    often = "per clock" if pace == 1 else f"every {pace} clocks"
    comes = f"{IN}: {together} of {points} points {often}, {_count(kernels[0]['beats'], 'beat')} per event"
    banks = any(in_banks for _, _, in_banks in facts["moves"].values())
    across("port", comes, (), [name for name, kind, *_ in kernels[0]["ins"] if kind == "streamed"])
    for kernel in kernels:
        across("kernel", f"kernel {kernel['kernel']}", _wrapped(_kernel_words(kernel), whole), kernel["layers"])
        if stores := list(_stores(kernel, banks)):
            rows.append(_side_by_side(stores, under()))
    by_beat = any(facts["axes"][name] is not None for name in facts["outputs"])
    each = f"{OUT_BEAT}: {together} points per clock, as they are made"
    goes = each if by_beat else f"{OUT}: waits until it is taken"
    across("port", goes, (), facts["outputs"])
    return rows


def _kernel_words(kernel: Mapping[str, Any]) -> list[str]:
    words = (
        "once per event" if kernel["beats"] == 1 else f"{kernel['beats']} beats per event",
        _count(kernel["stages"], "stage"),
        f"{kernel['lut_estimate']:,.0f} LUT",
        f"{_count(kernel['products'], 'product')} of two variables" if kernel["products"] else "",
        f"{kernel['dsp_estimate']:,} DSP" if kernel["dsp_estimate"] else "",
        f"registers of {kernel['register_bits']:,} bits",
        f"{kernel['moves_lut_estimate']:,.0f} LUT move rows behind it" if kernel["moves_lut_estimate"] else "",
        f"weights of the beat: ROM of {kernel['rom_bits']:,} bits" if kernel["rom_bits"] else "",
    )
    return [word for word in words if word]


@dataclass(frozen=True)
class _Store:
    """A store behind a kernel: its kind, what is said of it, and the tensors that it keeps."""

    kind: str
    words: tuple[str, ...]
    tensors: tuple[str, ...]


def _stores(kernel: Mapping[str, Any], banks: bool) -> Iterator[_Store]:
    """The stores behind a kernel; numbers that lead rows to their places are not kept."""
    kinds = dict.fromkeys(kind for _, kind, *_ in kernel["outs"] if f"{kind}_bits" in kernel["stores"])
    for kind in kinds:
        words = (word or MOVED[banks] for word in STORES.get(kind, ()))
        tensors = tuple(name for name, of, *_ in kernel["outs"] if of == kind)
        yield _Store(kind, (f"{kernel['stores'][f'{kind}_bits']:,} bits", *words), tensors)


def _side_by_side(stores: Sequence[_Store], y: float) -> list[Box]:
    """The stores of a boundary, in the middle of the picture."""
    room = WIDTH - 2 * MARGIN - GAP * (len(stores) - 1)
    width = min(room / len(stores), WIDEST_STORE)
    x = (WIDTH - width * len(stores) - GAP * (len(stores) - 1)) / 2
    boxes = []
    for store in stores:
        notes = tuple(line for text in store.words for line in _wrapped(text.split(), width, " "))
        boxes.append(Box("store", x, y, width, store.kind, notes, _wrapped(store.tensors, width)))
        x += width + GAP
    return boxes


def _wrapped(words: Sequence[str], width: float, between: str = ", ") -> tuple[str, ...]:
    """Words in lines that fit into a box; where `MOST_LINES` do not hold them, one more says how many are left out."""
    room = int((width - 2 * PADDING) / LETTER)
    lines: list[list[str]] = []
    for index, word in enumerate(words):
        short = word if len(word) <= room else f"{word[: room - 1]}…"
        if lines and len(between.join([*lines[-1], short])) + len(between.rstrip()) <= room:
            lines[-1].append(short)
        elif len(lines) < MOST_LINES:
            lines.append([short])
        else:
            lines.append([f"and {len(words) - index} more"])
            break
    return tuple(between.join(line) for line in lines)


def _arrows(above: Sequence[Box], below: Sequence[Box]) -> Iterator[tuple[float, float, float]]:
    """x, first and last y of the arrows between two rows; one of them has a single box, which is as wide as all."""
    for box in above if len(above) > len(below) else below:
        start = box.y + box.height if box in above else above[0].y + above[0].height
        yield box.middle, start, below[0].y
