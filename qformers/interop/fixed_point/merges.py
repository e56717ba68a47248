"""Layers that take several tensors."""

from __future__ import annotations

from functools import reduce
from typing import Any

import keras
import numpy as np
from hgq.layers import QAdd, QEinsum, QMaximum, QMinimum, QMultiply, QSubtract

from qformers.interop.fixed_point.linear import batch_first
from qformers.interop.fixed_point.maker import letters
from qformers.interop.fixed_point.step import Step
from qformers.nn.vocabulary import Tensor


def _pairwise(step: Step, kind: Any, name: str) -> Tensor:
    """Two at a time: backends add two tensors in one step."""
    tensors = step.tensors
    if len(tensors) < 2:
        raise step.refuse("it merges two tensors or more", len(tensors))
    names = [*(step.make.name(f"{name}_{place}") for place in range(1, len(tensors) - 1)), name]

    def merged(a: Tensor, following: tuple[Tensor, str]) -> Tensor:
        b, one = following
        return kind(iq_confs=step.make.sides((a, b), one, kind.__name__), name=one)([a, b])

    return reduce(merged, zip(tensors[1:], names, strict=True), tensors[0])


def add(step: Step) -> Tensor:
    """Add."""
    return _pairwise(step, QAdd, step.name)


def subtract(step: Step) -> Tensor:
    """Subtract."""
    return _pairwise(step, QSubtract, step.name)


def multiply(step: Step) -> Tensor:
    """Multiply."""
    return _pairwise(step, QMultiply, step.name)


def maximum(step: Step) -> Tensor:
    """Maximum."""
    return _pairwise(step, QMaximum, step.name)


def minimum(step: Step) -> Tensor:
    """Minimum."""
    return _pairwise(step, QMinimum, step.name)


def average(step: Step) -> Tensor:
    """Average: a sum times 1/n, in the format of the weights of the layer."""
    total = _pairwise(step, QAdd, step.make.name(f"{step.name}_sum"))
    axes = letters(len(total.shape) - 1)
    share = np.full(int(total.shape[-1]), 1.0 / len(step.inputs))
    return step.make.linear(total, f"b{axes},{axes[-1]}->b{axes}", share, step.name, constant=True)


def concatenate(step: Step) -> Tensor:
    """Concatenate."""
    return keras.layers.Concatenate(axis=step.layer.axis, name=step.name)(step.tensors)


def einsum(step: Step) -> Tensor:
    """Einsum of two tensors."""
    equation = step.layer.equation
    if "..." in equation:
        raise step.refuse("an equation of two tensors spells all axes", equation)
    return _einsum(step, batch_first(equation, len(step.x.shape)))


def dot(step: Step) -> Tensor:
    """Dot along one axis of each side, whose other axes follow each other."""
    layer = step.layer
    if layer.normalize:
        raise step.refuse("a cosine has no form here: write LayerNormalization in front", "normalize=True")
    ranks = [len(tensor.shape) for tensor in step.tensors]
    axes = [layer.axes] * 2 if isinstance(layer.axes, int) else list(layer.axes)
    one, other = (axis % rank for axis, rank in zip(axes, ranks, strict=True))
    spare = letters(sum(ranks))
    left = ["b", *spare[: ranks[0] - 1]]
    right = ["b", *spare[ranks[0] - 1 : sum(ranks) - 2]]
    right[other] = left[one]
    kept = [letter for letter in (*left[1:], *right[1:]) if letter != left[one]]
    if not kept:
        raise step.refuse("a scalar product of vectors has no axis left: put a Reshape to (1, n) in front", ranks)
    return _einsum(step, f"{''.join(left)},{''.join(right)}->b{''.join(kept)}")


def _einsum(step: Step, equation: str) -> Tensor:
    tensors = step.tensors
    return QEinsum(equation, iq_confs=step.make.sides(tensors, step.name, "QEinsum"), name=step.name)(tensors)
