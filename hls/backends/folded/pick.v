/*# A slice at a variable index, where the slices are no power of two wide, is a shifter as wide as all rows to synthesis
    (Yosys): 26,700 LUT for the rows of a small HEPT, bit by bit 3,300. #*/
// the row with a number, of rows side by side: a multiplexer for each bit
module ${top}_pick #(parameter ROW = 1, parameter ROWS = 2, parameter BITS = 1) (
    input [ROWS*ROW-1:0] rows, input [BITS-1:0] number, output [ROW-1:0] row
);
    genvar place, from;
    generate for (place = 0; place < ROW; place = place + 1) begin: places
        wire [ROWS-1:0] column;
        for (from = 0; from < ROWS; from = from + 1) begin: columns
            assign column[from] = rows[from*ROW + place];
        end
        assign row[place] = column[number];
    end endgenerate
endmodule
