// LANES memories of a row per block, written at one address and read at one address each
module ${top}_banks #(parameter ROW = 1, parameter LANES = 2, parameter BLOCKS = 2, parameter BLOCK_BITS = 1) (
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
