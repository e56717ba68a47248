${preamble}
typedef ${inputs} ${name}_input;
typedef ${outputs} ${name}_output;
/*# values that one part defines and another needs #*/
struct ${name}_state {
//% for kind, array, count in arrays
    ${kind} ${array}[${count}];
//% endfor
};
//% for number in range(parts)
void ${name}_part${number}(${name}_input *model_inp, ${name}_output *model_out, ${name}_state &s);
//% endfor
}
