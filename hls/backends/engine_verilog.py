"""Verilog around the parts of a block engine: memories, the moving of rows, and the order of the work.

An event is M blocks of S points. It is taken in one block per clock, slot by slot, through the encoder; then, layer by
layer, every order's blocks go through the attention, M per order, one per clock, and behind them the M blocks of slots
through the points' part, the last of which gives the output. A phase begins when the results of the one before are
written.

Attention reads any S rows per clock, the points' part any S rows of each order: ``<top>_gather`` holds ceil(S / 2)
copies of all rows, each with two ports, and picks a lane of the word that it reads. What the points' part and the head
read of x lies in slot order and needs one copy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hls.backends.alkaid_ports import Value
from hls.backends.engine_parts import Engine, Part
from hls.backends.engine_rows import Row, Spot, joined, wires


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
    def index_bits(self) -> int:
        """Of a slot: block above, lane below."""
        return self.block_bits + self.lane_bits

    def ports(self, made: Engine) -> tuple[int, int]:
        """Bits of ``in_block`` and ``out_block``."""
        return self.size * (made.given.width + 2 * self.orders * self.index_bits), self.size * made.out.width

    def memories(self, made: Engine) -> dict[str, int]:
        """Bits of the memories by what they hold, copies included."""
        copies, slots = -(-self.size // 2), self.blocks * self.size
        return {
            "slots and ranks": 2 * self.orders * self.index_bits * slots,
            "coordinates and masks": copies * slots * made.place.width,
            "x for gathers": copies * slots * max(row.width for row in made.x),
            "x in slots": slots * sum(row.width for row in made.x),
            "results of attention": copies * slots * self.orders * max(row.width for row in made.sums),
        }


def sizes(made: Engine, top: str, blocks: int) -> Sizes:
    """Of an engine for events of at most so many blocks."""
    cfg = made.parts.cfg
    return Sizes(top, made.parts.block, cfg.hashes, cfg.layers, blocks)


def verilog(made: Engine, size: Sizes) -> dict[str, str]:
    """Sources by module name: the engine and its two kinds of memory."""
    text = "\n".join([_head(made, size), _load(made, size), _memories(made, size), _attention(made, size)])
    text += "\n".join([_points(made, size), _control(size), "endmodule\n"])
    return {size.top: text, f"{size.top}_gather": _GATHER.format(top=size.top), f"{size.top}_rows": _ROWS.format(top=size.top)}


_GATHER = """\
// any LANES rows per clock: one word (a block of rows) for each, of which it takes a lane
module {top}_gather #(
    parameter ROW = 1, parameter LANES = 2, parameter BLOCKS = 2, parameter BLOCK_BITS = 1, parameter LANE_BITS = 1
) (
    input clk, input write, input [BLOCK_BITS-1:0] write_block, input [LANES*ROW-1:0] word,
    input [LANES*(BLOCK_BITS+LANE_BITS)-1:0] slots, output [LANES*ROW-1:0] rows
);
    genvar pair;
    generate for (pair = 0; pair < LANES; pair = pair + 2) begin: copies
        reg [LANES*ROW-1:0] memory [0:BLOCKS-1];
        reg [LANES*ROW-1:0] found;
        reg [LANE_BITS-1:0] lane;
        wire [BLOCK_BITS+LANE_BITS-1:0] slot = slots[pair*(BLOCK_BITS+LANE_BITS) +: BLOCK_BITS+LANE_BITS];
        wire [BLOCK_BITS-1:0] address = write ? write_block : slot[BLOCK_BITS+LANE_BITS-1:LANE_BITS];
        always @(posedge clk) begin
            if (write) memory[address] <= word;
            found <= memory[address];
            lane <= slot[LANE_BITS-1:0];
        end
        assign rows[pair*ROW +: ROW] = found[32'(lane)*ROW +: ROW];
        if (pair + 1 < LANES) begin: second
            reg [LANES*ROW-1:0] other;
            reg [LANE_BITS-1:0] place;
            wire [BLOCK_BITS+LANE_BITS-1:0] seat = slots[(pair+1)*(BLOCK_BITS+LANE_BITS) +: BLOCK_BITS+LANE_BITS];
            always @(posedge clk) begin
                other <= memory[seat[BLOCK_BITS+LANE_BITS-1:LANE_BITS]];
                place <= seat[LANE_BITS-1:0];
            end
            assign rows[(pair+1)*ROW +: ROW] = other[32'(place)*ROW +: ROW];
        end
    end endgenerate
endmodule
"""

_ROWS = """\
// one word per clock
module {top}_rows #(parameter WIDTH = 1, parameter BLOCKS = 2, parameter BLOCK_BITS = 1) (
    input clk, input write, input [BLOCK_BITS-1:0] write_block, input [WIDTH-1:0] word,
    input [BLOCK_BITS-1:0] block, output reg [WIDTH-1:0] found
);
    reg [WIDTH-1:0] memory [0:BLOCKS-1];
    always @(posedge clk) begin
        if (write) memory[write_block] <= word;
        found <= memory[block];
    end
endmodule
"""


def _head(made: Engine, size: Sizes) -> str:
    given, out = size.ports(made)
    return f"""\
// block engine of HEPT: {size.orders} orders, {size.layers} layers, blocks of {size.size} points, at most {size.blocks}
module {size.top} (
    input clk, input rst,
    input in_valid, output in_ready, input [{size.block_bits - 1}:0] in_last, input [{given - 1}:0] in_block,
    output out_valid, output [{out - 1}:0] out_block
);
    localparam LOAD = 2'd0, ATTEND = 2'd1, COMBINE = 2'd2;
    reg [1:0] state;
    reg issuing; // blocks of this phase are still going in
    reg [{size.block_bits - 1}:0] last, block, block_before, written;
    reg [{_bits(size.orders) - 1}:0] order, order_before, order_written;
    reg [{_bits(size.layers) - 1}:0] layer;
    wire take = in_valid & in_ready;
    assign in_ready = state == LOAD && issuing;
    always @(posedge clk) begin
        block_before <= block;
        order_before <= order;
    end
"""


def _load(made: Engine, size: Sizes) -> str:
    part, row = made.encoder, made.given
    lines = [
        f"    wire [{size.size * made.x[0].width - 1}:0] x0_new;",
        f"    wire [{size.size * made.place.width - 1}:0] point_new;",
        *_lanes(made, size, part, {"": (row, "in_block")}, {"x": (made.x[0], "x0_new"), "point": (made.place, "point_new")}),
        _chain("load", part.depth + 1, "take"),
    ]
    width, base = size.size * size.index_bits, size.size * row.width
    for name, first in (("slots", base), ("ranks", base + size.orders * width)):
        for order in range(size.orders):
            word = f"in_block[{first + (order + 1) * width - 1}:{first + order * width}]"
            lines += [
                f"    wire [{width - 1}:0] {name}{order};",
                _rows(size, f"{name}{order}_memory", width, ("take", "block", word), ("block", f"{name}{order}")),
            ]
    return "\n".join(lines)


def _memories(made: Engine, size: Sizes) -> str:
    wide, sums = max(row.width for row in made.x), max(row.width for row in made.sums)
    words = size.size * wide
    layers, orders = range(size.layers), range(size.orders)
    lines = [f"    wire [{size.size * row.width - 1}:0] x{index}_new;" for index, row in enumerate(made.x) if index]
    chosen = ["{" + f"{words}" + "{1'b0}}"]
    for index, row in reversed(list(enumerate(made.x))):
        spread = [f"x{index}_new[{s * row.width} +: {row.width}]" for s in range(size.size)]
        padded = [(f"{wide - row.width}'d0, " if wide > row.width else "") + piece for piece in spread]
        chosen.append(f"{_done(index)} ? {joined(padded)} :\n        {chosen[-1]}")
    slots = " :\n        ".join([*(f"order_before == {o} ? slots{o}" for o in orders[:-1]), f"slots{orders[-1]}"])
    lines += [
        f"    wire x_write = {' | '.join(_done(index) for index in layers)};",
        f"    wire [{words - 1}:0] x_new = {chosen[-1]};",
        f"    wire [{words - 1}:0] x_rows;",
        f"    wire [{size.size * size.index_bits - 1}:0] slots = {slots};",
        _gather(size, "x_memory", wide, ("x_write", "written", "x_new"), ("slots", "x_rows")),
        f"    wire [{size.size * made.place.width - 1}:0] point_rows;",
        _gather(size, "point_memory", made.place.width, ("load_done", "written", "point_new"), ("slots", "point_rows")),
    ]
    for index, row in enumerate(made.x):
        width = size.size * row.width
        lines += [
            f"    wire [{width - 1}:0] x{index}_rows;",
            _rows(size, f"x{index}_memory", width, (_done(index), "written", f"x{index}_new"), ("block_before", f"x{index}_rows")),
        ]
    lines.append(f"    wire [{size.size * sums - 1}:0] sums_new;")
    lines.append(f"    wire sums_write = {' | '.join(f'attention{index}_done' for index in layers)};")
    for index in orders:
        write = (f"sums_write && order_written == {index}", "written", "sums_new")
        lines += [
            f"    wire [{size.size * sums - 1}:0] sums{index}_rows;",
            _gather(size, f"sums{index}_memory", sums, write, (f"ranks{index}", f"sums{index}_rows")),
        ]
    return "\n".join(lines)


def _attention(made: Engine, size: Sizes) -> str:
    wide, sums = max(row.width for row in made.x), max(row.width for row in made.sums)
    lines, chosen = [], "{" + f"{size.size * sums}" + "{1'b0}}"
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
        lines += [
            *_instance(size, part, joined(pieces), ""),
            _chain(part.name, part.depth + 3, f"state == ATTEND && issuing && layer == {index}"),
        ]
        chosen = f"{part.name}_done ? {joined(words)} :\n        {chosen}"
    lines.append(f"    assign sums_new = {chosen};")
    return "\n".join(lines)


def _points(made: Engine, size: Sizes) -> str:
    wide = max(row.width for row in made.sums)
    lines = []
    for index, part in enumerate(made.points):
        sources = {f"sums{o}": (made.sums[index], f"sums{o}_rows", wide) for o in range(size.orders)}
        sources |= {f"x{n}": (row, f"x{n}_rows", row.width) for n, row in enumerate(made.x)}
        final = index == size.layers - 1
        target = (made.out, "out_block") if final else (made.x[index + 1], f"x{index + 1}_new")
        lines += [
            *_lanes(made, size, part, sources, {"x": target}),
            _chain(part.name, part.depth + 3, f"state == COMBINE && issuing && layer == {index}"),
        ]
    return "\n".join([*lines, f"    assign out_valid = points{size.layers - 1}_done;"])


def _control(size: Sizes) -> str:
    """Counters of what goes in and of what is written; a phase ends with its last result."""
    combined = " | ".join(f"points{index}_done" for index in range(size.layers))
    return f"""\
    wire points_done = {combined};
    wire done = load_done | sums_write | points_done;
    wire last_order = order == {size.orders - 1};
    wire first = state == LOAD && block == 0;
    wire [{size.block_bits - 1}:0] limit = first ? in_last : last;
    wire step = state == LOAD ? take : issuing;
    wire over = done && written == last && (!sums_write || order_written == {size.orders - 1});
    always @(posedge clk) begin
        if (take && first) last <= in_last;
        if (step) begin
            block <= block == limit ? 0 : block + 1;
            if (block == limit) begin
                if (state == ATTEND && !last_order) order <= order + 1;
                else issuing <= 0;
            end
        end
        if (done) begin
            written <= written == last ? 0 : written + 1;
            if (sums_write && written == last) order_written <= order_written + 1;
        end
        if (over) begin
            issuing <= 1;
            order <= 0;
            order_written <= 0;
            state <= state == ATTEND ? COMBINE : state == COMBINE && layer == {size.layers - 1} ? LOAD : ATTEND;
            if (state == COMBINE) layer <= layer == {size.layers - 1} ? 0 : layer + 1;
        end
        if (rst) begin
            state <= LOAD;
            issuing <= 1;
            block <= 0;
            written <= 0;
            order <= 0;
            order_written <= 0;
            layer <= 0;
        end
    end
"""


def _bits(count: int) -> int:
    return max(count.bit_length(), 1)


def _done(index: int) -> str:
    """When x in front of layer `index` is written."""
    return "load_done" if index == 0 else f"points{index - 1}_done"


def _chain(name: str, length: int, first: str) -> str:
    """``<name>_done``, `length` clocks after `first`."""
    return f"""\
    reg [{length - 1}:0] {name}_chain;
    always @(posedge clk) {name}_chain <= rst ? 0 : {{{name}_chain[{length - 2}:0], {first}}};
    wire {name}_done = {name}_chain[{length - 1}];"""


def _rows(size: Sizes, name: str, width: int, write: tuple[str, str, str], read: tuple[str, str]) -> str:
    numbers = f".WIDTH({width}), .BLOCKS({size.blocks}), .BLOCK_BITS({size.block_bits})"
    return f"""\
    {size.top}_rows #({numbers}) {name} (.clk(clk),
        .write({write[0]}), .write_block({write[1]}), .word({write[2]}), .block({read[0]}), .found({read[1]}));"""


def _gather(size: Sizes, name: str, row: int, write: tuple[str, str, str], read: tuple[str, str]) -> str:
    numbers = f".ROW({row}), .LANES({size.size}), .BLOCKS({size.blocks})"
    return f"""\
    {size.top}_gather #({numbers}, .BLOCK_BITS({size.block_bits}), .LANE_BITS({size.lane_bits})) {name} (.clk(clk),
        .write({write[0]}), .write_block({write[1]}), .word({write[2]}), .slots({read[0]}), .rows({read[1]}));"""


def _piece(row: Row, bus: str, base: int, spot: Spot, value: Value) -> list[str]:
    return [wires(row.fields[spot.name, spot.place], bus, base, value)] if value.width else []


def _instance(size: Sizes, part: Part, given: str, suffix: str) -> list[str]:
    """A part with its vectors ``<name><suffix>_in`` and ``_out``."""
    name = f"{part.name}{suffix}"
    widths = [sum(value.width for _, value in values) for values in (part.ins, part.outs)]
    return [
        f"    wire [{widths[0] - 1}:0] {name}_in = {given};",
        f"    wire [{widths[1] - 1}:0] {name}_out;",
        f"    {size.top}_{part.name} {name} (.clk(clk), .model_inp({name}_in), .model_out({name}_out));",
    ]


def _lanes(
    made: Engine,
    size: Sizes,
    part: Part,
    sources: dict[str, tuple[Row, str] | tuple[Row, str, int]],
    targets: dict[str, tuple[Row, str]],
) -> Iterable[str]:
    """S copies of a part that works on a point; rows of a source named "" hold all inputs."""
    for lane in range(size.size):
        pieces = []
        for spot, value in part.ins:
            row, bus, *stride = sources.get(spot.row) or sources[""]
            pieces += _piece(row, bus, lane * (stride[0] if stride else row.width), spot, value)
        yield from _instance(size, part, joined(pieces), f"_{lane}")
        for name, (row, bus) in targets.items():
            found = {(spot.name, spot.place): value for spot, value in part.outs if spot.row == name}
            words = [
                wires(found[key], f"{part.name}_{lane}_out", 0, field) for key, field in row.fields.items() if field.width
            ]
            yield f"    assign {bus}[{lane * row.width} +: {row.width}] = {joined(words)};"
