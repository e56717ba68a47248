"""The fixed-point ParT: folding, masks, saving, formats, audit."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from support.quantised import CLASSES, JET, WIDE, float_part, inputs_of, jets, logits, quantised_part, small

from qformers.builds.models import load_model
from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.models.part.part import part
from qformers.nn import VOCABULARIES
from qformers.nn.index.pairs import SymmetricFill
from qformers.nn.memory import Fold
from qformers.precision.fixed import Fixed
from qformers.quant.audit import audit, widths
from qformers.quant.fidelity import axes_of
from qformers.quant.fold import calibrate, float_to_quantised, folded_dense, to_numpy
from qformers.quant.hardware import layer_ebops
from qformers.quant.kinds import kind_of
from qformers.quant.kinds.record import Incoming
from qformers.quant.quantisers import quantisers, walk

FORMS = [(pairs, head) for pairs in ("onchip", "input", "none") for head in ("mean", "class_token")]


@pytest.fixture(scope="module", params=FORMS, ids=lambda form: "-".join(form))
def pair(request: pytest.FixtureRequest) -> tuple[keras.Model, keras.Model]:
    """A float model and its quantised form with wide formats."""
    cfg = small(*request.param)
    float_model, model = float_part(cfg), quantised_part(cfg, WIDE)
    float_to_quantised(float_model, model, inputs_of(model, jets(1000, seed=5)))
    return float_model, model


def test_wide_formats_come_close_to_float(pair: tuple[keras.Model, keras.Model]) -> None:
    float_model, model = pair
    events = jets(400)
    expected, found = logits(float_model, events), logits(model, events)
    assert found.shape == (400, CLASSES)
    scale = np.std(expected)
    assert np.mean(np.abs(found - expected)) < 0.02 * scale
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999


def test_a_padded_slot_never_changes_a_logit(pair: tuple[keras.Model, keras.Model]) -> None:
    model = pair[1]
    events = jets(300)
    expected = logits(model, events)
    random = np.random.default_rng(2)
    padded = events["mask"] == 0
    noisy = {name: array.copy() for name, array in events.items()}
    noisy["features"][padded] = random.normal(0, 100, (padded.sum(), 3))
    touched = padded[:, :, None] | padded[:, None, :]
    noisy["pairs"][touched] = random.normal(0, 100, (touched.sum(), 4))
    assert padded.sum() > 100
    np.testing.assert_array_equal(logits(model, noisy), expected)


def test_narrow_formats_hide_padded_slots_too() -> None:
    quant = QuantConfig(activation="fixed<6,5>", logits="fixed<6,6>", exp_fraction_bits=4)
    model = quantised_part(small(), quant)
    events = jets(300)
    expected = logits(model, events)
    events["features"][events["mask"] == 0] = 55.0
    np.testing.assert_array_equal(logits(model, events), expected)


def test_empty_jets_give_one_finite_answer(pair: tuple[keras.Model, keras.Model]) -> None:
    events = jets(50)
    events["mask"][:] = 0.0
    found = logits(pair[1], events)
    assert np.all(np.isfinite(found))
    # formats this wide have more bits than float32, so that Keras' products of matrices may round by row
    np.testing.assert_allclose(found, np.broadcast_to(found[0], found.shape), rtol=1e-5)


def test_saving_and_loading_is_exact(pair: tuple[keras.Model, keras.Model], tmp_path: Path) -> None:
    model = pair[1]
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(logits(load_model(tmp_path / "model.keras"), jets(300)), logits(model, jets(300)))


def test_loading_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_text("no model")
    with pytest.raises(ConfigError, match=r"model.keras: is not a model file that can be read"):
        load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("pairs", ["onchip", "input", "none"])
def test_folding_is_exact(pairs: str) -> None:
    """The same model without norms and factors, with folded weights, is the same function in float64."""
    folded_cfg = small(pairs, norm="none", scale_heads=False)
    with_norms, folded = float_part(small(pairs), "float64"), float_part(folded_cfg, "float64")
    recipe = quantised_part(small(pairs)).memory.folds
    assert any(fold.before for fold in recipe.values())
    assert any(fold.after for fold in recipe.values())
    for name, fold in recipe.items():
        kernel, bias = folded_dense(with_norms, name, Fold(fold.before, fold.after))
        folded.get_layer(name)._kernel.assign(kernel)
        folded.get_layer(name).bias.assign(bias.reshape(folded.get_layer(name).bias.shape))
    events = {name: array.astype(np.float64) for name, array in jets(100).items()}
    real = events["mask"].sum(axis=1) > 0  # a norm of an empty jet's zero is not zero; nothing is read of it
    expected, found = logits(with_norms, events)[real], logits(folded, events)[real]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_transfer_refuses_models_that_do_not_belong_together(tmp_path: Path) -> None:
    model = quantised_part(small("onchip"))
    with pytest.raises(ConfigError, match=r"layer 'pair0' of the quantised model needs pair0.*of the float model"):
        float_to_quantised(float_part(small("none")), model, inputs_of(model, jets(10)))
    model.save(tmp_path / "model.keras")
    del model.memory
    with pytest.raises(ConfigError, match=r"does not know what has to be folded where: it was saved before"):
        float_to_quantised(float_part(small()), model, inputs_of(model, jets(10)))


@pytest.mark.parametrize("head", ["mean", "class_token"])
def test_a_model_from_a_file_can_be_filled(head: str, tmp_path: Path) -> None:
    floating, fresh = float_part(small(head=head)), quantised_part(small(head=head))
    fresh.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.memory == fresh.memory
    assert loaded.memory.asked["logits"]["weight"].source == "default"
    events = inputs_of(fresh, jets(100))
    for model in (fresh, loaded):
        float_to_quantised(floating, model, events)
    np.testing.assert_array_equal(logits(loaded, events), logits(fresh, events))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pairs": "vectors"}, "choose pairs: input .* or pairs: onchip"),
        ({"head": "class_token", "class_blocks": 2}, "takes one class block.*Received: class_blocks=2"),
        ({"remove_self_pair": True}, "remove_self_pair: true goes with pairs: vectors"),
    ],
)
def test_what_fixed_point_cannot_say_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        quantised_part(small(**changes))


def test_bits_of_one_layer_come_from_the_build_file() -> None:
    layers = {"b0_ffn_*": {"weight": "fixed<4,1,RND,SAT_SYM>"}, "logits": {"activation": "fixed<7,3>"}}
    model = quantised_part(small(), QuantConfig(learn=False, layers=layers))
    found = {q.name: q for q in quantisers(model)}
    assert set(found["b0_ffn_fc1_kq"].widths().ravel()) == {4}
    assert set(found["b0_attn_q_kq"].widths().ravel()) == {8}
    k, i, f = found["logits_iq"].kif()
    assert (k.item(), i.item(), f.item()) == (1, 2, 4)
    assert not any(q.learned for q in found.values())


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ({"b0_attn_w": {"weight": "fixed<4,1>"}}, "no layer is called 'b0_attn_w'; did you mean 'b0_attn_"),
        ({"b0_ffn_residual": {"weight": "fixed<4,1>"}}, "layer 'b0_ffn_residual' has no weight to be set; .*input0, i"),
        ({"b0_attn_weights": {"exp_table": "fixed<9,1>"}}, "softmax 'b0_attn_weights': exp_table is spelt ufixed<W,I"),
        ({"b0_attn_weights": {"exp_table": "ufixed<14,1,RND_CONV,SAT>"}}, "at whose end exp_table has to give 0.*<14"),
    ],
)
def test_wrong_formats_are_refused(layers: dict[str, dict[str, str]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        quantised_part(small(), QuantConfig(layers=layers))


def test_calibration_leaves_nothing_outside_the_range() -> None:
    model = quantised_part(small(), QuantConfig(activation="fixed<8,1>"))
    events = inputs_of(model, jets(500))
    before = {row.name: row.saturated for row in audit(model, events)}
    assert before["embed0_iq"] > 0.1  # ln pT up to 6 in a format that ends at 1
    calibrate(model, events, start=True)
    for row in audit(model, events):
        if row.learned and row.place == "input":
            assert row.saturated == 0.0, row


def test_audit_counts_what_is_cut_off() -> None:
    model = quantised_part(small("none"), QuantConfig(learn=False, layers={"embed0": {"activation": "fixed<4,3>"}}))
    events = inputs_of(model, jets(1000))
    row = next(row for row in audit(model, events) if row.name == "embed0_iq")
    values = events["features"]
    assert row.seen_low == pytest.approx(values.min())
    assert row.seen_high == pytest.approx(values.max())
    assert row.saturated == pytest.approx(np.mean((values > 3.5 + 0.25) | (values < -4 - 0.25)))
    assert row.saturated > 0.05
    assert row.width_max == 4
    assert row.widest == "fixed<4,3,RND,SAT>"


def test_walking_the_layers_is_running_the_model() -> None:
    model = quantised_part(small())
    events = inputs_of(model, jets(50))
    last, tensors = list(walk(model, events))[-1]
    np.testing.assert_array_equal(to_numpy(last(tensors[0])), logits(model, events))


def test_widths_lists_learned_quantisers_only() -> None:
    found = widths(quantised_part(small()))
    assert len(found["b0_attn_q_kq"]) == 8 * 8  # one per weight
    assert "pair_ln_pt_harder_kq" not in found
    assert "b0_attn_weights_exp_iq" not in found


def test_training_moves_widths_and_constants_stay() -> None:
    model = quantised_part(small())
    events = inputs_of(model, jets(256))
    float_to_quantised(float_part(small()), model, events)
    kernel = to_numpy(model.get_layer("pair_ln_pt_harder")._kernel)
    assert set(np.unique(kernel)) == {0.0, 1.0}
    before = sum(widths(model)["b0_ffn_fc1_kq"])
    for layer in model._flatten_layers():
        if getattr(layer, "_beta", None) is not None:
            layer._beta.assign(1e-3)
    labels = np.random.default_rng(0).integers(0, CLASSES, 256)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss, jit_compile=False)
    model.fit(events, labels, batch_size=64, epochs=10, verbose=0)
    assert sum(widths(model)["b0_ffn_fc1_kq"]) < before
    np.testing.assert_array_equal(to_numpy(model.get_layer("pair_ln_pt_harder")._kernel), kernel)


@pytest.mark.parametrize("vocabulary", ["float32", "hgq"])
def test_no_constant_of_a_layer_grows_beyond_the_cube_of_the_particles(vocabulary: str) -> None:
    particles = 64
    model = part(small(), replace(JET, num_particles=particles), VOCABULARIES[vocabulary](QuantConfig()))
    for layer in model.layers:
        said = (value for value in layer.get_config().values() if isinstance(value, list))
        constants = [np.shape(value) for value in said] + [tuple(variable.shape) for variable in layer.variables]
        assert max(map(math.prod, constants), default=0) <= particles**3, layer.name


def test_the_pair_bias_is_rounded_and_laid_out_in_one_layer() -> None:
    model = quantised_part(small())
    layer = model.get_layer("pair_bias")
    kind, held = kind_of(layer), list(kind_of(layer).quantisers(layer))
    assert [(q.name, q.slot, q.sees) for q in held] == [("pair_bias_iq", "input", 0)]
    assert axes_of(model)["pair_bias"] == ("event", "head", "pair", "pair")
    assert "pair_bias" not in layer_ebops(model)  # wires
    values = np.random.default_rng(4).normal(0.0, 40.0, (50, *layer.input.shape[1:])).astype(np.float32)
    form = Fixed.parse(QuantConfig().logits)
    rounded = form.quantise(values.astype(np.float64))
    expected = SymmetricFill(layer.particles, self_pairs=False, dtype="float64")(rounded)
    np.testing.assert_array_equal(to_numpy(layer(values)), to_numpy(expected))
    assert kind.bounds is not None
    bounds, _ = kind.bounds(Incoming(layer, held, [None]))
    assert bounds is not None
    off_diagonal = ~np.eye(layer.particles, dtype=bool)
    for found, end in ((bounds.low, form.low), (bounds.high, form.high)):
        np.testing.assert_array_equal(found, np.broadcast_to(off_diagonal * end, found.shape))
