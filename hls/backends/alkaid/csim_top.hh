#pragma once
#include <memory>
#include "parts.hh"
namespace comb_logic {
template <typename inp_t, typename out_t> void ${name}(inp_t model_inp[], out_t model_out[]) {
    static thread_local std::unique_ptr<${name}_state> s(new ${name}_state);
//% for number in range(parts)
    ${name}_part${number}(model_inp, model_out, *s);
//% endfor
}
}
