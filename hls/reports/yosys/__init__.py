"""Synthesis of generated Verilog by Yosys."""
