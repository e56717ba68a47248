"""One small model per verb of the vocabularies, and what its output is in plain NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from qformers.config.section import Section
from qformers.config.sections import QuantConfig
from qformers.models.arch import Arch, Source
from qformers.models.part.layers import ZeroPadded
from qformers.nn import VOCABULARIES
from qformers.nn.index.host_order import HostOrder
from qformers.nn.index.select import Largest
from qformers.nn.layers import Factor
from qformers.nn.positions import Positions, waves
from qformers.nn.table import square
from qformers.nn.vocabulary import Linear, Norm, Table, Vocabulary
from qformers.quant.fold import calibrate, transfer
from support.quantised import inputs_of

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Weights = Callable[[str], list[Array]]  # of a layer of the float model

ENTRIES = 3  # of a table of tokens
FORM = "fixed<7,4,RND,SAT>"  # holds the inputs of the cases: steps of 1/8 within [-4, 4)
QUANT = QuantConfig(
    learn=False,
    weight="fixed<12,4,RND,SAT_SYM>",
    bias="fixed<12,4,RND,SAT>",
    activation="fixed<14,8,RND,SAT>",
    logits="fixed<12,6,RND,SAT>",
    coords="fixed<7,4,RND,SAT>",
    exp_input_fraction_bits=7,
    exp_fraction_bits=10,
    inverse_input_fraction_bits=7,
    inverse_fraction_bits=10,
)


class VerbsConfig(Section):
    """The record of an architecture of one verb."""

    architecture: Literal["verbs"] = "verbs"


def _twice(cfg: VerbsConfig, source: Source, of: str) -> tuple[Array, Array | None]:
    """Kernel and bias of `of`, doubled."""
    kernel, bias = source.dense(of)
    return 2 * kernel, None if bias is None else 2 * bias


def _no_model(cfg: Any, sizes: Any, nn: Any) -> Any:
    raise NotImplementedError("the models of verbs are made by `model_of`")


VERBS = Arch(VerbsConfig, _no_model, forms={}, derivations={"twice": _twice})  # `transfer` looks the rule up in MODELS


@dataclass(frozen=True)
class Case:
    """A model of one verb.

    Attributes:
        shapes: of the inputs by name, without the batch axis; `mask` holds bits, the other ones steps of 1/8.
        say: from vocabulary and inputs to the output.
        truth: from input arrays and the weights of the float model to the output.
        bound: largest difference in fixed point; 0 = exact.
        refused: vocabulary -> words of the refusal.
        source: what the float model with the weights says, where that is another one than `say`.
    """

    shapes: Mapping[str, tuple[int, ...]]
    say: Callable[[Vocabulary, Mapping[str, Any]], Any]
    truth: Callable[[Arrays, Weights], Array]
    bound: float = 0.0
    refused: Mapping[str, str] = field(default_factory=dict)
    source: Callable[[Vocabulary, Mapping[str, Any]], Any] | None = None


def _softmax(x: Array) -> Array:
    weights = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(weights / weights.sum(-1, keepdims=True))


def _normed(x: Array, weights: list[Array]) -> Array:
    gamma, beta, mean, variance = weights
    return np.asarray((x - mean) / np.sqrt(variance + 1e-5) * gamma + beta)


def _dense(name: str) -> Callable[[Arrays, Weights], Array]:
    def truth(arrays: Arrays, weights: Weights) -> Array:
        kernel, bias = weights(name)
        return np.maximum(0.5 * (np.einsum("bnd,dhe->bnhe", arrays["x"], kernel) + bias), 0)

    return truth


def _norm_then_dense(nn: Vocabulary, x: Any) -> Any:
    return nn.dense(nn.norm(x, Norm("norm_itself", "batch")), "norm", Linear("bnd,de->bne", {"e": 3}, "e"))


def _norm_then_dense_truth(arrays: Arrays, weights: Weights) -> Array:
    kernel, bias = weights("norm")
    return np.asarray(_normed(arrays["x"], weights("norm_itself")) @ kernel + bias)


def _masked(arrays: Arrays) -> Array:
    """Scores plus bias where keys are real, far below where they are not; all alike where none is."""
    return np.where(arrays["mask"][:, None, None] > 0, arrays["scores"] + arrays["pairs"], -1e3)


def _dense_twice(arrays: Arrays, weights: Weights) -> Array:
    kernel, bias = weights("derived_dense_source")
    return np.asarray(2 * (arrays["x"] @ kernel + bias))


def _hidden(arrays: Arrays, scores: Array) -> Array:
    """Scores (B, H, K) of real keys, far below elsewhere."""
    return np.where(arrays["mask"][:, None] > 0, scores, -1e3)


def _real_keys(nn: Vocabulary, mask: Any, name: str) -> Any:
    """The lift or the hiding of keys (B, N) for two heads."""
    return nn.hidden_keys(mask, (2,), "bn,h->bhn", name)


def _sorted_order(nn: Vocabulary, coords: Any, mask: Any) -> Any:
    """Slots (B, 1, 1, 1, N)."""
    coords = nn.round(coords, lambda formats: formats.quant.coords, "sorted_order_coords", told=True)
    column = nn.move(keras.layers.Reshape, mask, "sorted_order_column", target_shape=(4, 1))
    bits = nn.round(column, "ufixed<1,1>", "sorted_order_bits")
    return nn.sorted_order(coords, bits, DRAWN, "sorted_order_coords", "sorted_order")


def _counted(nn: Vocabulary, x: Any, mask: Any) -> Any:
    """A norm whose statistics count real particles; in inference they are at rest."""
    slots = nn.counted(keras.layers.Reshape, mask, "counted_slots", target_shape=(4,))
    x = nn.dense(nn.norm(x, Norm("counted_norm", "batch", slots)), "counted", Linear("bnd,de->bne", {"e": 2}, "e"))
    return nn.gate(x, mask, "counted_gate")


def _counted_truth(arrays: Arrays, weights: Weights) -> Array:
    kernel, bias = weights("counted")
    return np.asarray((_normed(arrays["x"], weights("counted_norm")) @ kernel + bias) * arrays["mask"][..., None])


def _affine(arrays: Arrays, weights: list[Array]) -> Array:
    kernel, bias = weights
    return np.asarray(arrays["x"] @ kernel + bias)


def _silu(x: Array) -> Array:
    return np.asarray(x / (1 + np.exp(-x)))


def _gelu(x: Array) -> Array:
    return np.asarray(x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))))


def _gelu_tanh(x: Array) -> Array:
    return np.asarray(x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


ACTIVATIONS: dict[Any, Callable[[Array], Array]] = {
    "gelu": _gelu, "gelu_tanh": _gelu_tanh, "silu": _silu, "tanh": np.tanh
}  # fmt: skip
APART = np.array([-8.0, 0.0, 8.0])


def _apart(nn: Vocabulary, x: Any, name: str) -> Any:
    """Points whose channels are far apart: a vector of zeros has no direction."""
    return nn.wires(x, np.eye(3), "bnd,de->bne", f"{name}_apart", FORM, np.tile(APART, (4, 1)))


def _unit(x: Array) -> Array:
    return np.asarray(x / np.sqrt((x**2).mean(-1, keepdims=True)))


def _embedded(name: str, positions: Positions) -> Callable[[Vocabulary, Mapping[str, Any]], Any]:
    linear = Linear("bnv,vd->bnd", {"v": ENTRIES, "d": 2}, None)
    return lambda nn, i: nn.embedding(i["tokens"], name, ENTRIES, linear, positions)


def _vectors(name: str) -> Callable[[Arrays, Weights], Array]:
    """Of tokens, and of places where they are learned."""

    def truth(arrays: Arrays, weights: Weights) -> Array:
        kernel, *places = weights(name)
        return np.asarray(kernel[arrays["tokens"].astype(int)] + sum(places))

    return truth


def _computed(nn: Vocabulary, x: Any, kind: Any) -> Any:
    """A norm of points whose channels are far apart: one of equal channels is a matter of epsilon."""
    name = f"norm_{kind}"
    return nn.dense(
        nn.norm(_apart(nn, x, name), Norm(f"{name}_itself", kind)), name, Linear("bnd,de->bne", {"e": 3}, "e")
    )


def _computed_truth(arrays: Arrays, weights: Weights, kind: str) -> Array:
    x, learned = arrays["x"] + APART, weights(f"norm_{kind}_itself")
    x = x - x.mean(-1, keepdims=True) if kind == "layer" else x
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * learned[0] + (learned[1] if kind == "layer" else 0.0)
    return _affine({"x": x}, weights(f"norm_{kind}"))


def _symmetric(x: Array, points: int) -> Array:
    """Values (B, P, H) of pairs i > j of N points as (B, H, N, N)."""
    made = np.zeros((len(x), x.shape[-1], points, points))
    for place, (i, j) in enumerate(zip(*np.tril_indices(points, -1), strict=True)):
        made[:, :, i, j] = made[:, :, j, i] = x[:, place]
    return made


DRAWN = HostOrder(np.array([[2.0, 3.0]]), np.array([[1.0], [0.5]]))
MIX = np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 1.0]])
POINTS: dict[str, tuple[int, ...]] = {"x": (4, 3), "mask": (4,)}
PAIRS: dict[str, tuple[int, ...]] = {"scores": (2, 3, 4), "pairs": (2, 3, 4), "mask": (4,)}

CASES: dict[str, Case] = {
    "input": Case(
        {"x": (2,)},
        lambda nn, i: nn.wires(i["x"], np.eye(2), "bi,io->bo", "input_read", FORM),
        lambda a, w: a["x"],
    ),
    "dense": Case(
        {"x": (4, 3)},
        lambda nn, i: nn.dense(
            i["x"], "dense", Linear("bnd,dhe->bnhe", {"h": 2, "e": 3}, "he", activation="relu", factor=0.5)
        ),
        _dense("dense"),
    ),
    "einsum": Case(
        {"x": (3, 2), "y": (4, 2)},
        lambda nn, i: nn.einsum("bqd,bkd->bqk", i["x"], i["y"], "einsum"),
        lambda a, w: np.einsum("bqd,bkd->bqk", a["x"], a["y"]),
    ),
    "wires": Case(
        {"x": (2,)},
        lambda nn, i: nn.wires(i["x"], MIX, "bi,io->bo", "wires", FORM, np.array([1.0, 0.0, -2.0])),
        lambda a, w: a["x"] @ MIX + [1.0, 0.0, -2.0],
    ),
    "stack": Case(
        {"x": (4,), "y": (4,), "z": (4,)},
        lambda nn, i: nn.stack([i["x"], i["y"], i["z"]], FORM, "stack"),
        lambda a, w: np.stack([a["x"], a["y"], a["z"]], axis=-1),
    ),
    "concatenate": Case(
        {"x": (4, 2), "y": (4, 3)},
        lambda nn, i: nn.concatenate(
            [nn.round(i[name], FORM, f"concatenate_{name}") for name in ("x", "y")], "concatenate"
        ),
        lambda a, w: np.concatenate([a["x"], a["y"]], axis=-1),
    ),
    "sum": Case(
        {"x": (4,), "y": (4,)},
        lambda nn, i: nn.sum(i["x"], i["y"], FORM, "sum"),
        lambda a, w: a["x"] + a["y"],
    ),
    "add": Case(
        {"x": (4, 3), "y": (4, 3)},
        lambda nn, i: nn.add(i["x"], i["y"], "bnd", "add"),
        lambda a, w: a["x"] + a["y"],
    ),
    "minus": Case(
        {"x": (4, 1, 3), "y": (1, 4, 3)},
        lambda nn, i: nn.minus(i["x"], i["y"], "minus", FORM),
        lambda a, w: a["x"] - a["y"],
    ),
    "derived_dense": Case(
        {"x": (4, 3)},
        lambda nn, i: nn.derived_dense(
            i["x"], "derived_dense", Linear("bnd,de->bne", {"e": 2}, "e"), "twice", "derived_dense_source"
        ),
        _dense_twice,
        source=lambda nn, i: nn.dense(i["x"], "derived_dense_source", Linear("bnd,de->bne", {"e": 2}, "e")),
    ),
    "norm": Case(
        {"x": (4, 3)},
        lambda nn, i: _norm_then_dense(nn, i["x"]),
        _norm_then_dense_truth,
        bound=0.03,  # the kernel with the norm in it is rounded to 8 fraction bits, and meets three inputs up to 4
    ),
    "round": Case(
        {"x": (4,)},
        # something has to read it: hls4ml takes a rounded input that is an output for the port itself
        lambda nn, i: nn.wires(
            nn.round(i["x"], "fixed<6,4,RND,SAT>", "round"), np.eye(4), "bi,io->bo", "round_read", FORM
        ),
        lambda a, w: a["x"],
        bound=0.125,  # half a step of 1/4
    ),
    "table": Case(
        {"x": (4,)},
        lambda nn, i: nn.table(i["x"], Table(square, FORM, "ufixed<11,5,RND,SAT>"), "table"),
        lambda a, w: a["x"] ** 2,
    ),
    "logits": Case(
        PAIRS,
        lambda nn, i: nn.softmax(nn.logits(i["scores"], i["pairs"], i["mask"], "logits"), "logits_weights"),
        lambda a, w: _softmax(_masked(a)),
        bound=0.01,  # real keys are lifted where float lowers padded ones, so that only a softmax sees the same
    ),
    "class_logits": Case(
        {"scores": (2, 5), "mask": (4,)},
        lambda nn, i: nn.softmax(nn.class_logits(i["scores"], i["mask"], "class_logits"), "class_logits_weights"),
        lambda a, w: _softmax(
            np.concatenate([a["scores"][..., :1], _hidden(a, a["scores"][..., 1:])], axis=-1)  # slot 0 is the token
        ),
        bound=0.01,
    ),
    "hidden_keys": Case(
        {"mask": (4,)},
        lambda nn, i: nn.softmax(_real_keys(nn, i["mask"], "hidden_keys"), "hidden_keys_weights"),
        lambda a, w: _softmax(_hidden(a, np.zeros((len(a["mask"]), 2, 4)))),
        bound=0.01,
    ),
    "key_logits": Case(
        {"scores": (2, 4), "mask": (4,)},
        lambda nn, i: nn.softmax(
            nn.key_logits(i["scores"], _real_keys(nn, i["mask"], "key_logits_hidden"), "key_logits"),
            "key_logits_weights",
        ),
        lambda a, w: _softmax(_hidden(a, a["scores"])),
        bound=0.01,
    ),
    "on_logit_grid": Case(
        {"x": (2,)},
        lambda nn, i: nn.wires(i["x"], [nn.on_logit_grid(-1.51)], "bi,o->bio", "on_logit_grid", FORM),
        lambda a, w: a["x"][..., None] * -1.51,
        bound=4 * 2**-7,  # half a step of 1/64, times inputs up to 4
    ),
    "softmax": Case(
        {"x": (3, 4)},
        lambda nn, i: nn.softmax(nn.round(i["x"], FORM, "softmax_rounded"), "softmax"),
        lambda a, w: _softmax(a["x"]),
        bound=0.01,
    ),
    "mean": Case(
        POINTS,
        lambda nn, i: nn.mean(i["x"], i["mask"], "mean"),
        lambda a, w: np.einsum("bnd,bn->bd", a["x"], a["mask"]) / np.maximum(a["mask"].sum(1, keepdims=True), 1),
        bound=0.02,  # a sum up to 16 times 1/3 in steps of 2^-9
    ),
    "total": Case(
        POINTS,
        lambda nn, i: nn.total(i["x"], i["mask"], "total"),
        lambda a, w: np.einsum("bnd,bn->bd", a["x"], a["mask"]) / 4,
    ),
    "tokens": Case({"tokens": (4,)}, _embedded("tokens", "none"), _vectors("tokens")),
    "embedding": Case({"tokens": (4,)}, _embedded("embedding", "learned"), _vectors("embedding")),
    "embedding_fixed": Case(
        {"tokens": (4,)},
        _embedded("embedding_fixed", "fixed"),
        lambda a, w: _vectors("embedding_fixed")(a, w) + waves(4, 2),
        bound=2**-9,  # half a step of the biases
    ),
    "unit": Case(
        {"x": (4, 3)},
        lambda nn, i: nn.unit(_apart(nn, i["x"], "unit"), "unit"),
        lambda a, w: _unit(a["x"] + APART),
        bound=0.06,  # as of the norms, without the weights
    ),
    "cosine": Case(
        {"x": (4, 3), "y": (4, 3)},
        lambda nn, i: nn.cosine(_apart(nn, i["x"], "cosine_x"), _apart(nn, i["y"], "cosine_y"), "bnd", "cosine"),
        lambda a, w: np.mean(_unit(a["x"] + APART) * _unit(a["y"] + APART), axis=-1),
        bound=0.03,  # two roots within 1 % each
    ),
    "gate_heads": Case(
        {"x": (4, 2, 3), "mask": (4,)},
        lambda nn, i: nn.gate(i["x"], i["mask"], "gate_heads"),
        lambda a, w: a["x"] * a["mask"][..., None, None],
    ),
    "gate": Case(
        POINTS,
        lambda nn, i: nn.gate(i["x"], i["mask"], "gate"),
        lambda a, w: a["x"] * a["mask"][..., None],
    ),
    "spread": Case(
        {"x": (3,)},
        lambda nn, i: nn.spread(i["x"], 4, "spread"),
        lambda a, w: np.repeat(a["x"][:, None], 4, axis=1),
    ),
    "dropout": Case(
        {"x": (4, 3)},
        lambda nn, i: nn.dropout(nn.add(i["x"], i["x"], "bnd", "dropout_source"), 0.5, "dropout"),
        lambda a, w: 2 * a["x"],
    ),
    "residual_factors": Case(
        {"x": (4, 3)},
        lambda nn, i: nn.residual_factors(i["x"], "residual_factors"),
        lambda a, w: a["x"] * w("residual_factors")[0],
        bound=4 * 2**-9,  # factors in steps of 2^-8, times inputs up to 4
    ),
    "swiglu": Case(
        {"x": (4, 3)},
        lambda nn, i: nn.swiglu(i["x"], "swiglu", Linear("bnd,de->bne", {"e": 2}, "e")),
        lambda a, w: _affine(a, w("swiglu")) * _silu(_affine(a, w("swiglu_gate"))),
        bound=26 * 0.02,  # a value up to 3 * 2 * 4 + 2 times the error of a SiLU
    ),
    "norm_layer": Case(
        {"x": (4, 3)},
        lambda nn, i: _computed(nn, i["x"], "layer"),
        lambda a, w: _computed_truth(a, w, "layer"),
        bound=0.06,  # normed values in steps of 1/64, roots within 1 %, times three weights up to 2
    ),
    "norm_rms": Case(
        {"x": (4, 3)},
        lambda nn, i: _computed(nn, i["x"], "rms"),
        lambda a, w: _computed_truth(a, w, "rms"),
        bound=0.06,
    ),
    **{
        f"dense_{name}": Case(
            {"x": (4, 3)},
            lambda nn, i, name=name: nn.dense(
                i["x"], f"dense_{name}", Linear("bnd,de->bne", {"e": 2}, "e", activation=name)
            ),
            lambda a, w, name=name, function=function: function(_affine(a, w(f"dense_{name}"))),
            bound=0.02,  # a correction in steps of 1/64, of slopes up to 1; tanh of slopes up to 1 likewise
        )
        for name, function in ACTIVATIONS.items()
    },
    "move": Case(
        {"x": (4, 3)},
        lambda nn, i: nn.move(Largest, nn.round(i["x"], FORM, "move_rounded"), "move", axis=1),
        lambda a, w: a["x"].max(axis=1, keepdims=True),
    ),
    "symmetric": Case(
        {"x": (6, 2)},
        lambda nn, i: nn.symmetric(i["x"], 4, FORM, "symmetric"),
        lambda a, w: _symmetric(a["x"], 4),
    ),
    "sorted_order": Case(
        {"coords": (4, 2), "mask": (4,)},
        lambda nn, i: _sorted_order(nn, i["coords"], i["mask"]),
        lambda a, w: DRAWN(a["coords"], a["mask"])[:, None, :, None],
    ),
    "real": Case(
        {"x": (4, 3)},
        lambda nn, i: nn.real(Factor, i["x"], "real", "factors are real numbers; set model.x: none", factor=0.3),
        lambda a, w: 0.3 * a["x"],
        refused={"hgq": "real: factors are real numbers; set model.x: none"},
    ),
    "unread": Case(
        POINTS,
        lambda nn, i: nn.gate(nn.unread(ZeroPadded, [i["x"], i["mask"]], "unread"), i["mask"], "unread_gate"),
        lambda a, w: a["x"] * a["mask"][..., None],
    ),
    "counted": Case(
        POINTS,
        lambda nn, i: _counted(nn, i["x"], i["mask"]),
        _counted_truth,
        bound=0.03,
    ),
    "declare": Case(
        {"x": (3,)},
        lambda nn, i: nn.declare(channel="z") or nn.add(i["x"], i["x"], "bz", "declare"),
        lambda a, w: 2 * a["x"],
    ),
    "model": Case(
        {"x": (2,), "y": (2,)},
        lambda nn, i: nn.wires(nn.add(i["x"], i["y"], "bd", "model_sum"), MIX, "bi,io->bo", "model", "fixed<8,5>"),
        lambda a, w: (a["x"] + a["y"]) @ MIX,
    ),
}


VARIANTS = {
    "norm_layer": "norm",
    "norm_rms": "norm",
    "gate_heads": "gate",
    "embedding_fixed": "embedding",
    **{f"dense_{name}": "dense" for name in ACTIVATIONS},
}


def verbs() -> list[str]:
    """What the Protocol asks of a vocabulary."""
    return [name for name, what in vars(Vocabulary).items() if callable(what) and not name.startswith("_")]


def arrays_of(case: Case, verb: str, count: int = 300) -> dict[str, NDArray[np.float32]]:
    """Inputs of the models of a verb, float and fixed.

    At least one particle in each event, coordinates of empty slots are 0.
    """
    random = np.random.default_rng(0)
    made: dict[str, Array] = {
        name: random.integers(-32, 32, (count, *shape)) / 8 for name, shape in case.shapes.items()
    }
    if "tokens" in made:
        made["tokens"] = random.integers(0, ENTRIES, made["tokens"].shape)
        made["tokens_one_hot"] = made["tokens"][..., None] == np.arange(ENTRIES)  # of fixed point
    if "mask" in made:
        made["mask"] = np.arange(made["mask"].shape[1]) < random.integers(1, made["mask"].shape[1] + 1, (count, 1))
    if "coords" in made:
        made["coords"] *= made["mask"][..., None]
    return {_input(verb, name): np.asarray(array, np.float32) for name, array in made.items()}


def model_of(verb: str, vocabulary: str, source: bool = False) -> keras.Model:
    """The model of a verb, as built; its inputs begin with the verb. With `source` the one that has the weights."""
    case, nn = CASES[verb], VOCABULARIES[vocabulary](QUANT)
    nn.declare(point="nqk", channel="dexyov", head="h")
    letters = {1: "bn", 2: "bnd", 3: "bqkd"}
    inputs = {
        name: nn.tokens(_input(verb, name), *shape, ENTRIES)
        if name == "tokens"
        else nn.input(_input(verb, name), shape, letters[len(shape)])
        for name, shape in case.shapes.items()
    }
    keras.utils.set_random_seed(4)
    say = case.source if source and case.source is not None else case.say
    return nn.model({x.name: x for x in inputs.values()}, say(nn, inputs), VerbsConfig())


def _source_of(verb: str) -> keras.Model:
    """The float model with the weights: kernels and biases in steps of 1/8, norms and factors anywhere."""
    model, random = model_of(verb, "float32", source=True), np.random.default_rng(1)
    for variable in model.variables:
        plain = variable.name in ("kernel", "bias")
        values = random.integers(-16, 16, variable.shape) / 8 if plain else random.uniform(0.5, 2.0, variable.shape)
        if variable.trainable or "moving" in variable.name:  # not the numbers that make an order
            variable.assign(values)
    return model


def filled(verb: str, vocabulary: str) -> tuple[keras.Model, Weights]:
    """The model of a verb with weights, and those of its float model; `VERBS` has to stand in MODELS."""
    source = _source_of(verb)
    model = source
    if vocabulary != "float32" or CASES[verb].source is not None:
        model = model_of(verb, vocabulary)
        transfer(source, model)
    if vocabulary != "float32":
        calibrate(model, inputs_of(model, arrays_of(CASES[verb], verb)), start=True)
    return model, lambda name: [np.asarray(value, np.float64) for value in source.get_layer(name).get_weights()]


def truth_of(verb: str, weights: Weights) -> Array:
    """The output for `arrays_of`."""
    case = CASES[verb]
    arrays = arrays_of(case, verb)
    return case.truth({name: arrays[_input(verb, name)].astype(np.float64) for name in case.shapes}, weights)


def _input(verb: str, name: str) -> str:
    return f"{verb}_in_{name}"


def all_verbs(names: list[str]) -> tuple[keras.Model, dict[str, Array]]:
    """The quantised models of these verbs as one model with an output each, and its inputs."""
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    for verb in names:
        model = filled(verb, "hgq")[0]
        inputs.update({tensor.name: tensor for tensor in model.inputs})
        outputs[f"{verb}_output"] = model.output
        arrays.update(inputs_of(model, arrays_of(CASES[verb], verb)))
    return keras.Model(inputs, outputs, name="verbs"), arrays
