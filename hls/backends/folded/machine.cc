/*# Folded firmware in C++ for Vitis HLS; `hls.backends.folded.cpp` says how it works.
    top: name of the function; room: namespace of the kernels; processes: in order; given: values in a beat of the input;
    out, made: port of outputs, and values in a word of it; points: of an event; slot_bits: of the number of one. #*/
#include "${top}.hh"
//% for process in processes
#include "${top}_k${process.number}.hh"
//% endfor
#ifndef __SYNTHESIS__
#include <stdexcept>
#include <string>
#endif

// the value in some bits of a word
template <typename value_t, int width> static value_t value_at(const ap_uint<width> &word, int high, int low) {
#pragma HLS INLINE
    value_t value;
    value.range() = word.range(high, low);
    return value;
}
//% set moving = processes | selectattr("gathered.slots") | list + processes | selectattr("scattered.slots") | list
//% if moving

// the point that a number of an order names
template <typename number_t> static ap_uint<${slot_bits}> slot_of(const number_t &number) {
#pragma HLS INLINE
#ifndef __SYNTHESIS__
    if (number < 0 || number >= ${points}) throw std::runtime_error("an order names a point that is none of the ${points}");
#endif
    return ap_uint<${slot_bits}>(number);
}
//% endif

#ifndef __SYNTHESIS__
template <typename word_t> static void assert_empty(hls::stream<word_t> &stream, const char *name) {
    if (!stream.empty()) throw std::runtime_error(std::string("stream ") + name + " holds words behind the last event");
}
template <typename word_t, int count> static void assert_empty(hls::stream<word_t> (&streams)[count], const char *name) {
    for (int number = 0; number < count; ++number) assert_empty(streams[number], name);
}
#endif

// words of the streams
//% for process in processes
//% for channel in process.gives
struct ${channel.word} {
//% for field in channel.fields
    ${field.type} ${field.name};
//% endfor
};
//% endfor
//% endfor

//% for process in processes
//% set number = process.number
//% set chunked = process.chunks > 1
//% set first = "number == 0" if chunked else "beat == 0"
//% set ends = "number == %d" % (process.beats - 1) if chunked else "beat == %d" % (process.beats - 1)
//% set opens = "key == 0" if chunked else "true"
//% set turns = "key == %d" % (process.chunks - 1) if chunked else "true"
// phase ${number}: ${process.layers | join(", ")}
static void ${top}_phase${number}(
    ${process.parameters(top, out) | join(",\n    ")}
) {
//% for channel in process.takes
//% if channel.kind != "gathered" and (channel.kind not in ("streamed", "keyed", "row_sums", "row_largest") or process.chunks > 1)
/*# what several beats read #*/
    ${channel.word} ${channel.name}_now${"[%d]" % channel.streams if channel.kind == "filled" else ""};
//% if channel.kind == "filled"
#pragma HLS ARRAY_PARTITION variable=${channel.name}_now complete
//% endif
//% endif
//% endfor
//% for channel in process.gives
    ${channel.word} ${channel.name}_next;
//% endfor
//% for rows in process.gathered.rows + process.scattered.rows
/*# of all points of an event #*/
    ${rows.type} ${rows.name}[${points}];
#pragma HLS ARRAY_PARTITION variable=${rows.name} complete
//% endfor
//% for rom in process.roms
    static const ${rom.type} rom${rom.number}[${process.beats}] = {${rom.values | join(", ")}};
//% endfor
event:
    for (unsigned event = 0; event < events; ++event) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=1
//% if process.chunks > 1
        unsigned beat = 0, key = 0; // of points, and of their keys
    keys:
        for (unsigned number = 0; number < ${process.beats}; ++number) {
//% else
    beat:
        for (unsigned beat = 0; beat < ${process.beats}; ++beat) {
//% endif
#pragma HLS LOOP_FLATTEN
#pragma HLS PIPELINE II=1 style=flp
/*# flushable: a beat goes on where the next one is still to come #*/
            ${process.types[0]} given[${process.sizes[0]}];
            ${process.types[1]} made[${process.sizes[1]}];
#pragma HLS ARRAY_PARTITION variable=given complete
#pragma HLS ARRAY_PARTITION variable=made complete
//% if not number
            const ${top}_beat word = in_beat.read();
//% for bits in given
            given[${bits.number}] = value_at<${bits.type}>(word, ${bits.high}, ${bits.low});
//% endfor
//% endif
//% for channel in process.takes
//% if channel.kind == "filled"
            if (${first}) {
                for (unsigned one = 0; one < ${channel.streams}; ++one) {
#pragma HLS UNROLL
                    ${channel.name}_now[one] = ${channel.name}[one].read();
                }
            }
            for (unsigned one = 0; one < ${channel.streams}; ++one) {
#pragma HLS UNROLL
//% for field in channel.fields if field.into is not none
                given[${field.into} + ${field.into_step} * one] = ${channel.name}_now[one].${field.name};
//% endfor
            }
//% elif channel.kind == "gathered"
            if (${first}) {
                for (unsigned one = 0; one < ${channel.streams}; ++one) {
#pragma HLS UNROLL
                    const ${channel.word} rows = ${channel.name}[one].read();
//% for field in channel.fields
                    ${field.rows}[${field.into} + ${field.into_step} * one] = rows.${field.name};
//% endfor
                }
            }
//% else
//% if channel.kind in ("streamed", "row_sums", "row_largest") and process.chunks > 1
            if (key == 0) ${channel.name}_now = ${channel.name}.read();
//% elif channel.kind == "keyed" and process.chunks > 1
            ${channel.name}_now = ${channel.name}.read();
//% elif channel.kind in ("streamed", "keyed", "row_sums", "row_largest")
            const ${channel.word} ${channel.name}_now = ${channel.name}.read();
//% elif channel.kind in ("spread", "scattered")
            for (unsigned one = 0; one < ${channel.streams}; ++one) {
#pragma HLS UNROLL
                if (one == beat${" && %s" % opens if chunked else ""}) ${channel.name}_now = ${channel.name}[one].read();
            }
//% else
            if (${first}) ${channel.name}_now = ${channel.name}.read();
//% endif
//% for field in channel.fields if field.into is not none
            given[${field.into}] = ${channel.name}_now.${field.name};
//% endfor
//% endif
//% endfor
//% for slot in process.gathered.slots
            const ap_uint<${slot_bits}> ${slot.name} = slot_of(${slot.number});
//% endfor
//% for rows in process.gathered.rows
//% for number, slot in rows.moves
            given[${number}] = ${rows.name}[${slot}];
//% endfor
//% endfor
//% for rom in process.roms
            given[${rom.number}] = rom${rom.number}[${"number" if process.chunks > 1 else "beat"}];
//% endfor
//% for pick in process.picks
            given[${pick.number}] = /*% for source in pick.sources %*/${"" if loop.last else "key == %d ? " % loop.index0}${pick.type}(${source})${"" if loop.last else " : "}/*% endfor %*/;
//% endfor
//% for zero in process.zeros
            given[${zero}] = 0;
//% endfor
            ${room}::${top}_k${number}<${process.types[0]}, ${process.types[1]}>(given, made);
//% for slot in process.scattered.slots
            const ap_uint<${slot_bits}> ${slot.name} = slot_of(${slot.number});
//% endfor
//% for rows in process.scattered.rows
//% for number, slot in rows.moves
            ${rows.name}[${slot}] = ${rows.type}(made[${number}]);
//% endfor
//% endfor
//% for channel in process.gives
//% if channel.kind in ("row_sums", "row_largest")
//% for field in channel.fields
//% if channel.kind == "row_sums"
            ${channel.name}_next.${field.name} = (${opens} ? ${field.type}(0) : ${channel.name}_next.${field.name}) + ${field.type}(made[${field.out}]);
//% else
            if (${opens} || ${field.type}(made[${field.out}]) > ${channel.name}_next.${field.name}) ${channel.name}_next.${field.name} = ${field.type}(made[${field.out}]);
//% endif
//% endfor
            if (${turns}) ${channel.name}.write(${channel.name}_next);
//% elif channel.kind == "running"
//% if process.chunks > 1
            if (${turns})
/*# sums over points take a row once, with its last keys #*/
            {
//% endif
//% for field in channel.fields
            ${channel.name}_next.${field.name} = (beat == 0 ? ${field.type}(0) : ${channel.name}_next.${field.name}) + ${field.type}(made[${field.out}]);
//% endfor
//% if process.chunks > 1
            }
//% endif
            if (${ends}) ${channel.name}.write(${channel.name}_next);
//% elif channel.kind in ("spread", "scattered")
            if (${ends}) {
                for (unsigned one = 0; one < ${channel.streams}; ++one) {
#pragma HLS UNROLL
//% for field in channel.fields
                    ${channel.name}_next.${field.name} = ${field.type}(${field.rows or "made"}[${field.out} + ${field.out_step} * one]);
//% endfor
                    ${channel.name}[one].write(${channel.name}_next);
                }
            }
//% else
//% for field in channel.fields
            ${channel.name}_next.${field.name} = ${field.type}(made[${field.out}]);
//% endfor
//% if channel.kind == "keyed"
            ${channel.name}.write(${channel.name}_next);
//% elif channel.kind == "streamed"
            ${"if (%s) " % turns if process.chunks > 1 else ""}${channel.name}.write(${channel.name}_next);
//% elif channel.kind in ("filled", "gathered")
            for (unsigned one = 0; one < ${channel.streams}; ++one) {
#pragma HLS UNROLL
                if (one == beat${" && %s" % turns if process.chunks > 1 else ""}) ${channel.name}[one].write(${channel.name}_next);
            }
//% else
            if (${ends}) ${channel.name}.write(${channel.name}_next);
//% endif
//% endif
//% endfor
//% if process.last
            ${top}_answer result = 0;
//% for bits in made
            result.range(${bits.high}, ${bits.low}) = ${bits.type}(made[${bits.number}]).range();
//% endfor
            ${"if (%s) " % (turns if out == "out_beat" else ends) if out == "out_event" or chunked else ""}${out}.write(result);
//% endif
//% if process.chunks > 1
            key = ${turns} ? 0 : key + 1;
            if (key == 0) ++beat;
//% endif
        }
    }
}

//% endfor
void ${top}(hls::stream<${top}_beat> &in_beat, hls::stream<${top}_answer> &${out}, unsigned events) {
#pragma HLS INTERFACE axis port=in_beat
#pragma HLS INTERFACE axis port=${out}
#pragma HLS INTERFACE ap_none port=events
#pragma HLS INTERFACE ap_ctrl_hs port=return
#pragma HLS STABLE variable=events
#pragma HLS DATAFLOW
//% for process in processes
//% for channel in process.gives
//% if channel.streams
    hls::stream<${channel.word}> ${channel.name}[${channel.streams}];
//% else
    hls::stream<${channel.word}> ${channel.name}("${channel.name}");
//% endif
#pragma HLS STREAM variable=${channel.name} depth=${channel.depth}
//% endfor
//% endfor
//% for process in processes
    ${top}_phase${process.number}(${process.arguments(out) | join(", ")});
//% endfor
#ifndef __SYNTHESIS__
//% for process in processes
//% for channel in process.gives
    assert_empty(${channel.name}, "${channel.name}");
//% endfor
//% endfor
#endif
}
