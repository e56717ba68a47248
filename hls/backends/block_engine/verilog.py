"""Verilog around the parts of a block engine: memories, the moving of rows, and the order of the work.

An event is M blocks of S points. It is taken in one block per clock, slot by slot, through the encoder; then, layer by
layer, every order's blocks go through the attention, M per order, one per clock, and behind them the M blocks of slots
through the points' part, the last of which gives the output. A phase begins when the results of the one before are
written.

A point is moved between the blocks of slots and those of an order through S memory banks, which no block has twice
(`hls.backends.block_engine.banks`): a permutation of lanes in front of the banks, one behind them, and an address for
each bank. x, coordinates and masks are kept once per order, and so is what attention gives. What the points' part and
the head read of x lies in slot order.
"""

from __future__ import annotations

from collections.abc import Iterable

from hls.backends.alkaid.ports import Value
from hls.backends.block_engine.modules import MODULES, banked, bits, chain, of_order, permute, rows
from hls.backends.block_engine.parts import Engine, Part
from hls.backends.block_engine.rows import Row, Spot, joined, wires
from hls.backends.block_engine.sizes import Sizes


def verilog(made: Engine, size: Sizes) -> dict[str, str]:
    """Sources by module name: the engine and its memories and permutations."""
    parts = [_head(made, size), _load(made, size), _memories(made, size), _attention(made, size), _points(made, size)]
    text = "\n".join([*parts, _control(size), "endmodule\n"])
    return {size.top: text} | {f"{size.top}_{name}": code.format(top=size.top) for name, code in MODULES.items()}


def _head(made: Engine, size: Sizes) -> str:
    given, out = size.ports(made.given, made.out)
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
    reg [{bits(size.orders) - 1}:0] order, order_before, order_found, order_written;
    reg [{bits(size.layers) - 1}:0] layer;
    wire take = in_valid & in_ready;
    assign in_ready = state == LOAD && issuing;
    always @(posedge clk) begin
        block_before <= block;
        order_before <= order;
        order_found <= order_before;
    end
    wire [{size.block_bits - 1}:0] written_next;
"""


def _load(made: Engine, size: Sizes) -> str:
    part, row = made.encoder, made.given
    lines = [
        f"    wire [{size.size * made.x[0].width - 1}:0] x0_new;",
        f"    wire [{size.size * made.place.width - 1}:0] point_new;",
        *_lanes(
            size,
            part,
            {"": (row, "in_block", row.width)},
            {"x": (made.x[0], "x0_new"), "point": (made.place, "point_new")},
        ),
        chain("load", part.depth + 1, "take"),
    ]
    base = size.size * row.width
    for name, (low, width) in size.words.items():
        word = f"in_block[{base + low + width - 1}:{base + low}]"
        read = "written_next" if "lanes" in name else "block"
        lines += [
            f"    wire [{width - 1}:0] {name};",
            rows(size, f"{name}_memory", width, ("take", "block", word), (read, name)),
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
    lines += [
        f"    wire x_write = {' | '.join(_done(index) for index in layers)};",
        f"    wire [{words - 1}:0] x_new = {chosen[-1]};",
        f"    reg [{size.size * size.lane_bits - 1}:0] read_banks;",
        f"    always @(posedge clk) read_banks <= {of_order(size, 'order_before', 'read_banks')};",
    ]
    for name, width, when in (("x", wide, "x_write"), ("point", made.place.width, "load_done")):
        lines += [f"    wire [{size.size * width - 1}:0] {name}_rows;"]
        for o in orders:
            lines += banked(size, f"{name}_", o, width, when, (f"{name}_new", f"in_lanes{o}"), f"read_blocks{o}")
        found = of_order(size, "order_found", f"{name}_found")
        lines.append(permute(size, f"{name}_pick", width, (found, "read_banks", f"{name}_rows")))
    for index, row in enumerate(made.x):
        write = (_done(index), "written", f"x{index}_new")
        lines += [
            f"    wire [{size.size * row.width - 1}:0] x{index}_rows;",
            rows(size, f"x{index}_memory", size.size * row.width, write, ("block_before", f"x{index}_rows")),
        ]
    return "\n".join([*lines, *_results(size, sums)])


def _results(size: Sizes, sums: int) -> list[str]:
    """What attention gives, by banks, and the rows of all orders in slot order."""
    done = " | ".join(f"attention{index}_done" for index in range(size.layers))
    lines = [
        f"    wire [{size.size * sums - 1}:0] sums_new, sums_in;",
        f"    wire sums_write = {done};",
        permute(size, "sums_spread", sums, ("sums_new", of_order(size, "order_written", "sums_lanes"), "sums_in")),
    ]
    for o in range(size.orders):
        lines += [
            *banked(size, "sums_", o, sums, f"sums_write && order_written == {o}", None, f"out_blocks{o}"),
            f"    reg [{size.size * size.lane_bits - 1}:0] out_banks{o}_found;",
            f"    always @(posedge clk) out_banks{o}_found <= out_banks{o};",
            f"    wire [{size.size * sums - 1}:0] sums{o}_rows;",
            permute(size, f"sums{o}_pick", sums, (f"sums_found{o}", f"out_banks{o}_found", f"sums{o}_rows")),
        ]
    return lines


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
            chain(part.name, part.depth + 3, f"state == ATTEND && issuing && layer == {index}"),
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
            *_lanes(size, part, sources, {"x": target}),
            chain(part.name, part.depth + 3, f"state == COMBINE && issuing && layer == {index}"),
        ]
    return "\n".join([*lines, f"    assign out_valid = points{size.layers - 1}_done;"])


def _control(size: Sizes) -> str:
    """Counters of what goes in and of what is written; a phase ends with its last result."""
    combined = " | ".join(f"points{index}_done" for index in range(size.layers))
    return f"""\
    wire points_done = {combined};
    wire done = load_done | sums_write | points_done;
    assign written_next = !done ? written : written == last ? 0 : written + 1;
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
        written <= written_next;
        if (sums_write && written == last) order_written <= order_written + 1;
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


def _done(index: int) -> str:
    """When x in front of layer `index` is written."""
    return "load_done" if index == 0 else f"points{index - 1}_done"


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
    size: Sizes,
    part: Part,
    sources: dict[str, tuple[Row, str, int]],
    targets: dict[str, tuple[Row, str]],
) -> Iterable[str]:
    """S copies of a part that works on a point; rows of a source named "" hold all inputs."""
    for lane in range(size.size):
        pieces = []
        for spot, value in part.ins:
            row, bus, stride = sources.get(spot.row) or sources[""]
            pieces += _piece(row, bus, lane * stride, spot, value)
        yield from _instance(size, part, joined(pieces), f"_{lane}")
        for name, (row, bus) in targets.items():
            found = {(spot.name, spot.place): value for spot, value in part.outs if spot.row == name}
            words = [
                wires(found[key], f"{part.name}_{lane}_out", 0, field)
                for key, field in row.fields.items()
                if field.width
            ]
            yield f"    assign {bus}[{lane * row.width} +: {row.width}] = {joined(words)};"
