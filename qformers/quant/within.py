"""Quantisers inside of layers that are made of layers (attention) or go through time (recurrent cells).

`quantisers` does not list them: what they see is known when the layer is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import numpy as np
from hgq.quantizer import Quantizer
from keras import ops
from numpy.typing import NDArray

from qformers.quant.kinds import kind_of
from qformers.quant.kinds.record import Quantiser
from qformers.quant.quantisers import quantisers

KERAS_LIST = "_layers"  # where Keras keeps all of them once more
OF_WEIGHTS = ("kq", "bq")  # ends of names of quantisers of kernels and biases, which see the same for all events


def within(layer: Any) -> Iterator[Quantiser]:
    """Those of values in the layers inside a layer, in the order in which it made them."""
    listed = {id(quantiser.wrapper) for quantiser in kind_of(layer).quantisers(layer)}
    for owner in layer._flatten_layers(include_self=False):
        for name, held in vars(owner).items():
            if name == KERAS_LIST or name.endswith(OF_WEIGHTS):
                continue
            wrappers = held if isinstance(held, list | tuple) else [held]
            for number, wrapper in enumerate(wrappers):
                if not isinstance(wrapper, Quantizer) or id(wrapper) in listed or not wrapper.built:
                    continue
                listed.add(id(wrapper))
                part = f"{owner.name.removeprefix(layer.name).strip('_')}_{name.strip('_')}"
                part += str(number) if len(wrappers) > 1 else ""
                yield Quantiser(layer, part, "input", "input", wrapper, itemgetter(0))


def made_of_layers(model: Any) -> list[str]:
    """The layers of a model that have such quantisers, each with its class."""
    return [f"{layer.name} ({type(layer).__name__})" for layer in model.layers if next(within(layer), None) is not None]


def is_quantised(model: Any) -> bool:
    """Whether any layer of a model rounds values or weights, or a layer inside of one does."""
    return bool(quantisers(model)) or bool(made_of_layers(model))


class Heard:
    """What quantisers see while a layer is computed.

    Args:
        found: of one layer.
        events: that it is computed on.
    """

    def __init__(self, found: list[Quantiser], events: int) -> None:
        self._events = events
        self._seen: list[tuple[Quantiser, list[Any]]] = [(quantiser, []) for quantiser in found]
        for quantiser, seen in self._seen:
            _listen(quantiser.wrapper, seen)

    def end(self) -> Iterator[tuple[Quantiser, NDArray[np.float64]]]:
        """Stop to listen; those that were asked, each with its values (events, ...), of steps in time side by side."""
        for quantiser, seen in self._seen:
            del quantiser.wrapper.call
            arrays = [np.asarray(ops.convert_to_numpy(tensor), np.float64) for tensor in seen]
            of_events = bool(arrays) and arrays[0].ndim > 1 and len(arrays[0]) == self._events
            if of_events:  # others are parameters, as a threshold
                yield quantiser, arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)


def _listen(wrapper: Any, seen: list[Any]) -> None:
    own = wrapper.call

    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(inputs)
        return own(inputs, *args, **kwargs)

    wrapper.call = call
