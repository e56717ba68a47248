"""How the tools begin their files: a file that ends before it says which report it is was cut off in its header."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Opening:
    """The beginning of the files of one tool.

    Attributes:
        title: whose files these are.
        command: that writes them.
        texts: first words; a file that holds a part of one of them and nothing else was cut off within.
        pattern: regular expression of a whole file that ends behind these words and before it says what it reports.
    """

    title: str
    command: str
    texts: tuple[str, ...]
    pattern: str


VIVADO_HEADER = r"Copyright 1986-[^\n]*(\n-*(\n(\|[^\n]*)?)*)?"  # a whole header has a second line of dashes
LONGEST = 4096  # characters of a header
OPENINGS = (
    Opening("Vivado", "its report_... command", ("Copyright 1986-", "| Tool Version"), VIVADO_HEADER),
    Opening(
        "HLS csynth",
        "csynth_design",
        ("<profile>", "<?xml version="),
        r"<\?xml[^<>]*(>\s*<?)?|<\?xml[^<>]*>\s*<p[a-z]*",
    ),
    Opening("HLS csynth", "csynth_design", ("== Vivado HLS", "== Vitis HLS"), r"=+(\n(==[^\n=]*)?)?"),
    Opening("HLS co-simulation", "cosim_design", ("Report time",), r"Report time\s*"),
    Opening(
        "Quartus",
        "its compilation",
        (
            "Fitter report for ",
            "Fitter Status :",
            "Analysis & Synthesis report for ",
            "Synthesis report for ",
            "Flow report for ",
            "Timing Analyzer report for ",
            "TimeQuest Timing Analyzer report for ",
        ),
        r"-{40,}\n(T[A-Za-z ]*)?",
    ),
)


def cut_in_opening(text: str) -> Opening | None:
    """Whose file it is that ends within the words it begins with; None where it is none of these.

    Args:
        text: a whole file of an unknown kind, not blank.
    """
    begun = text.strip()
    if len(begun) > LONGEST:
        return None
    for opening in OPENINGS:
        if any(start.startswith(begun) for start in opening.texts) or re.fullmatch(opening.pattern, begun):
            return opening
    return None
