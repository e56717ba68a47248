"""Configurations of an architecture, generated from its record, and how far their fixed-point models are from float.

Nothing here knows an architecture: what a field can hold is read from its type, so that a new field or a new choice is
swept from the day it stands in the record. A configuration that is refused is mended as its message says, by changing
the keys that the message names; a refusal that names none fails the sweep.
"""

from __future__ import annotations

import itertools
import re
import types
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import keras
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from qformers.config.sections import QuantConfig
from qformers.errors import ConfigError
from qformers.models import Arch
from qformers.models.inputs import host_order
from qformers.models.sizes import Jet
from qformers.nn.float32 import Float32
from qformers.nn.hgq import Hgq
from support.hept_fixed import FINE
from support.quantised import NATURAL, inputs_of, shaken

N = 6  # particles: heads, blocks and axes of 1, 2 and 3 all divide it
SIZES = Jet(N, 3, 3, NATURAL)
NUMBERS = (2, 1, 3, 0)  # of a whole number, as far as its bounds allow
WIDTHS = (6, 4)  # of layers in a list; the last one is always 6, which 1, 2 and 3 heads divide
SCALES = (0.5, 2.0, 0.0)  # of fractions in a list
SPARE = 16  # a fraction is swept at its default and at its default over this
TRIES = 30  # changes that may be needed until a configuration is accepted
ENOUGH = 3  # refusals after which a value that was never accepted is no longer drawn

# Ranges that hold the scores of three shaken layers; no table is as wide as these.
WIDEST = FINE.model_copy(update={"logits": "fixed<20,11,RND,SAT>", "differences": "fixed<17,6,RND,SAT>"})


def choices(record: type[Any]) -> dict[str, tuple[Any, ...]]:
    """What is swept of each field of a record.

    Raises:
        TypeError: a field of a type that has no values here yet; give it some, or it is never tested.
    """
    return {name: _values(name, info.annotation, info.metadata, info) for name, info in record.model_fields.items()}


def _values(name: str, kind: Any, bounds: Sequence[Any], info: FieldInfo) -> tuple[Any, ...]:
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _values(name, inside[0], inside[1:], info)
    if origin is Literal:
        return tuple(inside)
    if origin in (Union, types.UnionType):
        some = [_values(name, part, bounds, info) for part in inside if part is not type(None)]
        return (*itertools.chain(*some), *((None,) if type(None) in inside else ()))
    if kind is bool:
        return (False, True)
    if kind is int:
        return tuple(number for number in NUMBERS if _within(number, bounds))
    if kind is float:
        return (info.default, info.default / SPARE)
    if origin is tuple and inside[-1] is Ellipsis:
        return _lists(name, inside[0])
    raise TypeError(f"{name}: no values to sweep for a field of type {kind}; add them to support/configurations.py")


def _lists(name: str, kind: Any) -> tuple[Any, ...]:
    """Lists of none, one, two and three parts."""
    plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if plain is int:
        return (WIDTHS[:1], WIDTHS[::-1], ())
    if plain is float:
        return ((), *(tuple(itertools.islice(itertools.cycle(SCALES), length)) for length in (1, 2, 3)))
    if get_origin(plain) is tuple:
        return ((), ((NUMBERS[0],) * len(get_args(plain)),))
    raise TypeError(f"{name}: no values to sweep for lists of {kind}; add them to support/configurations.py")


def _within(number: float, bounds: Sequence[Any]) -> bool:
    """Whether a number keeps to pydantic's bounds."""
    checks = {"gt": number.__gt__, "ge": number.__ge__, "lt": number.__lt__, "le": number.__le__}
    return all(
        check(getattr(bound, key)) is True
        for bound in bounds
        for key, check in checks.items()
        if getattr(bound, key, None) is not None
    )


@dataclass
class Sweep:
    """Configurations of one architecture, each as far as possible from those before it.

    Attributes:
        arch: the architecture.
        seed: of the draw.
        accepted: how often each (key, value) was part of an accepted configuration.
        refused: how often each (key, value) was named by a refusal.
        pairs: every two (key, value) that were accepted together.
    """

    arch: Arch
    seed: int = 0
    accepted: Counter[Any] = field(default_factory=Counter)
    refused: Counter[Any] = field(default_factory=Counter)
    pairs: set[Any] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.choices = choices(self.arch.config)
        self._random = np.random.default_rng(self.seed)

    def models(self, count: int, quant: QuantConfig = WIDEST) -> Iterator[tuple[Any, keras.Model]]:
        """`count` configurations that fixed point accepts, with their quantised models, as built."""
        for _ in range(count):
            cfg, model = self._mended(self._farthest(), quant)
            items = self._items({key: getattr(cfg, key) for key in self.choices})  # a dump leaves out what says nothing
            self.accepted.update(items)
            self.pairs.update(itertools.combinations(items, 2))
            yield cfg, model

    def unseen(self) -> list[str]:
        """Choices that were neither accepted nor refused."""
        return [
            f"{key}: {value}"
            for key, values in self.choices.items()
            for value in values
            if len(values) > 1 and self._new(key, value)
        ]

    def _new(self, key: str, value: Any) -> bool:
        return not self.accepted[key, value] + self.refused[key, value]

    def _farthest(self, draws: int = 60) -> dict[str, Any]:
        """The draw with most unseen choices, then with most unseen pairs; what was only refused is left out."""
        drawn = [self._draw() for _ in range(draws)]

        def news(fields: dict[str, Any]) -> tuple[int, int]:
            items = self._items(fields)
            new = sum(self._new(*item) for item in items)
            return new, sum(pair not in self.pairs for pair in itertools.combinations(items, 2))

        return max(drawn, key=news)

    def _draw(self) -> dict[str, Any]:
        hopeful = {
            key: [value for value in values if self._hopeful(key, value)] or values
            for key, values in self.choices.items()
        }
        return {key: values[self._random.integers(len(values))] for key, values in hopeful.items()}

    def _hopeful(self, key: str, value: Any) -> bool:
        return bool(self.accepted[key, value]) or self.refused[key, value] < ENOUGH

    def _items(self, fields: dict[str, Any]) -> list[tuple[str, Any]]:
        return [(key, value) for key, value in fields.items() if len(self.choices[key]) > 1]

    def _mended(self, fields: dict[str, Any], quant: QuantConfig) -> tuple[Any, keras.Model]:
        """The first configuration that is accepted when a key that the refusal names is changed, one at a time."""
        tried, messages = [fields], []
        while len(tried) <= TRIES:
            try:
                cfg = self.arch.config(**fields)
                keras.utils.set_random_seed(2)
                return cfg, self.arch.build(self.arch.fixed(cfg), SIZES, Hgq(quant))
            except (ValidationError, ConfigError) as error:
                messages.append(_said(error))
                by_vocabulary = isinstance(error, ConfigError)
            key, value = next(
                way
                for way in self._ways(fields, messages[-1], by_vocabulary)
                if {**fields, way[0]: way[1]} not in tried
            )
            if by_vocabulary or self._named(messages[-1]) == [key]:  # else the record speaks of a contradiction
                self.refused[key, fields[key]] += 1
            fields = {**fields, key: value}
            tried.append(fields)
        raise AssertionError(f"no configuration is accepted by following the messages: {messages}")

    def _named(self, message: str) -> list[str]:
        """Keys with a choice that a message names."""
        return [key for key, values in self.choices.items() if len(values) > 1 and re.search(rf"\b{key}\b", message)]

    def _ways(self, fields: dict[str, Any], message: str, by_vocabulary: bool) -> list[tuple[str, Any]]:
        """Other values of the keys that a message names: first of keys whose value is refused, offered values first.

        Where two keys of the record contradict each other, the one whose value was not seen yet keeps it.
        """
        offers = set(re.findall(r": (\w+)", message.lower()))
        ranks = {}
        for key in self._named(message):
            value = fields[key]
            spelt = _spelt(value)
            ranks[key] = 2
            if spelt in offers:
                ranks[key] = 3
            elif re.search(rf"(?<!\w){re.escape(spelt)}(?!\w)", message, re.IGNORECASE):
                ranks[key] = 1
            if f"{key}={spelt}" in message:
                ranks[key] = 0
            if not by_vocabulary and self._new(key, value):
                ranks[key] += 4
        assert ranks, f"{self.arch.config.__name__}: refused without the name of a key: {message} {fields}"

        def order(way: tuple[str, Any]) -> tuple[int, bool, bool]:
            key, value = way
            return ranks[key], _spelt(value) not in offers, not self._hopeful(key, value)

        ways = [(key, value) for key in ranks for value in self.choices[key] if value != fields[key]]
        return sorted(ways, key=order)


def _spelt(value: Any) -> str:
    """As messages have it."""
    if isinstance(value, tuple):
        return str(list(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _said(error: Exception) -> str:
    """A message without pydantic's frame, which repeats all fields."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
    return str(error)


def events(model: keras.Model, count: int = 400, fewest: int = 1) -> dict[str, NDArray[np.float32]]:
    """Inputs of any model of jets or points, and of its float form.

    `fewest` to N particles, sorted by pT, zeros in empty slots.

    An event without particles has no softmax: in float it is that of equal masked scores, in fixed point that of scores
    without a mask, and no form reads either; so it is no event to compare them on. Numbers are on a grid of 1/128, and
    coordinates of 1/16, so that tables of rounded values see what float sees and two points have one order in both.
    """
    random = np.random.default_rng(0)
    shapes = {tensor.name: tensor.shape for tensor in model.inputs}
    slots, width = model.inputs[0].shape[1], shapes.get("features", (0,))[-1]
    mask = np.arange(slots) < random.integers(fewest, slots + 1, (count, 1))
    features = random.normal(0.0, 0.2, (count, slots, width))
    if width:
        features[..., 0] = np.sort(random.uniform(0, 6, (count, slots)))[:, ::-1]
    pairs = random.normal(0.0, 1.0, (count, slots, slots, 4))
    made = {
        "features": np.round(features * 128) / 128 * mask[..., None],
        "pairs": pairs * (mask[:, :, None] & mask[:, None, :])[..., None],
        "mask": mask,
    }
    if "coords" in shapes:
        coords = random.normal(0.0, 1.0, (count, slots, shapes["coords"][-1])) * mask[..., None]
        made["coords"] = np.round(coords * 16) / 16
    if "tokens_one_hot" in shapes:
        entries = shapes["tokens_one_hot"][-1]
        made["tokens"] = random.integers(0, entries, (count, slots)) * mask
        made["tokens_one_hot"] = made["tokens"][..., None] == np.arange(entries)
        shapes["tokens"] = made["tokens"].shape  # of the float model
    arrays = {name: np.asarray(array, np.float32) for name, array in made.items()}
    if "order" in shapes:
        arrays["order"] = host_order(model, SimpleNamespace(**arrays)).astype(np.float32)
    return {name: arrays[name] for name in shapes}


def deviation(arch: Arch, cfg: Any, model: keras.Model) -> float:
    """Rms difference of a quantised model from its float model over the spread (std) of the float one, in real slots.

    The float model has norms with the statistics of these events and shaken factors; the quantised one is folded from
    it and calibrated.
    """
    from qformers.quant.fold import float_to_quantised

    inputs = events(model)
    for seed in range(1, 6):  # a narrow network may be dead: constant whatever comes in
        floating = _lively(arch, cfg, inputs, seed)
        wanted = _real(floating, inputs)
        if np.std(wanted) > 0.02:
            break
    else:
        raise AssertionError(f"{cfg} is constant with all of five draws of its weights: nothing can be compared")
    float_to_quantised(floating, model, inputs_of(model, inputs))
    return float(np.sqrt(np.mean((_real(model, inputs) - wanted) ** 2)) / np.std(wanted))


def _lively(arch: Arch, cfg: Any, inputs: dict[str, NDArray[np.float32]], seed: int) -> keras.Model:
    """A float model whose norms and factors are no identities and whose attention does not saturate."""
    keras.utils.set_random_seed(2 + seed)
    model = shaken(arch.build(cfg, SIZES, Float32()), seed)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(inputs_of(model, inputs), training=True)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    return model


def _real(model: keras.Model, inputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float64]:
    """Outputs of jets, or of the real points of events of points."""
    found = np.asarray(model(inputs_of(model, inputs), training=False), np.float64)
    return found[inputs["mask"] > 0] if found.ndim == 3 else found
