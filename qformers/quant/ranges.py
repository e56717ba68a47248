"""Which values can occur: an interval and a grid for every value of a quantised model, from its formats and weights.

Computed forwards through the model by interval arithmetic in float64, which is exact here (all bounds are short binary
fractions): inputs can be anything that their formats hold, weights are what they are, every quantiser clips, wraps and
rounds as it does in the model. The bounds are sharp for each sum of independent values; where one value is used twice
they are safe, not sharp. What a layer makes of its inputs is the rule `bounds` of its `LayerKind`; a layer without one
gives values of unknown range, which the next quantiser bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras

from qformers.nn.memory import inputs_of
from qformers.quant.intervals import Range, Sums
from qformers.quant.kinds import kind_of
from qformers.quant.kinds.record import UNKNOWN, Incoming, rounded
from qformers.quant.within import within

FLOAT32_BITS = 24  # of the mantissa


def sums_of(model: keras.Model) -> dict[str, Sums]:
    """Layer -> its sums, for every layer of a quantised model that adds up more than two values."""
    sums: dict[str, Sums] = {}
    ranges_of(model, sums)
    return sums


def wide_layers(model: keras.Model) -> list[str]:
    """Layers in which a float32 may round: what they compute may need more than the 24 bits of its mantissa, or they
    wrap what comes into the model, which may be of any size; also layers about which nothing is known.
    """
    wide: list[str] = []

    def seen(incoming: Incoming, made: Range | None, added: Sums | None) -> None:
        layer, kind = incoming.layer, kind_of(incoming.layer)
        computes = kind.bounds is not None and bool(incoming.quantisers) and not kind.moves
        wraps = any(
            quantiser.sees is not None
            and incoming.inputs[quantiser.sees] is None
            and quantiser.core.overflow_mode == "WRAP"
            for quantiser in incoming.quantisers
        )
        known = (made is not None or not computes) and next(within(layer), None) is None
        sums = 0 if added is None else added.format(saturates=True).width - (added.low < 0)
        values = 0 if made is None else made.bits + bool(incoming.at("exp_table"))  # a softmax subtracts two of them
        if wraps or not known or max(sums, values) > FLOAT32_BITS:
            wide.append(layer.name)

    ranges_of(model, seen=seen)
    return wide


def ranges_of(
    model: keras.Model,
    sums: dict[str, Sums] | None = None,
    seen: Callable[[Incoming, Range | None, Sums | None], None] | None = None,
) -> dict[str, Range | None]:
    """Layer -> range of its output; None where nothing is known about it.

    Args:
        model: vocabulary hgq, functional, every layer with one output.
        sums: filled with the sums of its layers.
        seen: told of each layer what comes in, its values before the result is rounded, and its sums.
    """
    tensors: dict[int, Range | None] = {}
    ranges: dict[str, Range | None] = {}
    for layer in model.layers:
        kind = kind_of(layer)
        held = tuple(kind.quantisers(layer))
        incoming = Incoming(layer, held, [tensors.get(id(tensor)) for tensor in inputs_of(layer)])
        made, added = UNKNOWN if kind.bounds is None else kind.bounds(incoming)
        if seen is not None:
            seen(incoming, made, added)
        if added is not None and sums is not None:
            sums[layer.name] = added
        for quantiser in held:
            if quantiser.place == "result":
                made = rounded(made, quantiser, incoming.shape)
        ranges[layer.name] = tensors[id(layer.output)] = made
    return ranges


__all__: Sequence[str] = ("Range", "Sums", "ranges_of", "rounded", "sums_of", "wide_layers")
