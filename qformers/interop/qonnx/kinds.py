"""How each layer class is said in QONNX, or why it is not. `FORMS` is the only list.

Every `Form` here has a test that qonnx computes the values of Keras.
"""

from __future__ import annotations

from dataclasses import dataclass

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

from qformers.interop.qonnx import adders, moves, orders, products, tables, windows
from qformers.interop.qonnx.around import Write
from qformers.interop.qonnx.attention import attention
from qformers.interop.qonnx.graph import NoForm
from qformers.nn.index.ball_slots import TreeOrder
from qformers.nn.index.lsh import FromBlocks, GivenOrder, ToBlocks
from qformers.nn.index.rounded_pairs import QSymmetricFill
from qformers.nn.index.select import Largest
from qformers.nn.index.sorted_order import SortedOrder
from qformers.nn.index.sorted_tree import SortedTree
from qformers.nn.moves import Part

BENT = "activation linear or relu"
TABLE = f"its input has a format, with {tables.MOST:,} values at most"


@dataclass(frozen=True)
class Form:
    """How layers of a class are written.

    Attributes:
        write: (graph, layer, its inputs, rounded as it rounds them) -> what it computes, not yet rounded.
        nodes: of ONNX that say it, besides `Quant`; for the table of layers.
        only: what it has to be like; "" for any.
    """

    write: Write
    nodes: str
    only: str = ""


_CONVOLUTION = Form(windows.convolution, "Conv, Add, Relu", BENT)
_PICKED = Form(moves.picked, "Gather")

_FIRMWARE = "write firmware of it (qformers export --backend alkaid)"
_TABLES = NoForm("a table for each pair of input and output", _FIRMWARE)

FORMS: dict[type, Form | NoForm] = {
    keras.layers.InputLayer: Form(moves.itself, "an input"),
    QDense: Form(products.dense, "MatMul, Add, Relu", BENT),
    QBatchNormDense: Form(products.dense, "MatMul, Add, Relu", BENT),
    QEinsumDense: Form(products.einsum_dense, "MatMul or Einsum, Add, Relu", BENT),
    QEinsumDenseBatchnorm: Form(products.einsum_dense, "MatMul or Einsum, Add, Relu", BENT),
    QBatchNormalization: Form(products.norm, "Mul, Add"),
    **dict.fromkeys((QConv1D, QConv2D, QConv3D), _CONVOLUTION),
    **dict.fromkeys((QMaxPooling1D, QMaxPooling2D, QMaxPooling3D), Form(windows.pooling("MaxPool"), "MaxPool")),
    **dict.fromkeys(
        (QGlobalMaxPooling1D, QGlobalMaxPooling2D, QGlobalMaxPooling3D),
        Form(windows.pooling_of_all("ReduceMax"), "ReduceMax"),
    ),
    **dict.fromkeys(
        (QAveragePooling1D, QAveragePooling2D, QAveragePooling3D),
        Form(windows.pooling("AveragePool"), "AveragePool"),
    ),
    **dict.fromkeys(
        (QGlobalAveragePooling1D, QGlobalAveragePooling2D, QGlobalAveragePooling3D),
        Form(windows.pooling_of_all("ReduceMean"), "ReduceMean"),
    ),
    QEinsum: Form(products.einsum, "Einsum"),
    QDot: Form(products.dot, "Einsum"),
    QAdd: Form(adders.merged("Add"), "Add"),
    QSubtract: Form(adders.merged("Sub"), "Sub"),
    QMultiply: Form(adders.merged("Mul"), "Mul"),
    QMaximum: Form(adders.merged("Max"), "Max"),
    QMinimum: Form(adders.merged("Min"), "Min"),
    QAveragePow2: Form(adders.average, "Add, Mul"),
    **dict.fromkeys((QSum, QMeanPow2), Form(adders.along, "ReduceSum, Mul")),
    keras.layers.Rescaling: Form(adders.rescaled, "Mul, Add"),
    QUnaryFunctionLUT: Form(tables.table, "Gather", TABLE),
    QAffinedUnaryFunctionLUT: Form(tables.table, "Gather", TABLE),
    QSoftmax: Form(tables.softmax, "ReduceMax, Sub, Gather, ReduceSum, Mul", "no mask; tables as of QUnaryFunctionLUT"),
    QMultiHeadAttention: Form(attention, "those of its layers", "no mask"),
    QLinformerAttention: Form(attention, "those of its layers", "no mask"),
    **dict.fromkeys((QGRU, QSimpleRNN, QSimpleSNN, QLIF), NoForm("its steps through time are not written", _FIRMWARE)),
    **dict.fromkeys((QDenseT, QConvT1D, QConvT2D, QEinsumDenseT), _TABLES),
    **dict.fromkeys((QMultiHeadAttentionT, QLinformerAttentionT), _TABLES),
    Quantizer: Form(moves.itself, "none"),
    **dict.fromkeys((keras.layers.Reshape, keras.layers.Flatten), Form(moves.reshaped, "Reshape")),
    keras.layers.Permute: Form(moves.permuted, "Transpose"),
    keras.layers.RepeatVector: Form(moves.repeated, "Tile"),
    Part: _PICKED,
    **dict.fromkeys((keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D), Form(moves.padded, "Pad")),
    **dict.fromkeys((keras.layers.Cropping1D, keras.layers.Cropping2D), _PICKED),
    keras.layers.UpSampling1D: _PICKED,
    keras.layers.UpSampling2D: Form(moves.picked, "Gather", "interpolation nearest"),
    keras.layers.ReLU: Form(moves.rectified, "Relu, Min", "negative_slope and threshold 0"),
    keras.layers.Activation: Form(moves.rectified, "Relu", "function relu or linear"),
    keras.layers.Concatenate: Form(moves.joined, "Concat"),
    GivenOrder: Form(orders.given_order, "Cast, Concat"),
    TreeOrder: Form(orders.tree_order, "Gather, Slice, Cast"),
    SortedOrder: Form(orders.sorted_order, "TopK, GatherElements, integer arithmetic"),
    SortedTree: Form(orders.sorted_tree, "TopK, GatherElements, comparisons"),
    ToBlocks: Form(orders.to_blocks, "GatherND"),
    FromBlocks: Form(orders.from_blocks, "TopK, GatherND"),
    Largest: Form(moves.largest, "ReduceMax, Max"),
    QSymmetricFill: Form(moves.filled, "Pad, Gather, Transpose"),
}
