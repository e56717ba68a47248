/*# C simulation of folded firmware: numbers in and out of the words of its ports. top: name of the function. #*/
#include <cstdint>
#include <stdexcept>
#include <string>
#include "${top}.hh"

// `beats` words through one call of the function, which gives so many `answers` for each of `events`; a value is the whole
// number of its bits, `width[i]` of them from `low[i]` on. Returns what was wrong; the text is kept until the next call of
// this thread
extern "C" const char *machine_simulate(const uint64_t *in, size_t beats, const int32_t *in_low, const int32_t *in_width,
                                        size_t in_count, uint64_t *out, size_t events, size_t answers,
                                        const int32_t *out_low, const int32_t *out_width, size_t out_count) {
    static thread_local std::string wrong;
    try {
        hls::stream<${top}_beat> in_beat("in_beat");
        hls::stream<${top}_answer> made("made");
        for (size_t beat = 0; beat < beats; ++beat) {
            ${top}_beat word = 0;
            for (size_t i = 0; i < in_count; ++i, ++in)
                if (in_width[i]) word.range(in_low[i] + in_width[i] - 1, in_low[i]) = ap_uint<64>(*in);
            in_beat.write(word);
        }
        ${top}(in_beat, made, events);
        for (size_t answer = 0; answer < events * answers; ++answer) {
            if (made.empty()) throw std::runtime_error("the output has too few words for its events");
            const ${top}_answer word = made.read();
            for (size_t i = 0; i < out_count; ++i, ++out)
                *out = out_width[i] ? word.range(out_low[i] + out_width[i] - 1, out_low[i]).to_uint64() : 0;
        }
        if (!in_beat.empty()) throw std::runtime_error("in_beat holds words behind the last event");
        if (!made.empty()) throw std::runtime_error("the output holds words behind the last event");
    } catch (const std::exception &error) {
        wrong = error.what();
        return wrong.c_str();
    }
    return nullptr;
}
