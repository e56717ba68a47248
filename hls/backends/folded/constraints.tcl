/*# Constraints of folded firmware, for Vivado (.xdc) and Quartus (.sdc). clock_ns; uncertainty: its share of the clock
    period; early, late: shares of the clock period that the surroundings take at least and at most; inputs, outputs:
    patterns of the ports beside the clock. #*/
create_clock -period ${clock_ns} -name sys_clk [get_ports {clk}]
set_clock_uncertainty -setup ${"%.4g" | format(clock_ns * uncertainty)} [get_clocks sys_clk]
set_clock_uncertainty -hold ${"%.4g" | format(clock_ns * uncertainty)} [get_clocks sys_clk]
#% for port in inputs
set_input_delay -clock sys_clk -max ${"%.4g" | format(clock_ns * late)} [get_ports {${port}}]
set_input_delay -clock sys_clk -min ${"%.4g" | format(clock_ns * early)} [get_ports {${port}}]
#% endfor
#% for port in outputs
set_output_delay -clock sys_clk -max ${"%.4g" | format(clock_ns * late)} [get_ports {${port}}]
set_output_delay -clock sys_clk -min ${"%.4g" | format(clock_ns * early)} [get_ports {${port}}]
#% endfor
