/*# Self-checking test bench of folded firmware in C++. top: name of the function; data: folder of its words; beats,
    events: how many. #*/
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
    std::ifstream given("${data}/in_beat.hex"), wanted("${data}/out_event.hex");
    hls::stream<${top}_beat> in_beat("in_beat");
    hls::stream<${top}_event> out_event("out_event");
    ${top}_beat beat;
    unsigned beats = 0, wrong = 0;
    for (; read_word(given, beat); ++beats) in_beat.write(beat);
    if (beats != ${beats}) {
        std::cout << "FAIL: ${data}/in_beat.hex has " << beats << " words of ${beats}" << std::endl;
        return 1;
    }
    ${top}(in_beat, out_event, ${events});
    for (unsigned event = 0; event < ${events}; ++event) {
        ${top}_event expected;
        if (!read_word(wanted, expected) || out_event.empty() || out_event.read() != expected) ++wrong;
    }
    if (!in_beat.empty() || !out_event.empty()) ++wrong;
    if (wrong) std::cout << "FAIL: " << wrong << " of ${events} events differ" << std::endl;
    else std::cout << "PASS: ${events} events" << std::endl;
    return wrong != 0;
}
