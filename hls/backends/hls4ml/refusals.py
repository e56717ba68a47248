"""What in a model has no exact firmware: found on the Keras model, before hls4ml sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from hgq.quantizer.internal import FixedPointQuantizerBase

from hls.backends import unfit
from hls.backends.hls4ml.kinds import Handler, handler_of
from hls.errors import Gap, Refusal
from qformers.config.names import is_layer_name
from qformers.quant.kinds import kind_of
from qformers.quant.kinds.record import Quantiser


def refusals(model: Any) -> list[Refusal]:
    """All layers of a built Keras model that cannot be converted exactly, in the order of the model; empty = none."""
    refused = []
    spellings = Counter(operation.name.lower() for operation in model.operations)
    for layer in model.operations:  # layers, and operations without a layer such as a slice
        handler = handler_of(layer)
        if isinstance(handler, Gap):
            refused.append(handler.refusal(layer))
            continue
        held = list(kind_of(layer).quantisers(layer))
        faults = (
            *name_faults(layer.name),
            *_spelling_faults(spellings[layer.name.lower()]),
            *_use_faults(model, layer),
            *_quantiser_faults(held),
            *handler.faults(layer, held),
        )
        refused += [Gap(*words).refusal(layer) for words in faults]
    if not refused and all(_vanishes(layer) for layer in model.layers):
        words = "hls4ml writes no function for a model that only rounds and moves", "set firmware.backend: alkaid"
        refused.append(Gap(*words).refusal(model.layers[-1]))
    if refused:
        return refused  # the last check needs layers that it knows
    return [*unfit.given_out(model), *_unquantised_inputs(model)]


def name_faults(name: str) -> Iterator[tuple[str, str]]:
    """Why a layer cannot be called that, and what to do."""
    if not is_layer_name(name):
        yield "its name cannot stand in C++", "name it with two or more letters, digits and _, no word of C++ or hls4ml"


def _spelling_faults(alike: int) -> Iterator[tuple[str, str]]:
    if alike > 1:
        yield (
            "another layer has its name but for capitals, and hls4ml tells formats apart without",
            "rename one of them",
        )


def _nodes(model: Any, layer: Any) -> list[Any]:
    inside = {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}
    return [node for node in layer._inbound_nodes if id(node) in inside]


def _use_faults(model: Any, layer: Any) -> Iterator[tuple[str, str]]:
    if len(_nodes(model, layer)) > 1:
        yield "it is used more than once", "give each use a layer of its own"
    outputs = {id(tensor) for tensor in model.outputs}
    is_output = any(id(tensor) in outputs for node in _nodes(model, layer) for tensor in node.outputs)
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


def _vanishes(layer: Any) -> bool:
    handler = handler_of(layer)
    return isinstance(layer, keras.layers.InputLayer) or (isinstance(handler, Handler) and handler.vanishes)


def _unquantised_inputs(model: Any) -> Iterator[Refusal]:
    """Model inputs that reach arithmetic without a format: hls4ml cannot tell how wide the port is."""
    for layer in model.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            continue
        for user in _users(model, layer):
            handler = handler_of(user)
            if isinstance(handler, Handler) and not handler.takes_inputs(user):
                reason = f"it takes the model input '{layer.name}' without an input quantiser"
                yield Gap(reason, "set enable_iq=True, which is the format of the port").refusal(user)


def _one_bit_symmetric(quantiser: Quantiser) -> bool:
    signed, integer, fraction = quantiser.kif()
    return bool(quantiser.core.overflow_mode == "SAT_SYM" and np.any((signed == 1) & (integer + fraction == 0)))


def _quantiser_faults(formats: Sequence[Quantiser]) -> Iterator[tuple[str, str]]:
    for quantiser in formats:
        core, part = quantiser.core, quantiser.part
        if not isinstance(core, FixedPointQuantizerBase):
            yield f"its {part} is no fixed-point quantiser but {type(core).__name__}", "use a kif or kbi quantiser"
        elif core.round_mode.startswith("S_"):
            yield f"its {part} rounds at random ({core.round_mode})", "use RND, RND_CONV or TRN"
        elif quantiser.place in ("input", "result") and _one_bit_symmetric(quantiser):
            yield f"its {part} has one signed bit and SAT_SYM, which is 0 in HGQ2 and -1 in C++", "use SAT"
