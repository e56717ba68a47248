"""Products of two variables: in LUTs, in DSP blocks, or as the synthesis tool likes (`firmware.multipliers`).

alkaid writes each of them as an instance of its module ``multiplier``; a product with a constant is adders, and stays
so. ``lut`` and ``dsp`` put attributes on that module, in the words of Vivado (``use_dsp``) and Quartus
(``multstyle``); ``auto`` leaves it as alkaid has it. Where DSP blocks are asked for, a product that takes few LUTs
stays in LUTs: the module that decides (``multiplier.v`` beside this file) and the estimate go by one rule, `saved_lut`.

The attributes leave the product what it is: a path without registers between those of its stage. A DSP block is fast
only with its own registers, which a tool has to move into it; how long its path is without them is not estimated here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hls.errors import HlsError
from hls.templates import fill

TEMPLATE = Path(__file__).with_name("multiplier.v")
PRODUCT = 7  # opcode of ALIR
NAME = "multiplier"  # alkaid's module, and ours in front of it
LEAST_LUT = 16  # that a DSP block is to save; products of less are LUTs everywhere
WIDE, NARROW, PIECE = 27, 18, 17  # signed bits that one DSP48E2 multiplies, and further bits per DSP48E2 beside it
ATTRIBUTES = {"dsp": '(* use_dsp = "yes", multstyle = "dsp" *)', "lut": '(* use_dsp = "no", multstyle = "logic" *)'}


@dataclass(frozen=True)
class Cost:
    """What operations take, alkaid's estimate of LUTs and a count of DSP48E2."""

    lut: float = 0.0
    dsp: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.lut + other.lut, self.dsp + other.dsp)


def cost_of(comb: Any, multipliers: str) -> Cost:
    """What the operations of a CombLogic take.

    Args:
        comb: alkaid's CombLogic.
        multipliers: `firmware.multipliers`.
    """
    return sum(op_costs(comb, multipliers), Cost())


def op_costs(comb: Any, multipliers: str) -> list[Cost]:
    """The same of each operation.

    A product in DSP blocks takes no LUT. Only ``dsp`` is believed to give any: with ``auto`` as with ``lut`` all
    products count as LUTs.
    """
    costs = []
    for op in comb.ops:
        blocks = 0
        if multipliers == "dsp" and op.opcode == PRODUCT and sum(op.qint.kif):
            factors = [comb.ops[index].qint.kif for index in op.input_ids]
            widths = [sum(kif) for kif in factors]
            if saved_lut(*widths) >= LEAST_LUT:
                signed = [width + (not kif.signed) for width, kif in zip(widths, factors, strict=True)]
                blocks = blocks_of(*signed)
        costs.append(Cost(0.0, blocks) if blocks else Cost(float(op.cost)))
    return costs


def saved_lut(first: int, second: int) -> int:
    """LUTs that a product takes in rows of adders: one per bit of the wider factor and row; the first two rows share.

    Args:
        first, second: bits of the factors.
    """
    return max(first, second) * (min(first, second) - 1)


def blocks_of(first: int, second: int) -> int:
    """DSP48E2 of a product: one for 27 x 18 bits, and beside it one for every 17 further bits of a factor, or part.

    Args:
        first, second: bits of the factors as signed numbers; one without a sign has a zero in front.
    """
    sides = zip((max(first, second), min(first, second)), (WIDE, NARROW), strict=True)
    along, across = (1 + -(-max(width - one, 0) // PIECE) for width, one in sides)
    return along * across


def place(static: Path, multipliers: str) -> None:
    """Say in alkaid's own modules what products are made of.

    Args:
        static: folder with alkaid's Verilog.
        multipliers: `firmware.multipliers`; "auto" changes nothing.

    Raises:
        HlsError: alkaid's module is not the one that is known here.
    """
    if multipliers == "auto":
        return
    file = static / f"{NAME}.v"
    text = file.read_text()
    if multipliers == "lut":
        file.write_text(_asking(text, NAME, "lut"))
        return
    for kind in ATTRIBUTES:
        (static / f"{NAME}_{kind}.v").write_text(_asking(text, f"{NAME}_{kind}", kind))
    file.write_text(fill(TEMPLATE, least=LEAST_LUT))


def _asking(text: str, name: str, kind: str) -> str:
    """alkaid's module under a name, with attributes."""
    asked, count = re.subn(rf"^module {NAME} #\(", f"{ATTRIBUTES[kind]}\nmodule {name} #(", text, flags=re.MULTILINE)
    if count != 1:
        raise HlsError(
            f"alkaid's module '{NAME}' is written {count} times as it is known here; set firmware.multipliers: auto, "
            "or install the alkaid that requirements.txt names"
        )
    return asked
