"""Which layers hls4ml may convert, and by which of its handlers: this table and nothing else.

Left to itself hls4ml falls back, for a layer that it does not know, to handlers that convert wrongly after printing a
line. Here its whole registry is replaced by the table below for the time of a conversion, so that a layer without an
exact handler cannot be converted at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from hls.errors import HlsError

_INPUT = "keras.src.layers.core.input_layer.InputLayer"
_RESHAPE = "keras.src.layers.reshaping.reshape.Reshape"
_TABLE = "hgq.layers.activation.QUnaryFunctionLUT"
_ATTENTION = "hgq.layers.attn.mha.QMultiHeadAttention"

# full class name -> key of the handler in hls4ml's registry. Every entry has a test that its firmware equals Keras.
HANDLERS: dict[str, str] = {
    _INPUT: _INPUT,
    _RESHAPE: _RESHAPE,
    "hgq.quantizer.quantizer.Quantizer": "hgq.quantizer.quantizer.Quantizer",
    "hgq.layers.core.einsum_dense.QEinsumDense": "hgq.layers.core.einsum_dense.QEinsumDense",
    "hgq.layers.ops.einsum.QEinsum": "hgq.layers.ops.einsum.QEinsum",
    "hgq.layers.ops.merge.QAdd": "hgq.layers.ops.merge.QAdd",
    "hgq.layers.softmax.QSoftmax": "hgq.layers.softmax.QSoftmax",
    _TABLE: _TABLE,  # by a handler of our own, see below
    # hls4ml 1.3.0 registers these two under the module names of HGQ2 <= 0.1.6, so that they fall into the fallback
    _ATTENTION: "hgq.layers.multi_head_attention.QMultiHeadAttention",
    "hgq.layers.attn.linformer.QLinformerAttention": "hgq.layers.linformer_attention.QLinformerAttention",
}

# What RTL through alkaid takes beyond them, each with a test that it equals Keras; hls4ml has no sort and no gather.
ALKAID_ONLY = frozenset(
    {
        "hgq.layers.ops.merge.QSubtract",
        "keras.src.layers.merging.concatenate.Concatenate",
        "qformers.nn.index.lsh.GivenOrder",
        "qformers.nn.index.lsh.ToBlocks",
        "qformers.nn.index.lsh.FromBlocks",
        "qformers.nn.index.select.Largest",
        "qformers.nn.index.sorted_order.SortedOrder",
    }
)
_ONLY_RTL = "set firmware.backend: alkaid, whose RTL moves rows through sorting networks"

# the end of the full class name -> (why not, what instead); only words, the table above decides
KNOWN_GAPS: dict[str, tuple[str, str]] = {
    "hgq.layers.core.dense.QDense": ("hls4ml reads it as a pointwise convolution on rank 3", "use QEinsumDense"),
    "layers.core.dense.Dense": ("it has no fixed-point format", "use hgq.layers.QEinsumDense"),
    "EinsumDense": ("it has no fixed-point format", "use hgq.layers.QEinsumDense"),
    "LayerNormalization": ("hls4ml has no exact layer norm for Keras 3", "set model.norm: batch, which is folded"),
    "BatchNormalization": (
        "norms are not computed in firmware",
        "fold it into the next QEinsumDense (the hgq vocabulary does)",
    ),
    "activations.softmax.Softmax": ("its tables are not those of Keras", "use hgq.layers.QSoftmax"),
    "activation.Activation": (
        "it is not exact in hls4ml",
        "give QEinsumDense the activation, or use QUnaryFunctionLUT",
    ),
    "activations.relu.ReLU": ("it is not exact in hls4ml", "use QEinsumDense(..., activation='relu')"),
    "QSum": ("hls4ml has no handler for it and its fallback is wrong", "use QEinsumDense with a kernel of ones"),
    "GetItem": ("hls4ml cannot slice", "use QEinsumDense with a kernel of zeros and ones"),
    "QSubtract": ("hls4ml's subtraction was not shown to be exact", "set firmware.backend: alkaid"),
    "Concatenate": ("hls4ml's concatenation was not shown to be exact", "set firmware.backend: alkaid"),
    "GivenOrder": ("hls4ml has no sort and no gather", _ONLY_RTL),
    "SortedOrder": ("hls4ml has no sort and no gather", _ONLY_RTL),
    "ToBlocks": ("hls4ml has no sort and no gather", _ONLY_RTL),
    "FromBlocks": ("hls4ml has no sort and no gather", _ONLY_RTL),
    "Largest": ("hls4ml has no largest value along an axis", "set firmware.backend: alkaid"),
    "Dropout": ("firmware has no dropout", "build the model for inference without it"),
}


def class_name(layer: Any) -> str:
    """Full class name, as in the tables."""
    return f"{type(layer).__module__}.{type(layer).__name__}"


def gap(name: str) -> tuple[str, str]:
    """Why a class is not in `HANDLERS`, and what to use instead."""
    for ending, words in KNOWN_GAPS.items():
        if name.endswith(ending):
            return words
    return "it has no exact handler", f"use one of {known_layers()}"


def known_layers() -> str:
    """The classes in `HANDLERS`, for messages."""
    return ", ".join(sorted(key.rpartition(".")[2] for key in HANDLERS))


@contextmanager
def only_these(converted: Callable[[], None]) -> Iterator[None]:
    """For the length of the block, hls4ml's registry is `HANDLERS`, and its layers have meaningful names.

    Args:
        converted: called after each layer.
    """
    from hls4ml.converters.keras_v3 import layer_handlers

    before = dict(layer_handlers)
    handlers = {name: before[key] for name, key in HANDLERS.items() if key in before}
    handlers[_TABLE] = _table_handler()
    layer_handlers.clear()
    layer_handlers.update({name: _Named(handler, converted) for name, handler in handlers.items()})
    try:
        yield
    finally:
        layer_handlers.clear()
        layer_handlers.update(before)


def _table_handler() -> Callable[..., tuple[dict[str, Any], ...]]:
    """hls4ml's handler of tables calls the quantisers on rank 2, which fails for a layer of rank 3 (TensorFlow)."""
    from hls4ml.converters.keras_v3.hgq2.unary_lut import QUnaryLUTHandler
    from hls4ml.model.types import FixedPrecisionType

    from hls.backends.tables import all_values, table_values

    class Tables(QUnaryLUTHandler):  # type: ignore[misc]
        handles = ()

        def handle(self, layer: Any, inputs: Any, outputs: Any) -> tuple[dict[str, Any], ...]:
            signed, integer, fraction = (int(np.max(np.asarray(part))) for part in layer.iq.quantizer.kif)
            values = table_values(layer, all_values(bool(signed), signed + integer + fraction, fraction))
            kind = {"class_name": "UnaryLUT", "activation": "unary_lut", "table_t": FixedPrecisionType(18, 8)}
            return ({**self.default_config, **kind, "table_data": values},)

    return Tables()


class _Named:
    """An hls4ml handler whose quantisers are called after their layer.

    hls4ml takes the name of the Keras quantiser, which is a counter for layers with several inputs (``quantizer_7``).
    It also wires a quantiser to its layer by the name of the quantised tensor, so that a layer which takes one tensor
    twice got one of its two quantisers twice.
    """

    def __init__(self, handler: Callable[..., tuple[dict[str, Any], ...]], converted: Callable[[], None]) -> None:
        self._handler = handler
        self._converted = converted

    def __call__(self, layer: Any, inputs: Any, outputs: Any) -> tuple[dict[str, Any], ...]:
        try:
            parts = self._handler(layer, inputs, outputs)
        except (AssertionError, ValueError, NotImplementedError, AttributeError, KeyError, TypeError) as error:
            raise HlsError(
                f"layer '{layer.name}' ({type(layer).__name__}): hls4ml cannot convert it: {error}"
            ) from error
        kinds = [part["class_name"] for part in parts]
        places = [i for i, kind in enumerate(kinds) if kind != "FixedPointQuantizer"]
        if len([kind for kind in kinds if kind not in ("FixedPointQuantizer", "Activation")]) > 1:  # attention
            for part in parts:
                part["name"] = part["name"] if part["name"].startswith(layer.name) else f"{layer.name}_{part['name']}"
        elif places:
            _name(layer.name, parts[: places[0]], parts[places[0]], parts[places[-1] + 1 :])
        self._converted()
        return parts


def _name(
    layer: str, before: tuple[dict[str, Any], ...], main: dict[str, Any], after: tuple[dict[str, Any], ...]
) -> None:
    for index, part in enumerate(before):
        part["name"] = f"{layer}_iq{index if len(before) > 1 else ''}"
        tensor = f"{part['name']}_out"
        part["output_keras_tensor_names"] = [tensor]
        main["input_keras_tensor_names"][index] = tensor
    for part in after:
        part["name"] = f"{layer}_oq"
