//% if used and driven
(* blackbox *) module ${module}_core(input [${used | length - 1}:0] used, output [${driven - 1}:0] driven); endmodule
//% endif
module ${module}(${ports | join(", ")});
    wire [${[driven, 1] | max - 1}:0] driven;
//% if used and driven
    ${module}_core core (.used({${used | reverse | join(", ")}}), .driven(driven));
//% endif
//% for name, value in values.items()
    assign ${name} = ${value};
//% endfor
endmodule
