"""Levels at which a project of alkaid's is simulated; imports nothing, for the commands' help lists them."""

from __future__ import annotations

from typing import Literal, get_args

Level = Literal["interpreter", "csim", "verilator", "icarus"]
LEVELS: tuple[Level, ...] = get_args(Level)
TIMED: tuple[Level, ...] = ("verilator", "icarus")  # of RTL, clock by clock; the others know no time
RTL_LEVELS: tuple[Level, ...] = ("interpreter", *TIMED)  # that the stage "rtl" runs unless told otherwise
SLOW: tuple[Level, ...] = ("icarus",)  # a thousand times slower: few events, beside the others, left out if missing
