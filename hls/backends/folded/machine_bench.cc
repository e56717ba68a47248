/*# Self-checking test bench of folded firmware in C++. top: name of the function; data: folder of its words; out:
    port of outputs; beats, answers, events: how many there are, and words of the output for each event. #*/
#include <fstream>
#include <iostream>
#include <string>
#include "${top}.hh"

// the next line of a file, hexadecimal digits, as a word
template <int width> static bool read_word(std::ifstream &file, ap_uint<width> &word) {
    std::string digits;
    if (!(file >> digits)) return false;
    word = 0;
    for (char digit : digits) word = (word << 4) | ap_uint<4>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    return true;
}

// ${events} events through one call of the function; prints PASS, or FAIL and ends with status 1
int main() {
    std::ifstream given("${data}/in_beat.hex"), wanted("${data}/${out}.hex");
    hls::stream<${top}_beat> in_beat("in_beat");
    hls::stream<${top}_answer> ${out}("${out}");
    ${top}_beat beat;
    unsigned beats = 0, wrong = 0;
    for (; read_word(given, beat); ++beats) in_beat.write(beat);
    if (beats != ${beats}) {
        std::cout << "FAIL: ${data}/in_beat.hex has " << beats << " words of ${beats}" << std::endl;
        return 1;
    }
    ${top}(in_beat, ${out}, ${events});
    for (unsigned event = 0; event < ${events}; ++event) {
        bool same = true;
        for (unsigned answer = 0; answer < ${answers}; ++answer) {
            ${top}_answer expected;
            if (!read_word(wanted, expected) || ${out}.empty() || ${out}.read() != expected) same = false;
        }
        if (!same) ++wrong;
    }
    if (!in_beat.empty() || !${out}.empty()) ++wrong;
    if (wrong) std::cout << "FAIL: " << wrong << " of ${events} events differ" << std::endl;
    else std::cout << "PASS: ${events} events" << std::endl;
    return wrong != 0;
}
