// A multiplier of LUTs and carry chains, as a mapping for Yosys.
//
// Yosys 0.23 maps a product without DSP to a compressor tree, and abc then maps that for speed: 105, 182 and 255 LUT (and
// 60 to 80 wide multiplexers) for 6 x 6, 8 x 8 and 10 x 10 bits. Here every bit of the narrower factor is one row, added
// with one LUT and one carry bit per column, and the first two rows share one, as the dual-output LUT of these devices
// allows: 31 and 57 LUT for 6 x 6 and 8 x 8. Up to six bits together are one LUT per bit of the product. The vendor's
// tools also add rows on carry chains. An attention layer is mostly such products, so its sum of LUTs depends on this.
//
// To be used after wreduce: Verilog widens both factors to the width of the product, and 6 x 6 would count as 12 x 12.
(* techmap_celltype = "$mul" *)
module qformers_mul_rows (A, B, Y);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  parameter [A_WIDTH-1:0] _TECHMAP_CONSTMSK_A_ = 0;
  parameter [A_WIDTH-1:0] _TECHMAP_CONSTVAL_A_ = 0;
  parameter [B_WIDTH-1:0] _TECHMAP_CONSTMSK_B_ = 0;
  parameter [B_WIDTH-1:0] _TECHMAP_CONSTVAL_B_ = 0;
  input [A_WIDTH-1:0] A;
  input [B_WIDTH-1:0] B;
  output [Y_WIDTH-1:0] Y;
  wire _TECHMAP_FAIL_ = A_SIGNED != B_SIGNED;

  // a sign bit that is known to be zero (an unsigned factor of a signed product) is no row and no column
  localparam A_PLUS = A_SIGNED && A_WIDTH > 1 && _TECHMAP_CONSTMSK_A_[A_WIDTH-1] && !_TECHMAP_CONSTVAL_A_[A_WIDTH-1];
  localparam B_PLUS = B_SIGNED && B_WIDTH > 1 && _TECHMAP_CONSTMSK_B_[B_WIDTH-1] && !_TECHMAP_CONSTVAL_B_[B_WIDTH-1];
  localparam BITS_A = A_PLUS ? A_WIDTH - 1 : A_WIDTH;
  localparam BITS_B = B_PLUS ? B_WIDTH - 1 : B_WIDTH;
  localparam SWAP = BITS_B > BITS_A;  // rows are the bits of the narrower factor
  localparam W = SWAP ? BITS_B : BITS_A;
  localparam ROWS = SWAP ? BITS_A : BITS_B;
  localparam WIDE_SIGNED = SWAP ? B_SIGNED && !B_PLUS : A_SIGNED && !A_PLUS;
  localparam NARROW_SIGNED = SWAP ? A_SIGNED && !A_PLUS : B_SIGNED && !B_PLUS;

  // bit k of the product for all values of {narrow, wide}
  function [63:0] table_of;
    input integer k;
    integer i, x, y, xy;
    begin
      for (i = 0; i < 64; i = i + 1) begin
        x = i & ((1 << W) - 1);
        y = (i >> W) & ((1 << ROWS) - 1);
        if (WIDE_SIGNED && x >= (1 << (W - 1))) x = x - (1 << W);
        if (NARROW_SIGNED && y >= (1 << (ROWS - 1))) y = y - (1 << ROWS);
        xy = x * y;
        table_of[i] = xy[k > 31 ? 31 : k];
      end
    end
  endfunction

  // O5: a bit of the first row; O6 (I5 = 1): its sum with a bit of the second row, without carry
  localparam [31:0] FIRST = {4{8'b10001000}};
  localparam [15:0] BOTH = 16'h7888;
  localparam [63:0] INIT = {{2{NARROW_SIGNED && ROWS == 2 ? ~BOTH : BOTH}}, FIRST};

  wire [W-1:0] wide;
  wire [ROWS-1:0] narrow;
  wire [W*(ROWS+1)-1:0] sums;  // upper part of the sum before every row
  wire [ROWS+W-1:0] product;
  genvar j, i;
  generate
    if (SWAP) begin
      assign wide = B[W-1:0];
      assign narrow = A[ROWS-1:0];
    end else begin
      assign wide = A[W-1:0];
      assign narrow = B[ROWS-1:0];
    end
    if (W + ROWS <= 6) begin : small
      for (j = 0; j < Y_WIDTH; j = j + 1) begin : column
        \$lut #(.WIDTH(W + ROWS), .LUT(table_of(j))) value (.A({narrow, wide}), .Y(Y[j]));
      end
    end else begin : rows
      for (j = ROWS == 1 ? 0 : 1; j < ROWS; j = j + 1) begin : row
        localparam NEGATIVE = NARROW_SIGNED && j == ROWS - 1;  // weight of the sign bit
        wire [W:0] sum;
        if (j == 1) begin : pair
          localparam BLOCKS = (W + 4) / 4;
          wire [4*BLOCKS-1:0] first, both, carry, result;
          for (i = 0; i < 4 * BLOCKS; i = i + 1) begin : column
            if (i < W - 1 || (i == W - 1 && WIDE_SIGNED))
              LUT6_2 #(.INIT(INIT)) lut (.I0(wide[i < W - 1 ? i + 1 : i]), .I1(narrow[0]), .I2(wide[i]), .I3(narrow[1]),
                .I4(1'b0), .I5(1'b1), .O5(first[i]), .O6(both[i]));
            else begin
              assign first[i] = i == W && WIDE_SIGNED ? first[W-1] : 1'b0;
              assign both[i] = i == W - 1 ? (wide[i] & narrow[1]) ^ NEGATIVE : i > W ? 1'b0 :
                WIDE_SIGNED ? both[W-1] : NEGATIVE;
            end
          end
          for (i = 0; i < BLOCKS; i = i + 1) begin : block
            if (i == 0)
              CARRY4 chain (.CYINIT(NEGATIVE), .CI(1'b0), .DI(first[3:0]), .S(both[3:0]), .O(result[3:0]),
                .CO(carry[3:0]));
            else
              CARRY4 chain (.CYINIT(1'b0), .CI(carry[4*i-1]), .DI(first[4*i +: 4]), .S(both[4*i +: 4]),
                .O(result[4*i +: 4]), .CO(carry[4*i +: 4]));
          end
          assign product[0] = wide[0] & narrow[0];
          assign sum = result[W:0];
        end else begin : one
          wire [W-1:0] before;
          wire [W:0] x, carry;
          if (j == 0) assign before = {W{1'b0}}; else assign before = sums[j*W +: W];
          \$alu #(.A_SIGNED(WIDE_SIGNED), .B_SIGNED(WIDE_SIGNED), .A_WIDTH(W), .B_WIDTH(W), .Y_WIDTH(W + 1)) add (
            .A(before), .B(wide & {W{narrow[j]}}), .CI(NEGATIVE), .BI(NEGATIVE), .X(x), .Y(sum), .CO(carry));
        end
        assign product[j] = sum[0];
        assign sums[(j+1)*W +: W] = sum[W:1];
      end
      assign product[ROWS+W-1:ROWS] = sums[ROWS*W +: W];
      if (Y_WIDTH <= ROWS + W) assign Y = product[Y_WIDTH-1:0];
      else assign Y = {{(Y_WIDTH - ROWS - W){(WIDE_SIGNED || NARROW_SIGNED) && product[ROWS+W-1]}}, product};
    end
  endgenerate
endmodule
