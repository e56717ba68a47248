"""QMultiHeadAttention and QLinformerAttention, from the layers in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qformers.interop.qonnx.around import around
from qformers.interop.qonnx.graph import Graph, NoForm, Tensor
from qformers.interop.qonnx.products import einsum_dense, product
from qformers.interop.qonnx.tables import softmax
from qformers.nn.memory import attended, inputs_of


def attention(g: Graph, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    """Queries, keys and values, weights of a softmax, and the values that they mix.

    Raises:
        NoForm: it takes a mask, or gives out its weights.
    """
    query, value, key = _arguments(layer, inputs)

    def dense(name: str, inner: Any, x: Tensor) -> Tensor:
        with g.inside(name):
            return around(g, inner, [x], einsum_dense)

    if hasattr(layer, "_lin_k_proj"):
        shared = layer.share_kv_proj and key is value
        key, given = dense("lin_key", layer._lin_k_proj, key), value
        value = key if shared else dense("lin_value", layer._lin_v_proj, given)
    queries = dense("query", layer._query_dense, query)
    keys = dense("key", layer._key_dense, key)
    values = dense("value", layer._value_dense, value)
    scaled = g.node("Mul", queries, layer._inverse_sqrt_key_dim, hint="scaled")
    scores = product(g, layer._dot_product_equation, keys, scaled)
    with g.inside("softmax"):
        weights = around(g, layer._softmax, [scores], softmax)
    mixed = product(g, layer._combine_equation, weights, values)
    return dense("output", layer._output_dense, mixed)


def _arguments(layer: Any, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Query, value and key of the layer's only call."""
    query, value, key, further = attended(layer)
    known = {id(tensor): given for tensor, given in zip(inputs_of(layer), inputs, strict=True)}
    if further:
        raise NoForm(f"it is called with {', '.join(further)}", "call it with query, value and key alone")
    return known[id(query)], known[id(value)], known[id(key)]
