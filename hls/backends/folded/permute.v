// output k is the row of lane `from` k
module ${top}_permute #(parameter ROW = 1, parameter LANES = 2, parameter LANE_BITS = 1) (
    input [LANES*ROW-1:0] word, input [LANES*LANE_BITS-1:0] from, output [LANES*ROW-1:0] rows
);
    genvar lane;
    generate for (lane = 0; lane < LANES; lane = lane + 1) begin: lanes
        ${top}_pick #(.ROW(ROW), .ROWS(LANES), .BITS(LANE_BITS)) pick (
            .rows(word), .number(from[lane*LANE_BITS +: LANE_BITS]), .row(rows[lane*ROW +: ROW]));
    end endgenerate
endmodule
