"""Verilog around the parts of a block engine: memories, the moving of rows, and the order of the work.

An event is M blocks of S points. It is taken in one block per clock, slot by slot, through the encoder; then, layer by
layer, every order's blocks go through the attention, M per order, one per clock, and behind them the M blocks of slots
through the points' part, the last of which gives the output. A phase begins when the results of the one before are
written.

A point is moved between the blocks of slots and those of an order through S memory banks, which no block has twice
(`hls.backends.folded.banks`): a permutation of lanes in front of the banks, one behind them, and an address for
each bank. x, coordinates and masks are kept once per order, and so is what attention gives. What the points' part and
the head read of x lies in slot order.

The Verilog is ``engine.v`` beside this file; here are the numbers and wires for its holes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hls.backends.alkaid.ports import Value, joined, wires
from hls.backends.block_engine.parts import Engine, Part
from hls.backends.block_engine.rows import Row, Spot
from hls.backends.block_engine.sizes import Sizes
from hls.templates import fill

HERE = Path(__file__).parent
FOLDED = HERE.parent / "folded"  # which has memory banks of the same kind
MODULES = {  # that the engine is made of, and where their files lie
    "banks": FOLDED,
    "permute": FOLDED,
    "pick": FOLDED,
    "rows": HERE,
}


@dataclass(frozen=True)
class Target:
    """Bits of a bus that an instance drives."""

    bus: str
    low: int
    width: int
    value: str  # Verilog


@dataclass(frozen=True)
class Instance:
    """A part in the engine.

    Attributes:
        module: name of the part.
        name: of the instance.
        depth: of the part, in clocks.
        in_width, out_width: bits of its ports.
        given: Verilog of the vector that goes in.
        targets: where its outputs go, for a part that works on a point.
        sums: Verilog of the outputs of all lanes, for attention.
    """

    module: str
    name: str
    depth: int
    in_width: int
    out_width: int
    given: str
    targets: tuple[Target, ...] = ()
    sums: str = ""


def verilog(made: Engine, size: Sizes) -> dict[str, str]:
    """Sources by module name: the engine and its memories and permutations."""
    in_width, out_width = size.ports(made.given, made.out)
    text = fill(
        HERE / "engine.v",
        size=size,
        made=made,
        in_width=in_width,
        out_width=out_width,
        order_bits=max(size.orders.bit_length(), 1),
        layer_bits=max(size.layers.bit_length(), 1),
        widest_x=_widest(made.x),
        widest_sums=_widest(made.sums),
        # when x in front of each layer is written
        x_done=["load_done", *(f"points{index}_done" for index in range(len(made.x) - 1))],
        x_values=_x_values(made, size),
        # words of an order that say where a block is written: read a clock before it is
        written_early=[f"{kind}{order}" for kind in ("in_lanes", "sums_lanes") for order in range(size.orders)],
        encoder=_encoder(made, size),
        attention=_attention(made, size),
        points=_points(made, size),
    )
    return {size.top: text} | {
        f"{size.top}_{name}": fill(folder / f"{name}.v", top=size.top) for name, folder in MODULES.items()
    }


def _widest(rows: tuple[Row, ...]) -> int:
    return max(row.width for row in rows)


def _x_values(made: Engine, size: Sizes) -> list[str]:
    """x in front of each layer as rows of the widest."""
    values, wide = [], _widest(made.x)
    for index, row in enumerate(made.x):
        zeros = f"{wide - row.width}'d0, " if wide > row.width else ""
        values.append(joined([f"{zeros}x{index}_new[{s * row.width} +: {row.width}]" for s in range(size.size)]))
    return values


def _encoder(made: Engine, size: Sizes) -> list[Instance]:
    sources = {"": (made.given, "in_block", made.given.width)}
    return _lanes(size, made.encoder, sources, {"x": (made.x[0], "x0_new"), "point": (made.place, "point_new")})


def _attention(made: Engine, size: Sizes) -> list[Instance]:
    """One instance per layer, which takes all lanes."""
    wide, sums, instances = _widest(made.x), _widest(made.sums), []
    for index, part in enumerate(made.attention):
        sources = {"x": (made.x[index], "x_rows", wide), "point": (made.place, "point_rows", made.place.width)}
        pieces = []
        for spot, value in part.ins:
            row, bus, stride = sources[spot.row]
            pieces += _piece(row, bus, stride * spot.lane, spot, value)
        row, outs = made.sums[index], {}
        for spot, value in part.outs:
            outs[spot.lane, spot.name, spot.place] = value
        words = []
        for lane in range(size.size):
            for key, field in row.fields.items():
                words += [wires(outs[(lane, *key)], f"{part.name}_out", 0, field)] if field.width else []
            words += [f"{sums - row.width}'d0"] if sums > row.width else []
        instances.append(_instance(part, part.name, pieces, sums=joined(words)))
    return instances


def _points(made: Engine, size: Sizes) -> list[list[Instance]]:
    """S instances per layer."""
    wide, layers = _widest(made.sums), []
    for index, part in enumerate(made.points):
        sources = {f"sums{o}": (made.sums[index], f"sums{o}_rows", wide) for o in range(size.orders)}
        sources |= {f"x{n}": (row, f"x{n}_rows", row.width) for n, row in enumerate(made.x)}
        final = index == size.layers - 1
        target = (made.out, "out_block") if final else (made.x[index + 1], f"x{index + 1}_new")
        layers.append(_lanes(size, part, sources, {"x": target}))
    return layers


def _lanes(
    size: Sizes,
    part: Part,
    sources: dict[str, tuple[Row, str, int]],
    targets: dict[str, tuple[Row, str]],
) -> list[Instance]:
    """S copies of a part that works on a point; rows of a source named "" hold all inputs."""
    instances = []
    for lane in range(size.size):
        name, pieces = f"{part.name}_{lane}", []
        for spot, value in part.ins:
            row, bus, stride = sources.get(spot.row) or sources[""]
            pieces += _piece(row, bus, lane * stride, spot, value)
        driven = []
        for target, (row, bus) in targets.items():
            outs = {(spot.name, spot.place): value for spot, value in part.outs if spot.row == target}
            words = [wires(outs[key], f"{name}_out", 0, field) for key, field in row.fields.items() if field.width]
            driven.append(Target(bus, lane * row.width, row.width, joined(words)))
        instances.append(_instance(part, name, pieces, tuple(driven)))
    return instances


def _piece(row: Row, bus: str, base: int, spot: Spot, value: Value) -> list[str]:
    return [wires(row.fields[spot.name, spot.place], bus, base, value)] if value.width else []


def _instance(part: Part, name: str, pieces: list[str], targets: tuple[Target, ...] = (), sums: str = "") -> Instance:
    widths = [sum(value.width for _, value in values) for values in (part.ins, part.outs)]
    return Instance(part.name, name, part.depth, widths[0], widths[1], joined(pieces), targets, sums)
