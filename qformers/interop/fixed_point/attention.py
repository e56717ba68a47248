"""MultiHeadAttention, composed of its steps: three projections, scores, softmax, context, and a projection back."""

from __future__ import annotations

import math
from typing import Any

from qformers.interop.fixed_point.maker import Wire
from qformers.interop.fixed_point.step import Step
from qformers.nn.vocabulary import Tensor
from qformers.quant.fold import to_numpy

WIDE = 3  # axes of a sequence: events, places, channels


def attention(step: Step) -> Tensor:
    """MultiHeadAttention along the places of sequences (B, N, C) (arXiv:1706.03762, section 3.2).

    The factor 1 / sqrt(size of a key) is multiplied into the query.
    """
    layer, make, name = step.layer, step.make, step.name
    _refuse(step)
    query, value, *rest = step.inputs
    key = rest[0] if rest else value
    sides = {"query": query, "value": value, "key": key}
    made = {what: _projected(step, what, x) for what, x in sides.items()}
    scores = make.einsum("bqhd,bkhd->bhqk", made["query"], made["key"], make.name(f"{name}_products"))
    weights = make.softmax(scores, make.name(f"{name}_weights"))
    context = make.einsum("bhqk,bkhe->bqhe", weights, made["value"], make.name(f"{name}_context"))
    last = layer._output_dense
    bias = None if last.bias is None else to_numpy(last.bias).reshape(1, -1)
    return step.linear(context, "bqhe,hed->bqd", to_numpy(last.kernel), bias)


def _projected(step: Step, what: str, x: Wire) -> Tensor:
    dense: Any = getattr(step.layer, f"_{what}_dense")
    factor = 1.0 / math.sqrt(step.layer.key_dim) if what == "query" else 1.0
    bias = None if dense.bias is None else to_numpy(dense.bias)[None] * factor
    one = Step(step.make, step.layer, step.inputs, step.make.name(f"{step.name}_{what}"))
    return one.linear(x, "bnc,chd->bnhd", to_numpy(dense.kernel) * factor, bias)


def _refuse(step: Step) -> None:
    """Refuse what changes from event to event, and tensors of other axes.

    Raises:
        ConfigError: naming it.
    """
    for key, value in step.options.items():
        if value not in (None, False) and key != "training":
            raise step.refuse(f"its argument {key} has no form here: leave it out, or add a mask to the scores", value)
    if len(step.layer._output_dense.kernel.shape) > WIDE:
        raise step.refuse("its output_shape is one number: put a Reshape behind it", step.layer._output_shape)
    ranks = [len(wire.shape) for wire in step.inputs]
    if any(rank != WIDE for rank in ranks):
        raise step.refuse("it takes sequences (events, places, channels)", f"{ranks} axes")
