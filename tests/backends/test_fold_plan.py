"""The plan of folded firmware: what each T takes, traced or scaled, and the picture of kernels and stores."""

from __future__ import annotations

import copy
import csv
import functools
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.battery import NARROW, build_of, models_of
from support.paths import CONFIGS
from support.quantised import NATURAL

from hls import cli
from hls.backends import open_backend
from hls.backends.alkaid.stages import Amount, amount
from hls.backends.folded import picture
from hls.backends.folded.survey import Choice, KernelCost, Row, Survey, choices, scaled, survey, traced
from hls.backends.folded.writer import design, stage_ns
from hls.cli import fold_plan as command
from hls.errors import ExportRefused, HlsError
from hls.stages.fold_plan import FoldPlan, Limits, fold_plan
from qformers.builds.build import Build, load
from qformers.builds.models import fresh_model
from qformers.builds.saved import save_model
from qformers.data import dataset_of, open_split
from qformers.errors import ConfigError
from qformers.models import MODELS
from qformers.models.sizes import Jet
from qformers.nn.hgq import Hgq
from qformers.records import read_record

PART = str(CONFIGS / "part_tiny.yaml")
DEEPSETS = str(CONFIGS / "deepsets_jets8.yaml")
SMALL = ("--set", "data.num_particles=4", "--set", "model.phi_widths=[4]", "--set", "model.rho_widths=[4]")
SVG = "{http://www.w3.org/2000/svg}"


@functools.cache
def quantised(name: str, form: str, points: int) -> tuple[Any, Build]:
    """A small model with weights drawn from a seed, and its build."""
    arch = MODELS[name]
    cfg = arch.forms[form]
    quant = NARROW.model_copy(update={"granularity": "channel"})
    keras.utils.set_random_seed(3)
    model = arch.build(arch.fixed(cfg), Jet(points, 3, 3, NATURAL), Hgq(quant))
    return model, build_of(name, cfg, quant, "folded")


@functools.cache
def row(name: str, form: str, points: int, together: int) -> Row:
    return traced(*quantised(name, form, points), Choice(together))


@pytest.mark.parametrize(
    ("name", "form", "points", "fitted", "wanted"),
    [
        ("part", "none_mean", 4, (1, 2), 4),
        ("part", "none_mean", 4, (1,), 2),
        ("deepsets", "mean", 4, (1, 2), 4),
        pytest.param("part", "onchip_mean", 6, (1, 2), 6, marks=pytest.mark.slow),
        pytest.param("part", "input_class_token", 6, (1, 2), 6, marks=pytest.mark.slow),
        pytest.param("part", "none_mean", 12, (2, 3), 12, marks=pytest.mark.slow),
        pytest.param("jedi_linear", "affine", 8, (1, 2), 8, marks=pytest.mark.slow),
    ],
)
def test_what_is_scaled_is_near_what_is_traced(
    name: str, form: str, points: int, fitted: tuple[int, ...], wanted: int
) -> None:
    model, build = quantised(name, form, points)
    known = [row(name, form, points, together) for together in fitted]
    true, choice = row(name, form, points, wanted), Choice(wanted)
    found = scaled(known, choice, points, choices(model, build)[choice], stage_ns(build.firmware))
    assert found.scaled_from == fitted
    assert not found.traced
    assert not found.other_kernels
    assert found.ii_cycles == true.ii_cycles == points // wanted
    assert found.lut == pytest.approx(true.lut, rel=0.02)
    assert found.products == true.products > 0
    assert found.store_bits == pytest.approx(true.store_bits, rel=0.05)
    assert abs(found.latency_cycles - true.latency_cycles) <= 2
    assert found.longest_path_ns == pytest.approx(true.longest_path_ns, rel=0.1)
    assert found.register_bits == pytest.approx(true.register_bits, rel=0.05)


def test_a_traced_row_is_what_the_writer_writes(tmp_path: Path) -> None:
    model, build = quantised("part", "none_mean", 4)
    planned = row("part", "none_mean", 4, 2)
    project = open_backend("folded").write(model, Choice(2).of(build), tmp_path / "rtl")
    facts = json.loads((project.path / "plan.json").read_text())
    assert json.loads(json.dumps(planned.facts)) == facts
    report = project.reports()[0]
    assert (planned.ii_cycles, planned.latency_cycles) == (report.ii_cycles, report.latency_cycles)
    assert (round(planned.lut), planned.dsp) == (report.resources["lut"], report.resources["dsp"])
    assert planned.register_bits + planned.store_bits == report.resources["ff"]


def test_the_amounts_of_a_pipeline_are_those_that_it_has() -> None:
    model, build = quantised("deepsets", "mean", 4)
    for cut in design(model, Choice(1).of(build)).cuts:
        whole = amount(cut)
        assert whole.lut == pytest.approx(cut.comb.cost)
        assert whole.register_bits == cut.register_bits
        nothing = amount(cut, cut.comb.shape[0])  # what needs no input: constants
        assert (nothing.lut, nothing.products) == (0, 0)
        some = amount(cut, 1)
        assert 0 < some.lut <= whole.lut
        assert 0 < some.register_bits <= whole.register_bits


def test_products_in_dsp_blocks_are_planned() -> None:
    model, build = quantised("part", "none_mean", 4)
    firmware = build.firmware.model_copy(update={"multipliers": "dsp"})
    rows = survey(model, build.model_copy(update={"firmware": firmware}), seconds=1e-9).rows
    facts, plain = rows[0].facts, row("part", "none_mean", 4, 1)
    assert facts is not None
    assert rows[0].dsp == facts["dsp_estimate"] > 0
    assert rows[0].products == plain.products >= rows[0].dsp
    assert rows[0].lut < plain.lut
    assert rows[2].dsp > 3 * rows[0].dsp
    assert f"{rows[0].dsp:,} DSP (estimates)" in picture.svg(facts)


def test_the_smallest_t_are_traced_while_time_lasts() -> None:
    model, build = quantised("deepsets", "mean", 4)
    found = survey(model, build, seconds=1e-9)
    assert [one.choice.points_per_clock for one in found.rows] == [1, 2, 4]
    assert [one.scaled_from for one in found.rows] == [(), (1,), (1,)]
    assert [one.ii_cycles for one in found.rows] == [4, 2, 1]
    assert found.points == 4
    whole = survey(model, build, seconds=1e9)
    assert all(one.traced and one.facts is not None and one.traced_s is not None for one in whole.rows)
    assert [one.lut for one in whole.rows] == sorted(one.lut for one in whole.rows)


def kernel(number: int, layer: str, beats: int, **amounts: Any) -> KernelCost:
    own = {
        "depth": 4, "lut": 100.0, "products": 10, "dsp": 7, "register_bits": 50, "of_event": Amount(20.0, 2, 10, 1),
        "store_bits": 7, "longest_path_ns": 4.0, "unpipelined_path_ns": 16.0,
    }  # fmt: skip
    return KernelCost(number, (layer,), beats, **{**own, **amounts})


def test_the_rules_of_scaling() -> None:
    event = kernel(1, "b", 1, of_event=Amount(100.0, 10, 50, 7))
    one = Row(Choice(1), (kernel(0, "a", 8), event), 5.0)
    two = Row(Choice(2), (kernel(0, "a", 4, lut=190.0, unpipelined_path_ns=18.0), event), 5.0)
    layers = (("a",), ("b",))
    beat, still = scaled([one], Choice(4), 8, layers, 4.5).kernels
    assert (beat.lut, beat.products, beat.register_bits) == (20 + 80 * 4, 2 + 8 * 4, 10 + 40 * 4)
    assert beat.dsp == 1 + 6 * 4
    assert (beat.beats, beat.depth, beat.store_bits, beat.unpipelined_path_ns) == (2, 4, 7, 16.0)
    assert still == event
    beat, still = scaled([one, two], Choice(8), 8, layers, 4.5).kernels
    assert (beat.lut, beat.products, beat.register_bits, beat.beats) == (20 + 170 * 4, 2 + 8 * 4, 10 + 40 * 4, 1)
    assert beat.unpipelined_path_ns == 18 + 2 * 2  # two more doublings of T
    assert beat.depth == 4 + 1  # 22 ns less 18 ns are one stage of 4.5 ns
    assert still == event


def test_kernels_that_none_traced_has_are_scaled_from_others_and_said_to_be() -> None:
    rows = Row(Choice(1), (kernel(0, "a", 8), kernel(1, "b", 8)), 5.0)
    found = scaled([rows], Choice(8), 8, (("a", "b"),), 4.5)
    assert found.other_kernels
    assert (found.ii_cycles, len(found.kernels)) == (1, 2)
    joined = Row(Choice(2), (kernel(0, "b", 4),), 5.0)
    found = scaled([rows, joined], Choice(8), 8, (("b",),), 4.5)
    assert not found.other_kernels
    assert found.scaled_from == (2,)


def test_choices_divide_the_points_and_spell_the_build_file() -> None:
    model, build = quantised("deepsets", "mean", 12)
    assert [choice.points_per_clock for choice in choices(model, build)] == [1, 2, 3, 4, 6, 12]
    assert Choice(4).of(build).firmware == build.firmware.model_copy(update={"points_per_clock": 4})
    keyed = build.model_copy(update={"firmware": build.firmware.model_copy(update={"keys_per_clock": 3})})
    assert Choice(4).of(keyed).firmware == Choice(4).of(build).firmware
    assert Choice(4).yaml == "firmware: {backend: folded, points_per_clock: 4}"


def test_blocks_come_in_whole() -> None:
    cfg, quant, _, model = models_of("hept", "two_orders")
    build = build_of("hept", cfg, quant, "folded")
    found = [choice.points_per_clock for choice in choices(model, build)]
    assert found == [4, 8]
    rows = survey(model, build, seconds=1e-9).rows
    assert [one.choice.points_per_clock for one in rows] == found
    facts = rows[0].facts
    assert facts is not None
    assert rows[0].lut == pytest.approx(facts["lut_estimate"])
    assert facts["moves_lut_estimate"] > 0
    assert (rows[0].store_bits, rows[0].latency_cycles) == (facts["store_bits"], facts["latency_cycles"])
    texts = [text.text or "" for text in ElementTree.fromstring(picture.svg(facts)).iter(f"{SVG}text")]  # noqa: S314
    assert {"gathered", "scattered", "registers, multiplexers"} <= set(texts)
    assert "out_beat: 4 points per clock, as they are made" in texts


def planned(limits: Limits) -> FoldPlan:
    """T = 1, 2 and 4: II 20, 10 and 5 ns, 100, 200 and 400 LUT."""
    rows = tuple(Row(Choice(t), (kernel(0, "a", 4 // t, lut=100.0 * t),), 5.0, traced_s=1.0) for t in (1, 2, 4))
    return FoldPlan(load(PART), None, Survey(4, 5.0, rows), limits)


@pytest.mark.parametrize(
    ("limits", "together", "said"),
    [
        (Limits(), None, "in the build file, with the T of a row: firmware: {backend: folded, points_per_clock: 1}"),
        (Limits(ii_ns=10), 2, "fewest LUT with II <= 10 ns: firmware: {backend: folded, points_per_clock: 2}"),
        (Limits(lut=250), 2, "shortest II with LUT <= 250: firmware: {backend: folded, points_per_clock: 2}"),
        (
            Limits(latency_ns=25),
            4,
            "fewest LUT with latency <= 25 ns: firmware: {backend: folded, points_per_clock: 4}",
        ),
        (
            Limits(5, None, 300),
            None,
            "no T keeps II <= 5 ns, LUT <= 300; "
            "the shortest II is 5 ns, the shortest latency 25 ns, the fewest LUT 100",
        ),
    ],
)
def test_the_choice_keeps_the_limits(limits: Limits, together: int | None, said: str) -> None:
    result = planned(limits)
    assert (None if result.chosen is None else result.chosen.choice.points_per_clock) == together
    assert repr(result).splitlines()[-1] == said


def test_a_path_longer_than_the_clock_is_said() -> None:
    slow = Row(Choice(1), (kernel(0, "a", 4, longest_path_ns=5.2),), 5.0, traced_s=1.0)
    said = repr(FoldPlan(load(PART), None, Survey(4, 5.0, (slow,)), Limits()))
    assert "longest path of T = 1 5.20 ns in alkaid's delay model, more than the clock of 5 ns" in said
    assert "longest path of" not in repr(planned(Limits()))


def test_keys_that_the_model_does_not_have_are_said() -> None:
    plan = planned(Limits())
    build = plan.build.model_copy(
        update={"firmware": plan.build.firmware.model_copy(update={"backend": "folded", "keys_per_clock": 2})}
    )
    words = "firmware.keys_per_clock: 2 of the build says nothing here: no layer of this model works on pairs of its 4"
    assert words in repr(replace(plan, build=build))
    assert "keys_per_clock" not in repr(plan)


def test_a_model_made_anew_needs_no_data_and_says_that_it_is_untrained(tmp_path: Path) -> None:
    build = load(DEEPSETS, [word for word in SMALL if "=" in word] + ["data.train=[nowhere/*.h5]"])
    result = fold_plan(build, seconds=1e-9)
    text = repr(result)
    assert "untrained: a model made anew from the build file, weights drawn from seed 1. Its widths are those" in text
    assert "LUT and registers are an upper estimate" in text
    assert "~ from T = 2 on: scaled from those that were traced, for want of time" in text
    path = tmp_path / "model.keras"
    save_model(fresh_model(build, "hgq"), path)
    own = fold_plan(build, path, seconds=1e-9)
    assert "untrained" not in repr(own)
    assert [one.lut for one in own.survey.rows] == [one.lut for one in result.survey.rows]


def test_a_model_made_anew_has_the_inputs_of_the_data() -> None:
    build = load(PART, ["model.pairs=none"])
    split = open_split(build.data, "test")
    models = [fresh_model(build, "hgq") for _ in range(2)]
    assert {tensor.name: tensor.shape[-1] for tensor in models[0].inputs}["features"] == len(split.feature_set)
    assert models[0].output_shape[-1] == len(split.class_names)
    for one, other in zip(models[0].weights, models[1].weights, strict=True):
        assert np.array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))
    hits = load(CONFIGS / "hept_layer.yaml").data
    feature_set, class_names = dataset_of(hits.dataset).numbers(hits)
    assert (len(feature_set), class_names) == (
        dataset_of(hits.dataset).feature_sets[hits.features],
        ("noise", "particle"),
    )
    with pytest.raises(ConfigError, match=r"build 'part_tiny': a model in fixed point needs the section 'quant'"):
        fresh_model(build.model_copy(update={"quant": None}), "hgq")


def test_what_cannot_fold_is_refused_by_layer() -> None:
    with pytest.raises(ExportRefused, match=r"embed0 \(\w+\): its formats differ from point to point; use quant"):
        fold_plan(load(PART, ["model.pairs=none", "quant.granularity=element", "firmware.points_per_clock=3"]))


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "plan"
    words = ["fold-plan", DEEPSETS, *SMALL, "--untrained", "--seconds", "1e-9", "--out", str(out), "--max-lut", "1e9"]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert "shortest II with LUT <= 1,000,000,000: firmware: {backend: folded, points_per_clock: 4}" in printed
    assert sorted(path.name for path in out.iterdir()) == [
        "fold_plan.csv", "fold_plan.json", "fold_plan.png", "plan_T1.svg",
    ]  # fmt: skip
    assert all(f"written: {path}" in printed for path in out.iterdir())
    record = read_record(out / "fold_plan.json", "")
    with (out / "fold_plan.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [int(one["points_per_clock"]) for one in rows] == [1, 2, 4]
    assert [one["scaled_from"] for one in rows] == ["", "1", "1"]
    for one, kept in zip(rows, record["rows"], strict=True):
        assert {key: "" if kept[key] is None else str(kept[key]) for key in one} == one
        assert kept["latency_cycles"] == sum(k["beats"] + k["depth"] + 1 for k in kept["kernels"]) - 1
    assert record["chosen"] == {"points_per_clock": 4, "keys_per_clock": None}
    assert (out / "fold_plan.png").read_bytes().startswith(b"\x89PNG")
    assert cli.main([*words, "--max-ii", "0.1"]) == 1
    assert "no T keeps II <= 0.1 ns, LUT <= 1,000,000,000" in capsys.readouterr().out
    (tmp_path / "notes.txt").write_text("mine")
    assert cli.main([*words[:-4], "--out", str(tmp_path)]) == 2
    assert (
        "holds other files, e.g. notes.txt, and no fold plan; name another folder with --out" in capsys.readouterr().err
    )
    with pytest.raises(HlsError, match=r"and no fold plan"):
        planned(Limits()).save(tmp_path)


def test_the_trained_model_of_the_run_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    build = load(PART)

    def model_of(*words: str) -> Path | None:
        return command._model(command.COMMAND.parse([PART, *words]), build)

    assert model_of() is None
    with pytest.raises(ConfigError, match=r"mine/qat/model.keras is missing; train the build first"):
        model_of("--run", "mine")
    trained = tmp_path / "runs" / "part_tiny" / "qat" / "model.keras"
    trained.parent.mkdir(parents=True)
    trained.touch()
    assert model_of() == trained.relative_to(tmp_path)
    assert model_of("--untrained") is None
    with pytest.raises(ConfigError, match=r"--untrained makes a model anew and goes without --run; leave one out"):
        model_of("--untrained", "--run", "mine")


def facts_of(name: str, form: str, points: int, together: int) -> dict[str, Any]:
    facts = row(name, form, points, together).facts
    assert facts is not None
    return copy.deepcopy(dict(facts))


@pytest.mark.parametrize(
    ("name", "form", "points", "together"),
    [("part", "none_mean", 4, 2), ("deepsets", "mean", 4, 1)],
)
def test_the_picture_has_all_kernels_and_stores(name: str, form: str, points: int, together: int) -> None:
    facts = facts_of(name, form, points, together)
    root = ElementTree.fromstring(picture.svg(facts))  # noqa: S314  our own
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert f"{points} points, {together} of them per clock" in texts
    for one in facts["kernels"]:
        assert f"kernel {one['kernel']}" in texts
        assert any(f"{one['lut_estimate']:,.0f} LUT" in text for text in texts)
        assert any(one["layers"][0] in text for text in texts)
        for kind, bits in one["stores"].items():
            assert (f"{bits:,} bits" in texts) == (bits > 0), kind
    stores = sum(bits > 0 for one in facts["kernels"] for bits in one["stores"].values())
    ends = 2 + sum(not one["stores"] for one in facts["kernels"]) - 1  # of the beats that come in and the outputs
    assert len(list(root.iter(f"{SVG}line"))) == 2 * stores + ends


def test_boxes_hold_their_words_and_do_not_meet() -> None:
    facts = facts_of("part", "none_mean", 4, 1)
    busy = facts["kernels"][1]
    for kind in picture.STORES:  # all kinds side by side, with more names and longer ones than there is room for
        busy["outs"] += [[f"b{i}_a_rather_long_name_of_a_tensor_{i}", kind, [1], []] for i in range(9)]
        busy["stores"][f"{kind}_bits"] = 123_456_789
    busy["rom_bits"] = 1234
    busy["layers"] += [f"b{i}_another_layer" for i in range(100)]
    rows = picture._rows(facts)
    for above, below in pairwise(rows):
        assert max(box.y + box.height for box in above) + 20 < below[0].y
    for boxes in rows:
        for left, right in pairwise(boxes):
            assert left.x + left.width < right.x
        for box in boxes:
            assert box.x > 0
            assert box.x + box.width < picture.WIDTH
            for _, y, text in box.lines:
                assert box.y + 8 < y < box.y + box.height - 3
                assert len(text) * picture.LETTER <= box.width, text
    assert any("weights of the beat: ROM of 1,234 bits" in text for box in rows[3] for text in box.notes)
    assert any("and 9" in text for boxes in rows for box in boxes for _, _, text in box.lines)


def test_a_name_that_is_markup_stays_a_name() -> None:
    facts = facts_of("deepsets", "mean", 4, 1)
    facts["kernels"][0]["layers"] = ["<b>&bold"]
    root = ElementTree.fromstring(picture.svg(facts))  # noqa: S314  our own
    assert any("<b>&bold" in (text.text or "") for text in root.iter(f"{SVG}text"))


def test_rows_say_how_they_were_made() -> None:
    first = planned(Limits()).survey.rows[0]
    other = replace(first, choice=Choice(4), scaled_from=(1, 2), other_kernels=True, traced_s=None)
    result = FoldPlan(load(PART), Path("model.keras"), Survey(4, 5.0, (first, other)))
    text = repr(result)
    assert "traced: 1 s" in text
    assert "scaled: 1, 2 *" in text
    assert "* its plan has other kernels than any that was traced: LUT are an upper estimate" in text
    assert "untrained" not in text
