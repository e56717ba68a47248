/*# A slice at a variable index, where the slices are no power of two wide, is a shifter as wide as all rows to synthesis
    (Yosys): 26,700 LUT for the rows of a small HEPT, by multiplexers 3,300. These are of whole rows: one for each bit makes
    as many LUT (within 7 % for 6 to 64 rows), and so many variables that Verilator took minutes for keys of N = 128. #*/
// the row with a number, of rows side by side: a tree of multiplexers, by the lowest bit of the number first
module ${top}_pick #(parameter ROW = 1, parameter ROWS = 2, parameter BITS = 1) (
    input [ROWS*ROW-1:0] rows, input [BITS-1:0] number, output [ROW-1:0] row
);
    genvar level, place;
    generate for (level = 0; level <= BITS; level = level + 1) begin: levels
        localparam LEFT = (ROWS + (1 << level) - 1) >> level;
        wire [LEFT*ROW-1:0] left;
        if (level == 0) begin: given
            assign left = rows;
        end else begin: picked
            localparam BEFORE = (ROWS + (1 << (level - 1)) - 1) >> (level - 1);
            for (place = 0; place < LEFT; place = place + 1) begin: places
                if (2*place + 1 < BEFORE) begin: either
                    assign left[place*ROW +: ROW] = number[level - 1]
                        ? levels[level - 1].left[(2*place + 1)*ROW +: ROW] : levels[level - 1].left[2*place*ROW +: ROW];
                end else begin: alone
                    assign left[place*ROW +: ROW] = levels[level - 1].left[2*place*ROW +: ROW];
                end
            end
        end
    end endgenerate
    assign row = levels[BITS].left;
endmodule
