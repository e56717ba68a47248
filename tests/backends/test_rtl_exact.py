"""The RTL equals Keras: every mode of every format, every layer that may be written, in three simulators."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from backends.test_backends import attention
from hgq.quantizer import Quantizer
from support import hls_models as h

from hls.backends import open_backend, open_project
from hls.backends.alkaid.project import AlkaidProject
from hls.backends.simulators.rtl_stream import timing
from hls.errors import ExportRefused
from hls.proof.agree import agree, keras_outputs
from hls.stages.rtl import Group, check

MODELS = {"formats": h.formats_model, "operations": h.operations_model}

Written = tuple[Any, AlkaidProject, dict[str, Any]]


@pytest.fixture(scope="module", params=MODELS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A model, its RTL project, events."""
    model = MODELS[request.param]()
    build = h.build_of(request.param, backend="alkaid")
    project = open_backend("alkaid").write(model, build, tmp_path_factory.mktemp(request.param) / "rtl")
    assert isinstance(project, AlkaidProject)
    inputs = {"x": h.numbers(3, 2000), "y": h.numbers(6, 2000, 1).reshape(-1, 2, 3)}
    return model, project, {tensor.name: inputs[tensor.name] for tensor in model.inputs}


def test_the_arithmetic_is_exact(written: Written) -> None:
    model, project, inputs = written
    wanted = keras_outputs(model, inputs)
    assert all(np.unique(array).size > 1 for array in wanted.values()), "a constant output would show nothing"
    found = agree(project, model, inputs)
    assert found.equal, str(found)
    assert found.values == sum(array[0].size for array in wanted.values()) * 2000


@pytest.mark.parametrize("level", ["verilator", "icarus"])
def test_the_simulated_rtl_is_exact_and_takes_an_event_every_cycle(written: Written, level: Any) -> None:
    if level == "icarus" and shutil.which("iverilog") is None:
        pytest.skip("iverilog not found: apt-get install iverilog")
    model, project, inputs = written
    count = 100 if level == "icarus" else 1500
    events = Group.of(model, inputs)
    found = check(project, model, (events.part(slice(count)), events.part(slice(count, count + 50))), level)
    assert found.jets.events == count
    assert found.equal, f"{found.jets}; {found.adversarial}"
    assert found.on_time
    assert found.latency_cycles == project.latency_cycles > 1


def test_a_wrong_bit_in_the_rtl_is_found(written: Written, tmp_path: Path) -> None:
    model, project, inputs = written
    broken = open_project(Path(shutil.copytree(project.path, tmp_path / "broken")))
    assert isinstance(broken, AlkaidProject)
    for library in (broken.path / "sim").glob("*.so"):
        library.unlink()
    last = broken.path / "src" / f"{project.layout.top}.v"
    width = sum(value.width for value in project.outs)
    text = last.read_text()
    stage = f"INTERNAL_logic{project.latency_cycles - 1}_outp[{width - 1}:0];"
    assert f"model_out[{width - 1}:0] <= {stage}" in text
    last.write_text(text.replace(f"<= {stage}", f"<= {stage[:-1]} ^ {width}'d1;"))
    few = Group.of(model, inputs).part(slice(200))
    found = check(broken, model, (few, few), "verilator")
    assert not found.equal
    assert found.clocked is not None
    assert found.clocked.timing is None
    assert found.jets.values_different == 200, "the lowest bit of one output, in every event"


def test_an_input_that_nothing_rounds_has_no_port(tmp_path: Path) -> None:
    x = keras.Input((3, 4), name="x")
    model = keras.Model(x, {"y": keras.layers.Rescaling(0.5)(x)})
    with pytest.raises(ExportRefused, match=r"x \(InputLayer\): no layer that reads it quantises it first"):
        open_backend("alkaid").write(model, h.build_of("raw", backend="alkaid"), tmp_path / "rtl")


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("kind", ["mha", "linformer"])
def test_attention_layers_of_hgq2_are_exact_on_inputs_and_behind_a_quantiser(
    kind: str, behind: bool, tmp_path: Path
) -> None:
    model = attention(kind)
    if behind:
        x = keras.Input((3, 4), name="x")
        quantised = Quantizer(h.form("fixed<7,3,RND,SAT>"), name="entrance")(x)
        model = keras.Model(x, {"y": model.get_layer("attention")(quantised, quantised)})
    project = open_backend("alkaid").write(model, h.build_of("attending", backend="alkaid"), tmp_path / "rtl")
    found = agree(project, model, {"x": np.random.default_rng(0).normal(0, 2, (2000, 3, 4)).astype(np.float32)})
    assert found.equal, str(found)


def test_every_layer_is_traced_and_costs_add_up(run4: Path) -> None:
    from hls.proof.layerwise import first_difference
    from hls.stages.export import export, load_quantised

    build = h.run_build()
    project = export(build, run4 / "qat/model.keras", run4 / "firmware/alkaid", "alkaid").project
    model = load_quantised(run4 / "qat/model.keras")
    inputs = h.jets(4, 200)
    assert first_difference(project, model, inputs) is None
    traced = project.trace(inputs)
    assert set(traced) == {layer.name for layer in model.layers} - {tensor.name for tensor in model.inputs}
    rows = json.loads((project.path / "layers.json").read_text())["layers"]
    facts = json.loads((project.path / "ports.json").read_text())
    assert sum(row["lut"] for row in rows) == pytest.approx(facts["lut_estimate_before_ternary_adders"])


@pytest.mark.slow
def test_part_rtl_is_exact_on_ten_thousand_events(run4: Path) -> None:
    from hls.stages.export import export, load_quantised

    build = h.run_build()
    project = export(build, run4 / "qat/model.keras", run4 / "firmware/alkaid", "alkaid").project
    assert isinstance(project, AlkaidProject)
    model = load_quantised(run4 / "qat/model.keras")
    inputs = h.jets(4, 10_000)
    cycles = project.cycles(project.rows(inputs), "verilator")
    measured = timing(cycles, keras_outputs(model, inputs)["logits"])
    assert measured is not None
    assert measured.latency_cycles == project.latency_cycles
