/*# Vectors and functions of the steps of a program.
    bits of a number; bytes of a vector; kept: places for values between functions; parts: functions of each step. #*/
#pragma once
#include <cstddef>
#include <cstdint>
typedef int${bits}_t number;
typedef number V __attribute__((vector_size(${bytes})));
constexpr int LANES = ${bytes} * 8 / ${bits};
struct State {
    V kept[${kept}];
    int64_t beyond = 0; // values that no table has
};
inline V looked_up(const int32_t *table, number size, V places, State &s) {
    V found;
    for (int lane = 0; lane < LANES; ++lane) {
        const number place = places[lane];
        const bool there = 0 <= place && place < size;
        s.beyond += !there;
        found[lane] = table[there ? place : 0];
    }
    return found;
}
//% for count in parts
//% set step = loop.index0
//% for part in range(count)
void step${step}_${part}(const V *const *in, V *const *out, State &s);
//% endfor
//% endfor
