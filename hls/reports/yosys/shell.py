"""The shell of a synthesised module: its wires as they were, all its cells in one black box.

Registers around the module are then seen as they are: what goes straight through stays a wire (a chain of registers
through several stages can become a shift register), and a bit that no cell reads needs no register.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hls.errors import HlsError

_BIT = re.compile(r"(.+)\[(\d+)\]$")


def commands(module: str) -> list[str]:
    """Yosys commands, after the mapping, that write ``shell.json`` for `shell_verilog`. The design is spent then."""
    core = f"{module}_core"
    box = [f"cd {module}", "splitnets -ports", f"submod -name {core} t:*", "cd ..", f"blackbox {core}"]
    return [*box, f"opt_clean -purge {module}", f"json -o shell.json {module}"]


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
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise HlsError(f"Yosys's netlist of '{module}' is not understood ({error!r})") from error
    if len(cells) > 1:
        raise HlsError(f"Yosys left {len(cells)} cells in the shell of '{module}'; one was expected")
    names = {bit: name for name, (way, bit) in ports.items() if way == "input"}
    used = sorted({bit for way, bit in core.values() if way == "input" and bit in names}, key=str)
    driven = sorted({bit for way, bit in core.values() if way == "output"}, key=str)
    names.update({bit: f"driven[{index}]" for index, bit in enumerate(driven)})
    body = [f"    wire [{max(1, len(driven)) - 1}:0] driven;"]
    if used and driven:
        inputs = ", ".join(names[bit] for bit in reversed(used))
        body.append(f"    {module}_core core (.used({{{inputs}}}), .driven(driven));")
    for name, (way, bit) in ports.items():
        if way == "output":
            value = f"1'b{bit}" if isinstance(bit, str) else names.get(bit, "1'bx")
            body.append(f"    assign {name} = {value};")
    wide = f"input [{len(used) - 1}:0] used, output [{len(driven) - 1}:0] driven"
    box = [f"(* blackbox *) module {module}_core({wide}); endmodule"] if used and driven else []
    return "\n".join([*box, f"module {module}({', '.join(_declarations(ports))});", *body, "endmodule", ""])


def _connections(cells: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    return list(cells[0]["connections"].items()) if cells else []


def _declarations(ports: Mapping[str, tuple[str, Any]]) -> list[str]:
    widths: dict[str, tuple[str, int | None]] = {}
    for name, (way, _) in ports.items():
        found = _BIT.match(name)
        if found is None:
            widths[name] = (way, None)
        else:
            widths[found[1]] = (way, max(int(found[2]), widths.get(found[1], (way, 0))[1] or 0))
    return [f"{way} {name}" if top is None else f"{way} [{top}:0] {name}" for name, (way, top) in widths.items()]
