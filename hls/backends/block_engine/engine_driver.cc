#include <cstdint>
#include <cstring>
#include "verilated.h"
#include "V${top}.h"

// clocks an engine; ports are moved as bytes, so that words of any width do
struct Bench {
    VerilatedContext context;
    V${top} engine{&context};
    void edge() {
        engine.clk = 0;
        engine.eval();
        engine.clk = 1;
        engine.eval();
    }
};

extern "C" void *engine_create() {
    auto *bench = new Bench;
    bench->engine.in_valid = 0;
    bench->engine.rst = 1;
    bench->edge();
    bench->engine.rst = 0;
    return bench;
}
extern "C" void engine_destroy(void *handle) { delete static_cast<Bench *>(handle); }

// one event; returns clock edges from the first block taken to the last one given, or -1 after `most` edges
extern "C" int64_t engine_run(void *handle, const uint8_t *in, size_t stride, uint8_t *out, size_t room, size_t blocks,
                              size_t pause, int64_t most) {
    auto *bench = static_cast<Bench *>(handle);
    auto &engine = bench->engine;
    size_t taken = 0, given = 0, wait = 0;
    int64_t start = -1;
    for (int64_t now = 0; now < most; ++now) {
        engine.clk = 0;
        engine.in_valid = taken < blocks && wait == 0;
        engine.in_last = blocks - 1;
        if (taken < blocks) std::memcpy(&engine.in_block, in + taken * stride, sizeof engine.in_block);
        engine.eval();
        const bool take = engine.in_valid && engine.in_ready;
        if (take && start < 0) start = now;
        engine.clk = 1;
        engine.eval();
        wait = take ? pause : wait > 0 ? wait - 1 : 0;
        taken += take;
        if (engine.out_valid) {
            if (given == blocks) return -2;
            std::memcpy(out + given * room, &engine.out_block, sizeof engine.out_block);
            if (++given == blocks) return now - start;
        }
    }
    return -1;
}
