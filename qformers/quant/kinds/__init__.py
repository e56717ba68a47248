"""The layer classes of quantised models, each with one record that says what the tools need to know of it.

Precision tables, audit, ranges of values, EBOPs and post-training quantisation read `KINDS`, so that a class is added
by one record here and one handler per backend (`hls.backends.hls4ml.kinds`, `hls.backends.alkaid.kinds`).
"""

from __future__ import annotations

from typing import Any

import keras
from hgq.layers import (
    QAdd,
    QEinsum,
    QEinsumDense,
    QLinformerAttention,
    QMultiHeadAttention,
    QSoftmax,
    QSubtract,
    QUnaryFunctionLUT,
)
from hgq.quantizer import Quantizer

from qformers.nn.index.ball_slots import TreeOrder
from qformers.nn.index.lsh import FromBlocks, GivenOrder, ToBlocks
from qformers.nn.index.rounded_pairs import QSymmetricFill
from qformers.nn.index.select import Largest
from qformers.nn.index.sorted_order import SortedOrder
from qformers.nn.index.sorted_tree import SortedTree
from qformers.quant.kinds import adders, moves, products, tables
from qformers.quant.kinds.listing import usual
from qformers.quant.kinds.record import LayerKind, Quantiser

# of layers of other classes: the quantisers that HGQ2's base classes give them; what they compute is not known
OTHER = LayerKind(usual)

KINDS: dict[type, LayerKind] = {
    QEinsumDense: products.DENSE,
    QEinsum: products.EINSUM,
    QAdd: adders.ADD,
    QSubtract: adders.SUBTRACT,
    QUnaryFunctionLUT: tables.TABLE,
    QSoftmax: tables.SOFTMAX,
    QMultiHeadAttention: OTHER,  # its quantisers belong to the layers in it
    QLinformerAttention: OTHER,
    Quantizer: moves.QUANTIZER,
    keras.layers.InputLayer: moves.PLAIN,
    keras.layers.Reshape: moves.RESHAPE,
    keras.layers.Concatenate: moves.JOINED,
    GivenOrder: moves.PLAIN,
    TreeOrder: moves.PLAIN,
    SortedOrder: moves.PLAIN,
    SortedTree: moves.PLAIN,
    ToBlocks: moves.BLOCKS,
    FromBlocks: moves.OTHER_PLACES,
    Largest: moves.LARGEST,
    QSymmetricFill: moves.FILL,
}


def kind_of(layer: Any) -> LayerKind:
    """The record of a layer's class; of a class without one, what its base classes say."""
    return KINDS.get(type(layer), OTHER)


__all__ = ("KINDS", "OTHER", "LayerKind", "Quantiser", "kind_of")
