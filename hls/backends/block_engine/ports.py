"""What a host has to know of a written block engine: how a block is packed, and when its output comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hls.backends.alkaid.ports import Value
from hls.backends.block_engine.parts import Engine
from hls.backends.block_engine.rows import Row
from hls.backends.block_engine.sizes import Sizes
from qformers.precision.fixed import Fixed


@dataclass(frozen=True)
class EnginePorts:
    """Ports and timing of an engine (``ports.json``).

    Attributes:
        sizes: widths of its ports and memories.
        formats: of the inputs features, coords and mask, as the host hands them over.
        given: row of the inputs of a point.
        out: row of the output of a point.
        depth_cycles: stages of all parts, one behind the other.
    """

    sizes: Sizes
    formats: Mapping[str, Fixed]
    given: Row
    out: Row
    depth_cycles: int

    @classmethod
    def of(cls, made: Engine, sizes: Sizes) -> EnginePorts:
        """Of an engine that is about to be written."""
        return cls(sizes, made.formats, made.given, made.out, sum(part.depth for part in made.all))

    @property
    def widths(self) -> tuple[int, int]:
        """Bits of ``in_block`` and ``out_block``."""
        return self.sizes.ports(self.given, self.out)

    def latency_cycles(self, blocks: int) -> int:
        """Clock edges from the one that takes the first block in to the one that brings the last one's output out."""
        layers, orders = self.sizes.layers, self.sizes.orders
        return blocks * (1 + layers * (orders + 1)) + self.depth_cycles + 6 * layers - 1

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "sizes": asdict(self.sizes),
            "formats": {name: str(form) for name, form in self.formats.items()},
            "given": _entries(self.given),
            "out": _entries(self.out),
            "depth_cycles": self.depth_cycles,
        }

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> EnginePorts:
        """Inverse of `to_json`."""
        formats = {name: Fixed.parse(text) for name, text in tree["formats"].items()}
        return cls(Sizes(**tree["sizes"]), formats, _row(tree["given"]), _row(tree["out"]), tree["depth_cycles"])


def _entries(row: Row) -> list[list[Any]]:
    """Of each number: name, place, lowest bit, signed, integer and fraction bits."""
    return [
        [name, list(place), value.low, int(value.signed), value.integer_bits, value.fraction_bits]
        for (name, place), value in row.fields.items()
    ]


def _row(entries: list[list[Any]]) -> Row:
    return Row(
        {
            (name, tuple(place)): Value(name, tuple(place), low, bool(signed), integer, fraction)
            for name, place, low, signed, integer, fraction in entries
        }
    )
