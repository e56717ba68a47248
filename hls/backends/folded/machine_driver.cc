#include <cstdint>
#include <cstring>
#include "verilated.h"
#include "V${top}.h"

// clocks folded firmware as a script says; ports are moved as bytes, so that words of any width do
struct Bench {
    VerilatedContext context;
    V${top} machine{&context};
    int64_t now = 0, next = 0, came = 0; // edge; number of the next beat, and of the output that comes next
    void settle(bool rst, bool valid, bool ready) {
        machine.rst = rst;
        machine.in_valid = valid;
        machine.out_ready = ready;
        machine.clk = 0;
        machine.eval();
    }
    void rise() {
        machine.clk = 1;
        machine.eval();
    }
};

extern "C" void *machine_create() {
    auto *bench = new Bench;
    bench->settle(true, false, false);
    bench->rise();
    return bench;
}
extern "C" void machine_destroy(void *handle) {
    static_cast<Bench *>(handle)->machine.final(); // kernels that were compiled apart are freed here
    delete static_cast<Bench *>(handle);
}

// Goes on with a stream of `beats` beats, `per_event` of them each event's, up to clock edge `edges` or its end; an event
// has `words` outputs. At each edge the script has bits 0: a beat is offered, 1: an output is taken, 2: reset. taken[e],
// given[e]: edges of the first beat and of the last output of event e, untouched where there is none. Returns the number
// of events that are over; -1 for an output of no event, -2 for a last one that is none.
extern "C" int64_t machine_play(void *handle, const uint8_t *in, size_t stride, int64_t beats, int64_t per_event,
                                int64_t words, uint8_t *out, size_t room, const uint8_t *script, int64_t edges,
                                int64_t *taken, int64_t *given) {
    auto *bench = static_cast<Bench *>(handle);
    auto &machine = bench->machine;
    int64_t &now = bench->now, &next = bench->next, &came = bench->came;
    const int64_t events = beats / per_event;
    for (; now < edges && came < events * words; ++now) {
        if (script[now] & 4) { // none is on its way now; the next beat is one of an event that has not begun
            next = (next + per_event - 1) / per_event * per_event;
            came = next / per_event * words;
            bench->settle(true, false, false);
            bench->rise();
            continue;
        }
        if (next < beats) std::memcpy(&machine.in_beat, in + next * stride, sizeof machine.in_beat);
        bench->settle(false, next < beats && (script[now] & 1), script[now] & 2);
        if (machine.out_valid && machine.out_ready) {
            const int64_t event = came / words, word = came % words;
            if (next < event * per_event + (words == 1 ? per_event : word + 1)) return -1;
//% if by_beat
            if (machine.out_last != (word == words - 1)) return -2;
//% endif
            std::memcpy(out + came * room, &machine.${out}, sizeof machine.${out});
            if (word == words - 1) given[event] = now;
            ++came;
        }
        if (machine.in_valid && machine.in_ready) {
            if (next % per_event == 0) taken[next / per_event] = now;
            ++next;
        }
        bench->rise();
    }
    return came / words;
}

// clock edges without a beat; returns in how many of them there is an output
extern "C" int64_t machine_idle(void *handle, int64_t edges) {
    auto *bench = static_cast<Bench *>(handle);
    int64_t came = 0;
    for (int64_t edge = 0; edge < edges; ++edge) {
        bench->settle(false, false, true);
        came += bench->machine.out_valid;
        bench->rise();
    }
    return came;
}
