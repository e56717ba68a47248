"""Files with holes: what is wrong with one is said by file and hole, and all of them are in the wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from support.paths import ROOT

from hls.errors import HlsError
from hls.templates import fill


def put(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_holes_and_lines_of_code_are_filled(tmp_path: Path) -> None:
    lines = (
        "/*# a note #*/",
        "assign y = {${n}{a[${n - 1}:0]}};",
        "//% for name in names",
        "$display(${name});",
        "//% endfor",
    )
    template = put(tmp_path / "t.v", "\n".join(lines) + "\n")
    assert fill(template, n=3, names=["a", "<b>"]) == "assign y = {3{a[2:0]}};\n$display(a);\n$display(<b>);\n"
    script = put(tmp_path / "t.ys", "#% if flat\nflatten\n#% endif\nstat t:$mul\n")
    assert fill(script, flat=True) == "flatten\nstat t:$mul\n"
    assert fill(script, flat=False) == "stat t:$mul\n"


@pytest.mark.parametrize("name", ["t.cc", "t.html.j2"])
def test_holes_and_values_that_do_not_meet_are_errors(name: str, tmp_path: Path) -> None:
    hole = "${name.first}" if name == "t.cc" else "{{ name.first }}"
    template = put(tmp_path / name, f"x {hole} y\n")
    with pytest.raises(HlsError, match=rf"{name}: 'name' is a hole without a value"):
        fill(template)
    with pytest.raises(HlsError, match=rf"{name}: 'more' is a value without a hole"):
        fill(template, name={"first": 1}, more=2)
    with pytest.raises(HlsError, match=rf"{name}: a hole without a value \(.*'first'"):
        fill(template, name={"second": 1})
    assert fill(template, name={"first": "${z}{{ z }}"}) == "x ${z}{{ z }} y\n"


def test_holes_of_an_included_file_count(tmp_path: Path) -> None:
    put(tmp_path / "inner.ys", "echo ${inner}\n")
    outer = put(tmp_path / "outer.ys", '#% include "inner.ys"\ndone\n')
    assert fill(outer, inner=1) == "echo 1\ndone\n"
    with pytest.raises(HlsError, match=r"outer.ys: 'inner' is a hole without a value"):
        fill(outer)


def test_texts_of_a_page_are_escaped(tmp_path: Path) -> None:
    page = put(
        tmp_path / "t.html.j2", "<p {{ {'title': name, 'class': none} | xmlattr }}>{{ name }}</p>{{ data | tojson }}"
    )
    hostile = "\"'</script><b>&"
    text = fill(page, name=hostile, data=[hostile])
    assert text.count("<") == 2
    assert text.startswith('<p  title="&#34;&#39;&lt;/script&gt;&lt;b&gt;&amp;">&#34;')


def test_what_is_no_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HlsError, match=r"a template ends in .v, .cc.*Received: '.txt'"):
        fill(put(tmp_path / "t.txt", ""))
    with pytest.raises(HlsError, match=r"gone.v cannot be filled"):
        fill(tmp_path / "gone.v")
    with pytest.raises(HlsError, match=r"bad.v cannot be filled \(TemplateSyntaxError"):
        fill(put(tmp_path / "bad.v", "//% for x in y\n"))


def test_every_file_beside_the_python_is_in_the_wheel() -> None:
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    files = [path for room in ("hls", "qformers") for path in (ROOT / room).rglob("*") if path.is_file()]
    files = [path for path in files if path.suffix not in (".py", ".pyc")]
    assert {path.suffix for path in files} >= {".v", ".cc", ".hh", ".tcl", ".ys", ".yaml", ".j2", ".css", ".js"}
    for path in files:
        package = next(folder for folder in path.parents if (folder / "__init__.py").is_file())
        patterns = [*shipped["*"], *shipped.get(".".join(package.relative_to(ROOT).parts), [])]
        assert path in [file for pattern in patterns for file in package.glob(pattern)], "in no package-data"
