"""HTML by elements, so that every text and attribute is escaped, and templates whose gaps are errors."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element, tostring

from hls.errors import HlsError

Child = Element | str | None


def element(tag: str, *children: Child, **attributes: str | None) -> Element:
    """An element. ``class_`` is class, ``data_value`` is data-value; an attribute that is None is left out."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    node = Element(tag, named)
    for child in children:
        if isinstance(child, Element):
            node.append(child)
        elif child:
            _append_text(node, child)
    return node


def _append_text(node: Element, text: str) -> None:
    if len(node):
        node[-1].tail = (node[-1].tail or "") + text
    else:
        node.text = (node.text or "") + text


def markup(*nodes: Element | None) -> str:
    """HTML of some elements."""
    return "".join(tostring(node, encoding="unicode", method="html") for node in nodes if node is not None)


def link(target: Path, text: str, folder: Path) -> Element:
    """A relative link to a file from a page in `folder`."""
    address = Path(os.path.relpath(target.resolve(), folder.resolve())).as_posix()
    return element("a", text, href=quote(address))


def safe_json(content: Any) -> str:
    """JSON that can stand inside a script element."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def policy(style: str, script: str) -> str:
    """Content security policy: nothing is loaded, and only this style and this script are used."""
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'"


class _Template(string.Template):
    delimiter = "@@"


def fill(path: Path, values: Mapping[str, str]) -> str:
    """Fill the holes ``@@{name}`` of a template.

    Args:
        path: the template.
        values: markup for each hole.

    Raises:
        HlsError: a hole without a value, or a value without a hole.
    """
    template = _Template(path.read_text())
    holes = set(template.get_identifiers())
    if gaps := sorted(holes ^ set(values)):
        kind = "a hole without a value" if gaps[0] in holes else "a value without a hole"
        raise HlsError(f"{path}: '{gaps[0]}' is {kind}")
    return template.substitute(values)
