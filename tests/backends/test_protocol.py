"""Backends are things that keep one Protocol: every entry of BACKENDS, and a toy that is registered by one line."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support import hls_models as h
from support.toy_backend import ToyBackend, ToyProject

from hls.backends import BACKENDS, open_backend, open_project
from hls.backends.alkaid.project import AlkaidProject
from hls.backends.folded.project import FoldedProject
from hls.backends.hls4ml.project import Hls4mlProject
from hls.backends.protocol import Backend, Project
from hls.compare.read.run import read_run
from hls.compare.table.columns import tabulate
from hls.errors import ExportRefused, HlsError
from hls.proof.agree import agree
from hls.stages.csim import simulate
from hls.stages.export import export, load_quantised
from hls.stages.rtl import simulate_rtl

MEMBERS = sorted(name for name in vars(Project) if not name.startswith("_"))
HEAVY = ("keras", "tensorflow", "hgq", "hls4ml", "alkaid", "matplotlib")


def arguments(function: Any) -> list[tuple[str, Any]]:
    """Names and defaults, without self."""
    return [(name, one.default) for name, one in inspect.signature(function).parameters.items()][1:]


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_keeps_the_protocol(name: str) -> None:
    backend = BACKENDS[name]
    assert isinstance(backend, Backend)
    assert backend.name == name
    for verb in ("supports", "write", "open"):
        assert arguments(getattr(type(backend), verb)) == arguments(getattr(Backend, verb))


def test_what_is_only_half_a_backend_is_refused_by_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Half:
        name = "half"

        def supports(self, model: Any, build: Any = None) -> list[Any]:
            return []

    monkeypatch.setitem(BACKENDS, "half", Half())  # type: ignore[arg-type]
    with pytest.raises(
        HlsError, match=r"backend 'half' has no open, simulated_by, write; see Backend of hls/backends/protocol.py"
    ):
        open_backend("half")


@pytest.mark.parametrize("kind", [Hls4mlProject, AlkaidProject, FoldedProject, ToyProject])
def test_a_project_keeps_the_protocol(kind: type) -> None:
    assert {"levels", "timed", "outputs", "clock", "reports", "sources"} <= set(MEMBERS)
    for name in set(MEMBERS) - {"path", "layout"}:  # fields of the record
        wanted, own = vars(Project)[name], inspect.getattr_static(kind, name)
        if inspect.isfunction(wanted):
            assert arguments(own) == arguments(wanted), name
    assert {"path", "layout"} <= set(kind.__dataclass_fields__)
    assert not inspect.isabstract(kind)


def test_the_list_of_backends_imports_nothing_heavy() -> None:
    code = f"import sys, hls.backends; print(sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder of a build for backend "toy": a model of one layer that takes the jets of the repository."""
    monkeypatch.setitem(BACKENDS, "toy", ToyBackend())
    x = keras.Input((4, 3), name="features")
    kernel = np.random.default_rng(0).integers(-8, 9, (4, 3, 10)) / 4
    equation = {"equation": "bnf,nfo->bo", "shape": (10,)}
    model = keras.Model(x, {"logits": h.dense(x, "layer", "fixed<8,5,RND,SAT>", kernel, **equation)})
    (tmp_path / "qat").mkdir()
    model.save(tmp_path / "qat/model.keras")
    (tmp_path / "build.yaml").write_text(toy_build().to_yaml())
    return tmp_path


def toy_build() -> Any:
    build = h.run_build()
    return build.model_copy(update={"firmware": build.firmware.model_copy(update={"backend": "toy"})})


def test_a_backend_is_registered_by_one_line(run: Path) -> None:
    written = export(toy_build(), run / "qat/model.keras", run / "firmware/toy").project
    project, model = open_project(run / "firmware/toy"), load_quantised(run / "qat/model.keras")
    assert isinstance(project, ToyProject)
    assert project.layout == written.layout
    inputs = {"features": h.numbers(12, 300).reshape(-1, 4, 3)}
    assert agree(project, model, inputs).equal
    model.get_layer("layer")._kernel.assign(np.ones((4, 3, 10)))
    wrong = agree(project, model, inputs, level="keras")
    assert wrong.values_different > 1000
    assert wrong.first is None, "it shows no layers"

    result = simulate(toy_build(), run, 50)
    assert result.equal
    result.save()
    assert json.loads((run / "csim.json").read_text())["backend"] == "toy"
    read = read_run(run)
    assert read.reports is not None
    assert read.reports["toy"].resources == {"lut": 7}
    assert not read.stale
    table = tabulate((read,), None)
    cells = {column.key: table.cells[0][column.key].value for column in table.columns if column.source == "toy"}
    assert cells == {"toy.lut": 7, "toy.latency_cycles": 3}


def test_what_a_backend_lacks_is_said(run: Path, tmp_path: Path) -> None:
    project = export(toy_build(), run / "qat/model.keras", run / "firmware/toy").project
    with pytest.raises(HlsError, match=r"levels of simulation are keras\. Received: 'verilator'"):
        project.outputs({}, "verilator")
    with pytest.raises(HlsError, match="no level of a project of backend 'toy' has a clock"):
        project.clock({}, {})
    with pytest.raises(HlsError, match="backend 'toy' has no vendor's tool"):
        project.build()
    with pytest.raises(HlsError, match=r"levels of simulation are keras\. Received: 'interpreter'"):
        simulate_rtl(toy_build(), run, 10, backend="toy")
    with pytest.raises(ExportRefused, match=r"backend 'toy' cannot write this model exactly:\n.*one too many"):
        ToyBackend().write(h.part_model(4), toy_build(), tmp_path / "never")
