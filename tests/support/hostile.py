"""Texts that do something where they are not quoted: in Tcl, a shell, C++, Verilog, HTML, a spreadsheet, a path."""

from __future__ import annotations

CONTROLS = tuple(chr(code) for code in (*range(32), 127))
HOSTILE = (
    "[exec touch PWNED]", "x; exec touch PWNED", '"; exec touch PWNED; #', "$::env(HOME)", "${x}", "{x}", "x\\ny",
    "; touch PWNED", "$(touch PWNED)", "`touch PWNED`", "x && touch PWNED", "x | touch PWNED", "'; touch PWNED; '",
    '"); system("touch PWNED"); //', "*/ int x; /*", 'x"\n#include "/etc/passwd"', "`include \"/etc/passwd\"",
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{ 7 * 7 }}", "//% for x in y",
    "=cmd|' /C calc'!A0", "@SUM(1+1)", "+1+1;", "\t=1", "x\r\ny", "x\ny", "x\0y", "\x1b[2J", "[red]x[/red]",
    "../../etc/passwd;", "/etc/passwd;", "%s%n;", "a b", "é;", "\u202e;", "", "a" * 5000,
)  # fmt: skip
