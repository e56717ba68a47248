"""Modules that the Verilog of a block engine is made of, and their instances."""

from __future__ import annotations

from hls.backends.block_engine.sizes import Sizes

_BANKS = """\
// LANES memories of a row per block, written at one address and read at one address each
module {top}_banks #(parameter ROW = 1, parameter LANES = 2, parameter BLOCKS = 2, parameter BLOCK_BITS = 1) (
    input clk, input write, input [BLOCK_BITS-1:0] write_block, input [LANES*ROW-1:0] word,
    input [LANES*BLOCK_BITS-1:0] blocks, output reg [LANES*ROW-1:0] found
);
    genvar bank;
    generate for (bank = 0; bank < LANES; bank = bank + 1) begin: banks
        reg [ROW-1:0] memory [0:BLOCKS-1];
        always @(posedge clk) begin
            if (write) memory[write_block] <= word[bank*ROW +: ROW];
            found[bank*ROW +: ROW] <= memory[blocks[bank*BLOCK_BITS +: BLOCK_BITS]];
        end
    end endgenerate
endmodule
"""

_PERMUTE = """\
// output k is the row of lane `from` k
module {top}_permute #(parameter ROW = 1, parameter LANES = 2, parameter LANE_BITS = 1) (
    input [LANES*ROW-1:0] word, input [LANES*LANE_BITS-1:0] from, output [LANES*ROW-1:0] rows
);
    genvar lane;
    generate for (lane = 0; lane < LANES; lane = lane + 1) begin: lanes
        assign rows[lane*ROW +: ROW] = word[32'(from[lane*LANE_BITS +: LANE_BITS])*ROW +: ROW];
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

MODULES = {"banks": _BANKS, "permute": _PERMUTE, "rows": _ROWS}  # by name behind that of the engine


def bits(count: int) -> int:
    return max(count.bit_length(), 1)


def chain(name: str, length: int, first: str) -> str:
    """``<name>_done``, `length` clocks after `first`."""
    return f"""\
    reg [{length - 1}:0] {name}_chain;
    always @(posedge clk) {name}_chain <= rst ? 0 : {{{name}_chain[{length - 2}:0], {first}}};
    wire {name}_done = {name}_chain[{length - 1}];"""


def rows(size: Sizes, name: str, width: int, write: tuple[str, str, str], read: tuple[str, str]) -> str:
    numbers = f".WIDTH({width}), .BLOCKS({size.blocks}), .BLOCK_BITS({size.block_bits})"
    return f"""\
    {size.top}_rows #({numbers}) {name} (.clk(clk),
        .write({write[0]}), .write_block({write[1]}), .word({write[2]}), .block({read[0]}), .found({read[1]}));"""


def of_order(size: Sizes, order: str, name: str) -> str:
    """Of the vectors ``<name><order>`` the one of the order that a register holds."""
    *first, last = (f"{name}{o}" for o in range(size.orders))
    return " : ".join([*(f"{order} == {o} ? {one}" for o, one in enumerate(first)), last])


def banked(
    size: Sizes, name: str, order: int, row: int, write: str, spread: tuple[str, str] | None, blocks: str
) -> list[str]:
    """S banks; `spread` is the word of lanes and the lane of each bank, or None where the word is by banks already."""
    wide, lines, given = size.size * row, [], f"{name}in"
    if spread is not None:
        given = f"{name}in{order}"
        lines = [f"    wire [{wide - 1}:0] {given};", permute(size, f"{name}spread{order}", row, (*spread, given))]
    numbers = f".ROW({row}), .LANES({size.size}), .BLOCKS({size.blocks}), .BLOCK_BITS({size.block_bits})"
    return [
        *lines,
        f"    wire [{wide - 1}:0] {name}found{order};",
        f"    {size.top}_banks #({numbers}) {name}memory{order} (.clk(clk), .write({write}), .write_block(written),",
        f"        .word({given}), .blocks({blocks}), .found({name}found{order}));",
    ]


def permute(size: Sizes, name: str, row: int, wires: tuple[str, str, str]) -> str:
    numbers = f".ROW({row}), .LANES({size.size}), .LANE_BITS({size.lane_bits})"
    word, lanes, rows = wires
    return f"    {size.top}_permute #({numbers}) {name} (.word({word}), .from({lanes}), .rows({rows}));"
