/*# Folded firmware: kernels and the stores between them; `hls.backends.folded.machine` says how it works.
    top: name of the module; phases: in order; flight, flight_bits: events inside at a time; in_width; out,
    out_width: port of outputs; answers: of them per event; pace: clocks between two beats; words, widths: that say where rows lie in memory banks. #*/
/*# rows that an order moves behind phase `at`: all of an event, copied when it is complete. Each row of them looks whether a
    lane of the beat is its own: synthesis makes a shifter as wide as the store of an index that is a variable. #*/
//% macro move(rows, name, moved, at, beat_bits)
    // ${rows.kind} by ${rows.layer}
    reg [${rows.width * rows.points - 1}:0] ${name}_filling, ${name};
    wire [${rows.width * rows.points - 1}:0] ${name}_full;
    wire [${rows.width * rows.lanes - 1}:0] ${name}_given = {${rows.given | reverse | join(", ")}};
//% if rows.kind == "gathered"
    genvar ${name}_beat, ${name}_lane;
    generate
        for (${name}_beat = 0; ${name}_beat < ${rows.points // rows.lanes}; ${name}_beat = ${name}_beat + 1) begin : ${name}_beats
            for (${name}_lane = 0; ${name}_lane < ${rows.lanes}; ${name}_lane = ${name}_lane + 1) begin : ${name}_lanes
                assign ${name}_full[(${name}_beat * ${rows.lanes} + ${name}_lane) * ${rows.width} +: ${rows.width}] = s${at}_beat == ${name}_beat
                    ? ${name}_given[${name}_lane * ${rows.width} +: ${rows.width}]
                    : ${name}_filling[(${name}_beat * ${rows.lanes} + ${name}_lane) * ${rows.width} +: ${rows.width}];
            end
        end
    endgenerate
//% else
    wire [${rows.slot_bits * rows.lanes - 1}:0] ${name}_slots = {${rows.numbers | reverse | join(", ")}};
    genvar ${name}_slot;
    generate
        for (${name}_slot = 0; ${name}_slot < ${rows.points}; ${name}_slot = ${name}_slot + 1) begin : ${name}_rows
            reg [${rows.width - 1}:0] row;
            integer lane;
            always @(*) begin
                row = ${name}_filling[${name}_slot * ${rows.width} +: ${rows.width}];
                for (lane = 0; lane < ${rows.lanes}; lane = lane + 1)
                    if (${name}_slots[lane * ${rows.slot_bits} +: ${rows.slot_bits}] == ${name}_slot)
                        row = ${name}_given[lane * ${rows.width} +: ${rows.width}];
            end
            assign ${name}_full[${name}_slot * ${rows.width} +: ${rows.width}] = row;
        end
    endgenerate
//% endif
    always @(posedge clk) begin
        if (k${at}_made) ${name}_filling <= ${name}_full;
        if (k${at}_over) ${name} <= ${name}_full;
    end
//% if rows.kind == "gathered"
    wire [${rows.width * (rows.numbers | length) - 1}:0] ${moved};
//% for slot in rows.numbers
    ${top}_pick #(.ROW(${rows.width}), .ROWS(${rows.points}), .BITS(${rows.slot_bits})) ${name}_pick${loop.index0} (
        .rows(${name}), .number(${slot}), .row(${moved}[${loop.index0 * rows.width} +: ${rows.width}]));
//% endfor
//% else
    wire [${rows.width * rows.lanes - 1}:0] ${moved};
    ${top}_pick #(.ROW(${rows.width * rows.lanes}), .ROWS(${rows.points // rows.lanes}), .BITS(${beat_bits})) ${name}_pick (
        .rows(${name}), .number(k${at + 1}_beat), .row(${moved}));
//% endif
//% endmacro
/*# the same in memory banks, of which no beat finds two of its rows in one; a bank has two events #*/
//% macro bank(rows, name, moved, at, beat_bits)
    // ${rows.kind} by ${rows.layer}
    wire [${rows.width * rows.lanes - 1}:0] ${name}_in, ${name}_found, ${moved};
    ${top}_permute #(.ROW(${rows.width}), .LANES(${rows.lanes}), .LANE_BITS(${rows.lane_bits})) ${name}_spread (
        .word({${rows.given | reverse | join(", ")}}), .from(s${at}_${rows.words[0]}), .rows(${name}_in));
    ${top}_banks #(.ROW(${rows.width}), .LANES(${rows.lanes}), .BLOCKS(${2 * 2 ** beat_bits}), .BLOCK_BITS(${beat_bits + 1})) ${name} (.clk(clk),
        .write(k${at}_made), .write_block({s${at}_event[0], s${at}_beat}), .word(${name}_in), .found(${name}_found),
        .blocks({/*% for lane in range(rows.lanes - 1, -1, -1) %*/k${at + 1}_event[0], k${at + 1}_${rows.words[1]}[${lane * beat_bits} +: ${beat_bits}]${"" if loop.last else ", "}/*% endfor %*/}));
    ${top}_permute #(.ROW(${rows.width}), .LANES(${rows.lanes}), .LANE_BITS(${rows.lane_bits})) ${name}_pick (
        .word(${name}_found), .from(k${at + 1}_${rows.words[2]}_found), .rows(${moved}));
//% endmacro
/*# `word` is written at address `at` and read at address `from` into `name`; of one word of an event no memory is made #*/
//% macro memory(place, name, width, address_bits, write, at, word, from, over)
//% if address_bits
    reg [${width - 1}:0] ${place} [0:${2 ** (address_bits + 1) - 1}];
    always @(posedge clk) begin
        if (${write}) ${place}[{${at}}] <= ${word};
        ${name} <= ${place}[{${from}}];
    end
//% else
    always @(posedge clk) if (${over}) ${name} <= ${word};
//% endif
//% endmacro
`timescale 1 ns / 1 ps
// ${phases | length} kernels, ${phases[0].beats} beats per event${", one every %d clocks" % pace if pace > 1 else ""}; outputs wait until they are taken
module ${top} (
    input clk, input rst,
    input in_valid, output in_ready, input [${in_width - 1}:0] in_beat,
    output out_valid, input out_ready, output [${out_width - 1}:0] ${out}
//% if phases[-1].by_beat
    , output out_last
//% endif
);
//% for phase in phases
/*# what goes into the kernel, and its valid, first and last beat #*/
    // phase ${phase.number}
    wire k${phase.number}_take, k${phase.number}_over;
    reg [${phase.beat_bits - 1}:0] k${phase.number}_beat;
    wire k${phase.number}_begin = k${phase.number}_beat == 0;
//% if phase.chunks > 1
    // keys of the points of a beat come one after the other
    reg [${phase.key_bits - 1}:0] k${phase.number}_key;
    wire k${phase.number}_turn = k${phase.number}_key == ${phase.chunks - 1};
    wire k${phase.number}_end = k${phase.number}_beat == ${phase.rows - 1} && k${phase.number}_turn;
    always @(posedge clk)
        if (rst || (k${phase.number}_take && k${phase.number}_turn)) k${phase.number}_key <= 0;
        else if (k${phase.number}_take) k${phase.number}_key <= k${phase.number}_key + 1;
//% else
    wire k${phase.number}_turn = 1'b1;
    wire k${phase.number}_end = k${phase.number}_beat == ${phase.rows - 1};
//% endif
//% if phase.rom_width
    // weights of the beat
    reg [${phase.rom_width - 1}:0] k${phase.number}_rom;
    always @(*)
        case (${"{k%d_beat, k%d_key}" % (phase.number, phase.number) if phase.chunks > 1 else "k%d_beat" % phase.number})
//% for label, word in phase.rom_cases
            ${label}: k${phase.number}_rom = ${word};
//% endfor
            default: k${phase.number}_rom = 0;
        endcase
//% endif
//% if phase.picked_width
    // K keys of what stands there for all of them
    wire [${phase.picked_width - 1}:0] k${phase.number}_picked;
    ${top}_pick #(.ROW(${phase.picked_width}), .ROWS(${phase.chunks}), .BITS(${phase.key_bits})) k${phase.number}_pick (
        .rows({${phase.picked | reverse | join(", ")}}), .number(k${phase.number}_key), .row(k${phase.number}_picked));
//% endif
//% if phase.waited
    reg [${phase.waited_width - 1}:0] k${phase.number}_waited;
    always @(posedge clk) k${phase.number}_waited <= ${phase.waited};
//% endif
//% if phase.constant
    // whatever comes, it gives
    wire [${[phase.out_width, 1] | max - 1}:0] k${phase.number}_out = ${phase.constant};
//% else
    wire [${phase.in_width - 1}:0] k${phase.number}_in = ${phase.given};
    wire [${phase.out_width - 1}:0] k${phase.number}_out;
    ${top}_k${phase.number} k${phase.number} (.clk(clk), .model_inp(k${phase.number}_in), .model_out(k${phase.number}_out));
//% endif
    reg [${phase.depth}:0] k${phase.number}_valid, k${phase.number}_first, k${phase.number}_last;
    always @(posedge clk) begin
        k${phase.number}_valid <= rst ? 0 : {k${phase.number}_valid[${phase.depth - 1}:0], k${phase.number}_take};
        k${phase.number}_first <= {k${phase.number}_first[${phase.depth - 1}:0], k${phase.number}_begin};
        k${phase.number}_last <= {k${phase.number}_last[${phase.depth - 1}:0], k${phase.number}_end};
        if (rst || (k${phase.number}_take && k${phase.number}_end)) k${phase.number}_beat <= 0;
        else if (k${phase.number}_take && k${phase.number}_turn) k${phase.number}_beat <= k${phase.number}_beat + 1;
    end
    wire k${phase.number}_made = k${phase.number}_valid[${phase.depth}];
//% if phase.chunks > 1
    reg [${phase.depth}:0] k${phase.number}_opens, k${phase.number}_turns;
    always @(posedge clk) begin
        k${phase.number}_opens <= {k${phase.number}_opens[${phase.depth - 1}:0], k${phase.number}_key == 0};
        k${phase.number}_turns <= {k${phase.number}_turns[${phase.depth - 1}:0], k${phase.number}_turn};
    end
    wire k${phase.number}_row = k${phase.number}_made && k${phase.number}_turns[${phase.depth}]; // with the last keys of its points
//% else
    wire k${phase.number}_row = k${phase.number}_made;
//% endif
    assign k${phase.number}_over = k${phase.number}_made && k${phase.number}_last[${phase.depth}];
//% if words and not phase.number
    // where rows of an event lie in memory banks, kept while it is inside
    reg [${flight_bits - 1}:0] k0_event;
    always @(posedge clk) k0_event <= rst ? 0 : k0_event + (k0_take && k0_end);
//% for word in words
    reg [${word.width - 1}:0] ways_${word.name} [0:${flight * 2 ** phase.beat_bits - 1}];
    always @(posedge clk) if (k0_take) ways_${word.name}[{k0_event, k0_beat}] <= in_beat[${word.low} +: ${word.width}];
//% endfor
//% endif
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
        else if (k${phase.number}_row) s${phase.number}_beat <= s${phase.number}_beat + 1;
//% if phase.store.streamed.width or phase.store.keyed.width or phase.store.row_width
/*# beat by beat: two events, one of which is written while the other one is read. The word that is read next is fetched a
    clock before, so that a block RAM will do. #*/
    reg s${phase.number}_bank;
    always @(posedge clk) s${phase.number}_bank <= !rst && (s${phase.number}_bank ^ k${phase.number}_over);
    wire s${phase.number}_read_bank = s${phase.number}_bank ^ !k${phase.number}_over;
    wire [${phase.beat_bits - 1}:0] s${phase.number}_read_beat = k${phase.number}_over ? 0 : k${phase.number + 1}_beat + (k${phase.number + 1}_take && k${phase.number + 1}_turn);
//% endif
//% if phase.store.streamed.width
    reg [${phase.store.streamed.width - 1}:0] s${phase.number}_streamed;
${memory("s%d_memory" % phase.number, "s%d_streamed" % phase.number, phase.store.streamed.width, phase.beat_bits if phase.rows > 1 else 0, "k%d_row" % phase.number,
    "s%d_bank, s%d_beat" % (phase.number, phase.number), "k%d_out[%d +: %d]" % (phase.number, phase.store.streamed.low, phase.store.streamed.width),
    "s%d_read_bank, s%d_read_beat" % (phase.number, phase.number), "k%d_over" % phase.number)}
//% endif
//% if phase.store.keyed.width
/*# the same of each part of the keys #*/
    reg [${phase.key_bits - 1}:0] s${phase.number}_key;
    always @(posedge clk)
        if (rst || k${phase.number}_row) s${phase.number}_key <= 0;
        else if (k${phase.number}_made) s${phase.number}_key <= s${phase.number}_key + 1;
    wire [${phase.key_bits - 1}:0] s${phase.number}_read_key = k${phase.number}_over || (k${phase.number + 1}_take && k${phase.number + 1}_turn) ? 0 : k${phase.number + 1}_key + k${phase.number + 1}_take;
    reg [${phase.store.keyed.width - 1}:0] s${phase.number}_keyed;
${memory("s%d_keys" % phase.number, "s%d_keyed" % phase.number, phase.store.keyed.width, phase.beat_bits + phase.key_bits, "k%d_made" % phase.number,
    "s%d_bank, s%d_beat, s%d_key" % (phase.number, phase.number, phase.number), "k%d_out[%d +: %d]" % (phase.number, phase.store.keyed.low, phase.store.keyed.width),
    "s%d_read_bank, s%d_read_beat, s%d_read_key" % (phase.number, phase.number, phase.number), "k%d_over" % phase.number)}
//% endif
//% if phase.store.row_width
/*# over the keys of a row: sums, and largest values; with the last keys it goes into the memory of the rows #*/
//% for one in phase.store.by_row
    reg [${one.total - 1}:0] s${phase.number}_row${loop.index0};
    wire [${one.total - 1}:0] s${phase.number}_row${loop.index0}_given = ${one.given};
//% if one.largest
    wire [${one.total - 1}:0] s${phase.number}_row${loop.index0}_next = ${"$signed" if one.signed else ""}(s${phase.number}_row${loop.index0}_given) > ${"$signed" if one.signed else ""}(s${phase.number}_row${loop.index0}) || k${phase.number}_opens[${phase.depth}]
        ? s${phase.number}_row${loop.index0}_given : s${phase.number}_row${loop.index0};
//% else
    wire [${one.total - 1}:0] s${phase.number}_row${loop.index0}_next = (k${phase.number}_opens[${phase.depth}] ? ${one.total}'d0 : s${phase.number}_row${loop.index0}) + s${phase.number}_row${loop.index0}_given;
//% endif
    always @(posedge clk) if (k${phase.number}_made) s${phase.number}_row${loop.index0} <= s${phase.number}_row${loop.index0}_next;
//% endfor
    wire [${phase.store.row_width - 1}:0] s${phase.number}_whole_row = {/*% for one in phase.store.by_row | reverse %*/s${phase.number}_row${loop.revindex0}_next${"" if loop.last else ", "}/*% endfor %*/};
    reg [${phase.store.row_width - 1}:0] s${phase.number}_by_row;
${memory("s%d_rows" % phase.number, "s%d_by_row" % phase.number, phase.store.row_width, phase.beat_bits if phase.rows > 1 else 0, "k%d_row" % phase.number,
    "s%d_bank, s%d_beat" % (phase.number, phase.number), "s%d_whole_row" % phase.number, "s%d_read_bank, s%d_read_beat" % (phase.number, phase.number), "k%d_over" % phase.number)}
//% endif
//% if phase.store.filled.width
/*# all at once: filled beat by beat, and copied when the event is complete, its last beat straight from the kernel. Each
    beat has an enable of its own: synthesis makes a shifter as wide as the store of an index that is a variable. #*/
    wire [${phase.store.filled.width - 1}:0] s${phase.number}_fill = k${phase.number}_out[${phase.store.filled.low} +: ${phase.store.filled.width}];
    reg [${phase.store.filled.width * phase.rows - 1}:0] s${phase.number}_filled;
//% if phase.rows > 1
    reg [${phase.store.filled.width * (phase.rows - 1) - 1}:0] s${phase.number}_filling;
    genvar s${phase.number}_place;
    generate
        for (s${phase.number}_place = 0; s${phase.number}_place < ${phase.rows - 1}; s${phase.number}_place = s${phase.number}_place + 1) begin : s${phase.number}_places
            always @(posedge clk)
                if (k${phase.number}_made && s${phase.number}_beat == s${phase.number}_place)
                    s${phase.number}_filling[s${phase.number}_place * ${phase.store.filled.width} +: ${phase.store.filled.width}] <= s${phase.number}_fill;
        end
    endgenerate
    always @(posedge clk) if (k${phase.number}_over) s${phase.number}_filled <= {s${phase.number}_fill, s${phase.number}_filling};
//% else
    always @(posedge clk) if (k${phase.number}_over) s${phase.number}_filled <= s${phase.number}_fill;
//% endif
//% endif
//% for sum in phase.store.running
/*# a sum over the points #*/
    reg [${sum.total - 1}:0] s${phase.number}_adding${loop.index0}, s${phase.number}_sum${loop.index0};
    wire [${sum.total - 1}:0] s${phase.number}_next${loop.index0} = (k${phase.number}_first[${phase.depth}] ? ${sum.total}'d0 : s${phase.number}_adding${loop.index0}) + ${sum.given};
    always @(posedge clk) begin
        if (k${phase.number}_row) s${phase.number}_adding${loop.index0} <= s${phase.number}_next${loop.index0};
        if (k${phase.number}_over) s${phase.number}_sum${loop.index0} <= s${phase.number}_next${loop.index0};
    end
//% endfor
//% if phase.store.spread_width
/*# values of the event of which each beat reads its own #*/
    reg [${phase.store.spread_width * (phase.store.spread | length) - 1}:0] s${phase.number}_spread;
    always @(posedge clk) if (k${phase.number}_over) s${phase.number}_spread <= {${phase.store.spread | reverse | join(", ")}};
    wire [${phase.store.spread_width - 1}:0] s${phase.number}_row;
    ${top}_pick #(.ROW(${phase.store.spread_width}), .ROWS(${phase.store.spread | length}), .BITS(${phases[phase.number + 1].beat_bits})) s${phase.number}_pick (
        .rows(s${phase.number}_spread), .number(k${phase.number + 1}_beat), .row(s${phase.number}_row));
//% endif
//% if phase.store.words
/*# the words of the beat that is written next, and of the one that is read next #*/
    reg [${flight_bits - 1}:0] s${phase.number}_event, k${phase.number + 1}_event;
    wire [${flight_bits - 1}:0] s${phase.number}_event_next = rst ? 0 : s${phase.number}_event + k${phase.number}_over;
    wire [${flight_bits - 1}:0] k${phase.number + 1}_event_next = rst ? 0 : k${phase.number + 1}_event + (k${phase.number + 1}_take && k${phase.number + 1}_end);
    wire [${phase.beat_bits - 1}:0] s${phase.number}_beat_next = rst || k${phase.number}_over ? 0 : s${phase.number}_beat + k${phase.number}_made;
    wire [${phase.beat_bits - 1}:0] k${phase.number + 1}_beat_next = rst || (k${phase.number + 1}_take && k${phase.number + 1}_end) ? 0 : k${phase.number + 1}_beat + k${phase.number + 1}_take;
    always @(posedge clk) begin
        s${phase.number}_event <= s${phase.number}_event_next;
        k${phase.number + 1}_event <= k${phase.number + 1}_event_next;
    end
//% for word in phase.store.words
    reg [${widths[word] - 1}:0] s${phase.number}_${word};
    always @(posedge clk) s${phase.number}_${word} <= ways_${word}[{s${phase.number}_event_next, s${phase.number}_beat_next}];
//% endfor
//% for word in phase.store.read_words
    reg [${widths[word] - 1}:0] k${phase.number + 1}_${word}, k${phase.number + 1}_${word}_found;
    always @(posedge clk) begin
        k${phase.number + 1}_${word} <= ways_${word}[{k${phase.number + 1}_event_next, k${phase.number + 1}_beat_next}];
        k${phase.number + 1}_${word}_found <= k${phase.number + 1}_${word};
    end
//% endfor
//% endif
//% for rows in phase.store.moved if rows.width and rows.banks
${bank(rows, "s%d_rows%s" % (phase.number, rows.name), "s%d_moved%s" % (phase.number, rows.name), phase.number, phase.beat_bits)}
//% endfor
//% for rows in phase.store.moved if rows.width and not rows.banks
${move(rows, "s%d_rows%s" % (phase.number, rows.name), "s%d_moved%s" % (phase.number, rows.name), phase.number, phases[phase.number + 1].beat_bits)}
//% endfor
//% if phase.store.held.width
/*# values of the event #*/
    reg [${phase.store.held.width - 1}:0] s${phase.number}_held;
    always @(posedge clk) if (k${phase.number}_over) s${phase.number}_held <= k${phase.number}_out[${phase.store.held.low} +: ${phase.store.held.width}];
//% endif
//% endif
//% endfor
//% set end = phases | length - 1
//% set beat_bits = phases[-1].beat_bits
//% set places = 2 ** beat_bits if phases[-1].by_beat else 1
    // outputs; an event is let in only if its outputs will have a place
    reg [${out_width - 1}:0] waiting [0:${flight * places - 1}];
    reg [${flight_bits - 1}:0] put, got;
    reg [${flight_bits}:0] under_way;
    reg [${(flight * answers).bit_length() - 1}:0] ready;
    wire given = out_valid && out_ready;
    wire entered = k0_take && k0_begin;
//% if pace > 1
    // every so many clocks a beat
    reg [${(pace - 1).bit_length() - 1}:0] rest;
    always @(posedge clk) rest <= rst ? 0 : k0_take ? ${pace - 1} : rest - (rest != 0);
    assign in_ready = (!k0_begin || under_way != ${flight}) && rest == 0;
//% else
    assign in_ready = !k0_begin || under_way != ${flight};
//% endif
    assign k0_take = in_valid && in_ready;
    assign out_valid = ready != 0;
//% if phases[-1].by_beat
    reg [${beat_bits - 1}:0] put_beat, got_beat;
    wire came = k${end}_row, gone = given && out_last;
    assign out_last = got_beat == ${answers - 1};
    assign ${out} = waiting[{got, got_beat}];
    always @(posedge clk) begin
        if (came) waiting[{put, put_beat}] <= k${end}_out;
        if (rst || k${end}_over) put_beat <= 0;
        else if (came) put_beat <= put_beat + 1;
        if (rst || gone) got_beat <= 0;
        else if (given) got_beat <= got_beat + 1;
    end
//% else
    wire came = k${end}_over, gone = given;
    assign ${out} = waiting[got];
    always @(posedge clk) if (came) waiting[put] <= k${end}_out;
//% endif
    always @(posedge clk) begin
        put <= rst ? 0 : put + k${end}_over;
        got <= rst ? 0 : got + gone;
        under_way <= rst ? 0 : under_way + entered - gone;
        ready <= rst ? 0 : ready + came - given;
    end
endmodule
