"""Values from outside in Tcl, C++, Verilog, Yosys scripts, spreadsheets and shells: refused or quoted, never run."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import keras
import pytest
from support import hls_models as h
from support.hostile import HOSTILE

from hls import escaping
from hls.backends import open_backend, open_project
from hls.backends.protocol import Layout
from hls.errors import ExportRefused, HlsError
from qformers.builds.build import Build

WRITERS = ("vitis", "vivado", "alkaid")


def small(output: str | None = None, name: str = "first") -> keras.Model:
    """A dense layer."""
    x = keras.Input((3,), name="x")
    y = h.dense(x, name, "fixed<6,3,RND,SAT>", h.MIX)
    return keras.Model(x, y if output is None else {output: y})


def with_firmware(build: Build, **changes: Any) -> Build:
    """A build that was changed in Python, past its schema."""
    return build.model_copy(update={"firmware": build.firmware.model_copy(update=changes)})


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_no_name_and_no_word(text: str) -> None:
    for check in (escaping.identifier, escaping.tcl_word):
        with pytest.raises(HlsError, match=r"this is a (name|word) of letters, digits and .*Received: "):
            check(text, "this")
    with pytest.raises(HlsError, match=r"this is a number above 0. Received: "):
        escaping.number(text, "this")
    assert not escaping.is_identifier(text)
    assert shlex.split(escaping.shell(["cd", text, "x"])) == ["cd", text, "x"]
    cell = escaping.csv_cell(text)
    assert cell in (text, f"'{text}")
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), True, None, "5", 10**400])
def test_what_is_no_positive_number_is_refused(value: Any) -> None:
    with pytest.raises(HlsError, match=r"clock is a number above 0. Received: "):
        escaping.number(value, "clock")
    assert escaping.number(2.5, "clock") == 2.5


@pytest.mark.parametrize("sign", ['"', "*", "?", "[", ";", "\n", "\r", "\\", "\0"])
def test_yosys_gets_no_path_that_it_reads_as_syntax(sign: str) -> None:
    with pytest.raises(HlsError, match=r"Yosys cannot read .*; move it"):
        escaping.yosys_path(Path(f"/a{sign}exec -- touch PWNED"))
    assert escaping.yosys_path(Path("/a b$(x)")) == '"/a b$(x)"'


@pytest.mark.parametrize("backend", WRITERS)
def test_no_backend_writes_a_hostile_value_that_came_past_the_schema(backend: str, tmp_path: Path) -> None:
    model, good = small(), h.build_of("small_net", backend=backend)
    for text in HOSTILE[:8]:
        with pytest.raises(HlsError, match=r"firmware.part is a word of letters"):
            open_backend(backend).write(model, with_firmware(good, part=text), tmp_path / backend)
        with pytest.raises(HlsError, match=r"the name of the build is a name of letters"):
            open_backend(backend).write(model, good.model_copy(update={"name": text}), tmp_path / backend)
    for clock in ("5; exec x", -1.0, float("nan")):
        with pytest.raises(HlsError, match=r"firmware.clock_ns is a number above 0"):
            open_backend(backend).write(model, with_firmware(good, clock_ns=clock), tmp_path / backend)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", WRITERS)
def test_names_of_a_model_that_firmware_cannot_have_are_refused(backend: str, tmp_path: Path) -> None:
    build = h.build_of("small_net", backend=backend)
    writer = open_backend(backend)
    for name in ('y"); system("x', "a b", "[exec x]", "1st"):
        with pytest.raises(ExportRefused, match=r"\(output\): it is no name of C\+\+ and Verilog; name it"):
            writer.write(small(output=name), build, tmp_path / backend)
    for name in ("a;b", "a b", "[exec]"):
        with pytest.raises(ExportRefused, match=r"its name cannot stand in C\+\+"):
            writer.write(small(name=name), build, tmp_path / backend)
    for name in ("x", "first"):
        with pytest.raises(ExportRefused, match=rf"name \(setting\): a layer, input or output .*Received: {name}; set"):
            writer.write(small(), h.build_of(name, backend=backend), tmp_path / backend)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module", params=WRITERS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of a build whose paths, the only texts of any sign, are hostile."""
    build = h.build_of("small_net", backend=request.param, part="xcu250-figd2104-2L-e")
    paths = [text for text in HOSTILE if 0 < len(text) < 100 and text.isprintable()]
    data = {**json.loads(build.data.model_dump_json()), "train": paths, "val": paths, "test": paths, "cache": paths[0]}
    build = Build.model_validate({**json.loads(build.model_dump_json()), "data": data})
    folder = tmp_path_factory.mktemp("written")
    return Path(open_backend(request.param).write(small(), build, folder / request.param).path)


def test_paths_of_a_build_reach_no_generated_code(written: Path) -> None:
    texts = [text for text in HOSTILE if "PWNED" in text or "alert" in text or "calc" in text]
    files = [path for path in written.rglob("*") if path.is_file() and path.suffix not in (".gz", ".npz", ".dat")]
    assert {".tcl", ".json"} <= {path.suffix for path in files}
    for path in files:
        text = path.read_text(errors="replace")
        if path.suffix == ".json":
            json.loads(text)
        else:
            assert not any(hostile in text for hostile in texts), path


def test_tcl_that_is_sourced_runs_nothing(written: Path, tmp_path: Path) -> None:
    tclsh = shutil.which("tclsh")
    scripts = [path for path in written.glob("*.tcl") if path.name == "project.tcl"]
    if not scripts:  # alkaid's scripts call Vivado from their first line on: only their settings can be looked at
        lines = [line for path in written.glob("*.tcl") for line in path.read_text().splitlines()]
        assert any("xcu250-figd2104-2L-e" in line for line in lines)
        assert any("small_net" in line for line in lines)
        return
    text = scripts[0].read_text()
    assert 'set part "xcu250-figd2104-2L-e"' in text
    if tclsh is None:
        pytest.skip("tclsh is not installed: the script was read and not run")
    harness = tmp_path / "harness.tcl"
    harness.write_text(
        "set run {}\nforeach name {exec open socket} { rename $name {}; proc $name args { lappend ::run $args } }\n"
        f'source "{scripts[0]}"\nputs "$project_name|$part|$clock_period|$run"\n'
    )
    done = subprocess.run([tclsh, str(harness)], capture_output=True, text=True, check=True)
    assert done.stdout == "small_net|xcu250-figd2104-2L-e|5.0|\n"


@pytest.mark.parametrize("text", HOSTILE[:12])
def test_a_layout_that_names_something_hostile_is_no_project(text: str, tmp_path: Path) -> None:
    port = {"name": "x", "variable": "x", "shape": [3], "format": "fixed<6,3,RND,SAT>"}
    tree = {"backend": "vitis", "top": "net", "inputs": [port], "outputs": [port], "steps": []}
    assert Layout.from_json(tree).top == "net"
    for broken in ({**tree, "top": text}, {**tree, "inputs": [{**port, "name": text}]}, {**tree, "outputs": [text]}):
        (tmp_path / "layout.json").write_text(json.dumps(broken))
        with pytest.raises(
            HlsError, match=r"layout\.json: is damaged, it describes no project \(.*\); write the project again"
        ):
            open_project(tmp_path)
