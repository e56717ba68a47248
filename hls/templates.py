"""Generated text is a file with holes: Verilog, C++, Tcl, HTML and SVG beside the Python that fills them.

Code (``.v``, ``.cc``, ``.hh``, ``.tcl``, ``.ys``) has holes ``${name}``, and lines of Jinja that begin with ``//%``, in
Tcl and Yosys scripts with ``#%``: ``//% for port in ports``. To an editor such a line is a comment; nothing is left of
it and of blank lines behind it. ``/*# #*/`` is a note to the reader of the template. Pages (``.html.j2``) and pictures
(``.svg.j2``) are plain Jinja, and every text in them is escaped.

A hole without a value, and a value without a hole, are errors.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hls.errors import HlsError

if TYPE_CHECKING:
    from jinja2 import Environment

PAGES = (".html.j2", ".svg.j2")
_CODE = {".v": "//", ".cc": "//", ".hh": "//", ".tcl": "#", ".ys": "#"}  # ending of a template -> how a comment begins


def fill(template: Path, **values: Any) -> str:
    """Fill the holes of a template.

    Args:
        template: its file; templates that it includes lie in the same folder.
        values: one per hole; lines of Jinja may read attributes of a value and call its methods.

    Raises:
        HlsError: a hole without a value, a value without a hole, or a template that cannot be read; names the file and
            the hole.
    """
    from jinja2 import TemplateError, UndefinedError

    page = next((ending for ending in PAGES if template.name.endswith(ending)), None)
    environment = _environment(template.parent, page or template.suffix)
    try:
        holes = _holes(environment, template)
        for name in sorted(holes ^ set(values)):
            kind = "a hole without a value" if name in holes else "a value without a hole"
            raise HlsError(f"{template}: '{name}' is {kind}")
        return environment.get_template(template.name).render(values)
    except UndefinedError as error:
        raise HlsError(f"{template}: a hole without a value ({error})") from error
    except (OSError, TemplateError) as error:
        raise HlsError(f"{template} cannot be filled ({type(error).__name__}: {error})") from error


@functools.cache
def _environment(folder: Path, kind: str) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    common: dict[str, Any] = {"undefined": StrictUndefined, "loader": FileSystemLoader(folder)}
    common |= {"keep_trailing_newline": True, "trim_blocks": True}
    if kind in PAGES:
        page = Environment(**common, autoescape=True, lstrip_blocks=True)
        page.policies["json.dumps_kwargs"] = {"allow_nan": False, "ensure_ascii": True}
        return page
    if kind not in _CODE:
        raise HlsError(f"a template ends in {', '.join((*_CODE, *PAGES))}. Received: '{kind}' in {folder}")
    comment = _CODE[kind]
    return Environment(  # noqa: S701  code, not HTML
        **common,
        variable_start_string="${",
        variable_end_string="}",
        line_statement_prefix=f"{comment}%",
        block_start_string="/*%",
        block_end_string="%*/",
        comment_start_string="/*#",
        comment_end_string="#*/",
    )


def _holes(environment: Environment, template: Path) -> set[str]:
    """Names that a template and what it includes want from outside."""
    from jinja2 import meta

    names, seen, waiting = set[str](), set[str](), [template.name]
    while waiting:
        name = waiting.pop()
        seen.add(name)
        tree = environment.parse((template.parent / name).read_text(), filename=str(template.parent / name))
        names |= meta.find_undeclared_variables(tree)
        waiting += [other for other in meta.find_referenced_templates(tree) if other and other not in seen]
    return names
