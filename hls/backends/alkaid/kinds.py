"""alkaid's side of layer classes: how each is traced exactly, or why it is not. `HANDLERS` is the only list.

Every `Handler` here has a test that its RTL equals Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from hgq.layers import (
    QGRU,
    QLIF,
    QAdd,
    QAffinedUnaryFunctionLUT,
    QAveragePooling1D,
    QAveragePooling2D,
    QAveragePooling3D,
    QAveragePow2,
    QBatchNormalization,
    QBatchNormDense,
    QConv1D,
    QConv2D,
    QConv3D,
    QConvT1D,
    QConvT2D,
    QDense,
    QDenseT,
    QDot,
    QEinsum,
    QEinsumDense,
    QEinsumDenseBatchnorm,
    QEinsumDenseT,
    QGlobalAveragePooling1D,
    QGlobalAveragePooling2D,
    QGlobalAveragePooling3D,
    QGlobalMaxPooling1D,
    QGlobalMaxPooling2D,
    QGlobalMaxPooling3D,
    QLinformerAttention,
    QLinformerAttentionT,
    QMaximum,
    QMaxPooling1D,
    QMaxPooling2D,
    QMaxPooling3D,
    QMeanPow2,
    QMinimum,
    QMultiHeadAttention,
    QMultiHeadAttentionT,
    QMultiply,
    QSimpleRNN,
    QSimpleSNN,
    QSoftmax,
    QSubtract,
    QSum,
    QUnaryFunctionLUT,
)
from hgq.layers.core.base import QLayerBase
from hgq.quantizer import Quantizer

from hls.backends import unfit
from hls.backends.alkaid import gathers
from hls.backends.layer_settings import Abilities
from hls.backends.unfit import Fault
from hls.errors import Gap
from qformers.nn.index.ball_slots import TreeOrder
from qformers.nn.index.lsh import FromBlocks, GivenOrder, ToBlocks
from qformers.nn.index.rounded_pairs import QSymmetricFill
from qformers.nn.index.select import Largest
from qformers.nn.index.sorted_order import SortedOrder
from qformers.nn.index.sorted_tree import SortedTree
from qformers.nn.memory import attended, inputs_of
from qformers.nn.moves import Part
from qformers.precision.fixed import Fixed


def _sound(layer: Any) -> Iterator[Fault]:
    yield from ()


def _none_within(layer: Any) -> Iterator[tuple[Any, Any]]:
    yield from ()


@dataclass(frozen=True)
class Handler:
    """How alkaid traces layers of a class.

    Attributes:
        replay: (layer, its inputs) -> its output, on alkaid's arrays (with a batch axis of one event); what HGQ2's base
            classes round at the input and the output is rounded around it. None for alkaid's and HGQ2's own replay.
        port: format of a model input that is the first input of a layer and that no quantiser reads.
        within: inputs of a layer, each with a quantiser that reads it and that its kind does not list: its format is of
            a step in time or of each pair of input and output, or it belongs to a layer inside.
        faults: what is wrong with a layer.
    """

    replay: Callable[[Any, Any], Any] | None = None
    port: Callable[[Any], Fixed] | None = None
    within: Callable[[Any], Iterator[tuple[Any, Any]]] = _none_within
    faults: Callable[[Any], Iterator[Fault]] = _sound


def _first(layer: Any) -> Iterator[tuple[Any, Any]]:
    """The quantiser of the tables of each pair of input and output."""
    if layer.enable_iq:
        yield inputs_of(layer)[0], layer.iq


def _of_cell(layer: Any) -> Iterator[tuple[Any, Any]]:
    if layer.cell.enable_iq:
        yield inputs_of(layer)[0], layer.cell.iq


def _of_projections(layer: Any) -> Iterator[tuple[Any, Any]]:
    """The quantisers of attention: of its projections, in a Linformer of those in front of keys and values."""
    query, value, key, _ = attended(layer)
    linear = hasattr(layer, "_lin_k_proj")
    key_dense, value_dense = (
        (layer._lin_k_proj, layer._lin_v_proj) if linear else (layer._key_dense, layer._value_dense)
    )
    for tensor, dense in ((query, layer._query_dense), (key, key_dense), (value, value_dense)):
        if dense.enable_iq:
            yield tensor, dense.iq


_MOVED = Handler(gathers.moved)
_MEANS = Handler(faults=unfit.uneven_mean)

HANDLERS: dict[type, Handler | Gap] = {
    keras.layers.InputLayer: Handler(),
    keras.layers.Reshape: Handler(),
    keras.layers.Concatenate: Handler(),
    keras.layers.Rescaling: Handler(faults=unfit.rescaled),
    Quantizer: Handler(),
    **dict.fromkeys((QEinsumDense, QDense, QBatchNormDense, QEinsumDenseBatchnorm), Handler(faults=unfit.looked_up)),
    **dict.fromkeys((QConv1D, QConv2D, QConv3D), Handler(faults=unfit.convolution)),
    **dict.fromkeys((QMaxPooling1D, QMaxPooling2D, QMaxPooling3D), Handler(faults=unfit.channels_first)),
    **dict.fromkeys(
        (QGlobalMaxPooling1D, QGlobalMaxPooling2D, QGlobalMaxPooling3D), Handler(faults=unfit.channels_first)
    ),
    **dict.fromkeys((QAveragePooling1D, QAveragePooling2D, QAveragePooling3D), _MEANS),
    **dict.fromkeys((QGlobalAveragePooling1D, QGlobalAveragePooling2D, QGlobalAveragePooling3D), _MEANS),
    **dict.fromkeys((QEinsum, QDot, QBatchNormalization, QSum, QMeanPow2), Handler()),
    **dict.fromkeys((QAdd, QSubtract, QMultiply, QMaximum, QMinimum, QAveragePow2), Handler()),
    **dict.fromkeys((QSoftmax, QUnaryFunctionLUT, QAffinedUnaryFunctionLUT), Handler()),
    **dict.fromkeys((keras.layers.ReLU, keras.layers.Activation), Handler(gathers.rectified, faults=unfit.no_relu)),
    **dict.fromkeys((keras.layers.Flatten, keras.layers.Permute, keras.layers.RepeatVector, Part), _MOVED),
    **dict.fromkeys((keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D), _MOVED),
    **dict.fromkeys((keras.layers.Cropping1D, keras.layers.Cropping2D), _MOVED),
    keras.layers.UpSampling1D: _MOVED,
    keras.layers.UpSampling2D: Handler(gathers.moved, faults=unfit.between),
    **dict.fromkeys(
        (QMultiHeadAttention, QLinformerAttention, QMultiHeadAttentionT, QLinformerAttentionT),
        Handler(within=_of_projections, faults=unfit.attention),
    ),
    **dict.fromkeys((QGRU, QSimpleRNN, QSimpleSNN, QLIF), Handler(within=_of_cell, faults=unfit.recurrent)),
    **dict.fromkeys((QDenseT, QConvT1D, QConvT2D, QEinsumDenseT), Handler(within=_first)),
    GivenOrder: Handler(gathers.given_order, gathers.slot_numbers),
    TreeOrder: Handler(gathers.tree_order, gathers.tree_numbers),
    SortedOrder: Handler(gathers.sorted_order),
    SortedTree: Handler(gathers.sorted_tree),
    ToBlocks: Handler(gathers.to_blocks),
    FromBlocks: Handler(gathers.from_blocks),
    Largest: Handler(gathers.largest),
    QSymmetricFill: Handler(gathers.symmetric_fill),
}


def handler_of(layer: Any) -> Handler | Gap:
    """How a layer is traced, or why it is not."""
    names = unfit.public(kind for kind, handler in HANDLERS.items() if isinstance(handler, Handler))
    return HANDLERS.get(type(layer), Gap("its RTL was not shown to be exact", f"use one of {', '.join(names)}"))


def _no_settings(layer: Any) -> tuple[str, ...]:
    return ()


ABLE = Abilities(
    settings=_no_settings,
    why={
        "accumulator": "its RTL adds in trees of adders, each as wide as its values",
        "reuse_factor": "its RTL takes an event every clock cycle and shares no multiplier",
        "strategy": "its RTL is adders, shifts and tables",
        "parallelisation_factor": "its RTL has every position of its own",
    },
)


@contextmanager
def replays() -> Iterator[None]:
    """For the length of the block, alkaid replays layers as `HANDLERS` says; it registers every class that is made."""
    from alkaid.converter.builtin.keras.layers._base import _registry

    own = {kind: h.replay for kind, h in HANDLERS.items() if isinstance(h, Handler) and h.replay is not None}
    before = {kind: _registry[kind] for kind in own if kind in _registry}
    try:
        for kind, replay in own.items():
            _register(kind, replay)
        yield
    finally:
        for kind in own:
            del _registry[kind]
        _registry.update(before)


def _register(kind: type, replay: Callable[[Any, Any], Any]) -> None:
    from alkaid.converter.builtin.keras.layers._base import ReplayOperationBase
    from hgq._alkaid_keras_plugin._base import QLayerMixin

    def call(self: Any, inputs: Any) -> Any:
        return replay(self.op, inputs)

    bases = (QLayerMixin, ReplayOperationBase) if issubclass(kind, QLayerBase) else (ReplayOperationBase,)
    type(f"Replay{kind.__name__}", bases, {"handles": (kind,), "call": call})
