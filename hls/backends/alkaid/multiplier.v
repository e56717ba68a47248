/*# least: LUTs that a DSP block is to save. Names and order of parameters and ports are those of alkaid's own module,
    which `hls.backends.alkaid.multipliers` puts beside this one twice, with attributes; the rule is `saved_lut` there. #*/
`timescale 1ns / 1ps
// A product of two variables: in DSP blocks, or in LUTs where those are few. In rows of adders it takes a LUT per bit of
// the wider factor for each bit of the narrower one, the first two together.
module multiplier #(
    parameter BW_INPUT0 = 32,
    parameter BW_INPUT1 = 32,
    parameter SIGNED0 = 0,
    parameter SIGNED1 = 0,
    parameter BW_OUT = 32
) (
    input [BW_INPUT0-1:0] in0,
    input [BW_INPUT1-1:0] in1,
    output [BW_OUT-1:0] out
);
    localparam LUTS = BW_INPUT0 > BW_INPUT1 ? BW_INPUT0 * (BW_INPUT1 - 1) : BW_INPUT1 * (BW_INPUT0 - 1);
    generate
        if (LUTS >= ${least}) begin : in_dsp
            multiplier_dsp #(BW_INPUT0, BW_INPUT1, SIGNED0, SIGNED1, BW_OUT) product (in0, in1, out);
        end else begin : in_lut
            multiplier_lut #(BW_INPUT0, BW_INPUT1, SIGNED0, SIGNED1, BW_OUT) product (in0, in1, out);
        end
    endgenerate
endmodule
