"""What in a model has no exact firmware: found on the Keras model, before hls4ml sees it."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from hls.backends.hls4ml.handlers import HANDLERS, class_name, gap
from hls.backends.tables import MAX_ADDRESS_BITS
from hls.errors import Refusal
from qformers.quant.quantisers import Quantiser, quantisers

# names that C++ or hls4ml's generated code already has a meaning for
_WORDS = """
alignas alignof and asm auto bitand bitor bool break case catch char class compl concept const consteval constexpr
constinit continue decltype default delete do double else enum explicit export extern false float for friend goto if
inline input int long main mutable namespace new noexcept not nullptr operator or output private protected public
register requires return short signed sizeof static struct switch template this throw true try typedef typeid typename
union unsigned using virtual void volatile while xor i n p u t std nnet
"""
RESERVED = frozenset(_WORDS.split())
_LEGAL = re.compile(r"^[A-Za-z][A-Za-z0-9_]*$")


def refusals(model: Any) -> list[Refusal]:
    """All layers of a built Keras model that cannot be converted exactly, in the order of the model; empty = none."""
    found = []
    formats = _formats(model)
    for layer in model.operations:  # layers, and operations without a layer such as a slice
        name, kind = class_name(layer), type(layer).__name__
        if name not in HANDLERS:
            found.append(Refusal(layer.name, kind, *gap(name)))
            continue
        own = formats.get(layer.name, [])
        for reason, way_out in (*name_faults(layer.name), *_use_faults(model, layer), *_quantiser_faults(layer, own)):
            found.append(Refusal(layer.name, kind, reason, way_out))
    if found:
        return found  # the last check needs layers that it knows
    return list(_unquantised_inputs(model))


def _formats(model: Any) -> dict[str, list[Quantiser]]:
    """Quantisers by layer; none where a softmax has none for its exponential, which is refused in any case."""
    by_layer: dict[str, list[Quantiser]] = {}
    if all(getattr(layer, "stable", True) for layer in model.layers):
        for quantiser in quantisers(model):
            by_layer.setdefault(quantiser.layer.name, []).append(quantiser)
    return by_layer


def name_faults(name: str) -> Iterator[tuple[str, str]]:
    """Why a layer cannot be called that, and what to do."""
    if not _LEGAL.match(name) or keyword.iskeyword(name) or name in RESERVED:
        yield "its name cannot stand in C++", "name it with two or more letters, digits and _, no word of C++ or hls4ml"


def _nodes(model: Any, layer: Any) -> list[Any]:
    inside = {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}
    return [node for node in layer._inbound_nodes if id(node) in inside]


def _use_faults(model: Any, layer: Any) -> Iterator[tuple[str, str]]:
    if len(_nodes(model, layer)) > 1:
        yield "it is used more than once", "give each use a layer of its own"
    outputs = {id(tensor) for tensor in model.outputs}
    is_output = any(id(tensor) in outputs for node in _nodes(model, layer) for tensor in node.outputs)
    if type(layer).__name__ == "QAdd" and len({tuple(tensor.shape) for tensor in layer.input}) > 1:
        shapes = ", ".join(str(tuple(tensor.shape[1:])) for tensor in layer.input)
        yield f"hls4ml adds tensors of one shape only. Received: {shapes}", "repeat values by a QEinsumDense first"
    if type(layer).__name__ == "QAdd" and len(layer.input) != 2:
        yield f"hls4ml adds two tensors at a time. Received: {len(layer.input)}", "use a QAdd for each further one"
    if is_output and any(user is not layer for user in _users(model, layer)):
        yield "it is an output of the model and is used inside it too", "leave one of the two out"


def _users(model: Any, layer: Any) -> list[Any]:
    """Layers that take an output of `layer`."""
    made = {id(tensor) for node in _nodes(model, layer) for tensor in node.outputs}
    return [
        other
        for other in model.layers
        if any(id(tensor) in made for node in _nodes(model, other) for tensor in node.arguments.keras_tensors)
    ]


def _unquantised_inputs(model: Any) -> Iterator[Refusal]:
    """Model inputs that reach arithmetic without a format: hls4ml cannot tell how wide the port is."""
    for layer in model.layers:
        if type(layer).__name__ != "InputLayer":
            continue
        for user in _users(model, layer):
            kind = type(user).__name__
            if (
                kind not in ("Quantizer", "Reshape", "QMultiHeadAttention", "QLinformerAttention")
                and not user.enable_iq
            ):
                reason = f"it takes the model input '{layer.name}' without an input quantiser"
                yield Refusal(user.name, kind, reason, "set enable_iq=True, which is the format of the port")


def _one_bit_symmetric(quantiser: Quantiser) -> bool:
    signed, integer, fraction = quantiser.kif()
    return bool(quantiser.core.overflow_mode == "SAT_SYM" and np.any((signed == 1) & (integer + fraction == 0)))


def _quantiser_faults(layer: Any, formats: list[Quantiser]) -> Iterator[tuple[str, str]]:
    for quantiser in formats:
        core, place = quantiser.core, quantiser.name.removeprefix(f"{layer.name}_")
        if not type(core).__name__.startswith("FixedPointQuantizer"):
            yield f"its {place} is no fixed-point quantiser but {type(core).__name__}", "use a kif or kbi quantiser"
        elif core.round_mode.startswith("S_"):
            yield f"its {place} rounds at random ({core.round_mode})", "use RND, RND_CONV or TRN"
        elif quantiser.place in ("input", "result") and _one_bit_symmetric(quantiser):
            yield f"its {place} has one signed bit and SAT_SYM, which is 0 in HGQ2 and -1 in C++", "use SAT"
        elif np.size(core.kif[0]) > 1 and type(layer).__name__ == "QUnaryFunctionLUT":
            yield f"its {place} has one format per element, its table has one", "set allow_heterogeneous_*=False"
        elif quantiser.place == "input" and type(layer).__name__ == "QUnaryFunctionLUT":
            bits = int(quantiser.widths().max())
            if bits > MAX_ADDRESS_BITS:
                yield (
                    f"its table would have 2^{bits} entries, 2^{MAX_ADDRESS_BITS} are allowed",
                    "give its input fewer bits",
                )
    if type(layer).__name__ == "QSoftmax" and not layer.stable:
        yield "it does not subtract the maximum (stable=False)", "set stable=True"
