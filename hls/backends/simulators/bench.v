`timescale 1 ns / 1 ps
// ${events} events, one per clock cycle, through ${top}; reads inputs.hex and expected.hex, writes outputs.hex.
// Prints "PASS" when every output comes ${latency} cycles after its input and equals the expected one.
module tb_${top};
    localparam EVENTS = ${events};
    localparam LATENCY = ${latency};
    localparam EXTRA = ${extra};
    reg clk = 0;
    reg [${in_high}:0] stimulus [0:EVENTS-1];
    reg [${out_high}:0] expected [0:EVENTS-1];
    reg [${in_high}:0] model_inp;
    wire [${out_high}:0] model_out;
    integer cycle, wrong, file;

    ${top} dut (.clk(clk), .model_inp(model_inp), .model_out(model_out));

    always #(${half_ns}) clk = ~clk;

    initial begin
        $readmemh("inputs.hex", stimulus);
        $readmemh("expected.hex", expected);
        file = $fopen("outputs.hex", "w");
        wrong = 0;
        for (cycle = 0; cycle < EVENTS + EXTRA; cycle = cycle + 1) begin
            model_inp = stimulus[cycle < EVENTS ? cycle : EVENTS - 1];
            @(posedge clk);
            @(negedge clk);
            $fdisplay(file, "%h", model_out);
            if (cycle >= LATENCY && cycle < EVENTS + LATENCY)
                if (model_out !== expected[cycle - LATENCY]) wrong = wrong + 1;
        end
        $fclose(file);
        if (wrong == 0) $display("PASS: %0d events, latency %0d cycles", EVENTS, LATENCY);
        else $display("FAIL: %0d of %0d events differ", wrong, EVENTS);
        $finish;
    end
endmodule
