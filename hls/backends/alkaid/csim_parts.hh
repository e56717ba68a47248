${preamble}
typedef ${inputs} input_t;
typedef ${outputs} output_t;
/*# values that one part defines and another needs #*/
struct State {
//% for kind, array, count in arrays
    ${kind} ${array}[${count}];
//% endfor
};
//% for number in range(parts)
void ${name}_part${number}(input_t *model_inp, output_t *model_out, State &s);
//% endfor
}
