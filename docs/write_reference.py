#!/usr/bin/env python3
"""Write the pages that come from code: ``docs/reference.md`` (keys of a build file) and ``docs/commands.md``.

    python docs/write_reference.py            # writes them
    python docs/write_reference.py --check    # exit status 1 where a page is not what this command writes

A key's text is the comment behind it in its record; comment lines below a field belong to that field.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import inspect
import io
import os
import re
import sys
import textwrap
import tokenize
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from pydantic import AfterValidator, BaseModel  # noqa: E402
from pydantic_core import PydanticUndefined  # noqa: E402

from qformers.builds.build import Build  # noqa: E402
from qformers.config import layers, sections  # noqa: E402
from qformers.models import MODELS  # noqa: E402
from qformers.models.own import GIVEN, OWN  # noqa: E402

MADE = "<!-- written by docs/write_reference.py; do not edit -->"
BLOCK, END = "<!-- docs/write_reference.py -->", "<!-- end -->"  # around what is written within a page
WIDTH = 100  # columns of a help text
PLAIN = {int: "whole number", float: "number", bool: "true or false", str: "text", NoneType: "null"}
YAML = {"None": "null", "True": "true", "False": "false"}
SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
MORE = {  # command -> words behind which it has another help
    "generate": (("tracks",), ("listops",), ("digits",), ("clusters",)),
}
HEAD = ("key", "type", "default", "meaning")
SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("Top level", Build),
    ("data", sections.DataConfig),
    ("data.labels", sections.LabelConfig),
    ("data.points", sections.PointsConfig),
    ("quant", sections.QuantConfig),
    ("quant.layers.NAME, quant.types.TYPE", layers.LayerFormats),
    ("train.float, train.qat", sections.PhaseConfig),
    ("train.float.prune, train.qat.prune", sections.PruneConfig),
    ("firmware", sections.FirmwareConfig),
    ("firmware.layers.NAME, firmware.types.TYPE", layers.LayerFirmware),
)


def comments_of(record: type[BaseModel]) -> dict[str, str]:
    """Field -> the comment behind it and those on the lines below it, up to the next statement."""
    source = textwrap.dedent(inspect.getsource(record))
    said = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    body = ast.parse(source).body[0]
    if not isinstance(body, ast.ClassDef):
        raise TypeError(f"a record is a class. Received: {record}")
    texts = {}
    for statement, following in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            end = following.lineno if following else (body.end_lineno or 0) + 1
            lines = [said[n] for n in range(statement.lineno, end) if n in said]
            text = " ".join(line for line in lines if not line.startswith(("fmt:", "noqa")))
            texts[statement.target.id] = re.sub(r"\b(None|True|False)\b", lambda match: YAML[match[0]], text)
    return texts


def type_words(annotation: Any, bounds: Iterable[Any] = ()) -> str:
    """A type as a reader of YAML would say it, with its bounds."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return "anything"
    if origin is Annotated:
        if any(isinstance(part, AfterValidator) for part in parts[1:]) and parts[0] is str:
            return "format"
        return type_words(parts[0], [*bounds, *_bounds(parts[1:])])
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(type_words(part, bounds if part is not NoneType else ()) for part in parts)
    if origin is tuple and parts[-1] is not Ellipsis:
        return f"[{', '.join(map(type_words, parts))}]"
    if origin in (tuple, list):
        return f"list of {type_words(parts[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"name: {type_words(parts[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "keys of its own"
    words = " and ".join(f"{SIGNS[name]} {value}" for name, value in dict(bounds).items())
    return f"{PLAIN.get(annotation, str(annotation))} {words}".strip()


def _bounds(extras: Iterable[Any]) -> list[tuple[str, float]]:
    """(gt, ge, lt or le, limit) of the extras of an annotation."""
    items = [item for extra in extras for item in (extra, *getattr(extra, "metadata", ()))]
    return [(name, getattr(item, name)) for item in items for name in SIGNS if getattr(item, name, None) is not None]


def default_words(field: Any) -> str:
    """A default as YAML would spell it; ``needed`` where there is none."""
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    if value is None or isinstance(value, bool):
        return f"`{str(value).lower().replace('none', 'null')}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(f'{part}' for part in value)}]`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`" if value != {} else "none"


def cell(text: str) -> str:
    """Text that may stand in a cell of a Markdown table."""
    return text.replace("|", "\\|")


def section_text(record: type[BaseModel]) -> str:
    """The table of the keys of a record."""
    comments = comments_of(record)
    for base in record.__mro__[1:]:
        if issubclass(base, BaseModel) and base.model_fields and base is not BaseModel:
            comments = {**comments_of(base), **comments}
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for name, field in record.model_fields.items():
        kind = "" if name == "model" else type_words(field.annotation, _bounds(field.metadata))
        if any(isinstance(item, AfterValidator) for item in field.metadata) and field.annotation is str:
            kind = "format"
        cells = (f"`{name}`", kind, default_words(field), comments.get(name, ""))
        lines.append(f"| {' | '.join(map(cell, cells))} |")
    return "\n".join(lines)


def intro(record: type[BaseModel]) -> str:
    """The docstring of a record as Markdown."""
    return re.sub(r"`{1,2}([^`]+)`{1,2}", r"`\1`", inspect.cleandoc(record.__doc__ or ""))


def reference() -> str:
    """The page of all keys."""
    parts = [
        "# Keys of a build file",
        MADE,
        "A build is one YAML file; `extends: other.yaml` takes over another one and changes parts of it, and\n"
        "`--set section.key=value` on the command line changes a key once more. An unknown key is refused with the\n"
        "nearest known one. A *format* is spelt `fixed<W,I,rounding,overflow>` as in ap_fixed, or as QKeras spells\n"
        "it: see [Precision](precision.md).",
    ]
    for title, record in SECTIONS:
        parts += [f"## {title}", intro(record), section_text(record)]
        if title == "data.points":
            for name, arch in (*MODELS.items(), (GIVEN, OWN)):
                parts += [f"## model, `architecture: {name}`", intro(arch.config), section_text(arch.config)]
    return "\n\n".join(parts) + "\n"


def commands() -> str:
    """The page of all commands, from their ``--help``."""
    from hls.cli import COMMANDS, GROUPS

    parts = [
        "# Commands",
        MADE,
        "`qformers COMMAND --help` prints what stands here. `scripts/*.py` are the same commands by their old\n"
        "paths. Exit statuses of all: 0 done, 1 a check failed, 2 bad input, 3 stopped.",
    ]
    for group, names in GROUPS.items():
        for name in names:
            command = COMMANDS[name]
            parts += [f"## {name}", f"*{group}*"]
            parts += [f"```text\n{help_of(command, words)}\n```" for words in ((), *MORE.get(name, ()))]
    return "\n\n".join(parts) + "\n"


def own_model() -> str:
    """The page about models of one's own, its tables of layers made anew."""
    return with_tables("own_model.md", layer_table(), float_table())


def qonnx() -> str:
    """The page about QONNX, its table of layers made anew."""
    return with_tables("qonnx.md", form_table())


def with_tables(page: str, *tables: str) -> str:
    """A page that is written by hand, but for its tables, in their order."""
    first, *parts = (ROOT / "docs" / page).read_text().split(BLOCK)
    if len(parts) != len(tables):
        raise ValueError(f"docs/{page}: has places for {len(tables)} tables, each between {BLOCK} and {END}")
    made = (f"{BLOCK}\n{table}\n{END}{part.partition(END)[2]}" for table, part in zip(tables, parts, strict=True))
    return first + "".join(made)


def layer_table() -> str:
    """Layer classes by backend: exact, or why not."""
    from hls.backends.alkaid import kinds as alkaid
    from hls.backends.hls4ml import kinds as hls4ml
    from hls.errors import Gap

    def words(handler: Any, sound: Any) -> str:
        if handler is None:
            return "no"
        if isinstance(handler, Gap):
            return f"no: {handler.reason}"
        return "exact" if handler.faults is sound else "exact, except"

    tables = ((alkaid.HANDLERS, alkaid._sound), (hls4ml.HANDLERS, hls4ml._sound))
    names = sorted({kind for table, _ in tables for kind in table}, key=lambda kind: kind.__name__)
    rows = [
        (f"`{kind.__name__}`", *(cell(words(table.get(kind), sound)) for table, sound in tables))
        for kind in names
        if not kind.__module__.startswith("qformers.nn.index")  # parts of architectures
    ]
    lines = [("layer", "alkaid", "vitis, vivado (hls4ml)"), ("---",) * 3, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def float_table() -> str:
    """Float layer classes, and what `quantise` makes of them; those that become the same in one row."""
    from qformers.interop.fixed_point.convert import CONVERSIONS

    rows: dict[str, list[str]] = {}
    for kind, conversion in CONVERSIONS.items():
        if kind.__module__.startswith("keras"):  # others are operations on tensors, as layers
            rows.setdefault(conversion.becomes, []).append(f"`{kind.__name__}`")
    lines = [("float", "fixed point"), ("---",) * 2, *((", ".join(kinds), cell(what)) for what, kinds in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def form_table() -> str:
    """Layer classes in QONNX: the nodes that say them, and which settings they must have."""
    from qformers.interop.qonnx.graph import NoForm
    from qformers.interop.qonnx.kinds import FORMS

    rows = [("layer", "nodes besides `Quant`", "only with"), ("---",) * 3]
    for kind, form in sorted(FORMS.items(), key=lambda item: item[0].__name__):
        said = ("none", f"no: {form.reason}") if isinstance(form, NoForm) else (form.nodes, form.only)
        rows.append((f"`{kind.__name__}`", *map(cell, said)))
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows)


def help_of(command: Any, words: tuple[str, ...] = ()) -> str:
    """What a command prints for `words` and ``--help``, without the table of exit statuses that they all end in."""
    os.environ["COLUMNS"] = str(WIDTH)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        command([*words, "--help"])
    return printed.getvalue().split("\nexit status:")[0].rstrip()


PAGES = {"reference.md": reference, "commands.md": commands, "own_model.md": own_model, "qonnx.md": qonnx}


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where a page is not current")
    options = parser.parse_args()
    stale = 0
    for name, write in PAGES.items():
        path, text = ROOT / "docs" / name, write()
        if options.check and (not path.exists() or path.read_text() != text):
            print(f"docs/{name} is not current: python docs/write_reference.py", file=sys.stderr)
            stale += 1
        elif not options.check:
            path.write_text(text)
    return int(stale > 0)


if __name__ == "__main__":
    sys.exit(main())
