/*# hls4ml's source up to its top function #*/
${before}
#ifdef CSIM_TRACE
static thread_local double *const *csim_taps;
static thread_local long csim_event;
#define CSIM_TAP(K, ARRAY, SIZE) \
    for (long csim_i = 0; csim_i < (SIZE); csim_i++) csim_taps[K][csim_event * (SIZE) + csim_i] = double(ARRAY[csim_i]);
#else
#define CSIM_TAP(K, ARRAY, SIZE)
#endif

//% for layer in layers
void ${layer.name}(${layer.parameters});
//% endfor
/*# the rest of it: lines as they are, and calls of the functions in place of the layers #*/

void ${name}(${opening}
//% for line in body
//% if line is string
${line}
//% else
${line.name}(${line.arrays | join(", ", attribute="name")});${" CSIM_TAP(%d, %s, %s)" % (line.index, line.output.name, line.output.size) if line.output else ""}
//% endif
//% endfor
/*# Every name below starts with csim_, for the ports are called as the model calls them. #*/
const char *${folder} = "";

extern "C" __attribute__((visibility("default"))) void csim_run(const char *csim_weights, long csim_events,
                                                                double *const *csim_data, double *const *csim_result,
                                                                double *const *csim_rows) {
    ${folder} = csim_weights;
//% for port in ports
    static thread_local ${port.type} ${port.name}[${port.size}];
//% endfor
#ifdef CSIM_TRACE
    csim_taps = csim_rows;
#endif
    for (long csim_n = 0; csim_n < csim_events; csim_n++) {
#ifdef CSIM_TRACE
        csim_event = csim_n;
#endif
//% for port in inputs
        for (long csim_i = 0; csim_i < ${port.size}; csim_i++) ${port.name}[csim_i] = ${port.type}(csim_data[${loop.index0}][csim_n * ${port.size} + csim_i]);
//% endfor
        ${name}(${ports | join(", ", attribute="name")});
//% for port in results
        for (long csim_i = 0; csim_i < ${port.size}; csim_i++) csim_result[${loop.index0}][csim_n * ${port.size} + csim_i] = double(${port.name}[csim_i]);
//% endfor
    }
}
