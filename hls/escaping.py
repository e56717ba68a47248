r"""The one place per language through which a value from outside enters generated text: it is refused, or quoted.

Build files are checked by their schema already; a `Build` that was changed in Python, a model that somebody else saved,
the folder of a run and a file that somebody else wrote are not. C++, Verilog, VHDL and Tcl get names, words and numbers
that need no quotes in any of them; paths of Yosys scripts, cells of a spreadsheet and words of a shell are quoted. HTML
is escaped by `hls.templates`, JSON and YAML by their libraries.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hls.errors import HlsError
from qformers.errors import shown

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_AWKWARD = re.compile(r'["*?\[;\\\x00-\x1f\x7f]')  # in a path, Yosys would read these as syntax, quoted or not
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # a spreadsheet runs a text that begins so


def identifier(text: Any, what: str) -> str:
    """A name of C++, Verilog and VHDL, as it is.

    Args:
        text: the name.
        what: it is the name of, for the message.

    Raises:
        HlsError: it is none.
    """
    if not is_identifier(text):
        raise HlsError(f"{what} is a name of letters, digits and _, no digit first. Received: {shown(text)}")
    return str(text)


def is_identifier(text: Any) -> bool:
    """Whether `identifier` takes it."""
    return isinstance(text, str) and _IDENTIFIER.fullmatch(text) is not None and len(text) <= 255


def tcl_word(text: Any, what: str) -> str:
    """A word that Tcl, C++ and Verilog take as it is, within quotes and without: a device, say.

    Raises:
        HlsError: it has other signs than letters, digits and _ . + -; Tcl runs what stands in [ ].
    """
    if not isinstance(text, str) or not _WORD.fullmatch(text) or len(text) > 255:
        raise HlsError(f"{what} is a word of letters, digits and _ . + -. Received: {shown(text)}")
    return text


def number(value: Any, what: str) -> float:
    """A positive finite number, which every language writes alike.

    Raises:
        HlsError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e300:
        raise HlsError(f"{what} is a number above 0. Received: {shown(value)}")
    return value


def yosys_path(path: Path) -> str:
    """A path in a script of Yosys, in quotes.

    Raises:
        HlsError: it has a sign that Yosys takes for syntax even there.
    """
    if _AWKWARD.search(str(path)):
        raise HlsError(f'Yosys cannot read {shown(str(path))}: no " * ? [ ; \\ or line end in a path, please; move it')
    return f'"{path}"'


def csv_cell(value: Any) -> Any:
    """A cell of a spreadsheet: a text that would be run as a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def shell(words: Iterable[Any]) -> str:
    """A command as it can be typed in a shell, each word quoted where it needs it."""
    return shlex.join(str(word) for word in words)
