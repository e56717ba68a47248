"""The quantisers that HGQ2's base classes give a layer."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from qformers.quant.kinds.record import Place, Quantiser

FURTHER = "input0"  # slot of the third and later inputs, for which build files have no word of their own


def of_inputs(layer: Any) -> Iterator[Quantiser]:
    """One for the input of a layer, or one for each of several."""
    held = getattr(layer, "_iq", None)
    if held is None:
        return
    if not hasattr(held, "__iter__"):
        yield Quantiser(layer, "iq", "input", "input", held, operator.itemgetter(0), 0)
        return
    for index, wrapper in enumerate(held):
        slot = f"input{index}" if index < 2 else FURTHER
        yield Quantiser(layer, f"iq{index}", slot, "input", wrapper, operator.itemgetter(index), index)


def of_weights(layer: Any) -> Iterator[Quantiser]:
    """Of a kernel and a bias."""
    if getattr(layer, "_kq", None) is not None:
        yield Quantiser(layer, "kq", "weight", "weight", layer._kq, lambda inputs: layer._kernel)
    if getattr(layer, "_bq", None) is not None:
        yield Quantiser(layer, "bq", "bias", "bias", layer._bq, lambda inputs: layer.bias)


def of_result(layer: Any) -> Iterator[Quantiser]:
    """Of what leaves a layer."""
    if getattr(layer, "_oq", None) is not None:
        yield Quantiser(layer, "oq", "result", "result", layer._oq, lambda inputs: before_rounding(layer, inputs))


def usual(layer: Any) -> Iterator[Quantiser]:
    """All of them."""
    yield from of_inputs(layer)
    yield from of_weights(layer)
    yield from of_result(layer)


def before_rounding(layer: Any, inputs: list[Any]) -> Any:
    """What a layer computes, before its output quantiser."""
    return inspect.unwrap(type(layer).call)(layer, inputs if len(inputs) > 1 else inputs[0])


def fused(weights: Callable[[Any], tuple[Any, Any]]) -> Callable[[Any], Iterator[Quantiser]]:
    """As `usual`, of layers whose kernel and bias are rounded after a norm is multiplied in.

    Args:
        weights: from a layer to kernel and bias as they are then.
    """

    def listed(layer: Any) -> Iterator[Quantiser]:
        yield from of_inputs(layer)
        for index, (part, slot, wrapper) in enumerate((("kq", "weight", layer._kq), ("bq", "bias", layer._bq))):
            if wrapper is not None:
                place: Place = "weight" if index == 0 else "bias"
                computed = partial(_one_of, weights, layer, index)
                yield Quantiser(layer, part, slot, place, wrapper, partial(_ignoring, computed), computed=computed)
        yield from of_result(layer)

    return listed


def _one_of(weights: Callable[[Any], tuple[Any, Any]], layer: Any, index: int) -> Any:
    return weights(layer)[index]


def _ignoring(computed: Callable[[], Any], inputs: list[Any]) -> Any:
    return computed()
