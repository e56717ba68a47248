/*# Runs a program on events; parts: functions of each step. #*/
#include <cmath>
#include <memory>
#include <vector>
#include "parts.hh"

struct Steps {
    size_t count;
    const int64_t (*shapes)[10];   // of each step: beats, inputs, outputs, sums, largest values, gathers, scatters,
                                   // terms of a sum, of a largest value, slots of a move
    const int32_t *const *tables;  // of each step: places of inputs and of outputs, of terms, of sums; moves, slots
    size_t constants;
    const int32_t *fixed;          // their places
    const int64_t *values;
};

static void step(size_t number, const V *const *in, V *const *out, State &s) {
    switch (number) {
//% for count in parts
    case ${loop.index0}:
//% set step = loop.index0
//% for part in range(count)
        step${step}_${part}(in, out, s);
//% endfor
        break;
//% endfor
    }
}

// number of a lane, as a place among `slots`
static number slot_of(const V *memory, const int32_t *move, size_t lane, number slots, State &s) {
    const number slot = memory[move[1]][lane] >> move[2];
    const bool there = 0 <= slot && slot < slots;
    s.beyond += !there;
    return there ? slot : 0;
}

// `events` rows of `width` doubles, which `finer` turns into whole numbers -> rows of `outputs` doubles, which stand at
// `places` of a memory of `size` vectors and are turned into values by `coarser`. Returns how many values no table has.
extern "C" int64_t run(const double *rows, double *results, const double *finer, size_t events, size_t width,
                       const double *coarser, size_t outputs, const int32_t *places, size_t size, const Steps *program) {
    std::unique_ptr<V[]> memory(new V[size]());
    std::unique_ptr<State> state(new State);
    for (size_t i = 0; i < program->constants; ++i) memory[program->fixed[i]] = V{} + (number)program->values[i];
    std::vector<const V *> in;
    std::vector<V *> out;
    for (size_t first = 0; first < events; first += LANES) {
        const size_t here = events - first < LANES ? events - first : LANES;
        for (size_t value = 0; value < width; ++value)
            for (size_t lane = 0; lane < LANES; ++lane) { // behind the last event stands the first one of them again
                const size_t event = first + (lane < here ? lane : 0);
                memory[value][lane] = (number)std::floor(rows[event * width + value] * finer[value]);
            }
        for (size_t at = 0; at < program->count; ++at) {
            const int64_t *shape = program->shapes[at], beats = shape[0], ins = shape[1], outs = shape[2];
            const int64_t sums = shape[3], tops = shape[4], gathers = shape[5], scatters = shape[6];
            const int64_t terms = shape[7], compared = shape[8], slots = shape[9];
            const int32_t *const *tables = program->tables + 9 * at;
            in.resize(ins);
            out.resize(outs);
            for (int64_t beat = 0; beat < beats; ++beat) {
                for (int64_t i = 0; i < ins; ++i) in[i] = &memory[tables[0][beat * ins + i]];
                for (int64_t i = 0; i < outs; ++i) out[i] = &memory[tables[1][beat * outs + i]];
                step(at, in.data(), out.data(), *state);
            }
            for (int64_t sum = 0; sum < sums; ++sum) {
                V total{};
                for (int64_t term = 0; term < terms; ++term) total += memory[tables[2][sum * terms + term]];
                memory[tables[3][sum]] = total;
            }
            for (int64_t top = 0; top < tops; ++top) {
                V largest = memory[tables[4][top * compared]];
                for (int64_t term = 1; term < compared; ++term) {
                    const V next = memory[tables[4][top * compared + term]];
                    largest = next > largest ? next : largest;
                }
                memory[tables[5][top]] = largest;
            }
            for (int64_t i = 0; i < gathers; ++i) {
                const int32_t *move = tables[6] + 4 * i, *from = tables[8] + move[3] * slots;
                for (size_t lane = 0; lane < LANES; ++lane)
                    memory[move[0]][lane] = memory[from[slot_of(memory.get(), move, lane, slots, *state)]][lane];
            }
            for (int64_t i = 0; i < scatters; ++i) {
                const int32_t *move = tables[7] + 4 * i, *to = tables[8] + move[3] * slots;
                for (size_t lane = 0; lane < LANES; ++lane)
                    memory[to[slot_of(memory.get(), move, lane, slots, *state)]][lane] = memory[move[0]][lane];
            }
        }
        for (size_t output = 0; output < outputs; ++output)
            for (size_t lane = 0; lane < here; ++lane)
                results[(first + lane) * outputs + output] = memory[places[output]][lane] * coarser[output];
    }
    return state->beyond;
}
