"""A multiplier of LUTs and carry chains, as a mapping for Yosys.

Yosys 0.23 maps a product without DSP to a compressor tree, and abc then maps that for speed: 105, 182 and 255 LUT (and
60 to 80 wide multiplexers) for 6 x 6, 8 x 8 and 10 x 10 bits. Here every bit of the narrower factor is one row, added
with one LUT and one carry bit per column: 40, 70 and 108 LUT. The vendor's tools also add rows on carry chains. An
attention layer is mostly such products, so its sum of LUTs depends on this.
"""

from __future__ import annotations

FILE = "mul_rows.v"
VERILOG = r"""
(* techmap_celltype = "$mul" *)
module qformers_mul_rows (A, B, Y);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  input [A_WIDTH-1:0] A;
  input [B_WIDTH-1:0] B;
  output [Y_WIDTH-1:0] Y;
  wire _TECHMAP_FAIL_ = A_SIGNED != B_SIGNED;

  localparam SWAP = B_WIDTH > A_WIDTH;  // rows are the bits of the narrower factor
  localparam COLUMNS = SWAP ? B_WIDTH : A_WIDTH;
  localparam ROWS = SWAP ? A_WIDTH : B_WIDTH;
  localparam W = COLUMNS + 1;  // a row with its sign
  wire [COLUMNS-1:0] wide;
  wire [ROWS-1:0] narrow;
  wire [W*(ROWS+1)-1:0] sums;  // upper part of the sum before every row
  wire [ROWS+W-1:0] product;
  genvar j;
  generate
    if (SWAP) begin
      assign wide = B;
      assign narrow = A;
    end else begin
      assign wide = A;
      assign narrow = B;
    end
    assign sums[W-1:0] = {W{1'b0}};
    for (j = 0; j < ROWS; j = j + 1) begin : row
      localparam NEGATIVE = A_SIGNED && j == ROWS - 1;  // weight of the sign bit
      wire [W-1:0] term = {A_SIGNED ? wide[COLUMNS-1] : 1'b0, wide} & {W{narrow[j]}};
      wire [W:0] x, carry, sum;
      \$alu #(.A_SIGNED(A_SIGNED), .B_SIGNED(A_SIGNED), .A_WIDTH(W), .B_WIDTH(W), .Y_WIDTH(W + 1)) add (
        .A(sums[j*W +: W]), .B(term), .CI(NEGATIVE), .BI(NEGATIVE), .X(x), .Y(sum), .CO(carry));
      assign product[j] = sum[0];
      assign sums[(j+1)*W +: W] = sum[W:1];
    end
    assign product[ROWS+W-1:ROWS] = sums[ROWS*W +: W];
    if (Y_WIDTH <= ROWS + W) assign Y = product[Y_WIDTH-1:0];
    else assign Y = {{(Y_WIDTH - ROWS - W){A_SIGNED ? product[ROWS+W-1] : 1'b0}}, product};
  endgenerate
endmodule
"""
