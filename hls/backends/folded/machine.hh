/*# Declaration of folded firmware in C++. top: name of the function; beats: of an event; out: port of outputs; answers: words
    there for each event; widths: bits of a beat and of such a word; most_bits: of a word. #*/
#pragma once
#ifndef AP_INT_MAX_W
#define AP_INT_MAX_W ${most_bits}
#endif
#include "ap_fixed.h"
#include "ap_int.h"
#include "hls_stream.h"

// words of the ports; ports.json says where each value sits
typedef ap_uint<${widths[0]}> ${top}_beat;
typedef ap_uint<${widths[1]}> ${top}_answer;

// takes ${beats} beats of each of so many events, and gives ${"a word" if answers == 1 else "%d words" % answers} for each event
void ${top}(hls::stream<${top}_beat> &in_beat, hls::stream<${top}_answer> &${out}, unsigned events);
