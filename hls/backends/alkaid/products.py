"""How alkaid traces dense layers whose equation it does not take as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from qformers.quant.kinds.products import spelled


def einsum_dense(layer: Any, inputs: Any) -> Any:
    """A `QEinsumDense`: axes that only one side has are added up first, which alkaid's einsum does not do."""
    left, right, output = spelled(layer.equation, len(layer.input.shape)).replace("->", ",").split(",")
    kernel = np.asarray(ops.convert_to_numpy(layer.qkernel))
    inputs, left = _without(inputs, left, right + output)
    kernel, right = _without(kernel, right, left + output)
    bias = 0.0 if layer.bias is None else np.asarray(ops.convert_to_numpy(layer.qbias))
    return np.einsum(f"{left},{right}->{output}", inputs, kernel) + bias


def _without(values: Any, letters: str, others: str) -> tuple[Any, str]:
    """The sum over axes whose letters nobody else has, and the letters that are left."""
    alone = tuple(place for place, letter in enumerate(letters) if letter not in others)
    kept = "".join(letter for letter in letters if letter in others)
    return (np.sum(values, axis=alone) if alone else values), kept
