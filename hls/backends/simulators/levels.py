"""Levels at which a project is simulated, of all backends; imports nothing, for the commands' help lists them."""

from __future__ import annotations

from typing import Literal, get_args

Level = Literal["interpreter", "compiled", "csim", "emulator", "verilator", "icarus"]
LEVELS: tuple[Level, ...] = get_args(Level)
OF_VERILOG: tuple[Level, ...] = ("verilator", "icarus")  # that read the Verilog
TIMED: tuple[Level, ...] = (*OF_VERILOG, "emulator")  # clock by clock; the others know no time
RTL_LEVELS: tuple[Level, ...] = ("interpreter", "emulator", *OF_VERILOG)  # of the stage "rtl", if a project has them
SLOW: tuple[Level, ...] = ("icarus",)  # a thousand times slower: few events, beside the others, left out if missing
FAST: tuple[Level, ...] = (
    "compiled",
    "csim",
)  # to the values of many events, the fastest first; else a project's first
