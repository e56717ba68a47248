"""Folded firmware equals Keras: kernels, and RTL with gaps, stalls and resets; what cannot fold is refused by layer."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.battery import build_of, models_of

from hls.backends import open_backend, open_project
from hls.backends.folded.project import FoldedProject, Pauses
from hls.errors import ExportRefused
from hls.proof.adversarial import adversarial
from hls.proof.agree import keras_outputs

FOLDS = [  # architecture, form
    ("part", "none_mean"), ("part", "input_mean"), ("part", "none_class_token"), ("part", "input_class_token"),
    ("part", "onchip_mean"), ("part", "layer_gelu"), ("part", "rms_silu"), ("part", "deferred"),
    ("deepsets", "mean"),
    ("jedi_linear", "affine"), ("transformer", "mean"), ("transformer", "linformer_mean"), ("mixer", "flat"),
]  # fmt: skip
SLOW = pytest.mark.slow


def written(name: str, form: str, together: int, out: Path) -> tuple[Any, FoldedProject]:
    """The quantised model of a form, and its project with T points per clock."""
    cfg, quant, _, model = models_of(name, form)
    build = build_of(name, cfg, quant, "folded")
    firmware = build.firmware.model_copy(update={"points_per_clock": together})
    project = open_backend("folded").write(model, build.model_copy(update={"firmware": firmware}), out)
    assert isinstance(project, FoldedProject)
    return model, project


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
    for pauses in (Pauses(gaps=100, seed=1), Pauses(stalls=200, seed=2), Pauses(gaps=120, stalls=120, seed=3)):
        streamed = project.stream(events, pauses)
        assert (streamed.outputs != wanted["logits"]).sum() == 0, pauses
        if pauses.gaps:
            assert np.diff(streamed.taken).max() > project.fold.beats


def test_a_reset_in_the_middle_of_an_event_leaves_nothing_behind(made: Written) -> None:
    model, project = made("deepsets", "mean", 1)
    events = {name: array[:200] for name, array in adversarial(model).inputs.items()}
    wanted = keras_outputs(model, events)["logits"]
    for edges in range(1, project.latency_cycles + 3 * project.fold.beats):
        streamed = project.stream(events, reset_after=edges)
        assert (streamed.outputs != wanted).sum() == 0, edges


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
            r"firmware.points_per_clock \(setting\): must divide the 3 points of an event. Received: 2",
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
