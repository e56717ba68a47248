"""Programs that simulate firmware: g++, Verilator, Icarus Verilog."""
