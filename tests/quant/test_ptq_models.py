"""Post-training quantisation of small ParTs: slots, ranges, cost, build files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from hgq.utils.minmax_trace import TrainingFlagWrapper
from support.ptq import FORMATS, gathered, tiny
from support.quantised import float_part, inputs_of, jets, small

from qformers.builds.models import build_model, load_model
from qformers.errors import ConfigError
from qformers.precision.fixed import Fixed
from qformers.quant.hardware import recounted
from qformers.quant.ptq import run_folder
from qformers.quant.ptq.cost import Cost, Dials
from qformers.quant.ptq.ebops import formula_of
from qformers.quant.ptq.evaluator import Evaluator, SearchJets
from qformers.quant.ptq.ranges import Rule, calibrated
from qformers.quant.ptq.slots import LOGITS, Slot, formats_of, place_of, slots_of, with_formats
from qformers.quant.ptq.tune import search_key, start_of, write_yaml
from qformers.quant.ptq.workshop import Workshop, read_float_model
from qformers.train.beta import ebops


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> run_folder.Material:
    """A tiny float model and its data."""
    return gathered(tmp_path_factory.mktemp("float"))


def test_slots_are_what_a_build_file_can_say(material: run_folder.Material) -> None:
    formats = material.shop.formats
    assert formats[LOGITS] == Fixed(True, 3, 5)
    assert formats[Slot("embed0", "weight")] == Fixed.parse(FORMATS["weight"])
    assert formats[Slot("b0_attn_weights", "exp_table")].rounding == "RND_CONV"
    assert {place_of(slot) for slot in formats} == {"weight", "bias", "value", "table"}
    held = material.shop.slots(material.shop.template)
    assert {quantiser.name for quantiser in held[LOGITS]} == {
        "b0_attn_logits_bias_iq0",
        "b0_attn_logits_bias_iq1",
        "b0_attn_logits_iq0",
        "pair_bias_iq",
    }
    for slot, quantiser in held.items():
        if slot != LOGITS:
            assert quantiser[0].layer.name == slot.layer
    free = {slot for slot in formats if material.shop.is_free(slot)}
    assert Slot("b0_attn_scores", "input1") in free
    assert (
        not {Slot("pair_deta2", "input"), Slot("pool_product", "input1"), Slot("b0_attn_weights", "exp_table")} & free
    )


def test_any_formats_come_back_from_the_model(material: run_folder.Material) -> None:
    """Each slot gets bits of its own, so that two that were mixed up would show."""
    rng = np.random.default_rng(1)
    wanted = {
        slot: replace(form, fraction_bits=form.fraction_bits - int(rng.integers(0, 3)))
        for slot, form in material.shop.formats.items()
    }
    assert formats_of(material.shop.slots(material.shop.empty(wanted))) == wanted


@pytest.mark.slow
def test_formats_go_behind_globs_and_words_that_say_the_same(material: run_folder.Material) -> None:
    build = tiny(layers={"b0_attn_q": {"activation": "fixed<7,3>"}, "b0_*": {"weight": "fixed<6,2,RND,SAT_SYM>"}})
    slot = Slot("b0_attn_q", "input")
    weight = Slot("b0_attn_q", "weight")
    said = with_formats(build, {slot: Fixed(True, 1, 2), weight: Fixed(True, 0, 2, "RND", "SAT_SYM")})
    formats = replace(material.shop, build=said).formats
    assert formats[slot] == Fixed(True, 1, 2)
    assert formats[weight].width == 3
    assert formats[Slot("b0_attn_k", "weight")].width == 6
    with pytest.raises(ConfigError, match="needs a section 'quant' in the build file"):
        with_formats(build.model_copy(update={"quant": None}), {})


def test_calibration_keeps_widths_and_nothing_is_cut_off(material: run_folder.Material) -> None:
    from qformers.quant.audit import audit

    formats = calibrated(material.shop, Rule(quantile=1.0))
    for slot, form in material.shop.formats.items():
        assert formats[slot].width == form.width
        if not material.shop.is_free(slot):
            assert formats[slot] == form
    assert formats != material.shop.formats
    model = material.shop.model(formats)
    free = {q.name for slot, held in material.shop.slots(model).items() if material.shop.is_free(slot) for q in held}
    for row in audit(model, material.shop.inputs):
        if row.name not in free:
            continue
        if row.place in ("weight", "bias"):  # one within half a step of the power of two is rounded to it and clipped
            assert max(row.seen_high, -row.seen_low) <= 2.0 ** Fixed.parse(row.widest).integer_bits, row
        else:  # rounding in front of a layer moves its values by little
            assert row.saturated < 0.02, row


def test_cost_and_outputs_follow_the_dials(material: run_folder.Material) -> None:
    """EBOPs without running the model are HGQ2's; the compiled function gives what a model of these formats gives."""
    shop, labels = material.shop, np.zeros(50, np.int64)
    classes = int(shop.template.output.shape[-1])
    evaluator = Evaluator(
        shop, shop.formats, SearchJets(shop.inputs, labels, np.zeros((50, classes), np.float32)), False
    )
    assert evaluator.measure(shop.formats).ebops == ebops(evaluator.model)
    rng = np.random.default_rng(0)
    for _ in range(2):
        formats = {
            slot: replace(form, fraction_bits=form.fraction_bits - int(rng.integers(0, 4)))
            for slot, form in shop.formats.items()
        }
        changed = {slot: formats[slot] for slot in list(formats)[5:15]}
        before = evaluator.cost.total(shop.formats)
        difference = evaluator.cost.change(shop.formats, changed)
        assert evaluator.cost.total({**shop.formats, **changed}) == before + difference
        model = shop.model(formats)
        assert evaluator.measure(formats).ebops == ebops(model)
        expected = np.asarray(model(shop.inputs, training=False))
        np.testing.assert_array_equal(evaluator.logits(formats), expected)
    with pytest.raises(ValueError, match=r"embed0_kq is RND, SAT_SYM. Received: fixed<8,2,TRN,SAT_SYM>"):
        evaluator.dials.set({Slot("embed0", "weight"): Fixed(True, 1, 6, "TRN", "SAT_SYM")})


def test_cost_of_folded_hardware_is_what_hgq2_counts(material: run_folder.Material) -> None:
    """The closed forms have the factors of the layers, and of the tables in a softmax, and round down as HGQ2 does."""
    firmware = material.build.firmware.model_copy(update={"backend": "folded", "points_per_clock": 1})
    shop = replace(material.shop, build=material.build.model_copy(update={"firmware": firmware}))
    whole, folded = material.shop.model(), shop.model()
    rng, slots = np.random.default_rng(0), shop.slots(folded)
    cost, at_once = Cost(folded, Dials(slots)), Cost(whole, Dials(material.shop.slots(whole)))
    shared = {name for name, layer in cost.layers.items() if layer.ebops_factor == 0.25}
    assert {"b0_attn_q", "b0_attn_scores", "b0_attn_logits", "b0_attn_weights", "b0_ffn_residual"} <= shared
    assert "logits" in set(cost.layers) - shared
    assert {"QEinsum", "QEinsumDense", "QAdd", "QSoftmax"} <= {type(cost.layers[name]).__name__ for name in shared}
    for name in shared:
        assert formula_of(cost.layers[name]) is not None, name  # none of them is left to HGQ2
    for _ in range(3):
        formats = {
            slot: replace(form, fraction_bits=form.fraction_bits - int(rng.integers(0, 4)))
            for slot, form in shop.formats.items()
        }
        cost.dials.set(formats)
        few = {name: array[:2] for name, array in shop.inputs.items()}
        folded(few, training=TrainingFlagWrapper("tracing"))  # HGQ2 counts
        assert cost.total(formats) == ebops(folded) == sum(recounted(layer) for layer in cost.layers.values())
        assert cost.total(formats) < at_once.total(formats)


def test_what_was_measured_for_other_hardware_is_not_taken_over(material: run_folder.Material) -> None:
    """The journal of a search belongs to the EBOPs of one hardware; without folding its key is what it was."""
    start = start_of(material.shop, Rule(), 9)
    classes = int(material.shop.template.output.shape[-1])
    jets = SearchJets(material.shop.inputs, np.zeros(50, np.int64), np.zeros((50, classes), np.float32))
    keys = set()
    for settings in ({}, {"points_per_clock": 2}, {"backend": "folded"}, {"backend": "folded", "points_per_clock": 2}):
        firmware = material.build.firmware.model_copy(update=settings)
        keys.add(
            search_key(
                replace(material.shop, build=material.build.model_copy(update={"firmware": firmware})), start, jets
            )
        )
    assert len(keys) == 3  # points_per_clock alone says nothing


@pytest.mark.parametrize("plain", [pytest.param(True, marks=pytest.mark.slow), False])
def test_the_build_file_written_gives_the_same_formats(
    material: run_folder.Material, tmp_path: Path, plain: bool
) -> None:
    config = tmp_path / "configs" / "base.yaml"
    config.parent.mkdir()
    config.write_text(material.build.to_yaml())
    formats = dict(start_of(material.shop, Rule(), 9).formats)
    build = write_yaml(material, config if plain else None, formats, tmp_path / "out" / "tuned.yaml")
    tree = yaml.safe_load((tmp_path / "out" / "tuned.yaml").read_text())
    assert tree.get("extends") == ("../configs/base.yaml" if plain else None)
    assert build.name == "part_demo_tuned"
    assert build.quant is not None
    assert not build.quant.learn
    assert replace(material.shop, build=build).formats == formats


@pytest.mark.slow
def test_a_glob_that_would_win_makes_the_build_file_whole(material: run_folder.Material, tmp_path: Path) -> None:
    """A name that the base file has in front of a glob stays in front of it when the file is extended."""
    layers = {"embed0": {"weight": "fixed<7,2,RND,SAT_SYM>"}, "embed*": {"weight": "fixed<6,2,RND,SAT_SYM>"}}
    base = replace(material, build=tiny(layers=layers), shop=replace(material.shop, build=tiny(layers=layers)))
    config = tmp_path / "base.yaml"
    config.write_text(base.build.to_yaml())
    formats = {**base.shop.formats, Slot("embed0", "weight"): Fixed(True, 1, 3, "RND", "SAT_SYM")}
    build = write_yaml(base, config, formats, tmp_path / "tuned.yaml")
    assert "extends" not in yaml.safe_load((tmp_path / "tuned.yaml").read_text())
    assert replace(base.shop, build=build).formats == formats


def test_what_is_no_float_model_is_refused(material: run_folder.Material, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing.keras: no such file; train the float phase first"):
        read_float_model(tmp_path / "missing.keras")
    material.shop.template.save(tmp_path / "quantised.keras")
    with pytest.raises(ConfigError, match=r"quantised.keras: is a quantised model already; .*from the float one"):
        read_float_model(tmp_path / "quantised.keras")
    with pytest.raises(ConfigError, match=r"was saved before models kept that; make it anew with build_model"):
        slots_of(keras.Model(material.shop.template.inputs, material.shop.template.outputs))
    assert set(slots_of(load_model(tmp_path / "quantised.keras"))) == set(slots_of(material.shop.template))
    with pytest.raises(ConfigError, match=r"--widest must be 4 to 24 bits: float32 holds 24. Received: 40"):
        start_of(material.shop, Rule(), 40)


def test_a_trained_run_is_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "qat"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"stage": "train.qat"}))
    with pytest.raises(ConfigError, match=r"holds a model of stage 'train.qat', which is not to be .*--out"):
        run_folder.refuse_other(tmp_path)
    (folder / "manifest.json").write_text(json.dumps({"stage": "ptq"}))
    run_folder.refuse_other(tmp_path)


@pytest.mark.slow
def test_class_tokens_have_slots_too() -> None:
    """Layers whose weights are computed from several float layers are quantised as the others."""
    from support.quantised import CLASSES, NATURAL, quantised_part

    cfg = small("none", "class_token")
    inputs = inputs_of(quantised_part(cfg), jets(20))
    build = tiny().model_copy(update={"model": cfg})
    build = build.model_copy(update={"data": build.data.model_copy(update={"num_particles": 5})})
    names = tuple(f"class{i}" for i in range(CLASSES))
    shop = Workshop(build, float_part(cfg), lambda one: build_model(one, NATURAL, names, "hgq"), inputs)
    of_logits = {quantiser.name for quantiser in shop.slots(shop.template)[LOGITS]}
    assert of_logits == {"b0_attn_logits_iq0", "c0_attn_slots_iq", "c0_attn_logits_iq0"}
    formats = calibrated(shop, Rule())
    assert formats_of(shop.slots(shop.model(formats))) == formats
