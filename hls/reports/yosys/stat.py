"""What a mapped netlist holds: Yosys's ``stat -json`` to cells, cells to resources."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hls.errors import HlsError
from qformers.errors import shown

MOST_CELLS = 10**12
# of the dual-output LUT6_2 both outputs are used; in the device it is one LUT
LUTS = (*(f"LUT{inputs}" for inputs in range(1, 7)), "LUT6_2")
INVERTER = "INV"  # before a carry chain mostly: there a placed design may need a LUT1, which Yosys does not count
FLIP_FLOPS = tuple(f"{kind}{edge}" for kind in ("FDRE", "FDSE", "FDCE", "FDPE") for edge in ("", "_1"))
SHIFT_REGISTERS = ("SRL16E", "SRLC16E", "SRLC32E")
# memories of LUTs -> how many LUTs each is
LUT_MEMORIES: Mapping[str, int] = {
    **{f"RAM{words}X1S": luts for words, luts in ((32, 1), (64, 1), (128, 2), (256, 4), (512, 8))},
    **{f"RAM{words}X1D": luts for words, luts in ((32, 2), (64, 2), (128, 4), (256, 8))},
    **dict.fromkeys(("RAM32M", "RAM64M"), 4),
    **dict.fromkeys(("RAM32M16", "RAM64M8", "RAM32X16DR8", "RAM64X8SW"), 8),
}
WIDE_MUXES = ("MUXF7", "MUXF8", "MUXF9")  # part of a slice, not counted by anyone as a resource
BUFFERS = ("BUFG", "BUFGCE", "IBUF", "OBUF", "IBUFG", "GND", "VCC")  # of the pins and the clock, not of the logic
# cell -> resource and how many of it one cell is; the rest of the cells is listed, not counted
WEIGHTS: Mapping[str, tuple[str, int]] = {
    **dict.fromkeys(LUTS, ("lut", 1)),
    **dict.fromkeys(FLIP_FLOPS, ("ff", 1)),
    **dict.fromkeys(SHIFT_REGISTERS, ("srl", 1)),
    **{name: ("lutram", luts) for name, luts in LUT_MEMORIES.items()},
    **dict.fromkeys(("DSP48E1", "DSP48E2"), ("dsp", 1)),
    "RAMB18E1": ("bram18", 1),
    "RAMB18E2": ("bram18", 1),
    "RAMB36E1": ("bram18", 2),
    "RAMB36E2": ("bram18", 2),
    "URAM288": ("uram", 1),
}


def text_of(path: Path) -> str:
    """What Yosys wrote into a file.

    Raises:
        HlsError: nothing, or no text.
    """
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise HlsError(f"{path}: Yosys did not write it, or no text ({error}); run the synthesis again") from error


def parse_stat(text: str) -> tuple[dict[str, int], tuple[str, ...]]:
    """Cells of the whole design, and the names of its modules.

    Args:
        text: what ``stat -json`` prints; in a design of several modules with ``-top``, so that it adds them up.

    Returns:
        Name of a primitive -> number of instances, each module counted as often as it is used; and the modules.

    Raises:
        HlsError: not such a text, cut off, or with cells that were not mapped to the device.
    """
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HlsError(f"the output of Yosys's 'stat -json' is cut off or no JSON ({error})") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("modules"), dict):
        raise HlsError("the output of Yosys's 'stat -json' has no section 'modules'")
    design = tree.get("design")
    if not isinstance(design, dict) or not isinstance(design.get("num_cells_by_type"), dict):
        raise HlsError("the output of Yosys's 'stat -json' has no section 'design' with 'num_cells_by_type'")
    modules = tuple(name.removeprefix("\\") for name in tree["modules"])
    cells = _numbers(design["num_cells_by_type"], modules)
    if unmapped := sorted(name for name in cells if name.startswith("$")):
        raise HlsError(f"Yosys left {cells[unmapped[0]]} cells '{unmapped[0]}' that it could not map to the device")
    return cells, modules


def _numbers(section: Mapping[str, Any], modules: tuple[str, ...]) -> dict[str, int]:
    numbers = {str(name).removeprefix("\\"): value for name, value in section.items()}
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_CELLS:
            raise HlsError(
                f"the output of Yosys's 'stat -json' has no whole number for '{name}'. Received: {shown(value)}"
            )
    return {name: value for name, value in numbers.items() if name not in modules}


def add(parts: list[Mapping[str, int]]) -> dict[str, int]:
    """Sum of the cells of parts, by name."""
    total: Counter[str] = Counter()
    for cells in parts:
        total.update(cells)
    return dict(sorted(total.items()))


def resources(cells: Mapping[str, int]) -> dict[str, int]:
    """Cells as keys of `hls.reports.report.RESOURCES`.

    `lut` counts LUT1 to LUT6 and LUT6_2, as the public comparison does (5,531 LUT flat, 5,534 stage by stage, and 124
    inverters, against 5,640 "LUT as Logic" routed); not the LUTs of shift registers (`srl`) and memories (`lutram`),
    which a vendor's "CLB LUTs" includes. `carry` is in CARRY8, eight bits each, as the vendor's reports of these
    devices are: Yosys maps to CARRY4, and two of them are one.
    """
    total = dict.fromkeys(("lut", "ff", "srl", "lutram", "carry", "dsp", "bram18", "uram"), 0)
    for name, count in cells.items():
        if name in WEIGHTS:
            resource, weight = WEIGHTS[name]
            total[resource] += weight * count
    total["carry"] = cells.get("CARRY8", 0) + -(-cells.get("CARRY4", 0) // 2)
    return total


def detail(cells: Mapping[str, int]) -> dict[str, Any]:
    """LUTs by size, the parts of the sums, and all cells that are in no sum."""
    known = {*WEIGHTS, INVERTER, *WIDE_MUXES, *BUFFERS, "CARRY4", "CARRY8"}
    return {
        "lut_by_size": {name: cells.get(name, 0) for name in LUTS},
        "inverters": cells.get(INVERTER, 0),
        "carry_cells": {name: cells[name] for name in ("CARRY4", "CARRY8") if name in cells},
        "wide_muxes": {name: cells[name] for name in WIDE_MUXES if name in cells},
        "other_cells": {name: count for name, count in sorted(cells.items()) if name not in known},
    }
