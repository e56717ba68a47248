"""Which quantisers of a model read which of its tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qformers.quant.quantisers import Quantiser, quantisers


def input_quantisers(model: Any) -> Iterator[Quantiser]:
    """The quantisers that see what comes into a layer; those inside a softmax see what it makes of that."""
    for quantiser in quantisers(model):
        if quantiser.sees is not None:
            yield quantiser


def readers(model: Any) -> dict[int, list[Quantiser]]:
    """``id`` of a tensor of the model -> the quantisers that read it, in the order of the layers."""
    reading: dict[int, list[Quantiser]] = {}
    for quantiser in input_quantisers(model):
        taken = quantiser.layer.input
        tensor = quantiser.tensor(taken if isinstance(taken, list) else [taken])
        reading.setdefault(id(tensor), []).append(quantiser)
    return reading
