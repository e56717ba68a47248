/*# Vitis HLS: simulates, synthesises and exports folded firmware. top, part, clock_ns; uncertainty: of the clock, ns;
    kernels, static: folders below src; data: of the test
    bench. #*/
set here [file dirname [file normalize [info script]]]
cd $here
source [file join $here build_opt.tcl]

if {$opt(reset)} {
    open_project -reset ${top}_prj
} else {
    open_project ${top}_prj
}
set_top ${top}
add_files src/${top}.cc -cflags "-std=c++11 -I$here/src -I$here/src/${kernels} -I$here/src/${static}"
add_files -tb tb/tb_${top}.cc -cflags "-std=c++11 -I$here/src"
add_files -tb ${data}
if {$opt(reset)} {
    open_solution -reset "solution1"
} else {
    open_solution "solution1"
}
config_compile -name_max_length 80
set_part ${part}
create_clock -period ${clock_ns} -name default
set_clock_uncertainty ${uncertainty} default

if {$opt(csim)} {
    csim_design
}
if {$opt(synth)} {
    csynth_design
}
if {$opt(cosim)} {
    cosim_design
}
if {$opt(export)} {
    export_design -format ip_catalog
}
if {$opt(vsynth)} {
    exec vivado -mode batch -source build_vivado_hls_prj.tcl >@ stdout
}
exit
