/*# Folded firmware in a simulator of Verilog, as a script says; hls.backends.folded.simulators reads what it writes.
    top; in_high, out_high: highest bits of the ports; out: port of outputs; by_beat: it has one per beat; beats,
    per_event, events; words: outputs of an event; edges of the script; quiet. #*/
`timescale 1 ns / 1 ps
// ${events} events through ${top}; reads beats.hex and script.hex, writes what is taken and given, and at which edge
module tb_${top};
    localparam BEATS = ${beats}, PER_EVENT = ${per_event}, EVENTS = ${events}, WORDS = ${words}, EDGES = ${edges}, QUIET = ${quiet};
    reg clk = 0, rst = 1, in_valid = 0, out_ready = 0;
    reg [${in_high}:0] stimulus [0:BEATS-1];
    reg [2:0] script [0:EDGES-1];
    reg [${in_high}:0] in_beat;
    wire in_ready, out_valid, out_last;
    wire [${out_high}:0] out_word;
    integer now, next, came, file;

    ${top} dut (.clk(clk), .rst(rst), .in_valid(in_valid), .in_ready(in_ready), .in_beat(in_beat),
        .out_valid(out_valid), .out_ready(out_ready), .${out}(out_word)${", .out_last(out_last)" if by_beat else ""});

    always #5 clk = ~clk;

    initial begin
        $readmemh("beats.hex", stimulus);
        $readmemh("script.hex", script);
        file = $fopen("edges.txt", "w");
        next = 0;
        came = 0;
        in_beat = stimulus[0];
        @(posedge clk);
        for (now = 0; now < EDGES && came < EVENTS * WORDS; now = now + 1) begin
            @(negedge clk);
            rst = script[now][2];
            in_valid = !rst && next < BEATS && script[now][0];
            out_ready = !rst && script[now][1];
            in_beat = stimulus[next < BEATS ? next : BEATS - 1];
            #1;
            if (rst) begin
                next = (next + PER_EVENT - 1) / PER_EVENT * PER_EVENT;
                came = next / PER_EVENT * WORDS;
            end else begin
                if (out_valid !== 0 && out_ready) begin
                    if (next < came / WORDS * PER_EVENT + (WORDS == 1 ? PER_EVENT : came % WORDS + 1))
                        $fdisplay(file, "wrong -1 %0d", now);
//% if by_beat
                    if (out_last !== (came % WORDS == WORDS - 1)) $fdisplay(file, "wrong -2 %0d", now);
//% endif
                    $fdisplay(file, "given %0d %0d %h", came, now, out_word);
                    came = came + 1;
                end
                if (in_valid && in_ready !== 0) begin
                    if (next % PER_EVENT == 0) $fdisplay(file, "taken %0d %0d", next / PER_EVENT, now);
                    next = next + 1;
                end
            end
            @(posedge clk);
        end
        $fdisplay(file, "over %0d %0d", came / WORDS, now);
        for (now = 0; now < QUIET && came == EVENTS * WORDS; now = now + 1) begin
            @(negedge clk);
            rst = 0;
            in_valid = 0;
            out_ready = 1;
            #1;
            if (out_valid !== 0) $fdisplay(file, "wrong -3 %0d", now);
            @(posedge clk);
        end
        $fclose(file);
        $display("PASS: played");
        $finish;
    end
endmodule
