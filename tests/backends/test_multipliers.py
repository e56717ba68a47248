"""Products of two variables in LUTs or DSP blocks: Verilog, estimate and Yosys agree, and the RTL equals Keras."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hgq.layers import QEinsum
from support import hls_models as h
from support.battery import build_of, models_of

from hls.backends import open_backend
from hls.backends.alkaid import multipliers
from hls.backends.alkaid.project import AlkaidProject
from hls.backends.folded.project import FoldedProject
from hls.errors import HlsError
from hls.proof.adversarial import adversarial
from hls.proof.agree import agree, keras_outputs
from hls.proof.exact import exact
from hls.reports.yosys.synthesis import synthesise
from hls.stages.synth import dsp_of

needs_yosys = pytest.mark.skipif(shutil.which("yosys") is None, reason="yosys not found: apt-get install yosys")

# factors of three products each -> whether they are to be in DSP blocks, and in how many
PRODUCTS = {
    ("fixed<7,3,RND,SAT>", "fixed<6,2,RND,SAT>"): 1,
    ("ufixed<6,3,RND,SAT>", "fixed<8,2,RND,SAT>"): 1,
    ("fixed<4,2,RND,SAT>", "fixed<5,2,RND,SAT>"): 0,  # 15 LUT
    ("fixed<2,1,RND,SAT>", "fixed<9,3,RND,SAT>"): 0,
    ("ufixed<18,3,RND,SAT>", "fixed<20,3,RND,SAT>"): 2,  # with a zero in front 19 x 20
}
MODES = ("auto", "lut", "dsp")


def model() -> keras.Model:
    """Products of each kind of `PRODUCTS`."""
    x, y = keras.Input((3,), name="x"), keras.Input((3,), name="y")
    out = {
        f"product{number}": QEinsum("bi,bi->bi", iq_confs=[h.form(form) for form in forms], name=f"product{number}")
        for number, forms in enumerate(PRODUCTS)
    }
    return keras.Model({"x": x, "y": y}, {name: layer([x, y]) for name, layer in out.items()})


Written = Callable[[str], tuple[keras.Model, AlkaidProject]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The model and its project, by `firmware.multipliers`."""
    one = model()

    @cache
    def make(mode: str) -> tuple[keras.Model, AlkaidProject]:
        build = h.build_of("products", backend="alkaid", multipliers=mode)
        project = open_backend("alkaid").write(one, build, tmp_path_factory.mktemp(mode) / "rtl")
        assert isinstance(project, AlkaidProject)
        return one, project

    return make


def instances(source: Path) -> list[tuple[int, ...]]:
    """Parameters of all products in the Verilog of a folder: bits of the factors, their signs, bits of the result."""
    texts = [path.read_text() for path in source.rglob("*.v") if path.parent.name != "static"]
    found = [match for text in texts for match in re.findall(r"\bmultiplier #\(([\d,]+)\)", text)]
    return [tuple(map(int, one.split(","))) for one in found]


def blocks_in(source: Path) -> int:
    """DSP48E2 that the products in the Verilog of a folder ask for."""
    return sum(
        multipliers.blocks_of(first + 1 - signed, second + 1 - other)
        for first, second, signed, other, _ in instances(source)
        if multipliers.saved_lut(first, second) >= multipliers.LEAST_LUT
    )


def test_auto_is_what_alkaid_writes(made: Written) -> None:
    from alkaid.codegen import rtl

    build = h.build_of("products", backend="alkaid")
    assert "multipliers" not in build.firmware.model_dump(mode="json")
    assert build.hash == h.build_of("products", backend="alkaid", multipliers="auto").hash
    _, project = made("auto")
    own = Path(rtl.__file__).parent / "verilog/source"
    static = {path.name: path.read_text() for path in (project.path / "src/static").glob("*.v")}
    assert static == {path.name: path.read_text() for path in own.glob("*.v")}
    assert "dsp_estimate" not in project.facts
    assert project.reports()[0].resources["dsp"] == 0


def test_the_estimate_counts_the_products_of_the_verilog(made: Written) -> None:
    _, auto = made("auto")
    _, lut = made("lut")
    _, dsp = made("dsp")
    wanted = 3 * sum(PRODUCTS.values())
    assert len(instances(dsp.path / "src")) == 3 * len(PRODUCTS)
    assert dsp.facts["dsp_estimate"] == blocks_in(dsp.path / "src") == wanted
    assert dsp.reports()[0].resources["dsp"] == wanted
    assert lut.facts["dsp_estimate"] == 0
    assert lut.facts["lut_estimate"] == auto.facts["lut_estimate"] > 2 * dsp.facts["lut_estimate"] > 0
    rows = json.loads((dsp.path / "layers.json").read_text())["layers"]
    assert sum(row["dsp"] for row in rows) == wanted
    assert sum(row["lut"] for row in rows) == pytest.approx(dsp.facts["lut_estimate_before_ternary_adders"])


@pytest.mark.parametrize(
    ("bits", "lut", "blocks"),
    [((1, 40), 0, 2), ((2, 15), 15, 1), ((4, 5), 15, 1), ((5, 5), 20, 1), ((27, 18), 459, 1), ((18, 28), 476, 2),
     ((19, 19), 342, 2), ((35, 27), 910, 4), ((45, 18), 765, 3)],
)  # fmt: skip
def test_the_rule(bits: tuple[int, int], lut: int, blocks: int) -> None:
    for first, second in (bits, bits[::-1]):
        assert multipliers.saved_lut(first, second) == lut
        assert multipliers.blocks_of(first, second) == blocks


@pytest.mark.parametrize(
    ("mode", "level"),
    [pytest.param(mode, level, marks=pytest.mark.slow if level == "verilator" else ()) for mode in ("lut", "dsp")
     for level in ("icarus", "verilator")],
)  # fmt: skip
def test_the_rtl_is_exact(mode: str, level: str, made: Written) -> None:
    if level == "icarus" and shutil.which("iverilog") is None:
        pytest.skip("iverilog not found: apt-get install iverilog")
    one, project = made(mode)
    inputs = {name: h.numbers(3, 900, seed) for seed, name in enumerate(("x", "y"))}
    wanted = keras_outputs(exact(one, project), inputs)  # some products have more bits than a float32
    assert all(np.unique(array).size > 20 for array in wanted.values())
    found = project.clock(inputs, wanted, level)
    assert found.on_time
    assert {name: int((found.outputs[name] != wanted[name]).sum()) for name in wanted} == dict.fromkeys(wanted, 0)


@needs_yosys
def test_yosys_does_what_the_verilog_asks_for(made: Written, tmp_path: Path) -> None:
    """Also with DSP48E2 allowed, products of the mode lut, and those of few bits, stay in LUTs."""
    lut, dsp = (made(mode)[1] for mode in ("lut", "dsp"))
    counted = []
    for project in (lut, dsp):
        limits: dict[str, Any] = {"dsp": True, "time_limit_s": 600, "flat": True}
        report = synthesise(project.sources, project.layout.top, tmp_path / f"yosys{len(counted)}", **limits)
        counted.append(report.resources)
    assert [one["dsp"] for one in counted] == [0, dsp.facts["dsp_estimate"]]
    less = lut.facts["lut_estimate"] - dsp.facts["lut_estimate"]
    assert 0.8 * less < counted[0]["lut"] - counted[1]["lut"] < 1.6 * less


def folded(together: int, mode: str, out: Path) -> tuple[Any, FoldedProject]:
    """A transformer with T points per clock."""
    cfg, quant, _, quantised = models_of("transformer", "mean")
    build = build_of("transformer", cfg, quant, "folded")
    firmware = build.firmware.model_copy(update={"points_per_clock": together, "multipliers": mode})
    project = open_backend("folded").write(quantised, build.model_copy(update={"firmware": firmware}), out)
    assert isinstance(project, FoldedProject)
    return quantised, project


def test_folded_kernels_say_their_dsp(tmp_path: Path) -> None:
    _, dsp = folded(1, "dsp", tmp_path / "dsp")
    rows = dsp.facts["kernels"]
    assert [row["dsp_estimate"] for row in rows] == [blocks_in(dsp.path / f"src/k{row['kernel']}") for row in rows]
    assert dsp.facts["dsp_estimate"] == sum(row["dsp_estimate"] for row in rows) > 0
    assert dsp.reports()[0].resources["dsp"] == dsp.facts["dsp_estimate"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["lut", "dsp"])
def test_folded_firmware_is_exact_and_yosys_counts_its_kernels(mode: str, tmp_path: Path) -> None:
    one, project = folded(1, mode, tmp_path / "rtl")
    assert agree(project, one, adversarial(one).inputs, level="verilator").equal
    if shutil.which("yosys") is None:
        pytest.skip("yosys not found: apt-get install yosys")
    with_dsp = mode == "dsp"
    report = synthesise(project.sources, project.layout.top, tmp_path / "yosys", dsp=with_dsp, time_limit_s=1800)
    kernels = report.detail["kernels"]
    assert list(kernels) == [*(f"k{row['kernel']}" for row in project.facts["kernels"]), "stores"]
    for row in project.facts["kernels"]:
        assert kernels[f"k{row['kernel']}"]["dsp"] == row["dsp_estimate"]
    for key in ("lut", "ff", "dsp", "lutram"):
        assert sum(part[key] for part in kernels.values()) == report.resources[key]
    assert kernels["stores"]["dsp"] == 0
    assert kernels["stores"]["ff"] >= sum(row["stores"].get("filled_bits", 0) for row in project.facts["kernels"]) // 2


@pytest.mark.parametrize(
    ("backend", "firmware", "said"),
    [
        ("vitis", {}, r"firmware.multipliers \(setting\): in hls4ml's C\+\+ the vendor's HLS tool binds each product.*"
         r"Received: dsp; leave firmware.multipliers out, or set firmware.backend: alkaid or folded"),
        ("vivado", {}, r"firmware.multipliers \(setting\): in hls4ml's C\+\+"),
        ("alkaid", {"flavour": "vhdl"}, r"firmware.multipliers \(setting\): .* flavour is vhdl. Received: dsp"),
        ("alkaid", {"flavour": "vitis"}, r"firmware.multipliers \(setting\): .* flavour is vitis. Received: dsp"),
    ],
)  # fmt: skip
def test_firmware_that_cannot_say_it_refuses(backend: str, firmware: dict[str, Any], said: str) -> None:
    build = h.build_of("products", backend=backend, multipliers="dsp", **firmware)
    refusals = open_backend(backend).supports(model(), build)
    assert len(refusals) == 1
    assert re.search(said, str(refusals[0]))


def test_another_module_of_alkaid_is_refused(tmp_path: Path) -> None:
    (tmp_path / "multiplier.v").write_text("module multiplier (input a);\nendmodule\n")
    with pytest.raises(HlsError, match=r"module 'multiplier' is written 0 times .*multipliers: auto, or install"):
        multipliers.place(tmp_path, "dsp")


@pytest.mark.parametrize(
    ("mode", "asked", "ways"),
    [("auto", None, (False,)), ("auto", (False, True), (False, True)), ("lut", None, (False,)), ("dsp", None, (True,)),
     ("dsp", (True,), (True,)), ("dsp", (False, True), None), ("lut", (True,), None)],
)  # fmt: skip
def test_the_mode_decides_what_the_synthesis_does(
    mode: str, asked: tuple[bool, ...] | None, ways: tuple[bool, ...] | None
) -> None:
    build = h.build_of("products", backend="alkaid", multipliers=mode)
    if ways is not None:
        assert dsp_of(build, asked) == ways
        return
    with pytest.raises(HlsError, match=rf"multipliers: {mode} already says .*leave the choice out here \(--dsp\), or"):
        dsp_of(build, asked)
