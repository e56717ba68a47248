#include "defines.h"
//% for line in includes
${line}
//% endfor
/*# guards of the headers of weights: they are defined once, in top.cpp #*/
//% for guard in guards
#define ${guard}
//% endfor
//% for weight in weights
extern ${weight.type} ${weight.name}[${weight.size}];
//% endfor
/*# parameters.h defines objects: in a nameless namespace each file has its own #*/
namespace {
#include "parameters.h"
}

//% for layer in layers
void ${layer.name}(${layer.parameters}) { ${layer.call.statement} }
//% endfor
