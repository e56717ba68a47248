"""Levels at which the RTL of a project is simulated; imports nothing, for the scripts' help lists them."""

from __future__ import annotations

from typing import Literal, get_args

Level = Literal["interpreter", "verilator", "icarus"]
LEVELS: tuple[Level, ...] = get_args(Level)
