"""Products of two tensors, added up: dense layers, einsums, norms in inference."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters
from typing import Any

from keras import ops

from qformers.interop.qonnx.around import activated
from qformers.interop.qonnx.graph import Graph, Tensor
from qformers.interop.qonnx.rounding import held
from qformers.quant.kinds import kind_of
from qformers.quant.kinds.products import spelled


def dense(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """QDense: the last axis."""
    x = inputs[0]
    kernel = _weights(g, layer, "weight", layer.qkernel)
    product = g.node("MatMul", x, kernel, shape=(*x.shape[:-1], kernel.shape[-1]))
    return _ended(g, layer, product)


def einsum_dense(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """QEinsumDense: a product of matrices where its equation is one."""
    x = inputs[0]
    equation = spelled(layer.equation, len(x.shape) + 1)
    kernel = _weights(g, layer, "weight", layer.qkernel)
    left, right = equation.split("->")[0].split(",")
    if equation == f"{left},{right}->{left[:-1]}{right[1:]}" and len(right) == 2 and left[-1] == right[0]:
        return _ended(g, layer, g.node("MatMul", x, kernel, shape=(*x.shape[:-1], kernel.shape[-1])))
    return _ended(g, layer, _einsum(g, equation, x, kernel, right))


def _ended(g: Graph, layer: Any, product: Tensor) -> Tensor:
    """Bias and activation."""
    if layer.bias is not None:
        product = g.node("Add", product, _weights(g, layer, "bias", layer.qbias), hint="biased")
    return activated(g, layer, product)


def _weights(g: Graph, layer: Any, slot: str, values: Any, **how: Any) -> Tensor:
    quantiser = next(one for one in kind_of(layer).quantisers(layer) if one.slot == slot)
    return held(g, quantiser, ops.convert_to_numpy(values), **how)


def _einsum(g: Graph, equation: str, x: Tensor, y: Tensor, right: str) -> Tensor:
    left, output = equation.split(",")[0], equation.split("->")[1]
    batch = left[0]
    sizes = dict(zip(left[1:], x.shape, strict=True))
    sizes |= dict(zip(right.replace(batch, ""), y.shape, strict=True))
    return g.node("Einsum", x, y, shape=[sizes[letter] for letter in output[1:]], equation=equation)


def einsum(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """QEinsum."""
    return product(g, layer.equation, *inputs)


def product(g: Graph, equation: str, x: Tensor, y: Tensor) -> Tensor:
    """An einsum of two tensors that change with the event."""
    return _einsum(g, equation, x, y, equation.split("->")[0].split(",")[1])


def dot(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """QDot: one axis of each side; the other axes follow each other."""
    first, second = (len(tensor.shape) + 1 for tensor in inputs)
    axes = layer.axes
    one, other = (axes, axes) if isinstance(axes, int) else axes
    left = list(ascii_letters[:first])
    right = [left[0], *ascii_letters[first : first + second - 1]]
    summed = right[other % second] = left[one % first]
    kept = [letter for letter in (*left, *right[1:]) if letter != summed]
    made = product(g, f"{''.join(left)},{''.join(right)}->{''.join(kept)}", *inputs)
    return g.reshape(made, layer.output.shape[1:])  # Keras gives two vectors' product an axis


def norm(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """QBatchNormalization in inference: a factor and an offset for each channel."""
    x = inputs[0]
    axis = (layer.axis if isinstance(layer.axis, int) else layer.axis[0]) % (len(x.shape) + 1) - 1
    spread = [1] * len(x.shape)
    spread[axis] = -1
    factor, offset = (
        _weights(g, layer, slot, part, laid=lambda array: array.reshape(spread))
        for slot, part in zip(("weight", "bias"), layer.qscaler_and_qoffset, strict=True)
    )
    return g.node("Add", g.node("Mul", x, factor), offset)
