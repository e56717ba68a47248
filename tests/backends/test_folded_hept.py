"""HEPT in folded firmware: rows that an order moves between phases, blocks that count beats, outputs for each point."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.battery import build_of, models_of
from support.folded import points_model, project_of, refuse_other_resets, refuse_other_rtl
from support.hept_fixed import NARROW as NARROW_HEPT
from support.peers import NARROW

from hls.backends import open_backend, open_project
from hls.backends.folded.orders import WORDS, ways, ways_of
from hls.backends.folded.project import FoldedProject
from hls.errors import ExportRefused
from hls.proof.adversarial import adversarial
from hls.proof.agree import keras_outputs
from qformers.models import MODELS
from qformers.models.sizes import Jet
from qformers.nn.hgq import Hgq
from qformers.quant.phases import Folding, Move

SLOW = pytest.mark.slow
FORMS = tuple(MODELS["hept"].forms)


Written = Callable[[str, int], tuple[Any, FoldedProject]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A form of HEPT with T points per clock, its quantised model and project; each once for all tests."""

    @functools.cache
    def make(form: str, together: int) -> tuple[Any, FoldedProject]:
        cfg, quant, _, model = models_of("hept", form)
        return model, project_of(
            model, "hept", cfg, quant, together, tmp_path_factory.mktemp(f"{form}{together}") / "rtl"
        )

    return make


def refuse_other_bits(model: Any, project: FoldedProject) -> None:
    """The kernels of a project, read back from its files, give what Keras gives, interpreted and compiled."""
    events = adversarial(model).inputs
    wanted = keras_outputs(model, events)
    for level in ("interpreter", "compiled"):
        for name, answers in open_project(project.path).outputs(events, level).items():
            assert np.unique(wanted[name]).size > 50
            assert answers.shape == wanted[name].shape
            assert (answers != wanted[name]).sum() == 0, level


@pytest.mark.parametrize(
    ("form", "together"),
    [
        pytest.param(form, together, marks=() if (form, together) == ("two_orders", 4) else SLOW)
        for form in FORMS
        for together in (4, 8)
    ],
)
def test_the_kernels_are_exact(form: str, together: int, made: Written) -> None:
    model, project = made(form, together)
    refuse_other_bits(model, project)
    assert project.facts["ii_cycles"] == 8 // together


@SLOW
@pytest.mark.parametrize(("form", "together"), [("two_orders", 4), ("onchip", 4), ("two_orders", 8)])
def test_the_rtl_is_exact_and_on_time(form: str, together: int, made: Written) -> None:
    refuse_other_rtl(*made(form, together))
    refuse_other_resets(*made(form, together), "emulator")


@SLOW
@pytest.mark.parametrize(("form", "together"), [("two_orders", 4), ("one_order", 8)])
def test_rows_in_banks_are_exact_and_on_time(form: str, together: int, made: Written, tmp_path: Path) -> None:
    cfg, quant, _, model = models_of("hept", form)
    project = project_of(model, "hept", cfg, quant, together, tmp_path / "rtl", moved_rows="banks")
    refuse_other_bits(model, project)
    refuse_other_rtl(model, project)
    refuse_other_resets(model, project, "verilator")
    if project.fold.beats > 1:  # else T = N, and multiplexers over T are no smaller
        _, in_registers = made(form, together)
        assert project.facts["moves_lut_estimate"] < in_registers.facts["moves_lut_estimate"]
    beat = json.loads((project.path / "ports.json").read_text())["streams"]["in_beat"]
    tensors = [value["tensor"] for value in beat["values"]]
    assert sum(tensor.startswith("order/") for tensor in tensors) == cfg.hashes * 6 * together
    assert "order" not in tensors
    assert beat["width"] == sum(value["width"] for value in beat["values"])


def test_banks_move_rows_as_the_numbers_of_an_order_do() -> None:
    random, together, points = np.random.default_rng(0), 3, 12
    order = np.stack([random.permutation(points) for _ in range(5)])[:, None]  # (n, 1, N)
    fold = Folding(points, together, {"order": 1}, moves={"moved": Move("rows", "order", banks=True)})
    words = ways_of(fold, {"order": order}).astype(int)  # (n, B, 6 T)
    names = [(value.port, value.index) for value in ways(fold, {"order": (1, points)}, 0)]
    assert len(names) == len(set(names)) == words.shape[2]
    parts = [name.partition("/")[2] for name, _ in names[::together]]
    rows = np.arange(points)
    for event, slots in enumerate(order[:, 0]):
        told = dict(zip(parts, np.split(words[event], len(parts), axis=1), strict=True))
        for (write, address, bank), came, wanted in (
            (WORDS["gathered"], rows, slots), (WORDS["scattered"], slots, rows),
        ):  # fmt: skip
            memory = np.take_along_axis(came.reshape(-1, together), told[write], axis=1)  # (B, banks)
            found = np.take_along_axis(memory, told[address], axis=0)
            assert (np.take_along_axis(found, told[bank], axis=1).ravel() == wanted).all()


@SLOW
@pytest.mark.parametrize("together", [4, 8, 16])
def test_beats_of_one_block_of_two_and_of_all(together: int, tmp_path: Path) -> None:
    arch = MODELS["hept"]
    cfg = arch.forms["two_orders"].model_copy(update={"heads": 2, "layers": 2})
    keras.utils.set_random_seed(3)
    model = arch.build(arch.fixed(cfg), Jet(16, 3, 3), Hgq(NARROW_HEPT))
    project = project_of(model, "hept", cfg, NARROW_HEPT, together, tmp_path / "rtl")
    refuse_other_bits(model, project)
    assert project.facts["ii_cycles"] == 16 // together


def test_the_plan_says_what_moves(made: Written) -> None:
    _, project = made("two_orders", 4)
    kernels = project.facts["kernels"]
    assert [kernel["beats"] for kernel in kernels] == [2, 2, 2]
    moved = [{(name, kind) for name, kind, *_ in kernel["outs"]} for kernel in kernels]
    assert {(f"{name}_blocks", "gathered") for name in ("b0_attn", "coords", "mask")} <= moved[0]
    assert {(f"b0_attn_{name}_slots", "scattered") for name in ("top", "den", "num")} <= moved[1]
    assert ("order_slots", "places") in moved[1]
    assert project.facts["moves"]["b0_attn_num_slots"] == ["b0_attn_num", "order_slots", False]
    stages = [kernel["stages"] for kernel in kernels]
    assert project.latency_cycles == 2 * 3 + sum(stages) + len(stages) - 1
    rows = sum(len(np.ravel(group[3][0])) for group in kernels[0]["outs"] if group[1] == "gathered")
    assert kernels[0]["stores"]["gathered_bits"] >= rows
    assert kernels[0]["moves_lut_estimate"] > 0
    assert project.facts["lut_estimate"] == pytest.approx(
        sum(kernel["lut_estimate"] + kernel["moves_lut_estimate"] for kernel in kernels)
    )


@pytest.mark.parametrize("together", [2, pytest.param(1, marks=SLOW), pytest.param(6, marks=SLOW)])
def test_outputs_of_points_come_beat_by_beat(together: int, tmp_path: Path) -> None:
    cfg, model = points_model()
    project = project_of(model, "deepsets", cfg, NARROW, together, tmp_path / "rtl")
    refuse_other_bits(model, project)
    assert project.layout.outputs[0].shape == (6, 2)
    streams = json.loads((project.path / "ports.json").read_text())["streams"]
    assert set(streams) == {"in_beat", "out_beat"}
    assert streams["out_beat"]["words_per_event"] == 6 // together
    assert streams["out_beat"]["last"] == "out_last"
    assert streams["out_beat"]["tensors"][0]["shape_of_word"] == [together, 2]
    constraints = (project.path / "src/deepsets.xdc").read_text()
    assert "[get_ports {out_last}]" in constraints
    assert "[get_ports {out_beat[*]}]" in constraints


@SLOW
@pytest.mark.parametrize("together", [1, 2, 6])
def test_the_rtl_of_outputs_of_points_is_exact_and_on_time(together: int, tmp_path: Path) -> None:
    cfg, model = points_model()
    refuse_other_rtl(model, project_of(model, "deepsets", cfg, NARROW, together, tmp_path / "rtl"))


def test_outputs_of_points_and_of_events_are_refused_together(tmp_path: Path) -> None:
    cfg, model = points_model(also_of_events=True)
    with pytest.raises(
        ExportRefused, match=r"points \(QEinsumDense\): it has an output for each point, and others are"
    ):
        project_of(model, "deepsets", cfg, NARROW, 1, tmp_path / "rtl")
    assert not (tmp_path / "rtl").exists()


@pytest.mark.parametrize(
    ("firmware", "said"),
    [
        (
            {"points_per_clock": 1},
            r"points_per_clock \(setting\): must be a multiple of the 4 points of a block \(layer \w+\). Received: 1; "
            r"take one of 4, 8",
        ),
        (
            {"points_per_clock": 3},
            r"points_per_clock \(setting\): must divide the 8 points of an event. Received: 3; take one of 4, 8$",
        ),
        (
            {"points_per_clock": 4, "flavour": "vitis", "moved_rows": "banks"},
            r"firmware.moved_rows \(setting\): rows in memory banks are written in Verilog alone, and firmware.flavour "
            r"is vitis. Received: banks; set firmware.moved_rows: registers, or firmware.flavour: verilog",
        ),
    ],
)
def test_what_cannot_fold_is_refused(firmware: dict[str, Any], said: str, made: Written, tmp_path: Path) -> None:
    model, _ = made("two_orders", 4)
    cfg, quant = MODELS["hept"].forms["two_orders"], NARROW_HEPT.model_copy(update={"granularity": "channel"})
    build = build_of("hept", cfg, quant, "folded")
    changed = build.model_copy(update={"firmware": build.firmware.model_copy(update=firmware)})
    with pytest.raises(ExportRefused, match=said):
        open_backend("folded").write(model, changed, tmp_path / "rtl")
    assert not (tmp_path / "rtl").exists()


@pytest.mark.parametrize("rows", ["registers", "banks"])
def test_an_event_of_a_single_block_is_exact(rows: str, tmp_path: Path) -> None:
    cfg, quant, _, model = models_of("hept", "two_orders", 4)
    assert cfg.block_size == 4
    project = project_of(model, "hept", cfg, quant, 4, tmp_path / "rtl", moved_rows=rows)
    events = adversarial(model).inputs
    (output, values), *_ = keras_outputs(model, events).items()
    np.testing.assert_array_equal(project.outputs(events, "interpreter")[output], values)
    assert project.facts["ii_cycles"] == 1
