"""Folded firmware equals Keras: kernels, and RTL with gaps, stalls and resets; what cannot fold is refused by layer."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.battery import PER_ELEMENT, build_of, models_of
from support.folded import (
    PAUSES,
    refuse_other_edges,
    refuse_other_levels,
    refuse_other_resets,
    refuse_other_rtl,
    written,
)

from hls.backends import open_backend
from hls.backends.folded import machine, simulators
from hls.backends.folded.project import FoldedProject
from hls.backends.folded.stream import Pauses
from hls.backends.protocol import Timing
from hls.backends.simulators import icarus
from hls.backends.simulators.verilator import Verilator
from hls.errors import ExportRefused, HlsError
from hls.proof.adversarial import adversarial
from hls.proof.agree import keras_outputs
from hls.templates import fill
from qformers.models import MODELS

TOGETHER = {  # N, and each T: blocks of 4 come in whole, and those of a pooled level
    "hept": (16, (4, 8, 16)),
    "erwin": (16, (8, 16)),
}
ANY = 6, (1, 2, 3, 6)  # of all others: 1, 2, N / 2, N
ALWAYS = {  # the others are slow
    ("deepsets", "mean", 1), ("deepsets", "mean", 3), ("deepsets", "mean", 6),
    ("part", "none_mean", 1), ("part", "onchip_mean", 3), ("mixer", "flat", 2), ("jedi_linear", "affine", 2),
    ("transformer", "mean", 1), ("hrrformer", "xt", 1), ("erwin", "jet", 8),
    ("erwin", "unet", 8),
}  # fmt: skip
SLOW = pytest.mark.slow
NEEDS_ICARUS = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="iverilog not found: apt-get install iverilog"
)


Written = Callable[[str, str, int], tuple[Any, FoldedProject]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """`written`, once for all tests."""

    @functools.cache
    def make(name: str, form: str, together: int) -> tuple[Any, FoldedProject]:
        return written(name, form, together, tmp_path_factory.mktemp(f"{name}_{form}_{together}") / "rtl")

    return make


def battery() -> list[Any]:
    """Every form of every architecture whose points have the same formats, with each T."""
    return [
        pytest.param(name, form, together, marks=() if (name, form, together) in ALWAYS else SLOW)
        for name, arch in MODELS.items()
        for form in arch.forms
        if (name, form) not in PER_ELEMENT
        for together in TOGETHER.get(name, ANY)[1]
    ]


def test_every_architecture_is_in_the_battery() -> None:
    tested = {case.values for case in battery()}
    assert {name for name, *_ in tested} == set(MODELS)
    assert tested >= ALWAYS


@pytest.mark.parametrize(("name", "form", "together"), battery())
def test_every_level_without_rtl_is_exact(name: str, form: str, together: int, tmp_path: Path) -> None:
    points, _ = TOGETHER.get(name, ANY)
    model, project = written(name, form, together, tmp_path / "rtl", points)
    refuse_other_levels(model, project, points // together)


@NEEDS_ICARUS
@pytest.mark.parametrize("rows", [1, 2, 3, 6, 8, 17])
def test_a_row_is_picked_by_its_number(rows: int, tmp_path: Path) -> None:
    width, bits = 5, max((rows - 1).bit_length(), 1)
    module = tmp_path / "some_pick.v"
    module.write_text(fill(Path(machine.__file__).with_name("pick.v"), top="some"))
    bench = f"""
module bench;
    reg [{rows * width - 1}:0] rows;
    reg [{bits - 1}:0] number;
    wire [{width - 1}:0] row;
    integer place, file;
    some_pick #(.ROW({width}), .ROWS({rows}), .BITS({bits})) dut (.rows(rows), .number(number), .row(row));
    initial begin
        for (place = 0; place < {rows * width}; place = place + 1) rows[place] = (place * place / 3) % 2;
        file = $fopen("rows.txt", "w");
        for (place = 0; place < {rows}; place = place + 1) begin
            number = place;
            #1 $fdisplay(file, "%b %b", row, rows[place * {width} +: {width}]);
        end
        $fclose(file);
        $display("PASS");
        $finish;
    end
endmodule
"""
    icarus.simulate(bench, {}, "bench", [module], tmp_path)
    made = [line.split() for line in (tmp_path / "rows.txt").read_text().splitlines()]
    assert len(made) == rows
    assert all(set(row) <= set("01") and row == wanted for row, wanted in made)


@SLOW
@pytest.mark.parametrize(("name", "form"), [("deepsets", "mean"), ("part", "none_mean"), ("hept", "two_orders")])
def test_folded_and_unrolled_rtl_are_the_same(name: str, form: str, tmp_path: Path) -> None:
    points, (_, together, *_) = TOGETHER.get(name, ANY)
    model, folded = written(name, form, together, tmp_path / "folded", points)
    cfg, quant, *_ = models_of(name, form, points)
    unrolled = open_backend("alkaid").write(model, build_of(name, cfg, quant, "alkaid"), tmp_path / "unrolled")
    events = adversarial(model).inputs
    (output, values), *_ = keras_outputs(model, events).items()
    for level in ("interpreter", "compiled", "verilator"):
        sides = [project.outputs(events, level)[output] for project in (folded, unrolled)]
        np.testing.assert_array_equal(*sides)
        np.testing.assert_array_equal(sides[0], values)


@SLOW
@pytest.mark.parametrize("together", ANY[1])
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("deepsets", "mean"),
        ("part", "none_mean"),
        ("jedi_linear", "affine"),
        ("transformer", "mean"),
        ("mixer", "flat"),
    ],
)
def test_the_rtl_is_exact_for_every_number_of_points_per_clock(
    name: str, form: str, together: int, tmp_path: Path
) -> None:
    refuse_other_rtl(*written(name, form, together, tmp_path / "rtl", ANY[0]))


@pytest.mark.parametrize(
    ("name", "form", "together"),
    [
        ("deepsets", "mean", 1),
        pytest.param("deepsets", "mean", 3, marks=SLOW),
        pytest.param("jedi_linear", "affine", 1, marks=SLOW),
        pytest.param("transformer", "mean", 1, marks=SLOW),
        pytest.param("transformer", "linformer_mean", 1, marks=SLOW),
        ("mixer", "flat", 1),
        ("part", "none_mean", 1),
        pytest.param("part", "none_mean", 5, marks=SLOW),
        pytest.param("part", "input_mean", 1, marks=SLOW),
        pytest.param("part", "none_class_token", 1, marks=SLOW),
        pytest.param("part", "onchip_mean", 1, marks=SLOW),
        pytest.param("part", "rms_silu", 1, marks=SLOW),
    ],
)
def test_the_rtl_is_exact_and_on_time(name: str, form: str, together: int, made: Written) -> None:
    refuse_other_rtl(*made(name, form, together))


def test_kernels_that_are_compiled_apart_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulators, "APART", 0)
    read = list[str]()
    whole = Verilator._verilate

    def spied(self: Verilator, sources: Any, top: str, *more: Any) -> None:
        read.append(top)
        whole(self, sources, top, *more)

    monkeypatch.setattr(Verilator, "_verilate", spied)
    model, project = written("deepsets", "mean", 1, tmp_path / "rtl")
    refuse_other_rtl(model, project)
    top = project.layout.top
    assert sorted(read[:-1]) == [f"{top}_k{number}" for number in range(len(project.kernels))]
    assert read[-1] == top
    sizes = [sum(path.stat().st_size for path in project.sources if path.stem.startswith(name)) for name in read[:-1]]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("level", ["emulator", "verilator"])
def test_a_reset_ends_the_events_that_are_on_their_way_and_no_other(level: str, made: Written) -> None:
    refuse_other_resets(*made("deepsets", "mean", 1), level)


@NEEDS_ICARUS
@pytest.mark.parametrize(("name", "form"), [("deepsets", "mean"), pytest.param("part", "none_mean", marks=SLOW)])
def test_icarus_and_the_emulator_agree_edge_by_edge(name: str, form: str, made: Written) -> None:
    model, project = made(name, form, 1)
    events = {name: array[::12] for name, array in adversarial(model).inputs.items()}
    wanted = keras_outputs(model, events)["logits"]
    for pauses in (PAUSES[0], PAUSES[-1]):
        found = project.stream(events, pauses, "icarus")
        assert (found.outputs[found.came] != wanted[found.came]).sum() == 0
        refuse_other_edges(project, events, pauses, "icarus")


def test_an_emulator_of_another_machine_is_told_from_it(made: Written) -> None:
    model, project = made("deepsets", "mean", 1)
    events = {name: array[:200] for name, array in adversarial(model).inputs.items()}
    beats, without, script = project._beats(events), Pauses().script(1000), Pauses(stalls=250).script(100_000)
    first, *others = project.emulator.depths
    later = replace(project.emulator, depths=(first + 1, *others)).play(beats, without)
    np.testing.assert_array_equal(later.given, project.emulator.play(beats, without).given + 1)
    as_written = project.emulator.play(beats, script)
    wider = replace(project.emulator, places=2 * project.emulator.places).play(beats, script)
    assert (wider.taken < as_written.taken).any(), "its queue has no place left while outputs wait"
    np.testing.assert_array_equal(wider.values, as_written.values)


def test_a_stream_that_does_not_end_is_refused(made: Written) -> None:
    _, project = made("deepsets", "mean", 1)
    rows = np.zeros((5, 3, project.kernels[0].comb.shape[0]))
    said = "after 20 clock edges 2 of 5 events are over: the machine stands still"
    with pytest.raises(HlsError, match=said):
        project.emulator.play(rows, Pauses().script(20))
    with pytest.raises(HlsError, match=said):
        project.rtl.verilated(project.path / "sim", rows, Pauses().script(20))
    with pytest.raises(HlsError, match=r"levels with a clock are verilator, icarus, emulator. Received: 'interpreter'"):
        project.clock({}, {}, "interpreter")


@pytest.mark.parametrize("level", ["verilator", "emulator"])
def test_levels_with_a_clock_measure_latency_and_interval_against_the_formula(level: str, made: Written) -> None:
    model, project = made("deepsets", "mean", 1)
    events = {name: array[:50] for name, array in adversarial(model).inputs.items()}
    clocked = project.clock(events, {}, level)
    assert clocked.on_time
    assert clocked.timing == Timing(project.latency_cycles, 3)
    assert not replace(clocked, latency_expected=project.latency_cycles + 1).on_time
    assert not replace(clocked, ii_expected=2).on_time
    one = project.clock({name: array[:1] for name, array in events.items()}, {}, level)
    assert one.timing == Timing(project.latency_cycles, None), "one event shows no interval"
    assert one.on_time
    found = project.disturb(adversarial(model).inputs, level, 3)
    assert found is not None
    assert found.resets == 8
    assert not found.came.all()
    assert min(found.gaps, found.stalls) > 100


def test_the_plan_says_what_is_built(made: Written) -> None:
    _, project = made("part", "none_mean", 1)
    plan = json.loads((project.path / "plan.json").read_text())
    stages = [kernel["stages"] for kernel in plan["kernels"]]
    beats = [kernel["beats"] for kernel in plan["kernels"]]
    assert beats == [5, 5, 1]
    assert plan["latency_cycles"] == sum(beats) + sum(stages) + len(stages) - 1
    assert "b0_attn_scores" in plan["kernels"][1]["layers"]
    kinds = {(tensor, kind) for tensor, kind, *_ in plan["kernels"][0]["outs"]}
    assert {("b0_attn_k", "filled"), ("b0_attn_q", "streamed"), ("pool_count/sum", "running")} <= kinds
    report = project.reports()[0]
    assert (report.ii_cycles, report.latency_cycles) == (5, plan["latency_cycles"])


@pytest.mark.parametrize(
    ("name", "form", "together", "said"),
    [
        (
            "deepsets",
            "mean",
            2,
            r"points_per_clock \(setting\): must divide the 3 points of an event. Received: 2; take one of 1, 3$",
        ),
        ("deepsets", "sum", 1, r"phi0 \(QEinsumDense\): its formats differ from point to point; use quant.granularity"),
    ],
)
def test_what_cannot_fold_is_refused_by_layer(name: str, form: str, together: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(ExportRefused, match=said):
        written(name, form, together, tmp_path / "rtl")
    assert not (tmp_path / "rtl").exists()


def test_values_that_nothing_reads_are_kept_and_left_alone(tmp_path: Path) -> None:
    """Keys that training brought to zero: no score needs the queries, which lie in a store nevertheless."""
    cfg, quant, _, model = models_of("part", "none_mean")
    keys = model.get_layer("b0_attn_k")
    assert keys.bias is None
    keys._kernel.assign(0.0 * keys._kernel)
    project = open_backend("folded").write(model, build_of("part", cfg, quant, "folded"), tmp_path / "rtl")
    assert isinstance(project, FoldedProject)
    queries = next(group for group in project.kernels[1].ins if group.tensor == "b0_attn_q")
    assert queries.size
    events = adversarial(model).inputs
    assert (project.outputs(events)["logits"] != keras_outputs(model, events)["logits"]).sum() == 0
