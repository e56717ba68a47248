#include "parts.hh"
namespace comb_logic {
//% for table in tables
static ${table}
//% endfor
//% for part in parts
void ${name}_part${part.number}(${name}_input *model_inp, ${name}_output *model_out, ${name}_state &s) {
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
