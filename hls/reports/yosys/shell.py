"""The shell of a synthesised module: its wires as they were, all its cells in one black box.

Registers around the module are then seen as they are: what goes straight through stays a wire (a chain of registers
through several stages can become a shift register), and a bit that no cell reads needs no register.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hls.errors import HlsError
from hls.templates import fill

_BIT = re.compile(r"(.+)\[(\d+)\]$")


def shell_verilog(text: str, module: str) -> str:
    """Verilog of the shell.

    Args:
        text: of ``shell.json``: the module with one port per bit and at most one cell, ``<module>_core``.
        module: its name.

    Raises:
        HlsError: the text is not that.
    """
    try:
        tree = json.loads(text)["modules"][module]
        ports = {name: (port["direction"], port["bits"][0]) for name, port in tree["ports"].items()}
        cells = list(tree["cells"].values())
        core = {name: (cells[0]["port_directions"][name], bits[0]) for name, bits in _connections(cells)}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise HlsError(f"Yosys's netlist of '{module}' is not understood ({error!r})") from error
    if len(cells) > 1:
        raise HlsError(f"Yosys left {len(cells)} cells in the shell of '{module}'; one was expected")
    names = {bit: name for name, (way, bit) in ports.items() if way == "input"}
    used = sorted({bit for way, bit in core.values() if way == "input" and bit in names}, key=str)
    driven = sorted({bit for way, bit in core.values() if way == "output"}, key=str)
    names.update({bit: f"driven[{index}]" for index, bit in enumerate(driven)})
    values = {
        name: f"1'b{bit}" if isinstance(bit, str) else names.get(bit, "1'bx")
        for name, (way, bit) in ports.items()
        if way == "output"
    }
    given = {"ports": _declarations(ports), "used": [names[bit] for bit in used], "driven": len(driven)}
    return fill(Path(__file__).with_name("shell.v"), module=module, values=values, **given)


def _connections(cells: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    return list(cells[0]["connections"].items()) if cells else []


def _declarations(ports: Mapping[str, tuple[str, Any]]) -> list[str]:
    widths: dict[str, tuple[str, int | None]] = {}
    for name, (way, _) in ports.items():
        bit = _BIT.match(name)
        if bit is None:
            widths[name] = (way, None)
        else:
            widths[bit[1]] = (way, max(int(bit[2]), widths.get(bit[1], (way, 0))[1] or 0))
    return [f"{way} {name}" if top is None else f"{way} [{top}:0] {name}" for name, (way, top) in widths.items()]
