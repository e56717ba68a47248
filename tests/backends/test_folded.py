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
from support.folded import written

from hls.backends import open_project
from hls.backends.folded.kernels import beats_of
from hls.backends.folded.project import FoldedProject
from hls.backends.folded.stream import Pauses
from hls.backends.protocol import Timing
from hls.errors import ExportRefused, HlsError
from hls.proof.adversarial import adversarial
from hls.proof.agree import keras_outputs

FOLDS = [  # architecture, form
    ("part", "none_mean"), ("part", "input_mean"), ("part", "none_class_token"), ("part", "input_class_token"),
    ("part", "onchip_mean"), ("part", "layer_gelu"), ("part", "rms_silu"), ("part", "deferred"),
    ("deepsets", "mean"),
    ("jedi_linear", "affine"), ("transformer", "mean"), ("transformer", "linformer_mean"), ("mixer", "flat"),
]  # fmt: skip
SLOW = pytest.mark.slow
NEEDS_ICARUS = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="iverilog not found: apt-get install iverilog"
)
PAUSES = (
    Pauses(),
    Pauses(gaps=100, seed=1),
    Pauses(stalls=200, seed=2),
    Pauses(gaps=120, stalls=120, seed=3),
    Pauses(mixed=True, seed=4, resets=(0, 5, 300, 301, 1234)),
)


Written = Callable[[str, str, int], tuple[Any, FoldedProject]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """`written`, once for all tests."""

    @functools.cache
    def make(name: str, form: str, together: int) -> tuple[Any, FoldedProject]:
        return written(name, form, together, tmp_path_factory.mktemp(f"{name}_{form}_{together}") / "rtl")

    return make


@pytest.mark.parametrize(
    ("name", "form", "all_together"),
    [
        *((name, form, False) for name, form in FOLDS),
        *(pytest.param(name, form, True, marks=() if name == "deepsets" else SLOW) for name, form in FOLDS),
    ],
)
def test_the_kernels_are_exact(name: str, form: str, all_together: bool, made: Written) -> None:
    points = {"part": 5}.get(name, 3)
    together = points if all_together else 1
    model, project = made(name, form, together)
    events = adversarial(model).inputs
    wanted = keras_outputs(model, events)["logits"]
    assert np.unique(wanted).size > 100
    opened = open_project(project.path)
    found = opened.outputs(events)["logits"]
    assert (found != wanted).sum() == 0
    assert project.facts["ii_cycles"] == points // together


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
    model, project = made(name, form, together)
    events = adversarial(model).inputs
    wanted = keras_outputs(model, events)
    found = project.clock(events, wanted)
    assert (found.outputs["logits"] != wanted["logits"]).sum() == 0
    assert found.on_time
    assert found.timing is not None
    assert found.timing.ii_cycles == project.fold.beats == project.facts["ii_cycles"]
    for pauses in PAUSES:
        streamed = project.stream(events, pauses)
        assert (streamed.outputs[streamed.came] != wanted["logits"][streamed.came]).sum() == 0, pauses
        assert streamed.came.all() == (not pauses.resets)
        if pauses.gaps:
            assert np.diff(streamed.taken).max() > project.fold.beats
        emulated = project.stream(events, pauses, "emulator")
        for edge_by_edge in ("taken", "given", "outputs"):
            np.testing.assert_array_equal(getattr(emulated, edge_by_edge), getattr(streamed, edge_by_edge))


@pytest.mark.parametrize("level", ["emulator", "verilator"])
def test_a_reset_ends_the_events_that_are_on_their_way_and_no_other(level: str, made: Written) -> None:
    model, project = made("deepsets", "mean", 1)
    events = {name: array[:60] for name, array in adversarial(model).inputs.items()}
    wanted, whole = keras_outputs(model, events)["logits"], project.stream(events, level=level)
    for edge in range(project.latency_cycles + 3 * project.fold.beats):
        streamed = project.stream(events, Pauses(resets=(edge,)), level)
        assert (streamed.outputs[streamed.came] != wanted[streamed.came]).sum() == 0, edge
        np.testing.assert_array_equal(~streamed.came, (whole.taken < edge) & (whole.given >= edge))


@NEEDS_ICARUS
@pytest.mark.parametrize(("name", "form"), [("deepsets", "mean"), pytest.param("part", "none_mean", marks=SLOW)])
def test_icarus_and_the_emulator_agree_edge_by_edge(name: str, form: str, made: Written) -> None:
    model, project = made(name, form, 1)
    events = {name: array[::12] for name, array in adversarial(model).inputs.items()}
    wanted = keras_outputs(model, events)["logits"]
    for pauses in (PAUSES[0], PAUSES[-1]):
        found, emulated = (project.stream(events, pauses, level) for level in ("icarus", "emulator"))
        assert (found.outputs[found.came] != wanted[found.came]).sum() == 0
        for edge_by_edge in ("taken", "given", "outputs"):
            np.testing.assert_array_equal(getattr(emulated, edge_by_edge), getattr(found, edge_by_edge))


def test_an_emulator_of_another_machine_is_told_from_it(made: Written) -> None:
    model, project = made("deepsets", "mean", 1)
    events = {name: array[:200] for name, array in adversarial(model).inputs.items()}
    good = project.stream(events, level="emulator")
    first, *others = project.emulator.depths
    script = Pauses(stalls=250).script(100_000)
    parts = [beats_of(project.fold, g.tensor, project.rounded(events)[g.tensor]) for g in project.kernels[0].ins]
    rows = np.concatenate(parts, axis=2)
    later = replace(project.emulator, depths=(first + 1, *others)).play(rows, script, 100)
    assert (later.given > good.given).all()
    wider = replace(project.emulator, places=2 * project.emulator.places).play(rows, script, 100)
    as_written = project.emulator.play(rows, script, 100)
    assert (wider.taken < as_written.taken).any(), "its queue has no place left while outputs wait"
    np.testing.assert_array_equal(wider.outputs, as_written.outputs)


def test_a_stream_that_does_not_end_is_refused(made: Written) -> None:
    _, project = made("deepsets", "mean", 1)
    rows = np.zeros((5, 3, project.kernels[0].comb.shape[0]))
    said = "after 20 clock edges 2 of 5 events are over: the machine stands still"
    with pytest.raises(HlsError, match=said):
        project.emulator.play(rows, Pauses().script(20), 100)
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
    assert {("b0_attn_k", "filled"), ("b0_attn_q", "streamed"), ("pool_count", "running")} <= kinds
    report = project.reports()[0]
    assert (report.ii_cycles, report.latency_cycles) == (5, plan["latency_cycles"])


@pytest.mark.parametrize(
    ("name", "form", "together", "said"),
    [
        (
            "deepsets",
            "mean",
            2,
            r"firmware.points_per_clock \(setting\): must divide the 3 points of an event. Received: 2",
        ),
        ("deepsets", "sum", 1, r"phi0 \(QEinsumDense\): its formats differ from point to point; use quant.granularity"),
        ("hept", "two_orders", 1, r"\(\w+\): it is not known how it works on points that come one after the other"),
    ],
)
def test_what_cannot_fold_is_refused_by_layer(name: str, form: str, together: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(ExportRefused, match=said):
        written(name, form, together, tmp_path / "rtl")
    assert not (tmp_path / "rtl").exists()
