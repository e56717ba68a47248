/*# Folded firmware: kernels and the stores between them; `hls.backends.folded.machine` says how it works.
    top: name of the module; phases: in order; flight, flight_bits: events inside at a time; out_width. #*/
`timescale 1 ns / 1 ps
// ${phases | length} kernels, ${phases[0].beats} beats per event; outputs wait until they are taken
module ${top} (
    input clk, input rst,
    input in_valid, output in_ready, input [${phases[0].in_width - phases[0].rom_width - 1}:0] in_beat,
    output out_valid, input out_ready, output [${out_width - 1}:0] out_event
);
//% for phase in phases
/*# what goes into the kernel, and its valid, first and last beat #*/
    // phase ${phase.number}
    wire k${phase.number}_take, k${phase.number}_over;
    reg [${phase.beat_bits - 1}:0] k${phase.number}_beat;
    wire k${phase.number}_begin = k${phase.number}_beat == 0;
    wire k${phase.number}_end = k${phase.number}_beat == ${phase.beats - 1};
//% if phase.rom_width
    // weights of the beat
    reg [${phase.rom_width - 1}:0] k${phase.number}_rom;
    always @(*)
        case (k${phase.number}_beat)
//% for word in phase.rom
            ${phase.beat_bits}'d${loop.index0}: k${phase.number}_rom = ${word};
//% endfor
            default: k${phase.number}_rom = 0;
        endcase
//% endif
    wire [${phase.in_width - 1}:0] k${phase.number}_in = ${phase.given};
    wire [${phase.out_width - 1}:0] k${phase.number}_out;
    ${top}_k${phase.number} k${phase.number} (.clk(clk), .model_inp(k${phase.number}_in), .model_out(k${phase.number}_out));
    reg [${phase.depth}:0] k${phase.number}_valid, k${phase.number}_first, k${phase.number}_last;
    always @(posedge clk) begin
        k${phase.number}_valid <= rst ? 0 : {k${phase.number}_valid[${phase.depth - 1}:0], k${phase.number}_take};
        k${phase.number}_first <= {k${phase.number}_first[${phase.depth - 1}:0], k${phase.number}_begin};
        k${phase.number}_last <= {k${phase.number}_last[${phase.depth - 1}:0], k${phase.number}_end};
        if (rst || (k${phase.number}_take && k${phase.number}_end)) k${phase.number}_beat <= 0;
        else if (k${phase.number}_take) k${phase.number}_beat <= k${phase.number}_beat + 1;
    end
    wire k${phase.number}_made = k${phase.number}_valid[${phase.depth}];
    assign k${phase.number}_over = k${phase.number}_made && k${phase.number}_last[${phase.depth}];
//% if phase.number
/*# it works through an event that the phase in front has left complete #*/
    reg k${phase.number}_run;
    assign k${phase.number}_take = k${phase.number}_run;
    always @(posedge clk)
        k${phase.number}_run <= !rst && (k${phase.number - 1}_over || (k${phase.number}_run && !k${phase.number}_end));
//% endif
//% if not loop.last
    reg [${phase.beat_bits - 1}:0] s${phase.number}_beat;
    always @(posedge clk)
        if (rst || k${phase.number}_over) s${phase.number}_beat <= 0;
        else if (k${phase.number}_made) s${phase.number}_beat <= s${phase.number}_beat + 1;
//% if phase.store.streamed.width
/*# beat by beat: two events, one of which is written while the other one is read #*/
    reg s${phase.number}_bank;
    reg [${phase.store.streamed.width - 1}:0] s${phase.number}_memory [0:${2 ** (phase.beat_bits + 1) - 1}];
    always @(posedge clk) begin
        if (k${phase.number}_made)
            s${phase.number}_memory[{s${phase.number}_bank, s${phase.number}_beat}] <= k${phase.number}_out[${phase.store.streamed.low} +: ${phase.store.streamed.width}];
        s${phase.number}_bank <= !rst && (s${phase.number}_bank ^ k${phase.number}_over);
    end
    wire [${phase.store.streamed.width - 1}:0] s${phase.number}_streamed = s${phase.number}_memory[{~s${phase.number}_bank, k${phase.number + 1}_beat}];
//% endif
//% if phase.store.filled.width
/*# all at once: filled beat by beat, and copied when the event is complete #*/
    reg [${phase.store.filled.width * phase.beats - 1}:0] s${phase.number}_filling, s${phase.number}_filled;
    reg [${phase.store.filled.width * phase.beats - 1}:0] s${phase.number}_full;
    always @(*) begin
        s${phase.number}_full = s${phase.number}_filling;
        s${phase.number}_full[s${phase.number}_beat * ${phase.store.filled.width} +: ${phase.store.filled.width}] = k${phase.number}_out[${phase.store.filled.low} +: ${phase.store.filled.width}];
    end
    always @(posedge clk) begin
        if (k${phase.number}_made) s${phase.number}_filling <= s${phase.number}_full;
        if (k${phase.number}_over) s${phase.number}_filled <= s${phase.number}_full;
    end
//% endif
//% for sum in phase.store.running
/*# a sum over the points #*/
    reg [${sum.total - 1}:0] s${phase.number}_adding${loop.index0}, s${phase.number}_sum${loop.index0};
    wire [${sum.total - 1}:0] s${phase.number}_next${loop.index0} = (k${phase.number}_first[${phase.depth}] ? ${sum.total}'d0 : s${phase.number}_adding${loop.index0}) + ${sum.given};
    always @(posedge clk) begin
        if (k${phase.number}_made) s${phase.number}_adding${loop.index0} <= s${phase.number}_next${loop.index0};
        if (k${phase.number}_over) s${phase.number}_sum${loop.index0} <= s${phase.number}_next${loop.index0};
    end
//% endfor
//% if phase.store.spread_width
/*# values of the event of which each beat reads its own #*/
    reg [${phase.store.spread_width * (phase.store.spread | length) - 1}:0] s${phase.number}_spread;
    always @(posedge clk) if (k${phase.number}_over) s${phase.number}_spread <= {${phase.store.spread | reverse | join(", ")}};
    wire [${phase.store.spread_width - 1}:0] s${phase.number}_row = s${phase.number}_spread[k${phase.number + 1}_beat * ${phase.store.spread_width} +: ${phase.store.spread_width}];
//% endif
//% if phase.store.held.width
/*# values of the event #*/
    reg [${phase.store.held.width - 1}:0] s${phase.number}_held;
    always @(posedge clk) if (k${phase.number}_over) s${phase.number}_held <= k${phase.number}_out[${phase.store.held.low} +: ${phase.store.held.width}];
//% endif
//% endif
//% endfor
//% set end = phases | length - 1
    // outputs; an event is let in only if its output will have a place
    reg [${out_width - 1}:0] waiting [0:${flight - 1}];
    reg [${flight_bits - 1}:0] put, got;
    reg [${flight_bits}:0] under_way, ready;
    wire given = out_valid && out_ready;
    wire entered = k0_take && k0_begin;
    assign in_ready = !k0_begin || under_way != ${flight};
    assign k0_take = in_valid && in_ready;
    assign out_valid = ready != 0;
    assign out_event = waiting[got];
    always @(posedge clk) begin
        if (k${end}_over) waiting[put] <= k${end}_out;
        put <= rst ? 0 : put + k${end}_over;
        got <= rst ? 0 : got + given;
        under_way <= rst ? 0 : under_way + entered - given;
        ready <= rst ? 0 : ready + k${end}_over - given;
    end
endmodule
