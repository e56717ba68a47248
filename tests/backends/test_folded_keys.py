"""Folded keys of attention: exact for every T and K, what is planned, and what is refused."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hgq.layers import QEinsumDense
from support.battery import PER_ELEMENT, build_of, models_of
from support.folded import refuse_other_levels, refuse_other_rtl, written
from support.quantised import wired_symmetric

from hls.backends import open_backend, open_project
from hls.backends.alkaid.ports import port_formats
from hls.backends.folded.kernels import kernels, run
from hls.backends.folded.survey import Choice, scaled, survey, traced
from hls.backends.folded.writer import stage_ns
from hls.errors import ExportRefused, HlsError
from hls.proof.adversarial import adversarial
from hls.proof.agree import keras_outputs
from qformers.builds.models import load_model
from qformers.models import MODELS
from qformers.nn.hgq import Hgq
from qformers.quant.hardware import layer_ebops
from qformers.quant.phases import Unfolded, named, plan, shares

POINTS = 6
PARTS = (1, 2, 3, 6)
PAIRED = [("part", form) for form in MODELS["part"].forms] + [("transformer", "mean")]  # they have pairs of all points
ALWAYS = {  # the others are slow
    ("part", "deferred", 1, 2), ("part", "onchip_mean", 2, 3), ("part", "input_mean", 3, 1),
    ("part", "onchip_class_token", 6, 2), ("part", "onchip_mean", 6, 3), ("transformer", "mean", 1, 3),
}  # fmt: skip


def battery() -> list[Any]:
    """Every form with pairs of points, with each T and each K below N."""
    return [
        pytest.param(*case, *parts, marks=() if (*case, *parts) in ALWAYS else pytest.mark.slow)
        for case in PAIRED
        if case not in PER_ELEMENT
        for parts in product(PARTS, PARTS[:-1])
    ]


def test_some_of_the_battery_is_in_every_run() -> None:
    assert {case.values for case in battery() if not case.marks} == ALWAYS


@pytest.mark.parametrize(("name", "form", "together", "keys"), battery())
def test_every_level_without_rtl_is_exact(name: str, form: str, together: int, keys: int, tmp_path: Path) -> None:
    model, project = written(name, form, together, tmp_path / "rtl", POINTS, keys_per_clock=keys)
    refuse_other_levels(model, project, (POINTS // together) * (POINTS // keys))


@pytest.mark.parametrize(
    ("name", "form", "points", "together", "keys"),
    [
        ("part", "deferred", 4, 1, 2),
        pytest.param("part", "deferred", 6, 2, 3, marks=pytest.mark.slow),
        pytest.param("part", "onchip_mean", 6, 1, 2, marks=pytest.mark.slow),
        pytest.param("part", "onchip_mean", 6, 6, 3, marks=pytest.mark.slow),
        pytest.param("part", "input_class_token", 6, 3, 1, marks=pytest.mark.slow),
        pytest.param("part", "rms_silu", 6, 1, 3, marks=pytest.mark.slow),
        pytest.param("transformer", "mean", 6, 1, 2, marks=pytest.mark.slow),
    ],
)
def test_the_rtl_is_exact_with_gaps_stalls_and_resets(
    name: str, form: str, points: int, together: int, keys: int, tmp_path: Path
) -> None:
    refuse_other_rtl(*written(name, form, together, tmp_path / "rtl", points, keys_per_clock=keys))


@pytest.mark.parametrize(("form", "together", "keys"), [("deferred", 1, 2), ("none_mean", 2, 3)])
def test_folding_keys_changes_when_a_value_is_computed_and_not_which(form: str, together: int, keys: int) -> None:
    *_, model = models_of("part", form, POINTS)
    formats = port_formats(model)
    events = adversarial(model).inputs
    rounded = {named(t): formats[t.name].quantise(np.asarray(events[t.name], np.float64)) for t in model.inputs}
    found = []
    for some in (None, keys):
        cut = plan(model, together, keys=some)
        found += run(cut.fold, kernels(cut, formats), rounded).values()
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("together", "keys"), [(1, 2), pytest.param(4, None, marks=pytest.mark.slow)])
def test_pairs_that_an_older_model_lays_out_by_wires_are_folded_likewise(
    together: int, keys: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, new = models_of("part", "onchip_mean", 4)
    monkeypatch.setattr(Hgq, "symmetric", wired_symmetric)
    old, project = written("part", "onchip_mean", together, tmp_path / "old", 4, keys_per_clock=keys)
    assert isinstance(old.get_layer("pair_bias"), QEinsumDense)
    plans = [plan(model, together, keys=keys) for model in (old, new)]
    said = [
        [(work.tensor, work.phase, work.uses, work.axis, work.keys) for works in one.works for work in works]
        for one in plans
    ]
    assert said[0] == said[1]
    assert plans[0].boundaries == plans[1].boundaries
    old.save(tmp_path / "model.keras")
    events = adversarial(old).inputs
    (output, values), *_ = keras_outputs(load_model(tmp_path / "model.keras"), events).items()
    np.testing.assert_array_equal(project.outputs(events, "interpreter")[output], values)


def test_keys_are_picked_as_slices_of_the_store(tmp_path: Path) -> None:
    """Of wires of single values Verilator makes minutes and gigabytes at N = 128."""
    _, project = written("part", "onchip_mean", 1, tmp_path / "rtl", 6, keys_per_clock=3)
    text = (project.path / "src" / "part.v").read_text()
    picks = re.findall(r"k\d+_pick \(\n *\.rows\((.*?)\), \.number\(k\d+_key\)", text, re.DOTALL)
    assert len(picks) == 2
    for rows in picks:
        assert re.fullmatch(r"\{(\{s\d+_filled\[\d+ \+: \d+\]\}(, )?){2}\}", rows), rows


def test_deferred_softmax_passes_the_keys_twice_and_direct_softmax_three_times() -> None:
    for form, passes in (("deferred", 2), ("none_mean", 3)):
        *_, model = models_of("part", form, POINTS)
        cut = plan(model, 1, keys=2)
        assert [cut.beats_of(phase) for phase in range(len(cut.works))] == [6, *[18] * passes, 6, 1]
    sums = [boundary.row_sums for boundary in cut.boundaries]
    assert sum(map(len, sums)) == 2  # of the exponentials, and of weighted values
    assert [len(boundary.row_largest) for boundary in cut.boundaries].count(1) == 1


def test_the_ebops_of_layers_on_pairs_are_shared_by_keys_too() -> None:
    *_, model = models_of("part", "onchip_mean", POINTS)
    some, all_keys = plan(model, 1, keys=2), plan(model, 1)
    for layer, share in shares(all_keys).items():
        on_pairs = layer.startswith(("b0_attn_scores", "b0_attn_logits", "b0_attn_weights", "b0_attn_context"))
        assert shares(some)[layer] == pytest.approx(share / 3 if on_pairs or layer == "pair_bias" else share) or (
            layer.startswith("pair")  # a row of T K pairs, of T N
            and shares(some)[layer] == pytest.approx(share / 3)
        )
    assert sum(layer_ebops(model, shares(some)).values()) < sum(layer_ebops(model, shares(all_keys)).values())


@pytest.mark.parametrize(
    ("name", "form", "keys", "words"),
    [
        ("part", "none_mean", 4, r"firmware.keys_per_clock \(setting\): must divide the 6 points of an event. "
         r"Received: 4; take one of 1, 2, 3, 6"),
        ("deepsets", "mean", 2, r"firmware.keys_per_clock \(setting\): no layer of this model works on pairs of its 6 "
         r"points. Received: 2; leave it out"),
        ("transformer", "linformer_mean", 2, "no layer of this model works on pairs of its 6 points"),
    ],
)  # fmt: skip
def test_what_has_no_keys_to_fold_is_refused(name: str, form: str, keys: int, words: str) -> None:
    *_, model = models_of(name, form, POINTS)
    with pytest.raises(Unfolded, match=words):
        plan(model, 1, keys=keys)


@pytest.mark.slow  # g++ takes a minute for each; test_folded_cpp.py has C++ in every run
@pytest.mark.parametrize(
    ("form", "points", "together", "keys"),
    [
        ("deferred", 4, 1, 2),
        ("onchip_mean", 6, 2, 3),
        ("input_class_token", 6, 3, 2),
        ("none_mean", 6, 6, 1),
        ("deferred", 2, 1, 1),  # pairs of the event, of which beats read keys
        ("onchip_mean", 3, 3, 1),  # and all of them
        ("onchip_class_token", 6, 6, 3),
    ],
)
def test_the_cpp_is_exact(form: str, points: int, together: int, keys: int, tmp_path: Path) -> None:
    model, project = written("part", form, together, tmp_path / "cpp", points, keys_per_clock=keys, flavour="vitis")
    events = adversarial(model).inputs
    (output, values), *_ = keras_outputs(model, events).items()
    np.testing.assert_array_equal(project.outputs(events, "csim")[output], values)


def test_formats_that_differ_from_key_to_key_are_refused() -> None:
    *_, model = models_of("transformer", "flat", POINTS)
    assert plan(model, POINTS).fold.chunks == 1
    with pytest.raises(Unfolded, match=r"b0_attn_scores \(QEinsum\): its formats differ from key to key; leave"):
        plan(model, POINTS, keys=3)


def test_hept_has_no_folded_keys(tmp_path: Path) -> None:
    cfg, quant, _, hept = models_of("hept", "two_orders")
    build = build_of("hept", cfg, quant, "folded")
    firmware = build.firmware.model_copy(update={"points_per_clock": 4, "keys_per_clock": 4})
    with pytest.raises(ExportRefused, match=r"no layer of this model works on pairs of its 8 points. Received: 4"):
        open_backend("folded").write(hept, build.model_copy(update={"firmware": firmware}), tmp_path / "hept")
    assert list(tmp_path.iterdir()) == []


def test_all_keys_are_no_folded_keys(tmp_path: Path) -> None:
    _, project = written("part", "none_mean", 2, tmp_path / "rtl", 4, keys_per_clock=4)
    _, plain = written("part", "none_mean", 2, tmp_path / "plain", 4)
    texts = [[path.read_text() for path in one.sources] for one in (project, plain)]
    assert texts[0] == texts[1]
    assert (project.facts["keys_per_clock"], project.facts["ii_cycles"]) == (None, 2)


def test_the_project_says_how_often_a_beat_is_taken(tmp_path: Path) -> None:
    _, project = written("part", "deferred", 2, tmp_path / "rtl", 4, keys_per_clock=2)
    facts = json.loads((project.path / "plan.json").read_text())
    assert (facts["keys_per_clock"], facts["ii_cycles"], facts["kernels"][0]["pace"]) == (2, 4, 2)
    ports = json.loads((project.path / "ports.json").read_text())
    assert ports["event"] == {"points": 4, "points_per_clock": 2, "keys_per_clock": 2, "beats": 2, "clocks": 4}
    assert "a word is taken every 2 clocks at most" in ports["streams"]["in_beat"]["order"]


def test_rows_of_the_plan_that_were_scaled_are_near_what_is_traced() -> None:
    cfg, quant, _, model = models_of("part", "deferred", 12)
    build = build_of("part", cfg, quant, "folded")
    limit = stage_ns(build.firmware)
    known = [traced(model, build, choice) for choice in (Choice(1, 2), Choice(1, 3))]
    for choice in (Choice(1, 6), Choice(2, 3)):
        true = traced(model, build, choice)
        found = scaled(known, choice, 12, true.layers, limit)
        assert not found.traced
        assert not found.other_kernels
        assert (
            found.ii_cycles == true.ii_cycles == (12 // choice.points_per_clock) * (12 // (choice.keys_per_clock or 1))
        )
        assert found.lut == pytest.approx(true.lut, rel=0.06)
        assert found.products == true.products
        assert found.store_bits == pytest.approx(true.store_bits, rel=0.05)
        assert found.latency_cycles == pytest.approx(true.latency_cycles, abs=4)


def test_the_plan_has_rows_for_every_k() -> None:
    cfg, quant, _, model = models_of("part", "none_mean", 4)
    found = survey(model, build_of("part", cfg, quant, "folded"), seconds=1e-9)
    assert [(row.choice.points_per_clock, row.choice.keys_per_clock) for row in found.rows] == [
        (1, None), (2, None), (4, None), (1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2),
    ]  # fmt: skip
    assert [row.ii_cycles for row in found.rows] == [4, 2, 1, 16, 8, 8, 4, 4, 2]
    assert [row.choice for row in found.rows if row.traced] == [Choice(1), Choice(1, 1)]
    assert str(Choice(1, 2)) == "T = 1, K = 2"
    assert Choice(1, 2).yaml == "firmware: {backend: folded, points_per_clock: 1, keys_per_clock: 2}"


def test_a_plan_of_an_older_version_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    model, project = written("part", "none_mean", 2, tmp_path / "rtl", 2)
    path, events = project.path / "plan.json", adversarial(model).inputs
    whole = json.loads(path.read_text())
    older = {key: value for key, value in whole.items() if key not in ("keys_per_clock", "key_axes")}
    path.write_text(json.dumps(older))
    again = r"; write the project again with qformers export"
    with pytest.raises(
        HlsError, match=r"plan.json: an older version wrote it, it lacks keys_per_clock, key_axes" + again
    ):
        open_project(project.path).outputs(events, "interpreter")
    path.write_text(json.dumps({**whole, "kernels": [{"kernel": 0}]}))
    with pytest.raises(HlsError, match="it lacks beats of a kernel, stages of a kernel"):
        open_project(project.path).outputs(events, "emulator")
    for text in ("[]", "{", '{"kernels": 3}'):
        path.write_text(text)
        with pytest.raises(HlsError, match=r"plan\.json.*(is damaged|lacks)"):
            open_project(project.path).outputs(events, "interpreter")
