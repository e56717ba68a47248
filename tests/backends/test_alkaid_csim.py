"""C simulation of a project of alkaid's: its own C++, compiled in parts, bit for bit the model; built anew with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
from support import hls_models as h

from hls.backends import open_backend, open_project
from hls.backends.alkaid import csim as alkaid_csim
from hls.backends.alkaid.project import AlkaidProject
from hls.backends.protocol import Project
from hls.backends.simulators import cxx
from hls.errors import CompileError, HlsError
from hls.proof.agree import keras_outputs
from qformers.progress import Silent, Ticker


def model_of(scale: float) -> keras.Model:
    """A few hundred operations: sums, a ReLU and a table."""
    x = keras.Input((3,), name="x")
    hidden = h.dense(x, "hidden", h.SOURCE, h.MIX * scale, activation="relu")
    return keras.Model(x, {"y": h.table(hidden, "bent", "fixed<6,4,RND,SAT>"), "z": hidden})


def written(folder: Path, scale: float = 1.0) -> tuple[keras.Model, AlkaidProject]:
    model = model_of(scale)
    project = open_backend("alkaid").write(model, h.build_of("tiny"), folder)
    assert isinstance(project, AlkaidProject)
    return model, project


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, AlkaidProject]:
    return written(tmp_path_factory.mktemp("tiny") / "project")


def different(model: keras.Model, project: Project) -> int:
    """Values that C simulation gives otherwise than Keras."""
    inputs = {"x": h.numbers(3, 500)}
    found, wanted = project.outputs(inputs, "csim"), keras_outputs(model, inputs)
    assert {name: array.shape for name, array in found.items()} == {"y": (500, 3), "z": (500, 3)}
    assert all(array.std() > 0 for array in wanted.values())
    return sum(int((found[name] != wanted[name]).sum()) for name in wanted)


def test_compiled_code_in_many_parts_is_the_model(
    tiny: tuple[keras.Model, AlkaidProject], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, project = tiny
    monkeypatch.setattr(alkaid_csim, "STATEMENTS", 7)
    monkeypatch.setattr(alkaid_csim, "FUNCTIONS", 3)
    assert different(model, project) == 0
    parts = sorted((project.path / "csim/parts").glob("part*.cc"))
    assert len(parts) > 1
    assert "auto &v" in parts[-1].read_text(), "values cross from part to part"


@pytest.mark.slow
def test_a_library_is_taken_again_until_the_model_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[int] = []
    real = cxx.compile_all

    def counted(jobs: Any, *more: Any) -> None:
        compiled.append(len(jobs))
        real(jobs, *more)

    monkeypatch.setattr(cxx, "compile_all", counted)
    model, project = written(tmp_path / "project")
    for _ in range(2):
        assert different(model, project) == 0
    assert compiled == [2], "one part and the bridge, once"
    first = {path.name for path in (project.path / "csim").glob("*.so")}
    other = tmp_path / "other"
    model, changed = written(other, scale=0.5)
    (other / "model/comb.json.gz").replace(project.path / "model/comb.json.gz")
    assert different(model, open_project(project.path)) == 0
    assert compiled == [2, 2]
    second = {path.name for path in (project.path / "csim").glob("*.so")}
    assert len(first) == len(second) == 1
    assert first != second
    assert changed.path == other


def test_progress_is_told_and_a_compiler_that_fails_is_shown(
    tiny: tuple[keras.Model, AlkaidProject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int | None]] = []

    class Heard(Silent):
        def task(self, text: str, total: int | None) -> Ticker:
            told.append((text, total))
            return super().task(text, total)

    comb = tiny[1].path / "model/comb.json.gz"
    monkeypatch.setattr(alkaid_csim, "FLAGS", (*alkaid_csim.FLAGS, "-fno-such-flag"))
    with pytest.raises(CompileError, match=r"failed with exit status 1; whole log: .*\.log[\s\S]*fno-such-flag"):
        alkaid_csim.compile_comb(comb, tmp_path / "csim", Heard())
    assert told == [("compile", 2)]


def test_a_line_that_is_not_understood_is_refused() -> None:
    head = "template <typename inp_t, typename out_t>\nvoid f(inp_t model_inp[1], out_t model_out[1]) "
    types = "{ // ap_fixed<8,4> -> ap_fixed<9,5>\n"
    good = "    ap_fixed<8,4> v0 = model_inp[0]; // 0.0\n    model_out[0] = ap_fixed<9,5>(-v0);\n}\n"
    function = alkaid_csim.read_function(head + types + good)
    assert (function.inputs, function.outputs) == ("ap_fixed<8,4>", "ap_fixed<9,5>")
    assert [statement.number for statement in function.statements] == [0, None]
    with pytest.raises(HlsError, match=r"a line of the C\+\+ that alkaid wrote is not understood: 'v1\.x\(\);'"):
        alkaid_csim.read_function(head + types + "    v1.x();\n" + good)
    with pytest.raises(HlsError, match=r"is not understood: 'void f"):
        alkaid_csim.read_function(head + "{\n" + good)


def test_levels_are_csim_too_and_the_stage_rtl_runs_it_when_asked(tiny: tuple[keras.Model, AlkaidProject]) -> None:
    from hls.backends.simulators.levels import LEVELS, RTL_LEVELS

    assert tiny[1].levels == ("interpreter", "compiled", "csim", "verilator", "icarus")
    assert set(tiny[1].levels) <= set(LEVELS)
    assert [level for level in tiny[1].levels if level not in RTL_LEVELS] == ["compiled", "csim"]
    with pytest.raises(
        HlsError, match=r"levels of simulation are interpreter, compiled, csim, verilator, icarus\. Received: 'x'"
    ):
        tiny[1].compile("x")
