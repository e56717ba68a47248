#include "parts.hh"
namespace comb_logic {
//% for table in tables
static ${table}
//% endfor
//% for part in parts
void ${name}_part${part.number}(input_t *model_inp, output_t *model_out, State &s) {
//% for variable in part.taken
    auto &v${variable} = s.${kept[variable]};
//% endfor
//% for statement in part.statements
    ${statement.text}
//% if statement.number in kept
    s.${kept[statement.number]} = v${statement.number};
//% endif
//% endfor
}
//% endfor
}
