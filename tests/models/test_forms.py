"""Forms of one function: what the hardware form of an architecture computes in float is what the published one does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from support import hept_fixed
from support.quantised import JET, jets, logits, shaken, small

from qformers.errors import ConfigError
from qformers.models import MODELS
from qformers.models.hept import fixed_hept
from qformers.models.part import fixed_part
from qformers.models.sizes import Points
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from qformers.nn.vocabulary import Linear, Norm
from qformers.quant.fold import transfer


def float_model(name: str, cfg: Any, sizes: Any, seed: int) -> keras.Model:
    """A shaken model in float64."""
    keras.utils.set_random_seed(seed)
    return shaken(MODELS[name].build(cfg, sizes, Float32("float64")), seed)


@pytest.mark.parametrize(
    "changes", [{}, {"norm": "none"}, {"scale_attn": False, "scale_heads": False}, {"pairs": "none", "heads": 1}]
)
def test_scores_of_a_constant_query_are_class_attention(changes: dict[str, Any]) -> None:
    cfg = small(**{"pairs": "onchip", "head": "class_token", **changes})
    published = float_model("part", cfg, JET, 3)
    scores = float_model("part", fixed_part(cfg), JET, 4)
    assert scores.memory.derived.keys() == {"c0_attn_scores", "c0_attn_out", "c0_attn_own"}
    transfer(published, scores)
    events = {name: array.astype(np.float64) for name, array in jets(100).items()}
    np.testing.assert_allclose(logits(scores, events), logits(published, events), rtol=0, atol=1e-10)


@pytest.mark.parametrize("changes", [{"pairs": "onchip"}, {"pairs": "none", "norm": "layer", "blocks": 2}])
def test_a_division_behind_the_sum_of_values_is_the_softmax(changes: dict[str, Any]) -> None:
    direct, deferred = (float_model("part", small(**changes, softmax=form), JET, 3) for form in ("direct", "deferred"))
    transfer(direct, deferred)
    events = {name: array.astype(np.float64) for name, array in jets(100).items()}
    np.testing.assert_allclose(logits(deferred, events), logits(direct, events), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"hashes": 1}, {"hashes": 1, "order": "onchip"}, {"order": "onchip", "layers": 2}, {"norm": "layer"},
        {"coord_scales": (2.0, 0.0, 0.5)}, {"head_norm": True, "activation": "silu", "head_activation": "tanh"},
        {"head": "logits", "outputs": 3, "norm": "none"},
    ],
)  # fmt: skip
def test_attention_of_tables_is_the_kernel(changes: dict[str, Any]) -> None:
    cfg = hept_fixed.small(**changes)
    sizes = Points(8, hept_fixed.FEATURES)
    published, tables = float_model("hept", cfg, sizes, 3), float_model("hept", fixed_hept(cfg), sizes, 4)
    transfer(published, tables)
    events = {name: array.astype(np.float64) for name, array in hept_fixed.events(cfg, 8, 100).items()}
    real = events["mask"] > 0
    ours, wanted = logits(tables, events), logits(published, events)
    np.testing.assert_allclose(ours[real], wanted[real], rtol=0, atol=1e-8)


@pytest.mark.parametrize(("name", "cfg", "sizes", "words"), [
    ("part", small(head="class_token"), JET, "set model.class_attention: scores"),
    ("hept", hept_fixed.small(), Points(8, hept_fixed.FEATURES), "set model.attention: tables"),
])  # fmt: skip
def test_fixed_point_refuses_the_published_form(name: str, cfg: Any, sizes: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MODELS[name].build(cfg, sizes, Hgq(hept_fixed.NARROW))


def test_a_norm_that_no_dense_step_reads_is_refused() -> None:
    def start() -> tuple[Hgq, Any]:
        nn = Hgq(hept_fixed.NARROW)
        nn.declare(point="n", channel="de")
        return nn, nn.input("x", (4, 2), "bnd")

    nn, x = start()
    normed = nn.norm(x, Norm("before", "batch"))
    with pytest.raises(ConfigError, match="both: reads what norm 'before' gives, which fixed point folds into dense"):
        nn.minus(normed, x, "both", axes="bnd")
    with pytest.raises(ConfigError, match="weights: reads what norm 'before' gives"):
        nn.softmax(normed, "weights")
    with pytest.raises(ConfigError, match="logits: reads what norm 'before' gives"):
        nn.logits(normed, None, None, "logits")
    with pytest.raises(ConfigError, match="turned: reads what norm 'before' gives"):  # axis d would be another one
        nn.move(keras.layers.Permute, normed, "turned", dims=(2, 1))
    rows = nn.move(keras.layers.Reshape, normed, "rows", target_shape=(2, 2, 2))  # the norm's axis stays the last
    assert (rows.norms, rows.shape) == (("before",), (None, 2, 2, 2))
    with pytest.raises(ConfigError, match="mixed: reads what norm 'before' gives"):
        nn.move(keras.layers.Reshape, normed, "mixed", target_shape=(8,))
    with pytest.raises(ConfigError, match="joined: reads what norm 'before' gives"):
        nn.move(keras.layers.Add, x, "joined", normed)
    y = nn.dense(x, "step", Linear("bnd,de->bne", {"e": 2}, "e"))
    with pytest.raises(ConfigError, match=r"norm 'before': no dense step reads it.*set model.norm: none"):
        nn.model({"x": x}, y, "lost")
    with pytest.raises(ConfigError, match="norm 'before': no dense step reads it"):
        nn.model({"x": x}, [nn.dense(normed, "taken", Linear("bnd,de->bne", {"e": 2}, "e")), normed], "both")
    nn, x = start()
    y = nn.dense(nn.norm(nn.norm(x, Norm("first", "batch")), Norm("second", "batch")), "step",
                 Linear("bnd,de->bne", {"e": 2}, "e"))  # fmt: skip
    assert nn.model({"x": x}, y, "kept").memory.folds["step"].before == ("first", "second")


def test_a_sum_takes_a_norm_in_and_two_readers_share_it() -> None:
    nn = Hgq(hept_fixed.NARROW)
    nn.declare(point="n", channel="de")
    x = nn.input("x", (4, 2), "bnd")
    normed = nn.norm(x, Norm("before", "batch"))
    y = nn.add(normed, nn.add(x, normed, "bnd", "inner"), "bnd", "outer")
    model = nn.model({"x": x}, y, "kept")
    assert [layer.name for layer in model.layers] == ["x", "before", "inner", "outer"]
    assert model.memory.affine == {"before": ("before",)}


BEFORE, BEHIND = Norm("before", "batch"), Norm("behind", "batch")


@pytest.mark.parametrize(("before", "linear", "words"), [
    (Norm("before", "batch", axis=-2), Linear("bnd,de->bne", {"e": 2}, "e"), "before: .* along the last axis only"),
    (BEFORE, Linear("bnd,nm->bmd", {"m": 2}, "m"), "in front of 'bnd,nm->bmd' cannot be folded: its axis 'd' is"),
    (BEFORE, Linear("bnd,nde->bne", {"e": 2}, "e"), "needs a bias along 'n' too. Received: bias_axes e"),
    (BEFORE, Linear("bnd,dhe->bnhe", {"h": 2, "e": 2}, "e"), "needs a bias along 'h' too"),
    (None, Linear("bnd,nm->bmd", {"m": 2}, "m", norm=BEHIND), "its axis 'd' is not the kernel's"),
    (None, Linear("bnd,dhe->bnhe", {"h": 2, "e": 2}, "h", norm=BEHIND), "needs a bias along 'e' too"),
    (None, Linear("bnd,dhe->bnhe", {"h": 2, "e": 2}, "he", norm=Norm("behind", "batch", axis=-2), head_factors="c",
                  heads=2), "must be of the last axis. Received: axis -2"),
])  # fmt: skip
def test_a_norm_that_a_dense_step_cannot_take_in_exactly_is_refused(
    before: Norm | None, linear: Linear, words: str
) -> None:
    nn = Hgq(hept_fixed.NARROW)
    nn.declare(point="nm", head="h", channel="de")
    x = nn.input("x", (2, 2), "bnd")  # all sizes agree: a wrong axis would go unseen
    with pytest.raises(ConfigError, match=words):
        nn.dense(x if before is None else nn.norm(x, before), "step", linear)
