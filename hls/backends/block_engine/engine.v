/*# What stands around the parts of a block engine; `hls.backends.block_engine.verilog` says how it works.
    size: widths and counts; made: the parts; encoder, attention, points: their instances. #*/
//% set wide = size.size * widest_x
//% set last_order = size.orders - 1
/*# <name>_done, `length` clocks after `first` #*/
//% macro chain(name, length, first)
    reg [${length - 1}:0] ${name}_chain;
    always @(posedge clk) ${name}_chain <= rst ? 0 : {${name}_chain[${length - 2}:0], ${first}};
    wire ${name}_done = ${name}_chain[${length - 1}];
//%- endmacro
//% macro instance(part)
    wire [${part.in_width - 1}:0] ${part.name}_in = ${part.given};
    wire [${part.out_width - 1}:0] ${part.name}_out;
    ${size.top}_${part.module} ${part.name} (.clk(clk), .model_inp(${part.name}_in), .model_out(${part.name}_out));
//%- endmacro
/*# a word of `width` bits per block #*/
//% macro rows(name, width, write, address, word, block, given)
    ${size.top}_rows #(.WIDTH(${width}), .BLOCKS(${size.blocks}), .BLOCK_BITS(${size.block_bits})) ${name} (.clk(clk),
        .write(${write}), .write_block(${address}), .word(${word}), .block(${block}), .found(${given}));
//%- endmacro
/*# S banks of a row of `row` bits per block #*/
//% macro banks(name, order, row, write, word, blocks)
    wire [${size.size * row - 1}:0] ${name}_found${order};
    ${size.top}_banks #(.ROW(${row}), .LANES(${size.size}), .BLOCKS(${size.blocks}), .BLOCK_BITS(${size.block_bits})) ${name}_memory${order} (.clk(clk), .write(${write}), .write_block(written),
        .word(${word}), .blocks(${blocks}), .found(${name}_found${order}));
//%- endmacro
//% macro permute(name, row, word, lanes, rows)
    ${size.top}_permute #(.ROW(${row}), .LANES(${size.size}), .LANE_BITS(${size.lane_bits})) ${name} (.word(${word}), .from(${lanes}), .rows(${rows}));
//%- endmacro
/*# of the vectors <name><order> the one of the order that a register holds #*/
//% macro of_order(order, name)
/*% for o in range(last_order) %*/${order} == ${o} ? ${name}${o} : /*% endfor %*/${name}${last_order}
//%- endmacro
// block engine of HEPT: ${size.orders} orders, ${size.layers} layers, blocks of ${size.size} points, at most ${size.blocks}
module ${size.top} (
    input clk, input rst,
    input in_valid, output in_ready, input [${size.block_bits - 1}:0] in_last, input [${in_width - 1}:0] in_block,
    output out_valid, output [${out_width - 1}:0] out_block
);
    localparam LOAD = 2'd0, ATTEND = 2'd1, COMBINE = 2'd2;
    reg [1:0] state;
    reg issuing; // blocks of this phase are still going in
    reg [${size.block_bits - 1}:0] last, block, block_before, written;
    reg [${order_bits - 1}:0] order, order_before, order_found, order_written;
    reg [${layer_bits - 1}:0] layer;
    wire take = in_valid & in_ready;
    assign in_ready = state == LOAD && issuing;
    always @(posedge clk) begin
        block_before <= block;
        order_before <= order;
        order_found <= order_before;
    end
    wire [${size.block_bits - 1}:0] written_next;

/*# points of a block through the encoder, into x and coordinates #*/
    wire [${size.size * made.x[0].width - 1}:0] x0_new;
    wire [${size.size * made.place.width - 1}:0] point_new;
//% for lane in encoder
${instance(lane)}
//% for target in lane.targets
    assign ${target.bus}[${target.low} +: ${target.width}] = ${target.value};
//% endfor
//% endfor
${chain("load", made.encoder.depth + 1, "take")}
//% for name, (low, width) in size.words.items()
//% set base = size.size * made.given.width + low
    wire [${width - 1}:0] ${name};
${rows(name ~ "_memory", width, "take", "block", "in_block[%d:%d]" % (base + width - 1, base), "written_next" if name in written_early else "block", name)}
//% endfor
/*# x and coordinates by bank, for every order; x by slot #*/
//% for row in made.x[1:]
    wire [${size.size * row.width - 1}:0] x${loop.index}_new;
//% endfor
    wire x_write = ${x_done[:size.layers] | join(" | ")};
    wire [${wide - 1}:0] x_new = /*% for value in x_values %*/${x_done[loop.index0]} ? ${value} :
        /*% endfor %*/{${wide}{1'b0}};
    reg [${size.size * size.lane_bits - 1}:0] read_banks;
    always @(posedge clk) read_banks <= ${of_order("order_before", "read_banks")};
//% for name, width, write in (("x", widest_x, "x_write"), ("point", made.place.width, "load_done"))
    wire [${size.size * width - 1}:0] ${name}_rows;
//% for o in range(size.orders)
    wire [${size.size * width - 1}:0] ${name}_in${o};
${permute("%s_spread%d" % (name, o), width, name ~ "_new", "in_lanes%d" % o, "%s_in%d" % (name, o))}
${banks(name, o, width, write, "%s_in%d" % (name, o), "read_blocks%d" % o)}
//% endfor
${permute(name ~ "_pick", width, of_order("order_found", name ~ "_found"), "read_banks", name ~ "_rows")}
//% endfor
//% for row in made.x
//% set name = "x%d" % loop.index0
    wire [${size.size * row.width - 1}:0] ${name}_rows;
${rows(name ~ "_memory", size.size * row.width, x_done[loop.index0], "written", name ~ "_new", "block_before", name ~ "_rows")}
//% endfor
/*# what attention gives, by bank; of all orders in slot order #*/
    wire [${size.size * widest_sums - 1}:0] sums_new, sums_in;
    wire sums_write = /*% for index in range(size.layers) %*/attention${index}_done${"" if loop.last else " | "}/*% endfor %*/;
${permute("sums_spread", widest_sums, "sums_new", of_order("order_written", "sums_lanes"), "sums_in")}
//% for o in range(size.orders)
${banks("sums", o, widest_sums, "sums_write && order_written == %d" % o, "sums_in", "out_blocks%d" % o)}
    reg [${size.size * size.lane_bits - 1}:0] out_banks${o}_found;
    always @(posedge clk) out_banks${o}_found <= out_banks${o};
    wire [${size.size * widest_sums - 1}:0] sums${o}_rows;
${permute("sums%d_pick" % o, widest_sums, "sums_found%d" % o, "out_banks%d_found" % o, "sums%d_rows" % o)}
//% endfor
/*# attention within the blocks of an order #*/
//% for part in attention
${instance(part)}
${chain(part.name, part.depth + 3, "state == ATTEND && issuing && layer == %d" % loop.index0)}
//% endfor
    assign sums_new = /*% for part in attention | reverse %*/${part.name}_done ? ${part.sums} :
        /*% endfor %*/{${size.size * widest_sums}{1'b0}};
/*# the points' part of a layer; that of the last one gives the output #*/
//% for lanes in points
//% for lane in lanes
${instance(lane)}
//% for target in lane.targets
    assign ${target.bus}[${target.low} +: ${target.width}] = ${target.value};
//% endfor
//% endfor
${chain(lanes[0].module, lanes[0].depth + 3, "state == COMBINE && issuing && layer == %d" % loop.index0)}
//% endfor
    assign out_valid = points${size.layers - 1}_done;
/*# counters of what goes in and of what is written; a phase ends with its last result #*/
    wire points_done = /*% for index in range(size.layers) %*/points${index}_done${"" if loop.last else " | "}/*% endfor %*/;
    wire done = load_done | sums_write | points_done;
    assign written_next = !done ? written : written == last ? 0 : written + 1;
    wire last_order = order == ${last_order};
    wire first = state == LOAD && block == 0;
    wire [${size.block_bits - 1}:0] limit = first ? in_last : last;
    wire step = state == LOAD ? take : issuing;
    wire over = done && written == last && (!sums_write || order_written == ${last_order});
    always @(posedge clk) begin
        if (take && first) last <= in_last;
        if (step) begin
            block <= block == limit ? 0 : block + 1;
            if (block == limit) begin
                if (state == ATTEND && !last_order) order <= order + 1;
                else issuing <= 0;
            end
        end
        written <= written_next;
        if (sums_write && written == last) order_written <= order_written + 1;
        if (over) begin
            issuing <= 1;
            order <= 0;
            order_written <= 0;
            state <= state == ATTEND ? COMBINE : state == COMBINE && layer == ${size.layers - 1} ? LOAD : ATTEND;
            if (state == COMBINE) layer <= layer == ${size.layers - 1} ? 0 : layer + 1;
        end
        if (rst) begin
            state <= LOAD;
            issuing <= 1;
            block <= 0;
            written <= 0;
            order <= 0;
            order_written <= 0;
            layer <= 0;
        end
    end

endmodule
