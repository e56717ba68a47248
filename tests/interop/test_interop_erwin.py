"""Upstream Erwin state dicts: what is accepted, what is refused and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import oracle_erwin
from support.erwin import (
    CLASSES,
    FEATURES,
    VARIANTS,
    empty_model,
    expected,
    random_events,
    random_state,
    real_rows,
    run,
    small,
    wrapped,
)

from qformers.builds.models import load_model
from qformers.errors import WeightsError
from qformers.interop import IMPORTERS, Sizes, import_weights
from qformers.interop import erwin as upstream
from qformers.models.erwin.config import ErwinConfig

CONFIG = small()
KNOWN = {"balls": CONFIG.balls, "neighbours": CONFIG.neighbours, "rotate": CONFIG.rotate}
SIZES = Sizes(particles=21, dtype="float64", options=KNOWN)


def _state(**changes: Any) -> dict[str, Any]:
    return {**wrapped(random_state(CONFIG)), **changes}


@pytest.mark.parametrize("variant", ["published", "stride1", "stride4", "flat", "channels", "no_messages"])
def test_sizes_and_weights_are_read(variant: str, tmp_path: Path) -> None:
    config = small(**VARIANTS[variant])
    state = wrapped(random_state(config))
    known = {**KNOWN, "balls": config.balls, "rotate": config.rotate}
    np.savez(tmp_path / "erwin.npz", **state)
    sizes = Sizes(particles=21, dtype="float64", options=known)
    model, found = import_weights("erwin", tmp_path / "erwin.npz", tmp_path / "erwin.keras", sizes)
    same = {"head_widths": found.head_widths} if config.head == "none" else {}  # of no head nobody knows them
    no_steps = {} if config.mp_steps else {"neighbours": found.neighbours}
    if config.head == "none":
        same |= {"outputs": found.outputs}
    assert found == config.model_copy(update={**same, **no_steps})
    events = random_events(config, 21, [21, 17], seed=3)
    for one in (model, load_model(tmp_path / "erwin.keras")):
        found_rows = real_rows(config, one, events, run(one, events))
        for rows, wanted in zip(found_rows, expected(config, events, one), strict=True):
            np.testing.assert_allclose(rows, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("prefix", ["", "model.", "module.main_model."])
def test_prefix_of_a_wrapper_is_stripped(prefix: str) -> None:
    config = small(head="none")
    model = empty_model(config, 21)
    state = random_state(config)
    upstream.load(model, {prefix + name: array for name, array in state.items()})
    np.testing.assert_array_equal(model.get_layer("embed").kernel.numpy(), state["embed.embed_fn.weight"].T)


def test_every_entry_lands_in_a_weight_and_every_weight_gets_one() -> None:
    """Each entry is the only one with its numbers; queries, keys and values share one."""
    state = {
        name: np.arange(array.size, dtype=float).reshape(array.shape) + 1e4 * (index + 1)
        for index, (name, array) in enumerate(random_state(CONFIG).items())
        if not name.endswith("num_batches_tracked")
    }
    model = empty_model(CONFIG, 21)
    upstream.load(model, wrapped(state))
    found = np.sort(np.concatenate([np.ravel(weight.numpy()) for weight in model.weights]))
    np.testing.assert_array_equal(found, np.sort(np.concatenate([array.ravel() for array in state.values()])))


def test_queries_keys_and_values_are_the_innermost_of_their_matrix() -> None:
    state = random_state(CONFIG)
    model = empty_model(CONFIG, 21)
    upstream.load(model, wrapped(state))
    packed = state["encoder.1.blocks.0.BMSA.qkv.weight"]  # (3 C, C)
    heads, each = CONFIG.enc_heads[1], CONFIG.widths[1] // CONFIG.enc_heads[1]
    for place, which in enumerate("qkv"):
        kernel = model.get_layer(f"e1_b0_attn_{which}").kernel.numpy()  # (C, H, E)
        for h in range(heads):
            for e in range(each):
                np.testing.assert_array_equal(kernel[:, h, e], packed[(h * each + e) * 3 + place])


def test_running_variances_are_taken_as_they_are() -> None:
    state = random_state(CONFIG)
    model = empty_model(CONFIG, 21)
    upstream.load(model, wrapped(state))
    norm = model.get_layer("d1_unpool_norm")
    np.testing.assert_array_equal(norm.moving_variance.numpy(), state["decoder.0.unpool.norm.running_var"])


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (_state(**{"main_model.encoder.2.pool.norm.bias": np.zeros(4)}), r"extra: encoder\.2\.pool\.norm\.bias \(4,\)"),
        (
            _state(**{"main_model.encoder.0.blocks.0.BMSA.qkv.weight": np.zeros((6, 18))}),
            r"misshaped: encoder\.0\.blocks\.0\.BMSA\.qkv\.weight: expected \(18, 6\)\. Received: \(6, 18\)",
        ),
        (
            _state(**{"main_model.bottleneck.blocks.1.BMSA.sigma_att": np.full((1, 3, 1, 1), np.nan)}),
            r"not finite: bottleneck\.blocks\.1\.BMSA\.sigma_att",
        ),
        (
            _state(**{"main_model.embed.embed_fn.bias": "text"}),
            r"entry 'main_model\.embed\.embed_fn\.bias' is not an array",
        ),
        (_state(**{"pred_head.4.bias": np.zeros(2)}), r"extra: head\.4\.bias \(2,\)"),
    ],
)
def test_wrong_entries_are_refused_by_name(state: dict[str, Any], words: str) -> None:
    model = empty_model(CONFIG, 21)
    before = [np.array(weight) for weight in model.get_weights()]
    with pytest.raises(WeightsError, match=words):
        upstream.load(model, state)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_missing_entries_are_named() -> None:
    state = _state()
    del state["main_model.decoder.1.unpool.proj.weight"]
    with pytest.raises(WeightsError, match=r"missing: decoder\.1\.unpool\.proj\.weight \(12, 14\)"):
        upstream.load(empty_model(CONFIG, 21), state)


@pytest.mark.parametrize("changes", [{"distance": "squared"}, {"distance": "none"}, {"head_widths": (7, 7)}])
def test_models_that_upstream_does_not_have_are_refused(changes: dict[str, Any]) -> None:
    words = "upstream has no weights for these; load into a float model with distance: exact and at most one hidden"
    with pytest.raises(WeightsError, match=words):
        upstream.load(empty_model(small(**changes), 21), _state())


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        (Sizes(options=KNOWN), r"erwin needs the number of points of an event: give --particles"),
        (Sizes(particles=21), r"no weight shows how many points see each other: give the balls, e\.g\. --set balls="),
        (Sizes(particles=21, task="mdd"), r"unknown task of erwin; did you mean 'md'\?. Received: task=mdd"),
        (Sizes(particles=21, task="md"), r"balls needs 3 entries, for the 3 levels of widths"),
        (Sizes(particles=21, options={"widths": [4]}), r"option 'widths' is not one that the weights leave open"),
    ],
)
def test_what_no_weight_shows_has_to_be_said(sizes: Sizes, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        IMPORTERS["erwin"](_state(), sizes)


def test_weights_of_something_else_are_refused() -> None:
    with pytest.raises(
        WeightsError, match=r"not the weights of an Erwin: no matrix 'embed\.embed_fn\.weight'; found w"
    ):
        IMPORTERS["erwin"]({"w": np.zeros(3)}, SIZES)
    state = {name: array for name, array in _state().items() if "sigma_att" not in name}  # of the flash attention
    with pytest.raises(WeightsError, match=r"no array 'encoder\.0\.blocks\.0\.BMSA\.sigma_att'"):
        IMPORTERS["erwin"](state, SIZES)


def test_published_tasks_have_the_balls_of_their_depth() -> None:
    assert upstream.TASKS["md"]["balls"] == ErwinConfig().balls
    for task in upstream.TASKS.values():
        assert {"balls"} <= set(task) <= {"balls", "neighbours"}


def test_a_checkpoint_of_pytorch_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the extra torch")
    tensors = {name: torch.tensor(array) for name, array in _state().items()}
    torch.save({"state_dict": tensors}, tmp_path / "erwin.pt")
    model, config = import_weights("erwin", tmp_path / "erwin.pt", tmp_path / "erwin.keras", SIZES)
    assert config == CONFIG
    events = random_events(CONFIG, 21, [21], seed=3)
    np.testing.assert_allclose(run(model, events)[0], expected(CONFIG, events, model)[0], rtol=0, atol=1e-9)


def test_the_attention_of_the_equations_in_pytorch_is_that_of_the_loops() -> None:
    """A module written from the equations, with heads outside and q, k, v inside the outputs of one matrix."""
    torch = pytest.importorskip("torch", reason="the extra torch")
    state = oracle_erwin.random_state_dict(CONFIG, FEATURES, CLASSES, seed=2)
    name, heads = "encoder.1.blocks.0", CONFIG.enc_heads[1]
    weights = {key: torch.tensor(array) for key, array in state.items() if key.startswith(name)}
    rng = np.random.default_rng(0)
    x, p = rng.normal(size=(4, CONFIG.widths[1])), rng.normal(size=(4, 3))

    def linear(module: str, values: Any) -> Any:
        return torch.nn.functional.linear(values, weights[f"{name}.{module}.weight"], weights[f"{name}.{module}.bias"])

    tokens, places = torch.tensor(x), torch.tensor(p)
    normed = tokens * torch.rsqrt((tokens**2).mean(-1, keepdim=True) + 2.0**-23) * weights[f"{name}.norm1.weight"]
    packed = linear("BMSA.qkv", normed + linear("BMSA.pe_proj", places - places.mean(0)))
    q, k, v = packed.reshape(4, heads, -1, 3).permute(3, 1, 0, 2)
    bias = weights[f"{name}.BMSA.sigma_att"][0] * torch.cdist(places, places)
    mixed = torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5 + bias, -1) @ v
    y = tokens + linear("BMSA.proj", mixed.transpose(0, 1).reshape(4, -1))
    normed = y * torch.rsqrt((y**2).mean(-1, keepdim=True) + 2.0**-23) * weights[f"{name}.norm2.weight"]
    hidden = linear("swiglu.w2", normed) * torch.nn.functional.silu(linear("swiglu.w1", normed))
    wanted = (y + linear("swiglu.w3", hidden)).numpy()
    ball = [oracle_erwin.Node(row, place) for row, place in zip(x, p, strict=True)]
    found = [node.x for node in oracle_erwin.block(state, CONFIG, name, ball)]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)
