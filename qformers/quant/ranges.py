"""Which values can occur: an interval and a grid for every value of a quantised model, from its formats and weights.

Computed forwards through the model by interval arithmetic in float64, which is exact here (all bounds are short binary
fractions): inputs can be anything that their formats hold, weights are what they are, every quantiser clips, wraps and
rounds as it does in the model. The bounds are sharp for each sum of independent values; where one value is used twice
they are safe, not sharp. What a layer makes of its inputs is the rule `bounds` of its `LayerKind`; a layer without one
gives values of unknown range, which the next quantiser bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from qformers.quant.intervals import Range, Sums
from qformers.quant.kinds import kind_of
from qformers.quant.kinds.record import UNKNOWN, Incoming, inputs_of, rounded


def sums_of(model: keras.Model) -> dict[str, Sums]:
    """Layer -> its sums, for every layer of a quantised model that adds up more than two values."""
    sums: dict[str, Sums] = {}
    ranges_of(model, sums)
    return sums


def ranges_of(model: keras.Model, sums: dict[str, Sums] | None = None) -> dict[str, Range | None]:
    """Layer -> range of its output; None where nothing is known about it.

    Args:
        model: vocabulary hgq, functional, every layer with one output.
        sums: filled with the sums of its layers.
    """
    tensors: dict[int, Range | None] = {}
    ranges: dict[str, Range | None] = {}
    for layer in model.layers:
        kind = kind_of(layer)
        held = tuple(kind.quantisers(layer))
        incoming = Incoming(layer, held, [tensors.get(id(tensor)) for tensor in inputs_of(layer)])
        made, added = UNKNOWN if kind.bounds is None else kind.bounds(incoming)
        if added is not None and sums is not None:
            sums[layer.name] = added
        for quantiser in held:
            if quantiser.place == "result":
                made = rounded(made, quantiser, incoming.shape)
        ranges[layer.name] = tensors[id(layer.output)] = made
    return ranges


__all__: Sequence[str] = ("Range", "Sums", "ranges_of", "rounded", "sums_of")
