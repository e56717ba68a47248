"""Events made to break firmware: empty and full jets, both ends of every format and beyond, ties of rounding and of pT.

They are made from the input quantisers of the model, so that they aim at its own ranges and steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qformers.quant.quantisers import Quantiser
from qformers.quant.readers import readers

Array = NDArray[np.float64]

FAR = 1e6  # beyond any format
EXACT = 2.0**22  # steps: a wrapping quantiser in float32 is exact up to here
COORDS = "coords"  # the model input that HEPT sorts points by
_WITHOUT_SLOTS = {  # what cases are called where no mask says that an event has particles
    "empty jet": "all zero",
    "empty jet, slots not zero": "random within the range",
    "one particle": "random within the range",
    "all slots full": "random within the range",
    "all particles alike": "all rows alike",
}
MASK = "mask"  # the model input that says which slots hold a particle
ORDER = "order"  # the model input (O, N) that says in which order they stand in blocks: permutations, by contract


@dataclass(frozen=True)
class InputRange:
    """What the consumers of a model input make of its values; arrays of the input's shape."""

    low: Array  # smallest value that any consumer keeps
    high: Array
    step: Array  # finest step of any consumer
    far: float  # largest magnitude that Keras itself still treats exactly

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one event."""
        return self.low.shape


@dataclass(frozen=True)
class Adversarial:
    """n events and what each of them is."""

    inputs: dict[str, NDArray[np.float32]]
    cases: tuple[str, ...]  # n names

    def __len__(self) -> int:
        return len(self.cases)


def ranges(model: Any) -> dict[str, InputRange]:
    """Ranges of all inputs of a quantised model, from the quantisers that they feed; model input name -> InputRange."""
    users = readers(model)
    return {tensor.name: _range(tuple(tensor.shape[1:]), users.get(id(tensor), [])) for tensor in model.inputs}


def _range(shape: tuple[int, ...], users: list[Quantiser]) -> InputRange:
    low, high, step, far = np.zeros(shape), np.ones(shape), np.ones(shape), FAR
    for number, quantiser in enumerate(users):
        k, i, f = (np.broadcast_to(part, (1, *shape))[0].astype(float) for part in quantiser.kif())
        own_step, own_high = 2.0**-f, 2.0**i - 2.0**-f
        own_low = -k * 2.0**i
        low = own_low if number == 0 else np.minimum(low, own_low)
        high = own_high if number == 0 else np.maximum(high, own_high)
        step = own_step if number == 0 else np.minimum(step, own_step)
        if quantiser.core.overflow_mode == "WRAP":
            far = min(far, EXACT * float(own_step.min()))
    return InputRange(low, high, step, far)


def adversarial(
    model: Any, seed: int = 0, each: int = 64, spans: Mapping[str, InputRange] | None = None
) -> Adversarial:
    """Adversarial events for a quantised model.

    Args:
        model: with inputs of any names; one called "mask" says which slots hold a particle.
        seed: of the random part.
        each: events per random case.
        spans: `ranges` of the model, where they are known.

    Returns:
        Arrays (n, ...) in float32 for every model input.
    """
    random = np.random.default_rng(seed)
    spans = spans or ranges(model)
    values = {name: span for name, span in spans.items() if name not in (MASK, ORDER)}
    slots = spans[MASK].shape[0] if MASK in spans else 0
    groups: list[tuple[str, dict[str, Array], Array]] = []

    def add(case: str, fill: Callable[[InputRange, int], Array], mask: Array) -> None:
        if not slots:
            case = _WITHOUT_SLOTS.get(case, case.removesuffix(", empty jet"))
        groups.append((case, {name: fill(span, len(mask)) for name, span in values.items()}, mask))

    full = np.ones((1, slots))
    some = (np.arange(slots) < random.integers(0, slots + 1, (each, 1))).astype(float)
    add("empty jet", lambda s, n: np.zeros((n, *s.shape)), 0 * full)
    add("empty jet, slots not zero", lambda s, n: _inside(s, n, random), np.zeros((each, slots)))
    add("one particle", lambda s, n: _inside(s, n, random), np.eye(slots) if slots else full)
    add("all slots full", lambda s, n: _inside(s, n, random), np.ones((each, slots)))
    for case, fill in _EXTREMES.items():
        add(case, fill, full)
        add(f"{case}, empty jet", fill, 0 * full)
    add("ends and beyond, mixed", lambda s, n: _ends(s, n, random), some)
    add("ties of rounding", lambda s, n: _ties(s, n, random), some)
    add("all particles alike", lambda s, n: _alike(s, n, random), some)
    add("neighbours alike", lambda s, n: _neighbours(s, n, random), some)
    add("random within the range", lambda s, n: _inside(s, n, random), some)
    add("random beyond the range", lambda s, n: 4 * _inside(s, n, random), some)
    add("one value at an end", lambda s, n: _one_hot(s, n, random), np.ones((each, slots)))
    if slots:
        add("mask between 0 and 1 and beyond", lambda s, n: _inside(s, n, random), _ends(spans[MASK], each, random))
    if COORDS in values:
        add("all points close together", lambda s, n: _close(s, n, random), some)
    events = _join(groups, [name for name in spans if name != ORDER])
    if ORDER in spans:
        events.inputs[ORDER] = permutations(spans[ORDER], len(events), random)
    return events


def uniform(
    model: Any, events: int, seed: int = 0, spans: Mapping[str, InputRange] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Events drawn evenly over the ranges of the inputs: model input -> (events, ...).

    Args:
        model: a quantised model, as for `adversarial`.
        events: how many.
        seed: of the draw.
        spans: `ranges` of the model, where they are known.
    """
    random = np.random.default_rng(seed)
    return {
        name: (permutations if name == ORDER else _inside)(span, events, random).astype(np.float32)
        for name, span in (spans or ranges(model)).items()
    }


def _join(groups: list[tuple[str, dict[str, Array], Array]], names: list[str]) -> Adversarial:
    parts = {name: [mask if name == MASK else values[name] for _, values, mask in groups] for name in names}
    inputs = {name: np.ascontiguousarray(np.concatenate(part), np.float32) for name, part in parts.items()}
    cases = tuple(case for case, _, mask in groups for _ in range(len(mask)))
    return Adversarial(inputs, cases)


def _whole(value: Callable[[InputRange], Array | float]) -> Callable[[InputRange, int], Array]:
    """Events in which every value of an input is the same function of its range."""
    return lambda span, n: np.broadcast_to(np.asarray(value(span), float), (n, *span.shape))


_EXTREMES: dict[str, Callable[[InputRange, int], Array]] = {
    "all at the lower end": _whole(lambda s: s.low),
    "all at the upper end": _whole(lambda s: s.high),
    "all one step below the lower end": _whole(lambda s: s.low - s.step),
    "all one step above the upper end": _whole(lambda s: s.high + s.step),
    "all half a step above the upper end": _whole(lambda s: s.high + s.step / 2),
    "all far below": _whole(lambda s: -s.far),
    "all far above": _whole(lambda s: s.far),
    "all zero": _whole(lambda s: 0.0),
    "all minus zero": _whole(lambda s: -0.0),
    "all half a step": _whole(lambda s: s.step / 2),
    "all minus half a step": _whole(lambda s: -s.step / 2),
    "all just below half a step": _whole(lambda s: s.step / 2 * (1 - 2.0**-20)),
    "all one step": _whole(lambda s: s.step),
    "all minus one step": _whole(lambda s: -s.step),
}


def _inside(span: InputRange, n: int, random: np.random.Generator) -> Array:
    return span.low + random.random((n, *span.shape)) * (span.high - span.low)


def _ends(span: InputRange, n: int, random: np.random.Generator) -> Array:
    choices = [span.low, span.high, span.low - span.step, span.high + span.step, 0 * span.low, 0 * span.low + span.far]
    choices += [-choices[-1], span.step / 2, span.high - span.step / 2]
    return np.asarray(np.choose(random.integers(0, len(choices), (n, *span.shape)), choices))


def _ties(span: InputRange, n: int, random: np.random.Generator) -> Array:
    """Halves of a step, also of the next coarser ones."""
    step = span.step * 2.0 ** random.integers(0, 3, (n, *span.shape))
    return np.asarray((np.floor(_inside(span, n, random) / step) + 0.5) * step)


def _alike(span: InputRange, n: int, random: np.random.Generator) -> Array:
    """Every slot has the values of the first one."""
    values = _inside(span, n, random)
    return np.broadcast_to(values[:, :1], values.shape) if values.ndim > 1 else values


def _neighbours(span: InputRange, n: int, random: np.random.Generator) -> Array:
    """Slots 2 m and 2 m + 1 are equal, so also in pT."""
    values = _inside(span, n, random)
    if values.ndim > 1:
        values[:, 1::2] = values[:, : 2 * (values.shape[1] // 2) : 2]
    return values


def _close(span: InputRange, n: int, random: np.random.Generator) -> Array:
    """All slots within two steps of each other: points of one region, with many ties in what HEPT sorts."""
    return _alike(span, n, random) + span.step * random.integers(0, 3, (n, *span.shape))


def permutations(span: InputRange, n: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Slots as they stand, from the last to the first, and in random orders, in turn."""
    slots = np.broadcast_to(np.arange(span.shape[-1], dtype=np.float32), (n, *span.shape)).copy()
    slots[1::3] = slots[1::3, ..., ::-1]
    slots[2::3] = random.permuted(slots[2::3], axis=-1)
    return slots


def _one_hot(span: InputRange, n: int, random: np.random.Generator) -> Array:
    """Zero but for one value, at one of its ends or far beyond."""
    flat = np.zeros((n, int(np.prod(span.shape))))
    flat[np.arange(n), random.integers(0, flat.shape[1], n)] = 1
    return flat.reshape(n, *span.shape) * _ends(span, n, random)
