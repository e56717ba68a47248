"""The layer classes of quantised models, each with one record that says what the tools need to know of it.

Precision tables, audit, ranges of values, EBOPs and post-training quantisation read `KINDS`, so that a class is added
by one record here and one handler per backend (`hls.backends.hls4ml.kinds`, `hls.backends.alkaid.kinds`).
"""

from __future__ import annotations

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
from hgq.quantizer import Quantizer

from qformers.nn.index.ball_slots import TreeOrder
from qformers.nn.index.lsh import FromBlocks, GivenOrder, ToBlocks
from qformers.nn.index.rounded_pairs import QSymmetricFill
from qformers.nn.index.select import Largest
from qformers.nn.index.sorted_order import SortedOrder
from qformers.nn.index.sorted_tree import SortedTree
from qformers.nn.moves import Part
from qformers.quant.kinds import adders, moves, products, tables, windows
from qformers.quant.kinds.listing import usual
from qformers.quant.kinds.record import LayerKind, Quantiser

# of layers of other classes: the quantisers that HGQ2's base classes give them; what they compute is not known
OTHER = LayerKind(usual)

KINDS: dict[type, LayerKind] = {
    QDense: products.LAST_AXIS,
    QEinsumDense: products.DENSE,
    QBatchNormDense: products.NORMED_INPUTS,
    QEinsumDenseBatchnorm: products.NORMED_OUTPUTS,
    QBatchNormalization: products.NORM,
    **dict.fromkeys((QConv1D, QConv2D, QConv3D), windows.CONVOLUTION),
    **dict.fromkeys((QMaxPooling1D, QMaxPooling2D, QMaxPooling3D), windows.MAX_POOL),
    **dict.fromkeys((QGlobalMaxPooling1D, QGlobalMaxPooling2D, QGlobalMaxPooling3D), windows.MAX_POOL),
    **dict.fromkeys((QAveragePooling1D, QAveragePooling2D, QAveragePooling3D), windows.MEAN_POOL),
    **dict.fromkeys((QGlobalAveragePooling1D, QGlobalAveragePooling2D, QGlobalAveragePooling3D), windows.MEAN_POOL),
    QEinsum: products.EINSUM,
    QAdd: adders.ADD,
    QSubtract: adders.SUBTRACT,
    QMultiply: adders.MULTIPLY,
    QMaximum: adders.LARGEST_OF,
    QMinimum: adders.SMALLEST_OF,
    QAveragePow2: adders.AVERAGE,
    **dict.fromkeys((QSum, QMeanPow2), adders.SUM),
    QDot: products.DOT,
    QUnaryFunctionLUT: tables.TABLE,
    QAffinedUnaryFunctionLUT: tables.TABLE,
    QSoftmax: tables.SOFTMAX,
    QMultiHeadAttention: OTHER,  # its quantisers belong to the layers in it
    **dict.fromkeys((QLinformerAttention, QMultiHeadAttentionT, QLinformerAttentionT), OTHER),
    **dict.fromkeys((QGRU, QSimpleRNN, QSimpleSNN, QLIF), OTHER),  # to the cell in it
    **dict.fromkeys((QDenseT, QConvT1D, QConvT2D, QEinsumDenseT), tables.NETS),
    Quantizer: moves.QUANTIZER,
    keras.layers.InputLayer: moves.PLAIN,
    keras.layers.Reshape: moves.RESHAPE,
    **dict.fromkeys((keras.layers.Flatten, keras.layers.Permute, keras.layers.RepeatVector, Part), moves.MOVED),
    **dict.fromkeys((keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D), moves.MOVED),
    **dict.fromkeys((keras.layers.Cropping1D, keras.layers.Cropping2D), moves.MOVED),
    **dict.fromkeys((keras.layers.UpSampling1D, keras.layers.UpSampling2D), moves.MOVED),
    **dict.fromkeys((keras.layers.ReLU, keras.layers.Activation), moves.RELU),
    keras.layers.Concatenate: moves.JOINED,
    keras.layers.Rescaling: adders.RESCALED,
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
