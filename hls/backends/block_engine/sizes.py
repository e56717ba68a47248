"""Widths of a block engine's ports, and how much it keeps and moves.

Symbols: S points per block, O orders, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass

from hls.backends.block_engine.parts import Engine
from hls.backends.block_engine.rows import Row


@dataclass(frozen=True)
class Sizes:
    """Widths of the engine's ports and memories.

    Attributes:
        top: name of the module.
        size: S.
        orders: O.
        layers: L.
        blocks: most blocks of an event.
    """

    top: str
    size: int
    orders: int
    layers: int
    blocks: int

    @property
    def block_bits(self) -> int:
        """Of the number of a block."""
        return max((self.blocks - 1).bit_length(), 1)

    @property
    def lane_bits(self) -> int:
        """Of the place of a point in its block."""
        return max((self.size - 1).bit_length(), 1)

    @property
    def words(self) -> dict[str, tuple[int, int]]:
        """Lowest bit in ``in_block``, behind the points, and width of each word of an order (`banks.words`)."""
        widths = {"lanes": self.lane_bits, "banks": self.lane_bits, "blocks": self.block_bits}
        kinds = ("in_lanes", "out_blocks", "out_banks", "sums_lanes", "read_blocks", "read_banks")
        places, low = {}, 0
        for order in range(self.orders):
            for kind in kinds:
                width = self.size * widths[kind.partition("_")[2]]
                places[f"{kind}{order}"] = low, width
                low += width
        return places

    def ports(self, given: Row, out: Row) -> tuple[int, int]:
        """Bits of ``in_block`` and ``out_block``, from the rows of a point."""
        orders = sum(width for _, width in self.words.values())
        return self.size * given.width + orders, self.size * out.width

    def memories(self, made: Engine) -> dict[str, tuple[int, int]]:
        """What is kept: how many memories of a word per block, and the bits of that word."""
        x, sums = max(row.width for row in made.x), max(row.width for row in made.sums)
        banks = self.orders * self.size
        words = sum(width for _, width in self.words.values()) // self.orders
        return {
            "ways of the points": (self.orders, words),
            "coordinates and masks": (banks, made.place.width),
            "x by bank": (banks, x),
            "x by slot": (1, self.size * sum(row.width for row in made.x)),
            "results of attention": (banks, sums),
        }

    def multiplexed_bits(self, made: Engine) -> int:
        """Bits that are chosen among S lanes or banks per clock."""
        x, sums = max(row.width for row in made.x), max(row.width for row in made.sums)
        return (self.orders + 1) * self.size * (x + made.place.width + sums)


def sizes(made: Engine, top: str, blocks: int) -> Sizes:
    """Of an engine for events of at most so many blocks."""
    cfg = made.parts.cfg
    return Sizes(top, made.parts.block, cfg.hashes, cfg.layers, blocks)
