"""Synthesis runs the right tool in the right folder, or says what to run elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import pytest
from support import hls_models as h

from hls.backends import open_backend
from hls.backends.protocol import Project
from hls.errors import HlsError, VendorToolMissing


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """A written project of the backend that the test asks for."""
    x = keras.Input((3,), name="x")
    model = keras.Model(x, h.dense(x, "only", h.SOURCE, h.MIX))
    build = h.build_of("synth", backend=getattr(request, "param", "vitis"))
    return open_backend(build.firmware.backend).write(model, build, tmp_path / "firmware")


def fake(folder: Path, name: str, status: int = 0, report: bool = True) -> None:
    """A vendor's tool that notes how it was called."""
    folder.mkdir(exist_ok=True)
    made = "mkdir -p synth_prj/solution1/syn/report\n" if report else ""
    script = folder / name
    script.write_text(f'#!/bin/sh\necho "$0 $*" > called\npwd > where\n{made}exit {status}\n')
    script.chmod(0o755)


@pytest.mark.parametrize(
    ("project", "tool", "arguments"),
    [
        ("vitis", "vitis-run", "--mode hls --tcl build_prj.tcl"),
        ("vitis", "vitis_hls", "-f build_prj.tcl"),
        ("vivado", "vivado_hls", "-f build_prj.tcl"),
    ],
    indirect=["project"],
)
def test_the_tool_is_run_in_the_project(
    project: Project, tool: str, arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path / "bin", tool)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert project.build() == project.path / "synth_prj/solution1/syn/report"
    assert (project.path / "called").read_text() == f"{tmp_path / 'bin' / tool} {arguments}\n"
    assert (project.path / "where").read_text().strip() == str(project.path)


def test_the_newer_tool_comes_first(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "bin", "vitis_hls")
    fake(tmp_path / "bin", "vitis-run")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    project.build()
    assert "vitis-run" in (project.path / "called").read_text()


@pytest.mark.parametrize("project", ["vitis", "vivado"], indirect=True)
def test_without_a_tool_the_command_for_elsewhere_is_given(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    wanted = {"vitis": "vitis-run --mode hls --tcl build_prj.tcl", "vivado": "vivado_hls -f build_prj.tcl"}
    with pytest.raises(VendorToolMissing) as caught:
        project.build()
    assert f"cd firmware && {wanted[project.layout.backend]}" in str(caught.value)
    assert str(project.path) in str(caught.value)


def test_a_failing_tool_is_an_error(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    fake(tmp_path / "bin", "vitis_hls", status=3)
    with pytest.raises(HlsError, match=r"vitis_hls -f build_prj\.tcl in .* failed with exit status 3"):
        project.build()
    fake(tmp_path / "bin", "vitis_hls", report=False)  # reports of the first run do not count
    with pytest.raises(HlsError, match="ended without an error but left no reports"):
        project.build()


@pytest.mark.parametrize("project", ["vitis", "vivado"], indirect=True)
def test_the_script_simulates_and_synthesises_but_does_not_cosimulate(project: Project) -> None:
    name = "build_opt.tcl" if project.layout.backend == "vitis" else "build_prj.tcl"
    options = dict(re.findall(r"^    (\w+) +(\d)$", (project.path / name).read_text(), re.MULTILINE))
    assert {key: options[key] for key in ("csim", "synth", "cosim", "validation")} == {
        "csim": "1",
        "synth": "1",
        "cosim": "0",
        "validation": "0",
    }
    script = (project.path / "build_prj.tcl").read_text()
    assert script.count("array set opt") == (0 if project.layout.backend == "vitis" else 1)
    assert script.count("{") == script.count("}")


@pytest.mark.parametrize("project", ["vitis", "vivado"], indirect=True)
def test_the_options_are_tcl(project: Project) -> None:
    tcl = pytest.importorskip("tkinter", reason="this Python has no tkinter: apt-get install python3-tk").Tcl()
    tcl.eval("proc open_project args {throw STOP {the options were read}}")  # what comes next needs the vendor's tool
    script = "build_opt.tcl" if project.layout.backend == "vitis" else "build_prj.tcl"
    tcl.eval(f"set argv {{}}; cd {{{project.path}}}; catch {{source {script}}}")
    wanted = {"reset": 1, "csim": 1, "synth": 1, "cosim": 0, "validation": 0, "export": 1, "vsynth": 0, "fifo_opt": 0}
    assert {key: int(tcl.eval(f"set opt({key})")) for key in wanted} == wanted
