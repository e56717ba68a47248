// An adder of three operands in one LUT per bit, as a mapping for Yosys.
//
// Yosys 0.23 adds the three bits of a column in one LUT, and in another finds what they carry: two LUTs per bit. The
// devices' LUT has two outputs of five common inputs, and the vendor's tools use both: majority of the three bits (carried
// by a wire to the next column), and their sum with the majority of the column before, which goes on the carry chain.
//
// To be used within a module of one such adder, after alumacc, before it is flattened: among its neighbours Yosys would
// make one sum of several adders.
(* techmap_celltype = "$macc" *)
module qformers_add_three (A, B, Y);
  parameter CONFIG = 4'b0000;
  parameter CONFIG_WIDTH = 4;
  parameter A_WIDTH = 0;
  parameter B_WIDTH = 0;
  parameter Y_WIDTH = 1;
  parameter [A_WIDTH-1:0] _TECHMAP_CONSTMSK_A_ = 0;
  parameter [A_WIDTH-1:0] _TECHMAP_CONSTVAL_A_ = 0;
  parameter [B_WIDTH-1:0] _TECHMAP_CONSTMSK_B_ = 0;
  parameter [B_WIDTH-1:0] _TECHMAP_CONSTVAL_B_ = 0;
  input [A_WIDTH-1:0] A;
  input [B_WIDTH-1:0] B;
  output [Y_WIDTH-1:0] Y;

  localparam N = CONFIG[3:0];  // bits of a size
  localparam P = 2 + 2 * N;    // bits of an operand: signed, subtracted, size of A, size of B
  localparam WORDS = N == 0 ? 0 : (CONFIG_WIDTH - 4) / P;  // operands in A; those of one bit are in B
  localparam SIZE0 = WORDS > 0 ? CONFIG[6 +: N] : 1;
  localparam SIZE1 = WORDS > 1 ? CONFIG[6+P +: N] : 1;
  localparam SIZE2 = WORDS > 2 ? CONFIG[6+2*P +: N] : 1;
  localparam [2:0] SIGNED = {WORDS > 2 && CONFIG[4+2*P], WORDS > 1 && CONFIG[4+P], WORDS > 0 && CONFIG[4]};
  localparam [2:0] MINUS = {WORDS > 2 && CONFIG[5+2*P], WORDS > 1 && CONFIG[5+P], WORDS > 0 && CONFIG[5]};
  localparam NEGATED = 0 + MINUS[0] + MINUS[1] + MINUS[2];
  localparam PRODUCTS = SIZE0 + (WORDS > 1 ? SIZE1 : 0) + (WORDS > 2 ? SIZE2 : 0) != A_WIDTH;
  wire _TECHMAP_FAIL_ = WORDS + B_WIDTH != 3 || NEGATED > 2 || PRODUCTS;

  wire [A_WIDTH+B_WIDTH-1:0] all = {B, A};
  localparam [A_WIDTH+B_WIDTH-1:0] KNOWN = {_TECHMAP_CONSTMSK_B_, _TECHMAP_CONSTMSK_A_};
  localparam [A_WIDTH+B_WIDTH-1:0] VALUE = {_TECHMAP_CONSTVAL_B_, _TECHMAP_CONSTVAL_A_};

  // place in `all` of bit i of an operand; -1 where it is zero beyond the width
  function integer place;
    input integer operand;
    input integer i;
    integer size, start;
    begin
      size = operand == 0 ? SIZE0 : operand == 1 ? SIZE1 : SIZE2;
      start = operand == 0 ? 0 : operand == 1 ? SIZE0 : SIZE0 + SIZE1;
      place = i < size ? start + i : SIGNED[operand] ? start + size - 1 : -1;
    end
  endfunction

  // 1 where bit i of an operand, inverted if it is subtracted, is not known to be zero
  function integer live;
    input integer operand;
    input integer i;
    integer at;
    begin
      at = place(operand, i);
      if (at < 0) live = MINUS[operand];
      else live = !KNOWN[at] || (VALUE[at] != MINUS[operand]);
    end
  endfunction

  // bit i: the majority of the bits below it is not known to be zero
  function [Y_WIDTH:0] carried;
    input integer unused;
    integer i, n;
    begin
      carried = 0;
      carried[0] = NEGATED == 2;
      for (i = 0; i < Y_WIDTH; i = i + 1) begin
        n = live(0, i) + live(1, i) + live(2, i);
        carried[i+1] = n == 3 || (n == 2 && carried[i]);
      end
    end
  endfunction

  // lowest bit that has something to add
  function integer first;
    input integer unused;
    integer i;
    begin
      first = Y_WIDTH;
      for (i = Y_WIDTH - 1; i >= 0; i = i - 1)
        if (live(0, i) + live(1, i) + live(2, i) > 1) first = i;
      if (NEGATED > 0) first = 0;
    end
  endfunction

  // O5: majority of I0, I1, I2; O6 (I5 = 1): sum of I0, I1, I2, I3 without carry
  function [63:0] init;
    input integer unused;
    integer i;
    reg [2:0] x;
    begin
      for (i = 0; i < 32; i = i + 1) begin
        x = i[2:0] ^ MINUS;
        init[i] = (x[0] & x[1]) | (x[0] & x[2]) | (x[1] & x[2]);
        init[i+32] = x[0] ^ x[1] ^ x[2] ^ i[3];
      end
    end
  endfunction

  localparam [Y_WIDTH:0] CARRIED = carried(0);
  localparam FIRST = first(0);
  localparam BLOCKS = (Y_WIDTH - FIRST + 3) / 4;
  localparam [63:0] INIT = init(0);

  wire [Y_WIDTH:0] majority;
  wire [4*BLOCKS-1:0] propagate, other, carry, sum;
  genvar i;
  assign majority[0] = NEGATED == 2;
  generate
    for (i = 0; i < Y_WIDTH; i = i + 1) begin : column
      wire [2:0] raw;
      if (place(0, i) >= 0) assign raw[0] = all[place(0, i)]; else assign raw[0] = 1'b0;
      if (place(1, i) >= 0) assign raw[1] = all[place(1, i)]; else assign raw[1] = 1'b0;
      if (place(2, i) >= 0) assign raw[2] = all[place(2, i)]; else assign raw[2] = 1'b0;
      wire [2:0] bits = raw ^ MINUS;
      if (i < FIRST) begin
        assign Y[i] = |bits;
        assign majority[i+1] = 1'b0;
      end else if (CARRIED[i+1]) begin
        LUT6_2 #(.INIT(INIT)) both (.I0(raw[0]), .I1(raw[1]), .I2(raw[2]), .I3(majority[i]), .I4(1'b0), .I5(1'b1),
          .O5(majority[i+1]), .O6(propagate[i-FIRST]));
        assign other[i-FIRST] = majority[i];
      end else begin
        assign majority[i+1] = 1'b0;
        assign propagate[i-FIRST] = ^bits ^ majority[i];
        if (CARRIED[i]) assign other[i-FIRST] = majority[i];
        else if (live(0, i)) assign other[i-FIRST] = bits[0];
        else assign other[i-FIRST] = bits[1];
      end
      if (i >= FIRST) assign Y[i] = sum[i-FIRST];
    end
    for (i = Y_WIDTH - FIRST; i < 4 * BLOCKS; i = i + 1) begin : rest
      assign propagate[i] = 1'b0;
      assign other[i] = 1'b0;
    end
    for (i = 0; i < BLOCKS; i = i + 1) begin : block
      if (i == 0)
        CARRY4 chain (.CYINIT(NEGATED > 0), .CI(1'b0), .DI(other[3:0]), .S(propagate[3:0]), .O(sum[3:0]),
          .CO(carry[3:0]));
      else
        CARRY4 chain (.CYINIT(1'b0), .CI(carry[4*i-1]), .DI(other[4*i +: 4]), .S(propagate[4*i +: 4]),
          .O(sum[4*i +: 4]), .CO(carry[4*i +: 4]));
    end
  endgenerate
endmodule
