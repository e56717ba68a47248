#include "parts.hh"
//% for name, values in tables
static const int32_t ${name}[] = {${values}};
//% endfor
//% for part in parts
void step${step}_${part.number}(const V *const *in, V *const *out, State &s) {
//% for number in part.taken
    const V v${number} = s.kept[${kept[number]}];
//% endfor
//% for statement in part.statements
    ${statement.text}
//% if statement.number in kept
    s.kept[${kept[statement.number]}] = v${statement.number};
//% endif
//% endfor
}
//% endfor
