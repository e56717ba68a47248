#include <cstdint>
#include <cstring>
#include "verilated.h"
#include "V${top}.h"

// clocks folded firmware; ports are moved as bytes, so that words of any width do
struct Bench {
    VerilatedContext context;
    V${top} machine{&context};
    uint64_t state = 0;
    bool chance(uint64_t per_256) { // xorshift
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return (state & 255) < per_256;
    }
    void reset() {
        machine.in_valid = 0;
        machine.out_ready = 0;
        machine.rst = 1;
        machine.clk = 0;
        machine.eval();
        machine.clk = 1;
        machine.eval();
        machine.rst = 0;
    }
};

extern "C" void *machine_create() {
    auto *bench = new Bench;
    bench->reset();
    return bench;
}
extern "C" void machine_destroy(void *handle) { delete static_cast<Bench *>(handle); }
extern "C" void machine_reset(void *handle) { static_cast<Bench *>(handle)->reset(); }

// beats of whole events; in `gaps` of 256 clocks no beat is offered, in `stalls` of 256 no output is taken. Returns how
// many outputs came within `most` edges, `words` per event, -1 if one is wrongly said to be the last or not the last;
// taken[e], given[e]: edges of the first beat and of the last output of event e
extern "C" int64_t machine_run(void *handle, const uint8_t *in, size_t stride, size_t beats, size_t per_event, size_t words,
                               uint8_t *out, size_t room, uint64_t seed, uint64_t gaps, uint64_t stalls, int64_t most,
                               int64_t *taken, int64_t *given) {
    auto *bench = static_cast<Bench *>(handle);
    auto &machine = bench->machine;
    bench->state = seed * 0x9E3779B97F4A7C15u + 1;
    size_t next = 0, came = 0;
    const size_t events = beats / per_event;
    for (int64_t now = 0; now < most && came < events * words; ++now) {
        machine.clk = 0;
        machine.in_valid = next < beats && !bench->chance(gaps);
        machine.out_ready = !bench->chance(stalls);
        if (next < beats) std::memcpy(&machine.in_beat, in + next * stride, sizeof machine.in_beat);
        machine.eval();
        if (machine.out_valid && machine.out_ready) {
            std::memcpy(out + came * room, &machine.${out}, sizeof machine.${out});
//% if by_beat
            if (machine.out_last != ((came + 1) % words == 0)) return -1;
//% endif
            given[came++ / words] = now;
        }
        if (machine.in_valid && machine.in_ready) {
            if (next % per_event == 0) taken[next / per_event] = now;
            ++next;
        }
        machine.clk = 1;
        machine.eval();
    }
    return came;
}
