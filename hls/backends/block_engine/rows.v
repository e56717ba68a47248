// one word per clock
module ${top}_rows #(parameter WIDTH = 1, parameter BLOCKS = 2, parameter BLOCK_BITS = 1) (
    input clk, input write, input [BLOCK_BITS-1:0] write_block, input [WIDTH-1:0] word,
    input [BLOCK_BITS-1:0] block, output reg [WIDTH-1:0] found
);
    reg [WIDTH-1:0] memory [0:BLOCKS-1];
    always @(posedge clk) begin
        if (write) memory[write_block] <= word;
        found <= memory[block];
    end
endmodule
